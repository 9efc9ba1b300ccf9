package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailgen"
	"salvor/restore"
)

// A whole server is restored although the restore is killed again and again in
// the middle of it: at the end nothing is there twice, and nothing is missing.
// What every try says that it has added is there, and is found by the next one.
func TestFleetSurvivesKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	corpus, err := mailgen.Create(context.Background(), mailgen.Options{Root: w.path("mail"), Users: 24, Messages: 800, Seed: seed, Shape: mailgen.Tiny})
	must(t, err)
	w.run("init")
	w.run("backup", "--quiet", "maildir:"+w.path("mail", "%u"))
	must(t, os.WriteFile(w.path("priority"), []byte(corpus.Users[5]+"\n"+corpus.Users[2]+"\n"), 0o600))
	args := []string{"restore", "--all", "--json", "--to", "maildir:" + w.path("new", "%u"), "--priority", w.path("priority")}
	for kills := range 5 {
		// A busy machine needs its time: the kill comes some messages later.
		enough := w.delivered("new") + rng.IntN(60)
		b := w.begin(append(args, "--pace", "200msg/s")...)
		for w.delivered("new") <= enough {
			select {
			case err := <-b.done:
				t.Fatalf("ended before kill %d: %v\n%s", kills, err, &b.out)
			case <-time.After(15 * time.Millisecond):
			}
		}
		time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
		must(t, b.Process.Kill())
		<-b.done
	}
	added, skipped := 0, 0
	for _, line := range strings.Split(strings.TrimSpace(w.run(args...)), "\n") {
		var r restore.Report
		must(t, json.Unmarshal([]byte(line), &r))
		added, skipped = added+r.Messages, skipped+r.Skipped
	}
	if skipped == 0 {
		t.Errorf("the last restore found nothing of the earlier ones; it added %d", added)
	}
	for _, user := range corpus.Users {
		want, err := listMaildir(w.path("mail", user), []string{".Junk"})
		must(t, err)
		got, err := listMaildir(w.path("new", user), nil)
		must(t, err)
		if diff := difference(want, got); diff != "" {
			t.Errorf("%d messages of %s at the source, %d restored: %s", len(want), user, len(got), diff)
		}
		added -= len(want)
	}
	if added+skipped != 0 {
		t.Errorf("%d messages more than there are were counted", added+skipped)
	}
	if out := w.run("pace"); !strings.Contains(out, "nothing is running") {
		t.Errorf("the killed ones are thought to run:\n%s", out)
	}
}

// delivered counts the messages below a directory of Maildirs.
func (w *world) delivered(dir string) int {
	files, err := filepath.Glob(w.path(dir, "*", "*", "*:2,*"))
	must(w.t, err)
	deeper, err := filepath.Glob(w.path(dir, "*", ".*", "cur", "*:2,*"))
	must(w.t, err)
	return len(files) + len(deeper)
}

// One user's trouble is nobody else's, and the fleet's progress is told in lines.
func TestFleetGoesOn(t *testing.T) {
	w := newWorld(t)
	corpus, err := mailgen.Create(context.Background(), mailgen.Options{Root: w.path("mail"), Users: 5, Messages: 60, Seed: 2, Shape: mailgen.Tiny})
	must(t, err)
	w.run("init")
	w.run("backup", "--quiet", "maildir:"+w.path("mail", "%u"))
	must(t, os.MkdirAll(w.path("new"), 0o700))
	must(t, os.WriteFile(w.path("new", corpus.Users[1]), []byte("no directory"), 0o600))
	cmd := w.command("restore", "--all", "--verbose", "--to", "maildir:"+w.path("new", "%u"))
	out, err := cmd.CombinedOutput()
	if exitOf(err) != exitIncomplete || !strings.Contains(string(out), "1 user failed") {
		t.Errorf("%v\n%s", err, out)
	}
	if want := "restore: done, 5 of 5 users, "; !strings.Contains(string(out), want) {
		t.Errorf("no %q in:\n%s", want, out)
	}
	for i, user := range corpus.Users {
		if i == 1 {
			continue
		}
		want, err := listMaildir(w.path("mail", user), []string{".Junk"})
		must(t, err)
		got, err := listMaildir(w.path("new", user), nil)
		must(t, err)
		if diff := difference(want, got); diff != "" {
			t.Errorf("%s: %s", user, diff)
		}
	}
}
