package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailgen"
)

// TestKill kills the real binary at random moments of a backup, a restore, a
// prune and a copy. The next command works, and in the end everything comes back.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	corpus, err := mailgen.Create(context.Background(), mailgen.Options{Root: w.path("mail"), Users: 3, Messages: 240, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	source := "maildir:" + w.path("mail", "%u")
	w.run("init")
	kills := 0
	for round := range 5 {
		if round > 0 {
			if _, err := corpus.Day(context.Background(), mailgen.Changes{}); err != nil {
				t.Fatal(err)
			}
		}
		kills += w.interrupt(rng, 4, backupArgs(source)...)
		w.backup(source)
		w.comesBack(corpus.Users, fmt.Sprintf("back%d", round), rng, &kills)
		kills += w.interrupt(rng, 2, pruneArgs...)
		w.run(pruneArgs...)
		w.run("check", "--read-data", "--quiet")
		kills += w.interrupt(rng, 2, copyArgs(w.path("copy"))...)
		w.run(copyArgs(w.path("copy"))...)
		w.run("check", "--read-data", "--quiet", "--vault", w.path("copy"))
	}
	w.backup(source)
	w.comesBack(corpus.Users, "last", rng, &kills)
	t.Logf("killed %d times", kills)
	if kills < 10 {
		t.Errorf("only %d commands were killed while they ran", kills)
	}
}

func backupArgs(source string) []string {
	return []string{"backup", "--quiet", "--no-progress", source}
}

func copyArgs(to string) []string {
	return []string{"copy", "--quiet", "--erase-grace", "1ms", "--to", to}
}

// Retention of nothing, so that every prune has work.
var pruneArgs = []string{"prune", "--quiet", "--keep-deleted", "1ms", "--erase-grace", "1ms"}

// backup runs one to its end. The brake may hold what a lively day deleted,
// which is no failure.
func (w *world) backup(source string) {
	w.t.Helper()
	out, err := w.command(backupArgs(source)...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "held by the brake") {
		w.t.Fatalf("backup: %v\n%s", err, out)
	}
}

// interrupt runs a command some times and kills it each time, at moments from
// its first millisecond to the time that it takes.
func (w *world) interrupt(rng *rand.Rand, times int, args ...string) int {
	w.t.Helper()
	killed, longest := 0, 400*time.Millisecond
	for range times {
		after, begun := time.Duration(rng.Int64N(int64(longest))), time.Now()
		if w.killed(after, args...) {
			killed++
		} else {
			longest = max(time.Since(begun), 5*time.Millisecond)
		}
	}
	return killed
}

// comesBack restores everybody, killed some times, and compares with the mail
// store byte for byte.
func (w *world) comesBack(users []string, to string, rng *rand.Rand, kills *int) {
	w.t.Helper()
	args := []string{"restore", "--all", "--quiet", "--no-progress", "--to", "maildir:" + w.path(to, "%u")}
	*kills += w.interrupt(rng, 3, args...)
	w.run(args...)
	for _, user := range users {
		want, err := listMaildir(w.path("mail", user), []string{".Junk"})
		if err != nil {
			w.t.Fatal(err)
		}
		got, err := listMaildir(w.path(to, user), nil)
		if err != nil {
			w.t.Fatal(err)
		}
		if diff := difference(want, got); diff != "" {
			w.t.Fatalf("%s: %d messages of %s at the source, %d restored: %s", to, len(want), user, len(got), diff)
		}
	}
	if err := os.RemoveAll(w.path(to)); err != nil {
		w.t.Fatal(err)
	}
}
