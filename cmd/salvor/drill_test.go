package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"salvor/internal/testenv/conformance"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/upkeep"
)

// Everything that a real server had comes back in a drill as it was: into a
// Maildir of salvor's own, and into servers of both kinds.
func TestDrillOfCyrus(t *testing.T) {
	old, fresh, other := cyrus.Start(t, cyrus.Options{}), cyrus.Start(t, cyrus.Options{}), dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}})
	for _, user := range []string{"alice", "bob"} {
		old.AddUser(user)
		c := old.Login(user)
		conformance.Seed(c)
		c.Close()
	}
	w := newWorld(t).withPassword()
	w.run("backup", "--create", "--quiet", "cyrus:"+old.ConfigFile())
	for _, to := range []string{"", "imap://admin@" + fresh.Addr(), "imap://backup@" + other.Addr()} {
		args := []string{"restore", "--drill", "--json"}
		if to != "" {
			args = append(args, "--to", to)
		}
		out, err := w.command(args...).Output()
		var r upkeep.DrillReport
		if jerr := json.Unmarshal(out, &r); err != nil || jerr != nil || r.Users != 2 || r.Messages == 0 || r.Failed != 0 {
			t.Errorf("%q: %v, %v: %s", to, err, jerr, out)
		}
	}
}

// A drill that is killed leaves its mail only until the next one.
func TestKilledDrill(t *testing.T) {
	w := newWorld(t)
	mail := w.path("mail", "alice")
	must(t, os.MkdirAll(filepath.Join(mail, "cur"), 0o700))
	for i := range 300 {
		must(t, os.WriteFile(filepath.Join(mail, "cur", time.Unix(int64(i), 0).UTC().Format("150405")+".x:2,"), []byte("Subject: x\n\n"+mailText(i)), 0o600))
	}
	w.run("backup", "--create", "--quiet", "maildir:"+w.path("mail")+"/%u")
	left := func() int {
		found, err := filepath.Glob(w.path("data", "salvor", "*drill-*"))
		must(t, err)
		return len(found)
	}
	begun := time.Now()
	w.run("restore", "--drill")
	took := time.Since(begun)
	leftovers := 0
	for n := range 6 {
		if w.killed(took*time.Duration(n+2)/10, "restore", "--drill") {
			leftovers += left()
		}
		if left() > 1 {
			t.Fatalf("%d directories are left", left())
		}
	}
	if leftovers == 0 {
		t.Error("no killed drill had left anything: it proves nothing")
	}
	w.run("restore", "--drill")
	if left() != 0 {
		t.Errorf("%d directories are left", left())
	}
}

func mailText(i int) string { return time.Unix(int64(i)*86400, 0).UTC().Format(time.RFC1123) + "\n" }
