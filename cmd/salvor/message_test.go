package main

import (
	"strings"
	"testing"
	"time"
)

func TestUserRemark(t *testing.T) {
	for _, c := range []struct {
		w    userWords
		want string
	}{
		{userWords{LastRun: 7, newest: 7, LastGood: new(time.Time)}, ""},
		{userWords{LastRun: 6, newest: 7, LastGood: new(time.Time)}, "not listed in run 7"},
		{userWords{LastRun: 6, newest: 7, Gone: true}, "gone from the source"},
		{userWords{LastRun: 7, newest: 7, Problems: 1}, "1 problem in the last run"},
		{userWords{LastRun: 7, newest: 7}, "never read completely"},
	} {
		if got := c.w.remark(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.w, got, c.want)
		}
	}
}

func TestFirstText(t *testing.T) {
	for name, c := range map[string]struct{ mail, want string }{
		"plain":        {"Subject: x\n\nhello\n", "hello\n"},
		"no header":    {"\njust text\n", "just text\n"},
		"empty":        {"", ""},
		"base64":       {"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZQ==\n", "Grüße"},
		"latin1":       {"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n", "Grüße\n"},
		"broken qp":    {"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=ZZ\n", "=ZZ\n"},
		"alternatives": {"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>html\n--b\nContent-Type: text/plain\n\nplain\n--b--\n", "plain"},
		"only html":    {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>html\n--b--\n", "<p>html"},
		"image":        {"Content-Type: image/png\n\n\x89PNG", "[image/png, 4 B; --raw prints it]"},
		"no end":       {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nopen end", "open end"},
		"forwarded":    {"Content-Type: message/rfc822\n\nSubject: inner\n\ninner text\n", "inner text\n"},
	} {
		header, body := splitMessage([]byte(c.mail))
		if got := firstText(header, body, 0); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// Nesting without an end costs a bounded number of steps, and nonsense is shown.
func TestFirstTextIsBounded(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\n\n", 10000)
	header, body := splitMessage([]byte(deep))
	firstText(header, body, 0)
	header, _ = splitMessage([]byte("garbage\x00\xff\n more\nSubject: =?utf-8?q?_=E2=82=AC?=\n\n"))
	if got := decodeWords(header.Get("Subject")); got != " €" {
		t.Errorf("subject %q", got)
	}
}

func FuzzFirstText(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b--"))
	f.Fuzz(func(t *testing.T, b []byte) {
		header, body := splitMessage(b)
		text := cleanText(firstText(header, body, 0))
		if strings.ContainsAny(text, "\x1b\x07\x9b") && strings.IndexByte(text, 0x1b) >= 0 {
			t.Fatalf("control characters in %q", text)
		}
		decodedHeaders(header)
	})
}
