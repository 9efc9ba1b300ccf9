package backup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/testenv/world"
)

func TestFirstNightAndTheNext(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 5)
	w.Fill("ann", "Work/2024", 3)
	w.Fill("bob", "INBOX", 2)
	r := w.Backup()
	if r.Users != 2 || r.Messages.New != 10 || r.Messages.Seen != 10 || !r.Clean() {
		t.Fatalf("first night: %+v", r)
	}
	r = w.Night()
	if r.Messages.New != 0 || r.Bytes.Read != 0 || r.Bytes.Stored != 0 || r.Messages.Seen != 10 || !r.Clean() {
		t.Fatalf("nothing changed: %+v", r)
	}
	w.Deliver("ann", "INBOX", w.Message("new"))
	r = w.Night()
	if r.Messages.New != 1 || r.Messages.Seen != 11 || r.Bytes.Stored == 0 {
		t.Fatalf("one new: %+v", r)
	}
}

func TestJunkLeavesNothingBehind(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 2)
	w.Deliver("ann", "Junk", w.Message("pills"))
	r := w.Backup()
	if r.Messages.New != 2 || len(r.Excluded) != 1 || r.Excluded[0].Messages != 1 {
		t.Fatalf("%+v", r)
	}
}

// What a move, a copy, a flag or a rename does to the vault: nothing.
func TestNothingIsStoredTwice(t *testing.T) {
	w := world.New(t)
	paths := w.Fill("ann", "INBOX", 4)
	w.Fill("ann", "Old", 3)
	w.Backup()
	root := filepath.Join(w.Mail, "ann")
	work := filepath.Dir(filepath.Dir(w.Deliver("ann", "Work", w.Message("work"))))

	must(t, os.Rename(paths[0], paths[0]+"S"))                                          // flag
	must(t, os.Rename(paths[1], filepath.Join(work, "cur", filepath.Base(paths[1]))))   // move
	must(t, os.Link(paths[2], filepath.Join(work, "cur", filepath.Base(paths[2])+"F"))) // copy
	must(t, os.Rename(filepath.Join(root, ".Old"), filepath.Join(root, ".Archive")))    // rename
	r := w.Night()
	if r.Bytes.New != int64(len(w.Message("work"))) {
		t.Errorf("new bytes %d, want those of one message", r.Bytes.New)
	}
	if got := len(w.List(catalog.Query{Deleted: true})); got != 0 {
		t.Errorf("%d messages count as deleted, want none: %+v", got, w.List(catalog.Query{Deleted: true}))
	}
	if got := len(w.List(catalog.Query{Folders: []string{"Archive"}})); got != 3 {
		t.Errorf("%d messages in the renamed folder, want 3", got)
	}
	if got := w.List(catalog.Query{Folders: []string{"Work"}}); len(got) != 3 {
		t.Errorf("%d messages in Work, want 3", len(got))
	}
	flags := 0
	for _, e := range w.List(catalog.Query{Folders: []string{"INBOX"}}) {
		flags += strings.Count(strings.Join(e.Flags, " "), `\Seen`)
	}
	if flags != 1 {
		t.Errorf("%d seen messages in INBOX, want 1", flags)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A week and two sightings, then it is gone from catalog and vault.
func TestWeek(t *testing.T) {
	w := world.New(t)
	paths := w.Fill("ann", "INBOX", 20)
	w.Backup()
	w.Remove(paths[0])
	if r := w.Night(); r.Messages.Gone != 1 || len(r.HeldByBrake) != 0 {
		t.Fatalf("%+v", r)
	}
	for i := range 6 {
		w.Night()
		if p := w.Prune(); p.Expired != 0 {
			t.Fatalf("expired %d nights after the deletion", i+1)
		}
		if got := len(w.List(catalog.Query{Deleted: true})); got != 1 {
			t.Fatalf("night %d: %d deleted messages", i, got)
		}
	}
	w.Night()
	if p := w.Prune(); p.Expired != 1 {
		t.Fatalf("after a week: %+v", p)
	}
	if got := len(w.List(catalog.Query{Deleted: true})); got != 0 {
		t.Fatalf("%d deleted messages", got)
	}
	w.Sleep(25 * time.Hour)
	w.Prune()
}
