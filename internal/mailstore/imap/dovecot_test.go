package imap

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/dovecot"
)

// masterConfig lets whoever knows the master password log in for others.
const masterConfig = `
auth_master_user_separator = *
passdb {
  driver = static
  master = yes
  args = password=master-secret
}
mail_plugins = quota
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=100M:messages=5000
}
`

var when = time.Date(2006, 10, 26, 18, 30, 0, 0, time.FixedZone("", -7*3600))

func TestDovecot(t *testing.T) {
	t.Parallel()
	server := dovecot.Start(t, dovecot.Options{})
	c := server.Login("alice")
	folders := []string{"INBOX", "Entw&APw-rfe", "Work/2024", "Junk", "a\"b"}
	for _, f := range folders[1:] {
		c.Create(f)
	}
	c.Do("SUBSCRIBE Work/2024")
	for i, f := range folders {
		for n := range 20 * (i + 1) {
			c.Append(f, letter(n+i), when.Add(time.Duration(n)*time.Hour), []string{`\Seen`, `\Flagged`, "work", "$Forwarded"}[n%4])
		}
	}
	src := open(t, server.Port, Options{User: "alice"})
	var got *copied
	untouched(t, c, folders, func() { got = pass(t, src, "alice", nil) })
	got.clean(t)
	if want := []string{"INBOX", "Entwürfe", "Junk", "Work/2024", `a"b`}; !slices.Equal(got.names(), want) {
		t.Errorf("folders %q, want %q", got.names(), want)
	}
	for i, name := range []string{"INBOX", "Entwürfe", "Work/2024", "Junk", `a"b`} {
		compare(t, got, name, c.Examine(folders[i]))
	}
	if b := got.box("Work/2024"); !b.Subscribed || got.box("Junk").Subscribed || got.box("Junk").SpecialUse != `\Junk` || len(b.ObjectID) != 32 || b.State == "" {
		t.Errorf("mailboxes %+v", got.boxes)
	}
	if m := got.messages["INBOX"][0]; !strings.HasPrefix(m.ObjectID, "guid:") || m.ModSeq == 0 {
		t.Errorf("message %+v", m)
	}
	t.Run("nothing new", func(t *testing.T) {
		again := pass(t, src, "alice", got.tokens())
		again.clean(t)
		if len(again.bodies) > 0 || len(again.messages["Junk"]) != 80 || fmt.Sprint(again.tokens()) != fmt.Sprint(got.tokens()) {
			t.Errorf("%d bodies, %d messages, tokens %v, were %v", len(again.bodies), len(again.messages["Junk"]), again.tokens(), got.tokens())
		}
	})
	t.Run("changes", func(t *testing.T) {
		c.Select("Work/2024")
		c.Expunge("3,5:7")
		c.Store("9", "+FLAGS", `\Answered`)
		c.Append("Work/2024", letter(77), when)
		c.Do("UID COPY 10 INBOX")
		again := pass(t, src, "alice", got.tokens())
		again.clean(t)
		var changed []string
		seen := 0
		for _, m := range again.messages["Work/2024"] {
			if seen++; !m.Unchanged {
				changed = append(changed, fmt.Sprint(m.UID, m.Flags))
			}
		}
		if seen != 57 || fmt.Sprint(changed) != `[9 [\Answered \Flagged] 61 []]` && fmt.Sprint(changed) != `[9 [\Answered \Seen] 61 []]` {
			t.Errorf("%d messages, changed %q", seen, changed)
		}
		// A copy is known by the identity of what it is a copy of.
		if in := again.messages["INBOX"]; in[len(in)-1].ObjectID != got.messages["Work/2024"][9].ObjectID {
			t.Errorf("the copy is %q, of %q", in[len(in)-1].ObjectID, got.messages["Work/2024"][9].ObjectID)
		}
	})
}

// Without index files Dovecot keeps no modification sequences, although it has
// CONDSTORE and shows some in STATUS: nothing may rely on them.
func TestDovecotWithoutIndex(t *testing.T) {
	t.Parallel()
	server := dovecot.Start(t, dovecot.Options{Location: "maildir:~/Maildir:INDEX=MEMORY"})
	c := server.Login("alice")
	c.Create("Work")
	for n := range 20 {
		c.Append([]string{"INBOX", "Work"}[n%2], letter(n), when)
	}
	src := open(t, server.Port, Options{User: "alice"})
	got := pass(t, src, "alice", nil)
	got.clean(t)
	compare(t, got, "INBOX", c.Examine("INBOX"))
	compare(t, got, "Work", c.Examine("Work"))
	for _, b := range got.boxes {
		if b.State != "" || b.HighestModSeq != 0 || b.ObjectID == "" || got.messages[b.Name][0].ModSeq != 0 {
			t.Errorf("%+v, %+v", b, got.messages[b.Name][0])
		}
	}
	c.Select("Work")
	c.Store("3", "+FLAGS", `\Answered`)
	again := pass(t, src, "alice", map[string]string{"Work": fmt.Sprintf("%d.3.11.10", got.box("Work").UIDValidity)})
	again.clean(t)
	compare(t, again, "Work", c.Examine("Work"))
}

func TestDovecotMasterUser(t *testing.T) {
	t.Parallel()
	server := dovecot.Start(t, dovecot.Options{Config: masterConfig})
	users := []string{"alice", "bob", "carol", "dave", "erin", "frank", "gina"}
	for _, u := range users {
		server.Login(u).Append("INBOX", "Subject: "+u+"\r\n\r\nx\r\n", when)
	}
	for _, o := range []Options{
		{User: "backup", Password: []byte("master-secret"), Users: users},
		{User: "backup", Password: []byte("master-secret"), Users: users, Mechanism: "login", Separator: "*"},
		{PasswordFile: passwords(t, "alice:secret", "bob:secret", "# x", "", "carol:secret", "dave:secret", "erin:secret", "frank:secret", "gina:secret")},
	} {
		src := open(t, server.Port, o)
		var got []string
		if err := src.Users(t.Context(), func(u mailstore.User) error { got = append(got, u.Name); return nil }); err != nil || !slices.Equal(got, users) {
			t.Errorf("users %q, %v", got, err)
		}
		for _, u := range got {
			c := pass(t, src, u, nil)
			c.clean(t)
			if m := c.messages["INBOX"]; len(m) != 1 || !strings.Contains(c.bodies["INBOX/"+m[0].Key], u) || c.boxes[0].Quota != "STORAGE 102400 MESSAGE 5000" {
				t.Errorf("%s: %+v", u, c)
			}
		}
		src.mu.Lock()
		if len(src.sessions) > openSessions {
			t.Errorf("%d sessions are open", len(src.sessions))
		}
		src.mu.Unlock()
	}
}

func passwords(t *testing.T, lines ...string) string {
	t.Helper()
	name := t.TempDir() + "/passwords"
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Where everything is below INBOX, folders have the names that they have on
// disk and on servers where nothing is.
func TestPrefix(t *testing.T) {
	t.Parallel()
	server := dovecot.Start(t, dovecot.Options{Config: "namespace inbox {\n  prefix = INBOX.\n  separator = .\n}"})
	c := server.Login("alice")
	for _, f := range []string{"INBOX.Work", "INBOX.Work.2024", "INBOX.INBOX.Sub"} {
		c.Create(f)
		c.Append(f, letter(1), when)
	}
	got := pass(t, open(t, server.Port, Options{User: "alice"}), "alice", nil)
	got.clean(t)
	if want := []string{"INBOX", "INBOX/Sub", "Work", "Work/2024"}; !slices.Equal(got.names(), want) {
		t.Errorf("folders %q, want %q", got.names(), want)
	}
	compare(t, got, "Work/2024", c.Examine("INBOX.Work.2024"))
}
