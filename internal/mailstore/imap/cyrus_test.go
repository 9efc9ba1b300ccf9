package imap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
	"salvor/internal/testenv/certs"
	"salvor/internal/testenv/cyrus"
)

func TestCyrus(t *testing.T) {
	t.Parallel()
	ca := certs.New(t)
	server := cyrus.Start(t, cyrus.Options{TLS: ca.Server()})
	caFile := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(caFile, ca.PEM, 0o644); err != nil {
		t.Fatal(err)
	}
	server.AddUser("alice")
	server.AddUser("bob")
	c := server.LoginAs("alice", cyrus.Admin)
	folders := []string{"INBOX", "Entw&APw-rfe", "INBOX/Sub", "Work", "Work/2024"}
	for _, f := range folders[1:] {
		c.Create(f)
	}
	c.Do("CREATE Junk (USE (\\Junk))")
	c.Do("SUBSCRIBE Work")
	server.LoginAdmin().Do("SETQUOTA user/alice (STORAGE 100000)")
	for i, f := range folders {
		for n := range 5 * (i + 1) {
			c.Append(f, letter(n+100*i), when, []string{`\Seen`, `\Flagged`, "work", "$Forwarded"}[n%4])
		}
	}
	nul := "Subject: nul\r\n\r\na\x00b\r\n"
	c.Append("Work", nul, when)
	// What others share with her is not hers.
	server.LoginAdmin().Do("SETACL user/bob alice lrs")
	if list := c.List(); !slices.Contains(list, "Other Users/bob") {
		t.Errorf("alice sees %q", list)
	}
	src := open(t, server.TLSPort, Options{User: cyrus.Admin, CAFile: caFile})
	var users []string
	if err := src.Users(t.Context(), func(u mailstore.User) error { users = append(users, u.Name); return nil }); err != nil || fmt.Sprint(users) != "[alice bob]" {
		t.Errorf("users %q, %v", users, err)
	}
	var got *copied
	untouched(t, c, folders, func() { got = pass(t, src, "alice", nil) })
	got.clean(t)
	if want := []string{"INBOX", "Entwürfe", "INBOX/Sub", "Junk", "Work", "Work/2024"}; !slices.Equal(got.names(), want) {
		t.Errorf("folders %q, want %q", got.names(), want)
	}
	for i, name := range []string{"INBOX", "Entwürfe", "INBOX/Sub", "Work", "Work/2024"} {
		compare(t, got, name, c.Examine(folders[i]))
		id := c.Do("STATUS %s (MAILBOXID)", folders[i])[0].Text
		if b := got.box(name); b.ObjectID == "" || !strings.Contains(id, "("+b.ObjectID+")") {
			t.Errorf("%s is %q, want %s", name, b.ObjectID, id)
		}
	}
	if b := got.box("Work"); !b.Subscribed || got.box("Junk").SpecialUse != `\Junk` || got.box("INBOX").Quota != "STORAGE 100000" {
		t.Errorf("mailboxes %+v", got.boxes)
	}
	m := got.messages["INBOX"][0]
	if want := fmt.Sprintf("sha1:%s:%d", hex.EncodeToString(m.SHA1[:]), m.Size); m.ObjectID != want || m.ModSeq == 0 {
		t.Errorf("message %+v, want %s", m, want)
	}
	t.Run("changes", func(t *testing.T) {
		c.Select("Work")
		c.Expunge("3")
		c.Store("5", "+FLAGS", `\Answered`)
		again := pass(t, src, "alice", got.tokens())
		again.clean(t)
		if len(again.bodies) != 1 || len(again.messages["Work"]) != 20 {
			t.Errorf("%d bodies, %d messages", len(again.bodies), len(again.messages["Work"]))
		}
	})
	t.Run("half lost", func(t *testing.T) {
		for uid := uint32(1); uid <= 10; uid += 2 {
			if err := os.Remove(server.MessageFile("alice", "Entw&APw-rfe", uid)); err != nil {
				t.Fatal(err)
			}
		}
		again := pass(t, open(t, server.Port, Options{User: cyrus.Admin}), "alice", nil)
		for _, m := range again.messages["Entwürfe"] {
			err := again.failed["Entwürfe/"+m.Key]
			if lost := m.UID%2 == 1; lost && (!errors.Is(err, mailstore.ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("Message %d no longer exists", m.UID))) || !lost && err != nil {
				t.Errorf("UID %d: %v", m.UID, err)
			}
		}
		if len(again.messages["Entwürfe"]) != 10 || len(again.failed) != 5 || len(again.problems) > 0 {
			t.Errorf("%d messages, %d failures, problems %q", len(again.messages["Entwürfe"]), len(again.failed), again.problems)
		}
		server.LoginAs("alice", cyrus.Admin).Do("DELETE Entw&APw-rfe")
	})
	t.Run("damage", func(t *testing.T) {
		lost := server.MessageFile("alice", "Work/2024", 4)
		cut := server.MessageFile("alice", "Work/2024", 5)
		empty := server.MessageFile("alice", "Work/2024", 6)
		if err := errors.Join(os.Remove(lost), os.Truncate(cut, 40), os.Truncate(empty, 0)); err != nil {
			t.Fatal(err)
		}
		src := open(t, server.Port, Options{User: cyrus.Admin})
		again := pass(t, src, "alice", nil)
		v := again.box("Work/2024").UIDValidity
		key := func(uid uint32) string { return "Work/2024/" + keyOf(v, uid) }
		if err := again.failed[key(4)]; !errors.Is(err, mailstore.ErrDamaged) || !strings.Contains(err.Error(), "no longer exists") {
			t.Errorf("the lost message: %v", err)
		}
		// The server pads it; only the SHA-1 tells.
		if body, ok := again.bodies[key(5)]; !ok || body == got.bodies[key(5)] || again.messages["Work/2024"][4].SHA1 != got.messages["Work/2024"][4].SHA1 {
			t.Errorf("the cut message: %q, %v", body, again.failed[key(5)])
		}
		if err := again.failed[key(6)]; !errors.Is(err, mailstore.ErrDamaged) {
			t.Errorf("the emptied message: %v, %q", err, again.bodies[key(6)])
		}
		if len(again.failed) != 2 || len(again.problems) > 0 {
			t.Errorf("failures %v, problems %q", again.failed, again.problems)
		}
	})
}

// Cyrus lets its administrator log in for any name. That it then lists nothing is
// no reason to take the user's mail as deleted.
func TestCyrusDeletedUser(t *testing.T) {
	t.Parallel()
	server := cyrus.Start(t, cyrus.Options{})
	server.AddUser("alice")
	server.LoginAs("alice", cyrus.Admin).Append("INBOX", letter(1), when)
	src := open(t, server.Port, Options{User: cyrus.Admin, Users: []string{"alice", "nobody"}})
	pass(t, src, "alice", nil).clean(t)
	admin := server.LoginAdmin()
	admin.Do("SETACL user/alice %s lrswipkxtecda", cyrus.Admin)
	admin.Do("DELETE user/alice")
	for _, user := range []string{"alice", "nobody"} {
		src := open(t, server.Port, Options{User: cyrus.Admin, Users: []string{user}})
		var one *mailstore.Problem
		err := src.Mailboxes(t.Context(), mailstore.User{Name: user}, func(b mailstore.Mailbox) error { return fmt.Errorf("%+v", b) })
		if !errors.As(err, &one) || one.User != user || !strings.Contains(err.Error(), "the server has no INBOX of this user") {
			t.Errorf("Mailboxes of %s: %v", user, err)
		}
	}
}

func TestCyrusDots(t *testing.T) {
	t.Parallel()
	server := cyrus.Start(t, cyrus.Options{DotSeparator: true, Config: "altnamespace: off", VirtualDomains: true})
	server.AddUser("alice@example.org")
	c := server.LoginAs("alice@example.org", cyrus.Admin)
	for _, f := range []string{"INBOX.Work", "INBOX.Work.a&-b", "INBOX.INBOX.Sub"} {
		c.Create(f)
		c.Append(f, letter(1), when)
	}
	src := open(t, server.Port, Options{User: cyrus.Admin})
	var user string
	if err := src.Users(t.Context(), func(u mailstore.User) error { user += u.Name; return nil }); err != nil || user != "alice@example.org" {
		t.Errorf("users %q, %v", user, err)
	}
	got := pass(t, src, user, nil)
	got.clean(t)
	if want := []string{"INBOX", "INBOX/Sub", "Work", "Work/a&b"}; !slices.Equal(got.names(), want) {
		t.Errorf("folders %q, want %q", got.names(), want)
	}
	compare(t, got, "Work/a&b", c.Examine("INBOX.Work.a&-b"))
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	ca, other := certs.New(t), certs.New(t)
	caFile, otherFile := t.TempDir()+"/ca.pem", t.TempDir()+"/other.pem"
	if err := errors.Join(os.WriteFile(caFile, ca.PEM, 0o644), os.WriteFile(otherFile, other.PEM, 0o644)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		pair *certs.Pair
		ca   string
		want string
	}{
		"good":      {ca.Server(), caFile, ""},
		"expired":   {ca.Expired(), caFile, "renew the certificate"},
		"unknown":   {ca.Server(), otherFile, "unknown authority (give the authority's certificate as CA file)"},
		"othername": {ca.OtherName(), caFile, "certificate is for another name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := cyrus.Start(t, cyrus.Options{TLS: tt.pair})
			server.AddUser("alice")
			for port, sec := range map[int]wire.Security{server.TLSPort: wire.TLS, server.Port: wire.StartTLS} {
				_, err := tryOpen(t, port, Options{User: "alice", CAFile: tt.ca, Security: sec})
				if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n")) {
					t.Errorf("Open: %v, want %q", err, tt.want)
				}
			}
		})
	}
}
