package upkeep_test

import (
	"errors"
	"maps"
	"testing"

	"salvor/internal/objstore"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
)

// A dry run leaves the store and the catalog as they are, and needs no key
// that writes.
func TestDryRunsWriteNothing(t *testing.T) {
	w := world.New(t)
	paths := w.Fill("ann", "INBOX", 200)
	w.Backup()
	w.Remove(paths[:190]...)
	w.Night() // the brake holds these
	stored := func() map[string]int64 {
		all := map[string]int64{}
		must(t, w.Store.List(t.Context(), "", func(i objstore.Info) error {
			all[i.Name] = i.Size
			return nil
		}))
		return all
	}
	before := stored()
	head, err := w.H.Catalog.Head()
	must(t, err)
	w.H.Host = nil
	o := w.PruneOptions()
	o.DryRun = true
	v := upkeep.Verdict{User: "ann", Confirm: true, Now: o.Now, DryRun: true}
	for range 2 {
		f, err := upkeep.Forget(t.Context(), w.H, "ann", o)
		if err != nil || f.Records != 200 || !f.DryRun {
			t.Errorf("forget: %+v, %v", f, err)
		}
		d, err := upkeep.Decide(t.Context(), w.H, v)
		if err != nil || d.Records != 190 || !d.DryRun {
			t.Errorf("decide: %+v, %v", d, err)
		}
		if _, err := upkeep.Prune(t.Context(), w.H, o); err != nil {
			t.Errorf("prune: %v", err)
		}
	}
	if _, err := upkeep.Forget(t.Context(), w.H, "nobody", o); !errors.Is(err, upkeep.ErrNoUser) {
		t.Errorf("forget nobody: %v", err)
	}
	if after := stored(); !maps.Equal(before, after) {
		t.Errorf("the store was\n%v\nand is\n%v", before, after)
	}
	if now, err := w.H.Catalog.Head(); err != nil || now != head {
		t.Errorf("the catalog's head was %v and is %v, %v", head, now, err)
	}
}
