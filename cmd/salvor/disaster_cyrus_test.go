package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/cyrus"
)

// TestDisasterOnCyrus is the whole story on a Cyrus that keeps its metadata
// apart: twenty users, a backup in the evening, a night, the volume with the
// messages gone; the ledger, what the backup has put back into its places, the
// rest taken out of the index, and what was kept aside delivered again. Each step
// is killed on its way.
func TestDisasterOnCyrus(t *testing.T) {
	old := syscall.Umask(0o022) // see TestIncidentOnCyrus
	t.Cleanup(func() { syscall.Umask(old) })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	w, s := newWorld(t).withPassword(), cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	source := "cyrus:" + s.ConfigFile()
	at := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	var lives []*life
	for i := range 20 {
		l := newLife(i, seed)
		lives = append(lives, l)
		s.AddUser(l.user)
		c := s.Login(l.user)
		l.evening(c, at)
		c.Close()
	}
	w.run("init", "--quiet")
	w.run("backup", "--quiet", source)
	for _, l := range lives {
		c := s.Login(l.user)
		l.backup(c)
		c.Close()
	}
	time.Sleep(time.Second) // messages of the night are later than the run
	aside := w.path("aside")
	must(t, os.Mkdir(aside, 0o700))
	must(t, os.WriteFile(filepath.Join(aside, "f-core"), []byte("\x7fELF no mail"), 0o600))
	for i, l := range lives {
		c := s.Login(l.user)
		l.night(c, at)
		c.Close()
		l.keepAside(t, aside, i)
	}

	s.Stop()
	must(t, os.RemoveAll(s.Spool("default")))
	must(t, os.Mkdir(s.Spool("default"), 0o755))
	s.Chown(s.Spool("default"))
	gap := 0
	for _, l := range lives {
		gap += len(l.gap())
	}
	w.openKilled(rng, source)
	s.Restart() // the new server, with the metadata that survived
	server := "imap://admin@" + s.Addr()
	opened := w.totalsOf("fire")
	if opened["owed"] != float64(gap) || opened["uncertain"] != 0 {
		t.Errorf("opened: %v, want %d owed", opened, gap)
	}
	hook := w.path("gates.log")
	must(t, os.WriteFile(w.path("salvor.toml"), fmt.Appendf(nil, "on-gate = 'echo $SALVOR_USER $SALVOR_GATE >> %s'\n", hook), 0o600))
	w.env = append(w.env, "SALVOR_CONFIG="+w.path("salvor.toml"))
	if got := w.gatesOf("fire", "--to", server, "--json"); got["down"] != 20 {
		t.Errorf("before anything was done: %v", got)
	}

	// Nothing can be owed away while the vault has it.
	w.until(rng, 3, []int{0}, "incident", "fill", "fire", "--to", source)
	filled := w.totalsOf("fire")
	if filled["restored"]+filled["present"] != opened["held"] || filled["held"] != 0 {
		t.Errorf("filled: %v, of %v", filled, opened)
	}
	if got := w.gatesOf("fire", "--to", server, "--json"); got["web"] != 20 {
		t.Errorf("after the filling: %v", got)
	}

	plan := w.until(rng, 1, []int{0, 3}, "incident", "owe", "fire", "--to", server, "--dry-run", "--json")
	hash := planIn(t, plan)
	args := []string{"incident", "owe", "fire", "--to", server, "--plan", hash, "--settle", "0s"}
	for _, l := range lives { // the night's mail is more than 5 % of what they had
		args = append(args, "--accept", l.user)
	}
	w.until(rng, 4, []int{0}, args...)
	if got := w.gatesOf("fire", "--to", server, "--json"); got["imap"] != 20 {
		t.Errorf("after owing: %v", got)
	}
	for _, l := range lives {
		l.online.sameAsFresh(t, l.user, s.Login(l.user))
	}

	w.redeliverKept(rng, lives, opened, aside, server, s.Login)
	checkHook(t, hook)
	closeIncident(t, w)
}

// planIn finds the name of a plan in what its dry run printed.
func planIn(t *testing.T, out string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		var v struct{ Plan string }
		if json.Unmarshal([]byte(line), &v) == nil && v.Plan != "" {
			return v.Plan
		}
	}
	t.Fatalf("no plan in %s", out)
	return ""
}

// checkHook: each change of a gate was told once, and none was passed over.
func checkHook(t *testing.T, log string) {
	t.Helper()
	text, err := os.ReadFile(log)
	must(t, err)
	said := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		user, gate, _ := strings.Cut(strings.TrimSpace(line), " ")
		if was := said[user]; len(was) > 0 && was[len(was)-1] == gate {
			continue // a command that was killed may not have noted that it told
		}
		said[user] = append(said[user], gate)
	}
	for user, gates := range said {
		if !slices.Equal(gates, []string{"down", "web", "imap"}) {
			t.Errorf("%s: the hook was told %v", user, gates)
		}
	}
	if len(said) != 20 {
		t.Errorf("the hook was told of %d users", len(said))
	}
}

// closeIncident ends it: not while something is owed, and then by name.
func closeIncident(t *testing.T, w *world) {
	t.Helper()
	before := w.totalsOf("fire")
	if _, err := w.command("incident", "close", "fire").Output(); before["owed"] > 0 && exitOf(err) == 0 {
		t.Error("it was closed while messages were owed")
	}
	w.run("incident", "report", "fire", "--out", w.path("report"))
	w.run("incident", "close", "fire", "--give-up")
	if after := w.totalsOf("fire"); after["lost"] != before["owed"] || after["total"] != before["total"] {
		t.Errorf("closed: %v, before %v", after, before)
	}
}
