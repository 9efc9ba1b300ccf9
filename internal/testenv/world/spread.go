package world

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"salvor/internal/objstore"
	objdir "salvor/internal/objstore/dir"
	"salvor/internal/parity"
	"salvor/internal/vault"
)

// NewSpread makes a world whose vault has parity over targets, directories
// target-0, target-1 and so on; wrap, when not nil, wraps each target's store.
func NewSpread(t testing.TB, dir string, layout parity.Layout, wrap func(target int, s objstore.Store) objstore.Store) *World {
	t.Helper()
	w := empty(t, dir)
	w.open = func(i int) objstore.Store {
		store, err := objdir.Open(t.Context(), w.TargetDir(i), objdir.Options{Create: true})
		w.must(err)
		if wrap == nil {
			return clocked{store, w}
		}
		return wrap(i, clocked{store, w})
	}
	for i := range layout.Targets {
		w.must(os.MkdirAll(w.TargetDir(i), 0o700))
	}
	v, err := vault.CreateSpread(t.Context(), w.createOptions(), layout, w.targets(layout.Targets))
	w.must(err)
	w.Store = v.Store()
	w.H = w.Join(v, w.Catalog, "host")
	return w
}

// TargetDir is where a target of NewSpread's vault lies.
func (w *World) TargetDir(i int) string { return filepath.Join(w.Dir, fmt.Sprintf("target-%d", i)) }

func (w *World) targets(n int) (all []vault.OpenTarget) {
	for i := range n {
		all = append(all, vault.OpenTarget{URL: w.TargetDir(i), Store: w.open(i)})
	}
	return all
}

// Respread opens the targets anew, as the next process would: one that did not
// answer takes part again, and one that was emptied is noticed.
func (w *World) Respread() {
	w.T.Helper()
	c := w.H.Vault.Config()
	store, err := c.Spread(w.T.Context(), w.targets(len(c.Targets)))
	w.must(err)
	w.Store = store
	w.H.Vault = w.Reopen()
}
