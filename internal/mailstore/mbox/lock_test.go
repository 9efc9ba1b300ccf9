package mbox

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
)

// However many restores run at once, everything is there once.
func TestRestoresAtOnce(t *testing.T) {
	for _, path := range []string{"mail", "%u/mail", "one.mbox", "%u.mbox"} {
		dir := t.TempDir()
		var all sync.WaitGroup
		for range 4 {
			d := create(t, filepath.Join(dir, path))
			all.Go(func() {
				if err := restoreAll(d); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			})
		}
		all.Wait()
		if got := restore(t, create(t, filepath.Join(dir, path)), "alice", "Work", bodies...); got != 0 {
			t.Errorf("%s: %d messages are missing", path, got)
		}
		n := 0
		if err := create(t, filepath.Join(dir, path)).Look(ctx, "alice", "Work", count(&n)); err != nil || n != len(bodies) {
			t.Errorf("%s: %d messages, want %d, %v", path, n, len(bodies), err)
		}
	}
}

func TestRestoreWaitsForAnother(t *testing.T) {
	dir := t.TempDir()
	d := create(t, filepath.Join(dir, "%u.mbox"))
	first, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	a := first.(*account)
	if _, err := a.lockHome(ctx, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "another restore is writing to "+filepath.Join(dir, "alice.mbox")) {
		t.Errorf("locked twice: %v", err)
	}
	restore(t, d, "bob", "INBOX", "others need not wait")
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	name := write(t, "", dir, ".salvor-restore.lock") // one was killed
	restore(t, create(t, dir), "carol", "INBOX", "and this one need not either")
	if _, err := os.Lstat(name); err == nil {
		t.Error("the lock's file is left")
	}
	if err := os.Symlink("nowhere", name); err != nil {
		t.Fatal(err)
	}
	a.home.root, err = os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.home.root.Close()
	a.home.file = ""
	if _, err := a.lockHome(ctx, 50*time.Millisecond); err == nil {
		t.Error("locked a symbolic link")
	}
}

// restoreAll is restore for several goroutines.
func restoreAll(d *Destination) error {
	a, err := d.Account(ctx, "alice")
	if err != nil {
		return err
	}
	n := 0
	err = a.Mailbox(ctx, mailstore.Mailbox{Name: "Work"})
	if err == nil {
		err = a.Present(ctx, "Work", count(&n))
	}
	for i := n; err == nil && i < len(bodies); i++ {
		_, err = a.Add(ctx, mailstore.Delivery{Mailbox: "Work", Stored: []byte(bodies[i]), LF: lf(bodies[i]), InternalDate: time.Unix(1161887400, 0)})
	}
	if e := a.Close(ctx); err == nil {
		err = e
	}
	return err
}

func lf(body string) []byte {
	out, _ := chunk.ToLF(nil, []byte(body))
	return out
}

func count(n *int) func(chunk.ID) error {
	return func(chunk.ID) error { *n++; return nil }
}
