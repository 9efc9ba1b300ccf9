package vault

import (
	"errors"
	"slices"
	"testing"

	"salvor/chunk"
	"salvor/internal/objstore"
)

func TestReplica(t *testing.T) {
	f := newFixture(t)
	f.commit(f.host, &Commit{Kind: CommitBackup, Journals: []Object{someObject(ObjectJournal, 1)}})
	st := newMem()
	if _, err := f.v.OpenReplica(t.Context(), st); !errors.Is(err, ErrNoVault) {
		t.Fatalf("an empty store: %v", err)
	}
	// Cut off before the config: there is no vault yet, and it can begin again.
	st.set(replicaName, f.v.replicaMark())
	to, err := f.v.CreateReplica(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if copied, err := to.IsReplica(t.Context()); err != nil || !copied {
		t.Errorf("a copy: %v, %v", copied, err)
	}
	if keys, err := f.v.CopyKeys(t.Context(), to); err != nil || len(keys) != 1 {
		t.Errorf("keys %v, %v", keys, err)
	}
	all, err := f.follow(Head{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // again changes nothing
		if err := f.v.CopyCommit(t.Context(), to, all[0]); err != nil {
			t.Error(err)
		}
	}
	if head, err := to.Head(t.Context()); err != nil || head != f.head {
		t.Errorf("the copy's head is %+v, %v", head, err)
	}
	if at, err := to.Arrivals(t.Context()); err != nil || len(at) != 1 {
		t.Errorf("arrivals %v, %v", at, err)
	}

	// Nothing but copying writes to it.
	stranger, err := f.v.NewHostKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"certify": to.Certify(t.Context(), f.id.Root(), stranger.Request(), []Role{RoleBackup}, testTime),
		"revoke":  to.Revoke(t.Context(), f.id.Root(), f.host.ID(), 0, testTime),
		"commit":  second(to.Commit(t.Context(), f.host, f.head, &Commit{Kind: CommitBackup, Time: testTime})),
	} {
		if !errors.Is(err, ErrReplica) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := to.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Commit(t.Context(), f.host, f.head, &Commit{Kind: CommitBackup, Time: testTime}); err != nil {
		t.Errorf("a commit to a promoted copy: %v", err)
	}
	if _, err := f.v.OpenReplica(t.Context(), st); !errors.Is(err, ErrVaultExists) {
		t.Errorf("a promoted copy: %v", err)
	}
	if _, err := newFixture(t).v.OpenReplica(t.Context(), st); !errors.Is(err, ErrVaultExists) {
		t.Errorf("another vault: %v", err)
	}
}

func second(_ Head, err error) error { return err }

// Certificates that say different things are not merged: each was signed by
// the root, and a person has to say which one holds.
func TestKeysThatDiffer(t *testing.T) {
	f := newFixture(t)
	st := f.store.clone()
	to, err := Open(t.Context(), st, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for v, last := range map[*Vault]uint64{f.v: 7, to: 8} {
		if err := v.Revoke(t.Context(), f.id.Root(), f.host.ID(), last, testTime); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.v.CopyKeys(t.Context(), to); !errors.Is(err, ErrDiverged) {
		t.Errorf("got %v", err)
	}
	// A damaged one is replaced and kept; a revocation is never lost that way.
	name := certName(f.host.ID()) + revokedSuffix
	st.set(name, []byte("salvor revocation 1\nrot\n"))
	written, err := f.v.CopyKeys(t.Context(), to)
	if err != nil || !slices.Equal(written, []string{name}) {
		t.Errorf("wrote %v, %v", written, err)
	}
	if kept := st.names(asidePrefix); len(kept) != 1 {
		t.Errorf("kept %v", kept)
	}
	certs, err := to.Certificates(t.Context())
	if err != nil || certs[0].Revoked == nil || certs[0].Revoked.Last != 7 {
		t.Errorf("%+v, %v", certs, err)
	}
}

// Placing wants the right bytes, and what was put aside goes with its object.
func TestPlace(t *testing.T) {
	f := newFixture(t)
	o := someObject(ObjectPack, 1)
	good := noise(1, int(o.Size))
	f.store.set(o.Name(), []byte("rot"))
	var damage *DamageError
	if err := f.v.Place(t.Context(), o, []byte("rot")); !errors.As(err, &damage) {
		t.Errorf("wrong bytes: %v", err)
	}
	o.ID, o.Size = chunk.Sum(good), int64(len(good))
	f.store.set(o.Name(), []byte("rot"))
	for range 2 {
		if err := f.v.Place(t.Context(), o, good); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := f.v.Fetch(t.Context(), o); err != nil || string(b) != string(good) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	aside := asidePrefix + o.Name() + "."
	if kept := f.store.names(aside); len(kept) != 1 {
		t.Errorf("kept %v", f.store.names(asidePrefix))
	}
	if err := f.v.Delete(t.Context(), o); err != nil || len(f.store.names(aside)) != 0 {
		t.Errorf("erased, and there is still %v, %v", f.store.names(aside), err)
	}
	if _, err := f.v.Fetch(t.Context(), o); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
