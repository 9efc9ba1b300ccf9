package catalog

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"salvor/chunk"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// TestLedger asks an incident's ledger in all ways.
func TestLedger(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	fire, ok, err := c.Incident("fire")
	if err != nil || !ok || fire.Claims != 2 || fire.Head != 7 || fire.HeadHash != testID("head") || fire.KeptSum != testID("sums") {
		t.Fatalf("%+v, %v, %v", fire, ok, err)
	}
	list := func(q ClaimQuery) (ids []int64) {
		must(t, c.Claims(ctx, q, func(c *Claim) error { ids = append(ids, c.ID); return nil }))
		return ids
	}
	for q, want := range map[ClaimQuery][]int64{
		{Incident: "fire"}:                                      {1, 2},
		{Incident: "fire", User: "alice"}:                       {1},
		{Incident: "fire", State: ClaimOwed}:                    {2},
		{Incident: "fire", User: "carol\xff", State: ClaimOwed}: {2},
		{Incident: "fire", User: "alice", State: ClaimOwed}:     nil,
		{Incident: "flood"}:                                     nil,
	} {
		if got := list(q); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %v, want %v", q, got, want)
		}
	}
	counts, err := c.ClaimCounts(ctx, "fire")
	if want := (map[ClaimState]int64{ClaimHeld: 1, ClaimOwed: 1}); err != nil || !reflect.DeepEqual(counts, want) {
		t.Errorf("%v, %v", counts, err)
	}
}

// TestOpenIncidents: whose mail, and which content, an open incident holds on to.
func TestOpenIncidents(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	apply(t, c, User{Name: "dora", Source: "s"}, User{Name: "eve", Source: "elsewhere"},
		Claim{Incident: "fire", ID: 3, User: "carol", Folder: "INBOX", State: ClaimHeld, Content: testID("another's")})
	check := func(want map[string]string, claimed string) {
		t.Helper()
		for user, incident := range want {
			if got, err := c.OpenIncidentOf(user); err != nil || got != incident {
				t.Errorf("%q is of incident %q, want %q; %v", user, got, incident, err)
			}
		}
		// What has a record of its own needs no more than that its user's is kept.
		for id, incident := range map[chunk.ID]string{testID("another's"): claimed, testID("message"): "", {}: ""} {
			if got, err := c.Claimed(id); err != nil || got != incident {
				t.Errorf("%s is claimed by %q, want %q; %v", id, got, incident, err)
			}
		}
	}
	// By the source, by a claim, by neither.
	check(map[string]string{"dora": "fire", "alice": "fire", "carol\xff": "fire", "eve": "", "nobody": ""}, "fire")
	closed, _, err := c.Incident("fire")
	must(t, err)
	closed.ClosedAt = night
	apply(t, c, closed)
	check(map[string]string{"dora": "", "alice": ""}, "")
}

// TestMigrateToLedgers: a catalog of the schema before gets places for ledgers
// and keeps what it has.
func TestMigrateToLedgers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	must(t, err)
	for _, script := range append(migrations[:3:3], fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 3", applicationID),
		"INSERT INTO ack VALUES ('x', 1, 'op'); INSERT INTO counter VALUES ('record', 41)") {
		must(t, sqlitex.ExecuteScript(db, script, nil))
	}
	must(t, db.Close())
	c := reopen(t, path)
	apply(t, c, sample()...)
	apply(t, c, Lock{})
	tx := begin(t, c)
	for seq, want := range map[Sequence]int64{RecordIDs: 42, ClaimIDs: 3} {
		if id, err := tx.NextID(seq); err != nil || id != want {
			t.Errorf("sequence %d goes on with %d, want %d; %v", seq, id, want, err)
		}
	}
	if again := replay(t, dump(t, c)); dump(t, again) != dump(t, c) {
		t.Error("its dump is not itself")
	}
}
