package imaptest

import (
	"bufio"
	"net"
	"reflect"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		command string
		want    []string
	}{
		{"NOOP\r\n", []string{"NOOP\r\n"}},
		{"A {3}\r\nabc\r\n", []string{"A {3}\r\n", "abc\r\n"}},
		{"A {5}\r\n{9}\r\n {2}\r\nab {0}\r\n\r\n", []string{"A {5}\r\n", "{9}\r\n {2}\r\n", "ab {0}\r\n", "\r\n"}},
		{"A {3+}\r\nabc {2}\r\nde\r\n", []string{"A {3+}\r\nabc {2}\r\n", "de\r\n"}},
		{"A {99}\r\nabc\r\n", []string{"A {99}\r\n", "abc\r\n"}},
	} {
		if got := split(tt.command); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("split(%q) = %q", tt.command, got)
		}
	}
}

// A literal may end a response, be empty, hold NULs, and look like an
// announcement.
func TestResponses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte("* OK hello\r\n"))
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = c.Write([]byte("* LIST () \"/\" {3}\r\na\"b\r\n* 1 FETCH (X ~{3}\r\na\x00b Y {0}\r\n Z {5}\r\n{9}\r\n)\r\na1 OK done\r\n"))
	}()
	c := Dial(t, l.Addr().String(), nil)
	want := []Response{
		{`* LIST () "/" {3}`, []string{`a"b`}},
		{`* 1 FETCH (X ~{3} Y {0} Z {5})`, []string{"a\x00b", "", "{9}\r\n"}},
	}
	if got := c.Do("NOOP"); !reflect.DeepEqual(got, want) || c.Greeting != "* OK hello\r\n" {
		t.Errorf("%q after %q", got, c.Greeting)
	}
}
