package cyrus

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/cyrus"
)

// A file that the server may not read is as good as none, however whole it is.
func TestFillUnfit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root reads what the server cannot")
		return
	}
	s := cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	s.AddUser("alice")
	c := s.Login("alice")
	for range 3 {
		c.Append("INBOX", "Subject: hello\r\n\r\nhello\r\n", time.Unix(1.7e9, 0))
	}
	change := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Copies of one content are one file at this server, so each is replaced.
	for uid, how := range map[uint32]func(string) error{1: nil, 2: func(p string) error { return os.Chmod(p, 0) }, 3: func(p string) error { return os.Chown(p, 0, 0) }} {
		path := s.MessageFile("alice", "INBOX", uid)
		body, err := os.ReadFile(path)
		change(err)
		change(os.Remove(path))
		change(os.WriteFile(path, body, 0o600))
		s.Chown(path)
		if how != nil {
			change(how(path))
		}
	}
	f := openFiller(t, s)
	for _, m := range survey(t, f, "alice") {
		r, err := f.Open(ctx, m.box, m.m)
		if err == nil {
			r.Close()
		}
		if unfit := m.m.UID > 1; m.state != mailstore.FileWhole || errors.Is(err, mailstore.ErrUnfit) != unfit || unfit && !strings.Contains(err.Error(), "chown and chmod it") {
			t.Errorf("UID %d: %s, %v", m.m.UID, m.state, err)
		}
	}
}
