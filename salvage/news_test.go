package salvage_test

import (
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/salvage/found"
)

// TestVaultWentOn salvages once more when the vault has taken and forgotten mail since:
// what it holds now is not set aside any more, what a user deleted is not
// offered, and nothing is judged again where it says of all that was found what it said.
func TestVaultWentOn(t *testing.T) {
	one, two := letter("one", 6000), letter("two", 9000)
	const path = "vmail/user/alice/5."
	tomb := func(user string, m mail) catalog.Row { return catalog.Tombstone{User: user, Content: m.id()} }
	byID := two.wire().owe("alice", "INBOX", 5)
	byID.SHA1 = [20]byte{}
	byID.UID = 77 // it did not stand where this one was found
	for _, test := range []struct {
		name     string
		files    map[string]string
		before   []catalog.Row
		after    []catalog.Row
		gone     []catalog.Row // from the vault
		was, now found.Class   // "": it is counted only
		held     int64         // in the end
		tombs    int64
		judged   bool // again
		free     bool // there is no incident
	}{
		{name: "nothing", was: found.Unknown, now: found.Unknown},
		{name: "it took another message", after: one.held("alice", "INBOX", 9), was: found.Unknown, now: found.Unknown},
		{name: "it took the message", after: two.held("alice", "INBOX", 9), was: found.Unknown, held: 1, judged: true},
		{name: "it took the message, and there is no incident", after: two.held("alice", "INBOX", 9), was: found.Unknown, held: 1, judged: true, free: true},
		{name: "its user deleted it", after: []catalog.Row{tomb("alice", two)}, was: found.Unknown, tombs: 1, judged: true},
		{name: "somebody else deleted a copy of it", after: []catalog.Row{tomb("bob", two)}, was: found.Unknown, now: found.Unknown},
		{name: "one of two users deleted it", files: map[string]string{path: string(two), "vmail/user/bob/6.": string(two)},
			after: []catalog.Row{tomb("bob", two)}, was: found.Unknown, tombs: 1, judged: true},
		{name: "it was matched by its Message-ID, and its user deleted it", before: []catalog.Row{byID}, after: []catalog.Row{tomb("alice", two)}, was: found.Matched, tombs: 1, judged: true},
		{name: "it was matched by its hash: what the ledger owes outweighs it", before: []catalog.Row{two.wire().owe("alice", "INBOX", 5)}, after: []catalog.Row{tomb("alice", two)},
			was: found.Matched, now: found.Matched},
		{name: "it was held, and has expired", before: two.held("alice", "INBOX", 9), gone: []catalog.Row{catalog.Record{ID: 9}}, after: []catalog.Row{tomb("alice", two)}, tombs: 1, judged: true},
		{name: "it was held, and is not any more", before: two.held("alice", "INBOX", 9), gone: []catalog.Row{catalog.Record{ID: 9}}, now: found.Unknown, judged: true},
		{name: "it was deleted, and came back", before: []catalog.Row{tomb("alice", two)}, after: two.held("alice", "INBOX", 9), held: 1, judged: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.files == nil {
				test.files = map[string]string{path: string(two)}
			}
			d := makeDisk(t, smallDisk, test.files)
			g := newDig(t, d.path)
			g.catalog = books(t, test.before...)
			g.free = test.free
			if r := g.run(t); r.finds[two.stored()].Class != test.was {
				t.Fatalf("it was %q: %+v", r.finds[two.stored()].Class, r.report)
			}
			remove(t, g.catalog, 2, test.gone...)
			enter(t, g.catalog, 3, test.after...)
			all, r := g.stages(t)
			if f := r.finds[two.stored()]; f.Class != test.now || r.report.AlreadyHeld != test.held || r.report.Tombstoned != test.tombs {
				t.Errorf("it is %q; %+v", f.Class, r.report)
			}
			if judged := strings.Contains(all, ": files"); judged != test.judged || strings.Contains(all, ": reading") {
				t.Errorf("it went through %q", all)
			}
			if all, _ := g.stages(t); all != "" {
				t.Errorf("and then through %q", all)
			}
		})
	}
}

// remove takes rows out of a catalog, as commit number of its vault.
func remove(t *testing.T, c *catalog.Catalog, number uint64, rows ...catalog.Row) {
	t.Helper()
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for _, row := range rows {
		if err := tx.Delete(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(catalog.Head{Vault: "test", Number: number}); err != nil {
		t.Fatal(err)
	}
}
