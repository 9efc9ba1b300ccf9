// Package imaptest speaks IMAP to the servers that tests start: enough to fill
// mailboxes, to change them as users do, and to see what a server makes of ours.
// It sends what it is told as it stands, for tests of what servers refuse, and
// fails the test when a server does. Only tests call it.
package imaptest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Client is one IMAP connection. It fails the test when the server refuses
// a command.
type Client struct {
	// Greeting is the server's first line.
	Greeting string

	t   testing.TB
	c   net.Conn
	in  *bufio.Reader
	tag int
}

// A Response is one untagged response. A literal in it stands in Text as {n},
// or ~{n} if it may hold NULs.
type Response struct {
	Text     string
	Literals []string
}

// Dial opens a connection, over TLS from the start if secure is not nil. It
// ends with the test.
func Dial(t testing.TB, addr string, secure *tls.Config) *Client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	c := &Client{t: t}
	c.use(conn, secure)
	if c.Greeting, err = c.in.ReadString('\n'); err != nil {
		t.Fatalf("greeting of %s: %v", addr, err)
	}
	return c
}

func (c *Client) use(conn net.Conn, secure *tls.Config) {
	c.t.Helper()
	if secure != nil {
		over := tls.Client(conn, secure)
		if err := over.Handshake(); err != nil {
			c.t.Fatalf("TLS with %s: %v", conn.RemoteAddr(), err)
		}
		conn = over
	}
	c.c, c.in = conn, bufio.NewReader(conn)
}

// StartTLS goes over to TLS.
func (c *Client) StartTLS(secure *tls.Config) {
	c.t.Helper()
	c.Do("STARTTLS")
	c.use(c.c, secure)
}

// Login logs in.
func (c *Client) Login(user, password string) *Client {
	c.t.Helper()
	c.Do("LOGIN %s %s", Quote(user), Quote(password))
	return c
}

// AuthPlain logs in with SASL PLAIN: authcid proves with the password who it
// is, and becomes authzid if that is not "".
func (c *Client) AuthPlain(authzid, authcid, password string) *Client {
	c.t.Helper()
	if status := c.TryPlain(authzid, authcid, password); !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("AUTHENTICATE PLAIN %s as %s: %s", authcid, authzid, status)
	}
	return c
}

// TryPlain does the same and gives the server's answer.
func (c *Client) TryPlain(authzid, authcid, password string) string {
	c.t.Helper()
	_, status := c.Try("AUTHENTICATE PLAIN %s", base64.StdEncoding.EncodeToString([]byte(authzid+"\x00"+authcid+"\x00"+password)))
	return status
}

// Close logs out.
func (c *Client) Close() {
	c.t.Helper()
	c.Do("LOGOUT")
	c.c.Close()
}

// Do sends a command and gives its untagged responses.
func (c *Client) Do(format string, args ...any) []Response {
	c.t.Helper()
	out, status := c.Try(format, args...)
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%.200q: %s", fmt.Sprintf(format, args...), status)
	}
	return out
}

// Try sends a command and gives its untagged responses and its tagged one.
// Literals are sent by giving their n bytes after "{n}\r\n" in the command, as
// Literal does; the client waits for the server before each, unless it is
// announced by "{n+}\r\n".
func (c *Client) Try(format string, args ...any) ([]Response, string) {
	c.t.Helper()
	c.tag++
	tag := fmt.Sprintf("a%d", c.tag)
	parts := split(tag + " " + fmt.Sprintf(format, args...) + "\r\n")
	c.send(parts[0])
	parts = parts[1:]
	var out []Response
	for {
		r := c.read()
		switch {
		case strings.HasPrefix(r.Text, "+") && len(parts) > 0:
			c.send(parts[0])
			parts = parts[1:]
		case strings.HasPrefix(r.Text, tag+" "):
			return out, strings.TrimPrefix(r.Text, tag+" ")
		default:
			out = append(out, r)
		}
	}
}

var announced = regexp.MustCompile(`\{(\d+)(\+?)\}\r\n`)

// split cuts a command before each literal that the server has to ask for. What
// looks like an announcement within a literal is none.
func split(command string) []string {
	var parts []string
	start, at := 0, 0
	for {
		m := announced.FindStringSubmatchIndex(command[at:])
		if m == nil {
			return append(parts, command[start:])
		}
		end := at + m[1]
		if m[4] == m[5] { // no "+"
			parts = append(parts, command[start:end])
			start = end
		}
		n, _ := strconv.Atoi(command[at+m[2] : at+m[3]])
		at = min(end+n, len(command))
	}
}

// Literal writes any string as a literal. One with NULs in it is a literal8,
// which not every command takes.
func Literal(s string) string {
	eight := ""
	if strings.Contains(s, "\x00") {
		eight = "~"
	}
	return fmt.Sprintf("%s{%d}\r\n%s", eight, len(s), s)
}

// Quote writes an IMAP quoted string.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func (c *Client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.c, s); err != nil {
		c.t.Fatalf("write to the server: %v", err)
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}$`)

func (c *Client) read() Response {
	c.t.Helper()
	var r Response
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("read from the server: %v", err)
		}
		line = strings.TrimRight(line, "\r\n")
		r.Text += line
		m := literalEnd.FindStringSubmatch(line)
		if m == nil {
			return r
		}
		n, _ := strconv.Atoi(m[1])
		buf := make([]byte, n)
		if _, err := io.ReadFull(c.in, buf); err != nil {
			c.t.Fatalf("read from the server: %v", err)
		}
		r.Literals = append(r.Literals, string(buf))
	}
}
