package mbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/dovecot"
)

// Dovecot reads what is restored, and what Dovecot writes is read.
func TestDovecot(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Location: "mbox:~/mail:INBOX=~/mail/INBOX"})
	when := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	home := filepath.Join(s.Home("alice"), "mail")
	d := create(t, home)
	a, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Mailbox(ctx, mailstore.Mailbox{Name: "INBOX"}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		text := fmt.Appendf(nil, "Subject: %d\n\nFrom here\n\nFrom a@b Thu Oct 26 18:30:00 2006\nto there\n", i)
		_, err := a.Add(ctx, mailstore.Delivery{Mailbox: "INBOX", Stored: text, LF: text, InternalDate: when.Add(time.Duration(i) * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	s.Chown(s.Home("alice"))
	c := s.Login("alice")
	for i, m := range c.Examine("INBOX").Messages {
		if !m.InternalDate.Equal(when.Add(time.Duration(i)*time.Hour)) || !strings.HasPrefix(m.Body, fmt.Sprintf("Subject: %d\r\n", i)) || !strings.Contains(m.Body, "to there") {
			t.Errorf("message %d: %+v", i, m)
		}
	}
	c.Append("INBOX", "Subject: by Dovecot\r\n\r\nbody\r\n", when, `\Seen`, `\Flagged`)
	c.Do("SELECT INBOX")
	c.Do("STORE 1 +FLAGS (\\Answered)")
	c.Create("Work")
	c.Append("Work", "Subject: work\r\n\r\nbody\r\n", when)
	c.Close()
	if strings.Contains(s.Log(), "Error:") {
		t.Error(s.Log())
	}
	_, messages := listing(t, open(t, options(t, home, "alice")), "alice")
	inbox := messages["INBOX"]
	if len(inbox) != 6 || len(messages["Work"]) != 1 {
		all, _ := os.ReadFile(filepath.Join(home, "INBOX"))
		t.Fatalf("%d messages in INBOX, %d in Work\n%s", len(inbox), len(messages["Work"]), all)
	}
	if got := fmt.Sprint(inbox[0].Flags, inbox[5].Flags); got != `[\Answered] [\Flagged \Seen]` {
		t.Errorf("flags %s", got)
	}
	if !inbox[5].InternalDate.Equal(when) {
		t.Errorf("date %v", inbox[5].InternalDate)
	}
}
