package dovecot

import (
	"reflect"
	"testing"
	"time"

	"salvor/internal/testenv/imaptest"
)

func TestServer(t *testing.T) {
	s := Start(t, Options{})
	c := s.Login("alice")
	when := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	c.Append("INBOX", "Subject: x\r\n\r\nbody\r\n", when, `\Seen`, "work")
	c.Create("a b")
	f := c.Examine("INBOX")
	want := []imaptest.Message{{UID: 1, Flags: []string{`\Seen`, "work"}, InternalDate: when, Body: "Subject: x\r\n\r\nbody\r\n"}}
	for i := range f.Messages {
		f.Messages[i].InternalDate = f.Messages[i].InternalDate.UTC()
	}
	if !reflect.DeepEqual(f.Messages, want) || f.UIDNext != 2 || f.UIDValidity == 0 {
		t.Errorf("folder %+v", f)
	}
	if got := c.List(); !reflect.DeepEqual(got, []string{"INBOX", "a b"}) {
		t.Errorf("list %q", got)
	}
	c.Close()
	s.Restart()
	if got := s.Login("alice").Examine("INBOX"); len(got.Messages) != 1 {
		t.Errorf("after a restart: %+v", got)
	}
}
