package upkeep_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/objstore"
	"salvor/internal/objstore/faulty"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// story is a short life of a vault: every command that writes, once.
func story(t *testing.T, w *world.World, step func(name string, do func() error) error) error {
	t.Helper()
	paths := w.Fill("ann", "INBOX", 8)
	w.Fill("bob", "Work", 2)
	backup := func() error { _, err := w.TryBackup(t.Context()); return err }
	prune := func() error { _, err := upkeep.Prune(t.Context(), w.H, w.PruneOptions()); return err }
	if err := step("first backup", backup); err != nil {
		return err
	}
	w.Remove(paths[0], paths[1])
	for range 2 {
		w.Sleep(24 * time.Hour)
		if err := step("backup", backup); err != nil {
			return err
		}
	}
	w.Sleep(7 * 24 * time.Hour)
	if err := step("prune", prune); err != nil {
		return err
	}
	w.Sleep(2 * time.Hour)
	return step("erasing prune", prune)
}

// Every call to the store fails once: before it took effect, and, those that
// write, after it did, as when the answer is lost. The command either fails or
// manages; the same command again succeeds. In the end the catalog says what a
// life without failures gives, and nothing in the vault is damaged.
func TestEveryCallFailsOnce(t *testing.T) {
	for _, fault := range []faulty.Fault{
		{Effect: faulty.FailBefore, Op: faulty.Put},
		{Effect: faulty.FailAfter, Op: faulty.Put},
		{Effect: faulty.FailBefore, Op: faulty.Delete},
		{Effect: faulty.FailAfter, Op: faulty.Delete},
		{Effect: faulty.FailBefore, Op: faulty.Get},
		{Effect: faulty.FailBefore, Op: faulty.List},
	} {
		for met := 1; met > 0; fault.Nth++ {
			met = failOnce(t, fault)
		}
	}
}

// failOnce lives through the story with one fault, and says whether it met it.
func failOnce(t *testing.T, fault faulty.Fault) (met int) {
	t.Helper()
	var store *faulty.Store
	dir, err := os.MkdirTemp(memory(), "salvor")
	must(t, err)
	defer os.RemoveAll(dir)
	w := world.NewIn(t, dir, func(s objstore.Store) objstore.Store {
		store = faulty.New(s)
		return store
	})
	w.Policy.Erase = time.Hour
	w.H.LeaseTTL = 20 * time.Millisecond
	store.Set(fault)
	failed := 0
	err = story(t, w, func(name string, do func() error) error {
		if err := do(); err == nil {
			return nil
		}
		failed++
		err := do()
		// A lease that could not be released lives on as long as its process,
		// which here is the next command's too, and for its time to live.
		for try := 0; errors.Is(err, vault.ErrLocked) && try < 100; try++ {
			time.Sleep(w.H.LeaseTTL)
			err = do()
		}
		return err
	})
	met = store.Met()
	store.Set()
	if err != nil {
		t.Fatalf("%+v: %v", fault, err)
	}
	if got := len(w.List(catalog.Query{})); got != 8 {
		t.Errorf("%+v: %d live messages, want 8", fault, got)
	}
	if got := len(w.List(catalog.Query{Deleted: true})); got != 0 {
		t.Errorf("%+v: %d deleted messages are left", fault, got)
	}
	checkClean(t, w)
	if t.Failed() {
		t.Fatalf("%+v: %d commands failed", fault, failed)
	}
	return met
}

// memory is a directory without a disk below, where there is one: the loops
// are about order, not about speed.
func memory() string {
	if i, err := os.Stat("/dev/shm"); err == nil && i.IsDir() {
		return "/dev/shm"
	}
	return ""
}
