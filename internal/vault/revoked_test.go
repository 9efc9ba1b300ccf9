package vault

import (
	"errors"
	"testing"
)

// TestRemovedRevocation: who holds a stolen key that was revoked, and writes to
// the store, removes the revocation and writes on. Who has seen it, notices.
func TestRemovedRevocation(t *testing.T) {
	f := newFixture(t)
	h := f.newHost("stolen", RoleBackup)
	f.commit(h, &Commit{Kind: CommitBackup})
	if err := f.v.Revoke(t.Context(), f.id.Root(), h.ID(), 1, testTime); err != nil {
		t.Fatal(err)
	}
	if _, err := f.follow(Head{}); err != nil {
		t.Fatal(err)
	}
	known := f.v.Revoked()
	if last, ok := known[h.ID()]; !ok || last != 1 {
		t.Fatalf("seen: %v", known)
	}
	later := f.store.clone() // what the root says again, but milder
	delete(later.objects, certName(h.ID())+revokedSuffix)
	if err := (&Vault{store: later, config: f.v.config}).Revoke(t.Context(), f.id.Root(), h.ID(), 9, testTime); err != nil {
		t.Fatal(err)
	}
	delete(f.store.objects, certName(h.ID())+revokedSuffix)
	gone := f.store.clone()
	delete(gone.objects, certName(h.ID()))
	for name, store := range map[string]*memStore{"removed": f.store, "with its certificate": gone, "milder": later} {
		store := store.clone()
		c := &Commit{Vault: f.v.ID(), Number: 2, Previous: f.head.Hash, Kind: CommitBackup, Time: testTime, Writer: h.ID()}
		store.set(commitName(2), c.marshal(h.writer))
		v := &Vault{store: store, config: f.v.config, recipients: f.v.recipients}
		v.KnowRevoked(known)
		for range 2 { // what is found in the vault does not take its place
			if err := v.Commits(t.Context(), f.head, func(*Commit) error { return nil }); !errors.Is(err, ErrRolledBack) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestRevocationTakesBackWhatWasFollowed: a revocation that disbelieves commits
// is noticed also by those who have followed them already. Else they would go on
// writing what nobody can ever rebuild.
func TestRevocationTakesBackWhatWasFollowed(t *testing.T) {
	f := newFixture(t)
	h := f.newHost("stolen", RoleBackup)
	for range 3 {
		f.commit(f.host, &Commit{Kind: CommitBackup})
		f.commit(h, &Commit{Kind: CommitBackup})
	}
	for last := range uint64(8) {
		store := f.store.clone()
		v := &Vault{store: store, config: f.v.config, recipients: f.v.recipients}
		if err := v.Commits(t.Context(), Head{}, func(*Commit) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := v.Revoke(t.Context(), f.id.Root(), h.ID(), last, testTime); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it does not get used to it
			err := v.Commits(t.Context(), f.head, func(*Commit) error { return nil })
			if refused := errors.Is(err, ErrNotAuthentic); refused != (last < 6) || !refused && err != nil {
				t.Errorf("revoked after commit %d: %v", last, err)
			}
		}
	}
}
