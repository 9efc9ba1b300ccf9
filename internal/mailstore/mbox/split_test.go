package mbox

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// collect is a visitor that cuts the messages out of the text.
type collect struct {
	text  string
	start int64
	out   []string
	seps  []separator
}

func (c *collect) begin(s separator, off int64) error {
	c.start, c.seps = off, append(c.seps, s)
	return nil
}
func (c *collect) line([]byte) error { return nil }
func (c *collect) end(off int64) error {
	c.out = append(c.out, c.text[c.start:off])
	return nil
}

func cut(text string) ([]string, []separator, error) {
	c := collect{text: text}
	err := split(strings.NewReader(text), &c)
	return c.out, c.seps, err
}

const from = "From a@b Thu Oct 26 18:30:00 2006\n"

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"two", from + "a\n\n" + from + "b\n\n", []string{"a\n", "b\n"}},
		{"no empty line at the end", from + "a\n\n" + from + "b\n", []string{"a\n", "b\n"}},
		{"no line end at the end", from + "a\n\n" + from + "b", []string{"a\n", "b"}},
		{"no empty line between", from + "a\n" + from + "b\n\n", []string{"a", "b\n"}},
		{"many empty lines", from + "a\n\n\n\n" + from + "b\n\n\n", []string{"a\n\n\n", "b\n\n"}},
		{"no message", from + from + "b\n\n", []string{"", "b\n"}},
		{"only a line end", from + "\n" + from, []string{"", ""}},
		{"quoted", from + "x\n\n>From a@b Thu Oct 26 18:30:00 2006\n\n", []string{"x\n\n>From a@b Thu Oct 26 18:30:00 2006\n"}},
		{"no date", from + "x\n\nFrom here on\n\n", []string{"x\n\nFrom here on\n"}},
		{"CRLF", strings.ReplaceAll(from+"a\n\n"+from+"b\n\n", "\n", "\r\n"), []string{"a\r\n", "b\r\n"}},
		{"CRLF message in an LF file", from + "a\r\n\n" + from + "b\r\n\n", []string{"a\r\n", "b\r\n"}},
		{"long line", from + strings.Repeat("x", 3*lineBuffer) + "\n\n" + from + "b\n\n", []string{strings.Repeat("x", 3*lineBuffer) + "\n", "b\n"}},
		{"separator's look in a long line", from + strings.Repeat("x", lineBuffer) + from + "\n", []string{strings.Repeat("x", lineBuffer) + from}},
		{"leading empty lines", "\n\n" + from + "a\n\n", []string{"a\n"}},
	} {
		got, _, err := cut(c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %.80q, %v, want %.80q", c.name, got, err, c.want)
		}
	}
	for _, text := range []string{"Subject: x\n\n", "\x00\x00", "From nobody\n"} {
		if _, _, err := cut(text); err != errNotMbox {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseSeparator(t *testing.T) {
	want := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	for _, line := range []string{
		from, "From a@b Thu Oct 26 18:30:00 2006", "From a@b Thu Oct 26 18:30 2006\r\n", "From - Thu Oct 26 18:30:00 2006\n",
		"From  Thu Oct 26 18:30:00 2006\n", "From a b c Thu Oct 26 18:30:00 2006\n", "From a@b Thu Oct 26 18:30:00 UTC 2006\n",
		"From a@b Thu Oct 26 19:30:00 2006 +0100\n", "From a@b Thu Oct 26 18:30:00 +0000 2006\n", "From Thu Oct 26 18:30:00 2006\n",
	} {
		if s, ok := parseSeparator([]byte(line)); !ok || !s.date.Equal(want) {
			t.Errorf("%q: %+v, %v", line, s, ok)
		}
	}
	for _, line := range []string{
		"From a@b", "From a@b Thu Foo 26 18:30:00 2006\n", ">" + from, "from a@b Thu Oct 26 18:30:00 2006\n", "From a@b Thu Oct 32 18:30:00 2006\n",
		"From: a@b Thu Oct 26 18:30:00 2006\n", "From x Thu Oct 26 18:30:00 2006 and later\n",
	} {
		if _, ok := parseSeparator([]byte(line)); ok {
			t.Errorf("%q is taken for a separator", line)
		}
	}
}

// What compose writes is read back as it was, whatever the messages are.
func TestComposeSplit(t *testing.T) {
	line := rapid.SampledFrom([]string{"", "a", "From x", ">From x", ">>From ", strings.TrimSuffix(from, "\n"), ">" + strings.TrimSuffix(from, "\n"), "a\r", "\r", "Subject: x"})
	message := rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(line, 0, 5).Draw(t, "lines"), "\n")
		return s + rapid.SampledFrom([]string{"", "\n", "\n\n"}).Draw(t, "end")
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(message, 1, 5).Draw(t, "messages")
		var file []byte
		for _, m := range want {
			file = append(file, joint(file)...)
			file = compose(file, []byte(m), time.Unix(1161887400, 0))
		}
		got, seps, err := cut(string(file))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q: got %q, %v, want %q", file, got, err, want)
		}
		for i := range got {
			if seps[i].sender == quotedSender {
				b, err := io.ReadAll(iotest.OneByteReader(newUnquoter(strings.NewReader(got[i]))))
				if err != nil {
					t.Fatal(err)
				}
				got[i] = string(b)
			}
			if got[i] != want[i] {
				t.Fatalf("%q: message %d is %q, want %q", file, i, got[i], want[i])
			}
			if seps[i].date.Unix() != 1161887400 {
				t.Fatalf("date %v", seps[i].date)
			}
		}
	})
}

// What was read from an mbox is written byte for byte.
func TestComposeIsIdentity(t *testing.T) {
	text := "From MAILER-DAEMON Thu Oct 26 18:30:00 2006\nSubject: x\n\n>From here\n>>From there\nStatus: RO\n\n"
	got, seps, err := cut(text + text)
	if err != nil {
		t.Fatal(err)
	}
	var file []byte
	for i, m := range got {
		file = append(file, joint(file)...)
		file = compose(file, []byte(m), seps[i].date)
	}
	if string(file) != text+text {
		t.Errorf("got %q", file)
	}
}

// FuzzSplit checks that messages never overlap, whatever the file is, and that
// reading in other portions gives the same.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(from + "a\n\n" + from + "b\n\n"))
	f.Add([]byte(strings.ReplaceAll(from+"a\n\n"+from, "\n", "\r\n")))
	f.Add([]byte(from + from + "\n\n\nFrom "))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c check
		err := split(bytes.NewReader(b), &c)
		var d check
		if err2 := split(iotest.HalfReader(bytes.NewReader(b)), &d); fmt.Sprint(err) != fmt.Sprint(err2) || !reflect.DeepEqual(c, d) {
			t.Errorf("%v, %v; other portions: %v, %v", c, err, d, err2)
		}
		last := int64(0)
		for i, o := range c.offsets {
			if o < last || o > int64(len(b)) {
				t.Errorf("offset %d is %d, after %d, of %d bytes", i, o, last, len(b))
			}
			last = o
		}
	})
}

type check struct{ offsets []int64 }

func (c *check) begin(_ separator, off int64) error { c.offsets = append(c.offsets, off); return nil }
func (c *check) line([]byte) error                  { return nil }
func (c *check) end(off int64) error                { c.offsets = append(c.offsets, off); return nil }
