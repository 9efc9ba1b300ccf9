package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

// views is what IMAP says of some users' folders, by user and name.
func views(clients map[string]*imaptest.Client) map[string]imaptest.Folder {
	out := map[string]imaptest.Folder{}
	for user, c := range clients {
		for _, name := range c.List() {
			out[user+" "+name] = c.Examine(name)
		}
	}
	return out
}

// without drops the messages of claims that are not back from a view.
func without(t *testing.T, w *world, view map[string]imaptest.Folder) map[string]imaptest.Folder {
	t.Helper()
	missing := map[string]bool{}
	for line := range strings.Lines(w.run("incident", "list", "fire", "--json")) {
		var c claimWords
		must(t, json.Unmarshal([]byte(line), &c))
		if c.State == "owed" || c.State == "junk" {
			missing[fmt.Sprint(c.User, " ", c.Folder, " ", c.UID)] = true
		}
	}
	if len(missing) == 0 {
		t.Fatal("nothing is owed: this proves little")
	}
	out := map[string]imaptest.Folder{}
	for name, f := range view {
		f.Messages = slices.DeleteFunc(slices.Clone(f.Messages), func(m imaptest.Message) bool { return missing[fmt.Sprint(name, " ", m.UID)] })
		if len(f.Messages) == 0 {
			f.Messages = nil
		}
		out[name] = f
	}
	return out
}

// emptied is a volume after its disk was replaced.
func emptied(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		must(t, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
}

// TestFillOnCyrus replaces the disk of a real Cyrus whose metadata lies apart, and
// puts the files back while it runs and clients are connected, killed again and
// again.
func TestFillOnCyrus(t *testing.T) {
	for name, layout := range map[string]cyrus.Layout{"uuid": cyrus.UUID, "legacy": cyrus.Legacy} {
		t.Run(name, func(t *testing.T) {
			old := syscall.Umask(0o022)
			t.Cleanup(func() { syscall.Umask(old) })
			w, s := newWorld(t), cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles, Layout: layout})
			source := "cyrus:" + s.ConfigFile()
			evening(s)
			w.run("init")
			w.run("backup", "--quiet", source)
			night(s)
			clients := map[string]*imaptest.Client{"alice": s.Login("alice"), "bob": s.Login("bob"), "carol": s.Login("carol")}
			before := views(clients)
			emptied(t, s.Spool("default"))
			w.run("incident", "open", "fire", "--source", source, "--quiet")
			filledUp(t, w, source)
			if got, want := views(clients), without(t, w, before); !reflect.DeepEqual(got, want) {
				t.Errorf("IMAP says\n%+v, want\n%+v", got, want)
			}
		})
	}
}

// TestFillOnDovecot does the same with the Maildirs of a Dovecot that is stopped.
func TestFillOnDovecot(t *testing.T) {
	old := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(old) })
	s := dovecot.Start(t, dovecot.Options{Location: "maildir:~/Maildir:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u"})
	for _, side := range []string{"index", "control"} {
		must(t, os.Mkdir(filepath.Join(s.Dir, side), 0o755))
		s.Chown(side)
	}
	w := newWorld(t)
	source := fmt.Sprintf("maildir:%s/home/%%u/Maildir:CONTROL=%s/control/%%u:INDEX=%s/index/%%u", s.Dir, s.Dir, s.Dir)
	when := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	c := s.Login("alice")
	c.Create("Work/2024")
	for i := range 12 {
		c.Append([]string{"INBOX", "Work/2024"}[i%2], mail(i+1), when.Add(time.Duration(i)*time.Hour), []string{`\Seen`, `\Flagged`, "todo"}[i%3])
	}
	s.Login("bob").Append("INBOX", mail(100), when)
	w.run("init")
	w.run("backup", "--quiet", source)
	c.Append("INBOX", mail(70), when)
	c.Select("INBOX")
	c.Expunge("2")
	c.Store("3", "+FLAGS", `\Answered`, "late")
	c.Do("UID MOVE 4 Work/2024")
	c.Create("Empty")
	c.Close()
	users := func() map[string]*imaptest.Client {
		return map[string]*imaptest.Client{"alice": s.Login("alice"), "bob": s.Login("bob")}
	}
	before := views(users())
	s.Stop()
	emptied(t, filepath.Join(s.Dir, "home"))
	w.run("incident", "open", "fire", "--source", source, "--quiet")
	filledUp(t, w, source)
	s.Restart()
	after, want := views(users()), without(t, w, before)
	for name, f := range want {
		// Dovecot takes what is owed for deleted as soon as it looks.
		if !reflect.DeepEqual(after[name], f) {
			t.Errorf("%s: IMAP says\n%+v, want\n%+v", name, after[name], f)
		}
	}
}

// filledUp fills a store, killed at any point, until nothing is missing that the
// vault has, and looks at what the ledger says.
func filledUp(t *testing.T, w *world, to string) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	show := func() map[string]any { return oneObject(t, []byte(w.run("incident", "show", "fire", "--json"))) }
	opened := show()
	held := opened["held"].(float64)
	if held < 8 || opened["owed"].(float64) == 0 {
		t.Fatalf("%v", opened)
	}
	args := []string{"incident", "fill", "fire", "--to", to, "--json"}
	begun := time.Now()
	rehearsed := oneObject(t, []byte(w.run(append(args, "--dry-run")...)))
	took := time.Since(begun)
	if rehearsed["filled"] != held || rehearsed["dry_run"] != true || rehearsed["owed"] != opened["owed"] || show()["held"] != held {
		t.Errorf("dry run: %v, the ledger: %v", rehearsed, opened)
	}
	kills := 0
	for n := range 6 {
		if w.killed(took*time.Duration(n+1)/5+time.Duration(rng.Int64N(int64(took/5))), args...) {
			kills++
		}
	}
	t.Logf("killed %d times", kills)
	last := oneObject(t, []byte(w.run(args...)))
	if last["failed"] != 0.0 || last["unnamed"] != 0.0 || len(last["problems"].([]any)) > 0 || len(last["notes"].([]any)) > 0 {
		t.Errorf("%v", last)
	}
	closed := show()
	// What a killed run had put, and not written down, was found as present.
	if closed["held"] != 0.0 || closed["restored"].(float64)+closed["present"].(float64) != held || closed["owed"] != opened["owed"] ||
		closed["total"] != opened["total"] {
		t.Errorf("the ledger: %v, was %v", closed, opened)
	}
	if again := oneObject(t, []byte(w.run(args...))); again["filled"] != 0.0 || again["present"] != 0.0 {
		t.Errorf("once more: %v", again)
	}
}
