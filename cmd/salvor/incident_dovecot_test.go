package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/dovecot"
)

// TestIncidentOnDovecot loses the mail of a real Dovecot, whose CONTROL and INDEX
// lie apart, and holds the ledger against what happened in the night.
func TestIncidentOnDovecot(t *testing.T) {
	for _, kind := range []string{"maildir", "mdbox", "sdbox"} {
		t.Run(kind, func(t *testing.T) { loseDovecot(t, kind) })
	}
}

func loseDovecot(t *testing.T, kind string) {
	old := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(old) })
	s := dovecot.Start(t, dovecot.Options{Location: kind + ":~/mail:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u"})
	for _, side := range []string{"index", "control"} {
		must(t, os.Mkdir(filepath.Join(s.Dir, side), 0o755))
		s.Chown(side)
	}
	w := newWorld(t)
	source := fmt.Sprintf("%s:%s/home/%%u/mail:CONTROL=%s/control/%%u:INDEX=%s/index/%%u", kind, s.Dir, s.Dir, s.Dir)
	when := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	c := s.Login("alice")
	for i := range 6 {
		c.Append("INBOX", mail(i+1), when.Add(time.Duration(i)*time.Hour))
	}
	for _, f := range []string{"Work", "Gone", "Junk", "Old"} {
		c.Create(f)
		c.Append(f, mail(10), when)
	}
	s.Login("bob").Append("INBOX", mail(100), when)
	w.run("init")
	w.run("backup", "--quiet", source)

	c.Append("INBOX", mail(7), when.Add(99*time.Hour), `\Flagged`)
	c.Select("INBOX")
	c.Store("1", "+FLAGS", `\Seen`, "todo")
	c.Expunge("2")
	c.Do("UID MOVE 3 Work")
	c.Examine("INBOX")
	c.Do("DELETE Gone")
	c.Do("RENAME Old New")
	c.Close()
	s.Login("carol").Append("INBOX", mail(201), time.Time{})
	s.Stop()
	must(t, os.RemoveAll(filepath.Join(s.Dir, "home")))
	survivors := []string{filepath.Join(s.Dir, "control"), filepath.Join(s.Dir, "index")}
	before := treeSum(t, survivors...)
	w.run("incident", "open", "fire", "--source", source, "--quiet")
	if treeSum(t, survivors...) != before {
		t.Error("the metadata was changed")
	}
	must(t, os.RemoveAll(s.Dir))
	w.run("catalog", "rebuild")

	want := map[string]string{
		"alice INBOX 1": `held 26 18:30 ["\\Seen","todo"]`, "alice INBOX 2": "deleted 26 19:30 []", "alice INBOX 3": "deleted 26 20:30 []",
		"alice INBOX 4": "held 26 21:30 []", "alice INBOX 5": "held 26 22:30 []", "alice INBOX 6": "held 26 23:30 []",
		"alice INBOX 7": `owed 30 21:30 ["\\Flagged"]`, "alice Work 1": "held 26 18:30 []", "alice Work 2": "held 26 20:30 []",
		"alice New 1": "held 26 18:30 []", "alice Gone 1": "uncertain 26 18:30 []", "alice Junk 1": "junk",
		"bob INBOX 1": "held 26 18:30 []", "carol INBOX 1": "owed",
	}
	if kind == "sdbox" { // a message has another name in another folder, and there is no hash
		want["alice Work 2"] = "owed"
	}
	got := map[string]string{}
	for l := range strings.Lines(w.run("incident", "list", "fire", "--json")) {
		var c claimWords
		must(t, json.Unmarshal([]byte(l), &c))
		flags, _ := json.Marshal(c.Flags)
		text := c.State
		if c.User != "carol" && c.Folder != "Junk" && c.InternalDate != nil { // their dates were never asked for
			text = fmt.Sprint(c.State, " ", c.InternalDate.UTC().Format("02 15:04"), " ", string(flags))
		}
		got[fmt.Sprint(c.User, " ", c.Folder, " ", c.UID)] = text
	}
	for k := range want {
		if got[k] != want[k] {
			t.Errorf("%s: %q, want %q", k, got[k], want[k])
		}
		delete(got, k)
	}
	if len(got) > 0 {
		t.Errorf("nobody knows of %v", got)
	}
}
