package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"salvor/internal/backup"
	"salvor/internal/testenv/conformance"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

// A door is one way to one server's mail.
type door struct{ name, url string }

// doors starts a Cyrus and a Dovecot with the same account of alice's, and
// gives the ways to it. The Cyrus keeps its metadata apart.
func doors(t *testing.T) (c *cyrus.Server, d *dovecot.Server, list []door) {
	t.Helper()
	c = cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	d = dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}, Config: conformance.SpecialUse})
	c.AddUser("alice")
	conformance.Seed(c.Login("alice"))
	conformance.Seed(d.Login("alice"))
	return c, d, []door{
		{"cyrus disk", "cyrus:" + c.ConfigFile()},
		{"cyrus imap", "imap://admin@" + c.Addr()},
		{"dovecot disk", "maildir:" + filepath.Join(d.Dir, "home/%u/Maildir")},
		{"dovecot imap", "imap://backup@" + d.Addr()},
	}
}

// withPassword lets the world's commands log in.
func (w *world) withPassword() *world {
	w.env = append(w.env, "SALVOR_IMAP_PASSWORD="+cyrus.Password)
	return w
}

// listed is what `salvor ls` says of alice's mail, without what only one kind of
// store knows.
func (w *world) listed(t *testing.T) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(w.run("ls", "alice", "--json")) {
		var m struct {
			Folder, SHA256 string
			Size           int64
			Flags          []string
			Date           string `json:"internal_date"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s: %s %d (%s) %s", m.Folder, m.SHA256, m.Size, strings.Join(m.Flags, " "), m.Date))
	}
	sort.Strings(out)
	return out
}

// One account, through every door: the same contents, folders, flags and dates;
// and restored into the other product, the same again.
func TestSameMailThroughEveryDoor(t *testing.T) {
	c, d, list := doors(t)
	var first []string
	for _, door := range list {
		w := newWorld(t).withPassword()
		w.run("backup", "--create", door.url, "--user", "alice")
		got := w.listed(t)
		if first == nil {
			first = got
		}
		if diff := conformance.Diff(got, first); diff != "" || len(got) < 70 {
			t.Errorf("%s: %d messages; against %s:\n%s", door.name, len(got), list[0].name, diff)
		}
		var r backup.Report
		must(t, json.Unmarshal([]byte(w.run("backup", "--json", door.url, "--user", "alice")), &r))
		if r.Messages.New != 0 || r.Bytes.Read != 0 || r.Messages.Gone != 0 {
			t.Errorf("%s: the second night: %+v", door.name, r)
		}
		t.Run(door.name, func(t *testing.T) { crossRestore(t, w, c, d) })
	}
}

// crossRestore brings alice back on fresh servers of both products.
func crossRestore(t *testing.T, w *world, c *cyrus.Server, d *dovecot.Server) {
	// A Maildir does not know its special uses.
	view := conformance.View{Subscriptions: true, SpecialUse: !strings.Contains(t.Name(), "dovecot_disk")}
	want := conformance.Account(c.Login("alice"), view)
	newCyrus := cyrus.Start(t, cyrus.Options{})
	newDovecot := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}, Config: conformance.SpecialUse})
	original := c.Login("alice")
	if strings.Contains(t.Name(), "dovecot") {
		original = d.Login("alice")
	}
	onDisk := dovecot.Start(t, dovecot.Options{Config: conformance.SpecialUse})
	for _, to := range []struct {
		name, url string
		see       func() []string
		uids      func() *imaptest.Client // where they are kept
	}{
		{"cyrus", "imap://admin@" + newCyrus.Addr(), func() []string { return conformance.Account(newCyrus.Login("alice"), view) },
			func() *imaptest.Client { return newCyrus.Login("alice") }},
		{"dovecot", "imap://backup@" + newDovecot.Addr(), func() []string { return conformance.Account(newDovecot.Login("alice"), view) }, nil},
		{"maildir", "maildir:" + filepath.Join(onDisk.Dir, "home/%u/Maildir"), func() []string {
			onDisk.Chown("home")
			return conformance.Account(onDisk.Login("alice"), view)
		}, func() *imaptest.Client { return onDisk.Login("alice") }},
	} {
		w.run("restore", "alice", "--to", to.url)
		if diff := conformance.Diff(to.see(), want); diff != "" {
			t.Errorf("restored to %s:\n%s", to.name, diff)
		}
		if to.uids != nil {
			numbered := conformance.View{UIDs: true}
			if diff := conformance.Diff(conformance.Account(to.uids(), numbered), conformance.Account(original, numbered)); diff != "" {
				t.Errorf("UIDs after a restore to %s:\n%s", to.name, diff)
			}
		}
		var again struct{ Messages, Skipped, Failed int }
		if err := json.Unmarshal([]byte(w.run("restore", "alice", "--to", to.url, "--json")), &again); err != nil {
			t.Fatal(err)
		}
		if again.Messages != 0 || again.Failed != 0 || again.Skipped < 70 {
			t.Errorf("restored to %s again: %+v", to.name, again)
		}
		if diff := conformance.Diff(to.see(), want); diff != "" {
			t.Errorf("restored to %s twice:\n%s", to.name, diff)
		}
	}
}
