package owe_test

import (
	"errors"
	"testing"

	"salvor/catalog"
	"salvor/internal/incident/owe"
	"salvor/internal/mailstore"
	"salvor/internal/objstore"
	"salvor/internal/objstore/faulty"
	"salvor/internal/testenv/lostserver"
)

// A vault that takes nothing more, from the first, second, and so on of its
// writes on: what is gone from the server stands in what the vault has.
func TestVaultFull(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"journals/", "commits/"} {
		t.Run(kind, func(t *testing.T) { vaultFull(t, kind) })
	}
}

func vaultFull(t *testing.T, kind string) {
	t.Parallel()
	errFull := errors.New("no space left on device")
	var store *faulty.Store
	for n := 1; ; n++ {
		d := sceneOf(lostserver.NewOn(t, func(s objstore.Store) objstore.Store {
			store = faulty.New(s)
			return store
		}))
		d.Server.Box("ann", "INBOX").Add(lostserver.Text(402)).Missing = true // a new claim
		o := options(d)
		o.Accept = []string{"ann"}
		r := plan(t, d, o)
		d.Sleep(owe.Settle)
		store.Set(faulty.Fault{Op: faulty.Put, Name: kind, Nth: n, Lasting: true, Err: errFull})
		_, err := run(d, o, r.Plan)
		met := store.Met()
		store.Set()
		kept := d.Rebuilt(d.Reopen(), "again.db").Catalog
		for _, e := range []struct {
			folder string
			uid    mailstore.UID
		}{{"INBOX", 61}, {"INBOX", 62}, {"Work", 2}} {
			if d.Server.Box("ann", e.folder).Find(e.uid) == nil && !owed(t, kept, e.folder, e.uid) {
				t.Fatalf("write %d failed (%v): %s %d is gone, and the vault knows nothing of it", n, err, e.folder, e.uid)
			}
		}
		if met == 0 {
			must(t, err)
			if n < 4 {
				t.Errorf("only %d writes could fail", n-1)
			}
			return
		}
		if err == nil && d.Server.Box("ann", "INBOX").Find(61) == nil && d.Claim("ann", "INBOX", 61).TakenAt.IsZero() {
			t.Fatalf("write %d failed, and nobody has said so", n)
		}
		if _, err = run(d, o, r.Plan); err != nil {
			t.Fatalf("after write %d had failed: %v", n, err)
		}
		for _, c := range d.Claims("ann") {
			if c.State == catalog.ClaimOwed && c.TakenAt.IsZero() {
				t.Fatalf("after write %d had failed: %+v", n, c)
			}
		}
	}
}

func owed(t *testing.T, c *catalog.Catalog, folder string, uid mailstore.UID) (found bool) {
	t.Helper()
	must(t, c.Claims(t.Context(), catalog.ClaimQuery{Incident: lostserver.Name, User: "ann", State: catalog.ClaimOwed}, func(c *catalog.Claim) error {
		found = found || c.Folder == folder && c.UID == uint32(uid)
		return nil
	}))
	return found
}
