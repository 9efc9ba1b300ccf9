package salvage_test

import (
	"os"
	"path/filepath"
	"testing"

	"salvor/internal/testenv/diskimage"
	"salvor/salvage/found"
)

// TestOlderVersions writes a message in two steps, so that the journal has a record of
// the file from when it was shorter. That is offered to nobody, unless the ledger
// owes just this.
func TestOlderVersions(t *testing.T) {
	const path = "vmail/user/alice/5."
	all := letter("all", 9000)
	d := makeDisk(t, 32<<20, map[string]string{"vmail/user/alice/4.": string(letter("before", 3000))})
	m := diskimage.Mount(t, d.path)
	f, err := os.Create(filepath.Join(m.Dir, path))
	if err != nil {
		t.Fatal(err)
	}
	half := all[:len(letter("all", 4000))] // it ends with a line, as a whole one does
	for _, piece := range []mail{half, all[len(half):]} {
		if _, err := f.WriteString(string(piece)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	m.Unmount(t)

	r := newDig(t, d.path).run(t)
	if f := r.finds[all.stored()]; f.Class != found.Unknown || f.How != "file" {
		t.Errorf("all of it: %+v", f)
	}
	if f, ok := r.finds[half.stored()]; ok || len(r.finds) != 2 {
		t.Errorf("%d found, and what it was before: %+v", len(r.finds), f)
	}

	g := newDig(t, d.path)
	g.catalog = books(t, half.wire().owe("alice", "INBOX", 3))
	if f := g.run(t).finds[half.stored()]; f.Class != found.Matched || f.Grade != found.Verified || f.How != "log" {
		t.Errorf("owed as it was before: %+v", f)
	}
}
