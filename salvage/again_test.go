package salvage_test

import (
	"os"
	"testing"

	"salvor/catalog"
	"salvor/salvage/found"
)

// TestNewMap salvages a disk once more when ddrescue has read more of it: what could
// not be read then is read now, into the same directory.
func TestNewMap(t *testing.T) {
	two := letter("two", 9000)
	const path = "vmail/user/alice/5."
	d := makeDisk(t, smallDisk, map[string]string{path: string(two)})
	at := d.place(t, path, 4096)
	d.unread(t, at, 512)
	g := newDig(t, d.path)
	g.catalog = books(t, two.wire().owe("alice", "INBOX", 5))
	if r := g.run(t).report; r.OwedUnreadable != 1 || r.Damaged != 1 || len(r.Further) == 0 {
		t.Fatalf("%+v", r)
	}
	d.patch(t, at, []byte(two[4096:4608]))
	if err := os.Remove(d.path + ".map"); err != nil {
		t.Fatal(err)
	}
	r := g.run(t)
	if f := r.finds[two.stored()]; f.Class != found.Matched || r.report.OwedFound != 1 || r.report.Superseded+r.report.Damaged != 0 || r.report.UnreadableBytes != 0 {
		t.Errorf("%+v, %+v", f, r.report)
	}
}

// TestSameZeros counts two owed messages of which the same is left, nothing, as two.
func TestSameZeros(t *testing.T) {
	one, two := letter("one", 9000), letter("two", 9000)
	two = two[:len(two)-1] + "\n"
	for len(two) < len(one) {
		two += "\n"
	}
	for len(one) < len(two) {
		one += "\n"
	}
	d := makeDisk(t, smallDisk, map[string]string{"vmail/user/alice/5.": string(one), "vmail/user/bob/6.": string(two)})
	for _, path := range []string{"vmail/user/alice/5.", "vmail/user/bob/6."} {
		d.patch(t, d.place(t, path, 0), make([]byte, len(one)))
	}
	g := newDig(t, d.path)
	g.catalog = books(t, one.wire().owe("alice", "INBOX", 5), two.wire().owe("bob", "INBOX", 6))
	if r := g.run(t).report; r.OwedOverwritten != 2 || r.Damaged != 1 {
		t.Errorf("%d overwritten, %d without a trace, %d damaged", r.OwedOverwritten, r.OwedMissing, r.Damaged)
	}
}

// TestLaterLedger salvages once more when the ledger owes more than it did, and some of
// it not any more.
func TestLaterLedger(t *testing.T) {
	one, two := letter("one", 6000), letter("two", 9000)
	d := makeDisk(t, smallDisk, map[string]string{"vmail/user/alice/5.": string(one), "vmail/user/alice/6.": string(two)})
	g := newDig(t, d.path)
	claims := []catalog.Claim{one.wire().owe("alice", "INBOX", 5), two.wire().owe("alice", "INBOX", 6)}
	claims[1].ID = 2
	g.catalog = books(t, claims[0])
	first := g.run(t)
	if f := first.finds[two.stored()]; f.Class != found.Unknown || first.report.Matched != 1 {
		t.Fatalf("%+v, %+v", f, first.report)
	}
	claims[0].ID, claims[0].State = 1, catalog.ClaimRedelivered
	enter(t, g.catalog, 2, claims[0], claims[1])
	r := g.run(t)
	if f := r.finds[two.stored()]; f.Class != found.Matched || r.report.Owed != 1 || r.report.OwedFound != 1 {
		t.Errorf("%+v, %+v", f, r.report)
	}
	if r.report.Matched != 1 || r.report.AlreadyHeld != 1 {
		t.Errorf("what was redelivered: %+v", r.report)
	}
}
