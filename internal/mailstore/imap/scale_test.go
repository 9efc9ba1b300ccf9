package imap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/dovecot"
)

func TestHundredThousandFolders(t *testing.T) {
	t.Parallel()
	boxes := []*fakeBox{mailbox("INBOX", 1)}
	index := map[string]*fakeBox{}
	for i := range 100_000 {
		b := &fakeBox{name: fmt.Sprintf("F%d", i), validity: 7}
		boxes = append(boxes, b)
		index[`"`+b.name+`"`] = b
	}
	f := newFake(t, boxes...)
	f.caps = "LIST-EXTENDED"
	f.spoil = func(c *fakeConn, verb, args string) bool {
		switch verb {
		case "LIST": // in one piece
			if strings.Contains(args, "*") {
				var lines strings.Builder
				for _, b := range boxes {
					fmt.Fprintf(&lines, "* LIST () \"/\" %s\r\n", b.name)
				}
				io.WriteString(c, lines.String())
				c.ok()
				return true
			}
		case "STATUS":
			name, _, _ := strings.Cut(args, " (")
			if b := index[name]; b != nil {
				fmt.Fprintf(c, "* STATUS %s (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 7)\r\n%s OK .\r\n", b.name, c.tag)
				return true
			}
		}
		return false
	}
	src := f.source(Options{})
	n := 0
	start := time.Now()
	err := src.Mailboxes(t.Context(), mailstore.User{Name: "alice"}, func(b mailstore.Mailbox) error {
		if n++; b.UIDValidity != 7 || n == 1 && b.Name != "INBOX" {
			return fmt.Errorf("mailbox %+v", b)
		}
		return nil
	})
	if took := time.Since(start); err != nil || n != 100_001 || took > 30*time.Second {
		t.Errorf("%d folders, %v, in %v", n, err, took)
	}
}

// A server that never ends a listing, and one that hangs, cost the user.
func TestEndlessListing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(c *fakeConn, verb, args string) bool
		want  string
	}{
		"endless": {func(c *fakeConn, verb, args string) bool {
			for n := 0; verb == "LIST" && strings.Contains(args, "*"); n += 1000 {
				var lines strings.Builder
				for i := range 1000 {
					fmt.Fprintf(&lines, "* LIST () \"/\" F%d\r\n", n+i)
				}
				if _, err := io.WriteString(c, lines.String()); err != nil {
					return true
				}
			}
			return false
		}, "more than 250000 mailboxes"},
		"hangs": {func(_ *fakeConn, verb, args string) bool { return verb == "LIST" && strings.Contains(args, "*") }, "has not answered for 300ms"},
		"says good-bye": {func(c *fakeConn, verb, _ string) bool {
			if verb == "NAMESPACE" || verb == "LIST" {
				c.say("* BYE maintenance")
				c.Close()
			}
			return verb == "LIST"
		}, "the server hung up: maintenance"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, mailbox("INBOX", 3))
			f.spoil = tt.spoil
			got := pass(t, f.source(Options{ReadTimeout: 300 * time.Millisecond, patience: patience{1, time.Millisecond}}), "alice", nil)
			if len(got.boxes) > 0 || len(got.problems) != 1 || !strings.Contains(got.problems[0], tt.want) {
				t.Errorf("%d mailboxes, problems %q", len(got.boxes), got.problems)
			}
		})
	}
}

// A server that is gone does not cost every message its own time.
func TestServerGone(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 2000))
	src := f.source(Options{patience: patience{3, 50 * time.Millisecond}})
	var dead atomic.Bool
	f.spoils(func(c *fakeConn, verb, args string) bool {
		if verb == "UID FETCH" && strings.Contains(args, "BODY") {
			dead.Store(true)
			f.l.Close()
		}
		if dead.Load() {
			c.Close()
		}
		return dead.Load()
	})
	start := time.Now()
	got := pass(t, src, "alice", nil)
	if len(got.failed) != 2000 || time.Since(start) > 10*time.Second {
		t.Errorf("%d failures in %v", len(got.failed), time.Since(start))
	}
	if again := pass(t, src, "bob", nil); len(again.problems) != 1 || !strings.Contains(again.problems[0], "connection refused") || strings.Contains(again.problems[0], "\n") {
		t.Errorf("the next user: %q", again.problems)
	}
}

// Dovecot's dbox hangs up over a lost message, and then removes it and all that
// it has lost from its index. The others come, and the loss is no deletion.
func TestLostInDbox(t *testing.T) {
	t.Parallel()
	server := dovecot.Start(t, dovecot.Options{Location: "sdbox:~/dbox"})
	c := server.Login("alice")
	for n := range 30 {
		c.Append("INBOX", letter(n), when)
	}
	c.Close()
	src := open(t, server.Port, Options{User: "alice"})
	box, all := listed(t, src, "INBOX")
	lost, err := filepath.Glob(server.Home("alice") + "/dbox/mailboxes/INBOX/dbox-Mails/u.7")
	if err != nil || len(lost) != 1 {
		t.Fatal(lost, err)
	}
	if err := os.Remove(lost[0]); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		src.Prefetch(box, m)
	}
	for i, m := range all {
		body, err := read(t.Context(), src, box, m)
		switch {
		case m.UID == 7:
			if !errors.Is(err, mailstore.ErrDamaged) {
				t.Errorf("the lost message: %v", err)
			}
		case err != nil || body != letter(i):
			t.Errorf("UID %d: %v", m.UID, err)
		}
	}
}

// Over a Maildir's message that is cut or cannot be read Dovecot hangs up, in
// the middle of it or before; one whose file is gone it drops.
func TestDamagedMaildir(t *testing.T) {
	t.Parallel()
	server := dovecot.Start(t, dovecot.Options{})
	c := server.Login("alice")
	for n := range 30 {
		c.Append("INBOX", letter(n+200), when)
	}
	c.Close()
	src := open(t, server.Port, Options{User: "alice"})
	box, all := listed(t, src, "INBOX")
	files, err := filepath.Glob(server.Home("alice") + "/Maildir/new/*")
	if err != nil || len(files) != 30 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		switch {
		case strings.Contains(string(text), "letter 204"):
			err = os.Remove(name)
		case strings.Contains(string(text), "letter 210"):
			err = os.Truncate(name, 50)
		case strings.Contains(string(text), "letter 220"):
			err = os.Chmod(name, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range all {
		src.Prefetch(box, m)
	}
	for i, m := range all {
		body, err := read(t.Context(), src, box, m)
		var want error
		switch i {
		case 4:
			want = mailstore.ErrVanished
		case 10, 20:
			want = mailstore.ErrDamaged
		}
		if !errors.Is(err, want) || want == nil && (err != nil || body != letter(i+200)) {
			t.Errorf("UID %d: %v, want %v", m.UID, err, want)
		}
	}
}

// listed gives a mailbox of alice and its messages.
func listed(t *testing.T, src *Source, name string) (box mailstore.Mailbox, all []mailstore.Message) {
	t.Helper()
	err := src.Mailboxes(t.Context(), mailstore.User{Name: "alice"}, func(b mailstore.Mailbox) error {
		if b.Name == name {
			box = b
		}
		return nil
	})
	if err == nil {
		err = src.Messages(t.Context(), box, func(m mailstore.Message) error { all = append(all, m); return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return box, all
}
