package vault

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// attacked is a vault with one object of every kind.
type attacked struct {
	*fixture
	names map[string]string // kind of object -> name
	pack  Object
	at    Location
	ref   chunk.Ref
	book  map[ObjectKind]Object
}

func newAttacked(t *testing.T, id *Identity) *attacked {
	t.Helper()
	f := &fixture{t: t, store: newMem(), id: id}
	var err error
	f.v, err = Create(t.Context(), f.store, CreateOptions{Root: id.Root(), Recipients: []string{id.Recipient()},
		Cutting: chunk.DefaultParams(), PackSize: MinPackSize, Created: testTime})
	if err != nil {
		t.Fatal(err)
	}
	f.host = f.newHost("mx1", RoleBackup, RoleUpkeep, RoleDecide)
	stolen := f.newHost("stolen", RoleBackup)
	body := prose(1, 5000)
	a := &attacked{fixture: f, ref: dataRef(body), book: map[ObjectKind]Object{}}
	got := f.pack(map[chunk.Ref][]byte{a.ref: body}, []chunk.Ref{a.ref})
	a.pack, a.at = got.packs[0].Object(), got.locations[a.ref]
	a.book[ObjectPack] = a.pack
	for _, kind := range []ObjectKind{ObjectJournal, ObjectCheckpoint} {
		a.book[kind] = f.journal(kind, []string{"a row"})[0]
	}
	f.commit(f.host, &Commit{Kind: CommitBackup, Packs: []Object{a.pack}, Journals: []Object{a.book[ObjectJournal]}})
	f.commit(f.host, &Commit{Kind: CommitCheckpoint, Checkpoints: []Object{a.book[ObjectCheckpoint]}})
	if err := f.v.Revoke(t.Context(), id.Root(), stolen.ID(), 2, testTime); err != nil {
		t.Fatal(err)
	}
	f.store.set(replicaName, f.v.replicaMark())
	f.store.set("leases/writer/00000000000000000001", Holder{ID: "x", Host: "mx1", Since: testTime}.marshal(f.v.ID(), 1, stateReleased))
	f.store.set("parity/target", []byte(targetText+"vault "+f.v.ID()+"\ntarget 0123456789abcdef\n"))
	a.names = map[string]string{"config": configName, "certificate": certName(f.host.ID()), "revocation": certName(stolen.ID()) + revokedSuffix,
		"another certificate": certName(stolen.ID()), "commit": commitName(1), "next commit": commitName(2), "pack": a.pack.Name(),
		"journal": a.book[ObjectJournal].Name(), "checkpoint": a.book[ObjectCheckpoint].Name(), "replica mark": replicaName,
		"lease": "leases/writer/00000000000000000001", "target mark": "parity/target"}
	delete(f.store.objects, replicaName) // no copy: it may be written to
	return a
}

// refusal reads all that the place of an object is read for and gives what was
// said against it.
func (a *attacked) refusal(kind string, store *memStore) error {
	v, err := Open(a.t.Context(), store, a.host.Pin())
	if err != nil {
		return err
	}
	if err := v.Commits(a.t.Context(), Head{}, func(*Commit) error { return nil }); err != nil {
		return err
	}
	if _, err := v.Certificates(a.t.Context()); err != nil {
		return err
	}
	r, err := v.NewReader(a.keys(), ReaderOptions{})
	if err != nil {
		return err
	}
	if o := a.book[ObjectKind(kind)]; kind != "pack" && o.Size > 0 {
		return v.ReadJournal(a.t.Context(), o, a.keys(), func([]byte) error { return nil })
	}
	if _, err := r.CheckPack(a.t.Context(), a.pack); err != nil {
		return err
	}
	_, err = r.Chunk(a.t.Context(), a.at, a.ref, nil)
	return err
}

// TestNoObjectIsTakenForAnother puts every kind of object in the place of every
// other kind, of this vault and of a second one that has the same root key and
// the same recipient. What is not signed and not named by its hash (the marks of
// copies and targets, the leases) authenticates nothing: there it is only
// what is put elsewhere.
func TestNoObjectIsTakenForAnother(t *testing.T) {
	id, err := NewIdentity(IdentityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, twin := newAttacked(t, id), newAttacked(t, id)
	pristine := a.store.clone()
	if err := a.refusal("pack", pristine); err != nil {
		t.Fatalf("as it is: %v", err)
	}
	marks := map[string][]byte{"replica mark": a.v.replicaMark()}
	for place, name := range a.names {
		if place == "replica mark" || place == "lease" || place == "target mark" {
			continue
		}
		for _, of := range []*attacked{a, twin} {
			for kind, from := range of.names {
				if of == a && kind == place {
					continue
				}
				b := of.store.objects[from]
				if kind == "replica mark" {
					b = marks[kind]
				}
				store := pristine.clone()
				store.set(name, b)
				err := a.refusal(place, store)
				var d *DamageError
				if !errors.As(err, &d) && !errors.Is(err, ErrNotAuthentic) && !errors.Is(err, ErrRolledBack) {
					t.Errorf("%s in the place of the %s (the twin's: %v): %v", kind, place, of == twin, err)
				}
			}
		}
	}
}

// TestEncryptedKindsAreApart names each encrypted object in a commit as each
// other kind, under the hash that it has: the vault's own, one of the twin
// vault, and one that somebody made who knows only the recipients.
func TestEncryptedKindsAreApart(t *testing.T) {
	id, err := NewIdentity(IdentityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, twin := newAttacked(t, id), newAttacked(t, id)
	read := func(o Object) error {
		if o.Kind == ObjectPack {
			_, err := a.reader(ReaderOptions{}).CheckPack(t.Context(), o)
			return err
		}
		_, err := a.lines(o, a.id.Key())
		return err
	}
	for kind := range a.book {
		if err := read(a.book[kind]); err != nil {
			t.Errorf("the vault's own %s: %v", kind, err)
		}
		for as := range a.book {
			var d *DamageError
			for of, b := range map[string][]byte{"own": a.store.objects[a.book[kind].Name()], "the twin's": twin.store.objects[twin.book[kind].Name()]} {
				if of == "own" && as == kind {
					continue
				}
				o := Object{Kind: as, ID: chunk.Sum(b), Size: int64(len(b))}
				a.store.set(o.Name(), b)
				if err := read(o); !errors.As(err, &d) && !errors.Is(err, ErrNotAuthentic) {
					t.Errorf("%s %s as %s: %v", of, kind, as, err)
				}
			}
		}
	}
}

// TestKeysSignOnlyTheirOwn has each key sign what is another's: the root a
// commit, a writer a certificate, a revocation and a config, and the root of
// another vault all of it.
func TestKeysSignOnlyTheirOwn(t *testing.T) {
	f := newFixture(t)
	f.commit(f.host, &Commit{Kind: CommitBackup})
	stranger, err := f.v.NewHostKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	foreign := newFixture(t).id.Root()
	writer := &RootKey{key: f.host.writer}
	// forged lets another root key write the object, as its own Vault would.
	forged := func(root *RootKey, write func(v *Vault) error) []byte {
		v := &Vault{store: newMem(), config: f.v.config, recipients: f.v.recipients}
		v.config.Root = root.Public()
		if err := write(v); err != nil {
			t.Fatal(err)
		}
		store := v.store.(*memStore)
		return store.objects[store.names("")[0]]
	}
	certify := func(root *RootKey) []byte {
		return forged(root, func(v *Vault) error {
			r := stranger.Request()
			return v.Certify(t.Context(), root, r, []Role{RoleBackup}, testTime)
		})
	}
	revoke := func(root *RootKey) []byte {
		return forged(root, func(v *Vault) error { return v.Revoke(t.Context(), root, f.host.ID(), 0, testTime) })
	}
	commit := &Commit{Vault: f.v.ID(), Number: 2, Previous: f.head.Hash, Kind: CommitBackup, Time: testTime, Writer: f.host.ID()}
	config := f.v.config
	config.Recipients = []string{newFixture(t).id.Recipient()}
	for name, object := range map[string]struct {
		name string
		b    []byte
	}{
		"certificate by a writer":       {certName(stranger.ID()), certify(writer)},
		"certificate by another root":   {certName(stranger.ID()), certify(foreign)},
		"revocation by a writer":        {certName(f.host.ID()) + revokedSuffix, revoke(writer)},
		"revocation by another root":    {certName(f.host.ID()) + revokedSuffix, revoke(foreign)},
		"commit by the root":            {commitName(2), commit.marshal(f.id.Root().key)},
		"commit by another root":        {commitName(2), commit.marshal(foreign.key)},
		"commit by a stranger":          {commitName(2), commit.marshal(stranger.writer)},
		"config by a writer":            {configName, config.marshal(writer)},
		"config by another root":        {configName, config.marshal(foreign)},
		"config that says so of itself": {configName, func() []byte { c := config; c.Root = foreign.Public(); return c.marshal(foreign) }()},
	} {
		store := f.store.clone()
		store.set(object.name, object.b)
		v, err := Open(t.Context(), store, f.host.Pin())
		if err == nil {
			err = v.Commits(t.Context(), Head{}, func(*Commit) error { return nil })
		}
		if !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOldStatesOfTheBucket puts every earlier state of the whole store back, and
// lets somebody with a good key go on from it, in front of hosts that
// have seen more.
func TestOldStatesOfTheBucket(t *testing.T) {
	f := newFixture(t)
	second := f.newHost("mx2", RoleBackup)
	states, heads := []*memStore{f.store.clone()}, []Head{{Vault: f.v.ID()}}
	for i := range int64(5) {
		f.commit(f.host, &Commit{Kind: CommitBackup, Journals: []Object{someObject(ObjectJournal, i)}})
		states, heads = append(states, f.store.clone()), append(heads, f.head)
	}
	for n, state := range states {
		old := &Vault{store: state, config: f.v.config, recipients: f.v.recipients}
		forked := &Vault{store: state.clone(), config: f.v.config, recipients: f.v.recipients}
		base := heads[n]
		for i := range int64(7) { // it even becomes longer than what it replaces
			var err error
			c := &Commit{Kind: CommitBackup, Time: testTime, Journals: []Object{someObject(ObjectJournal, 100+i)}}
			if base, err = forked.Commit(t.Context(), second, base, c); err != nil {
				t.Fatal(err)
			}
		}
		for known, head := range heads {
			for name, v := range map[string]*Vault{"old": old, "forked": forked} {
				err := v.Commits(t.Context(), head, func(*Commit) error { return nil })
				if want := known > n; errors.Is(err, ErrRolledBack) != want || !want && err != nil {
					t.Errorf("%s state %d, to one who knows commit %d: %v", name, n, known, err)
				}
				if known <= n {
					continue
				}
				if _, err := v.Commit(t.Context(), f.host, head, &Commit{Kind: CommitBackup, Time: testTime}); err == nil {
					t.Errorf("%s state %d: a commit on top of %d was written", name, n, known)
				}
			}
		}
	}
}

// TestAnyTwoCommitsSwapped, and any one put in the place of another.
func TestAnyTwoCommitsSwapped(t *testing.T) {
	f := newFixture(t)
	const n = 4
	for i := range int64(n) {
		f.commit(f.host, &Commit{Kind: CommitBackup, Journals: []Object{someObject(ObjectJournal, i)}})
	}
	whole := f.store
	for i := uint64(1); i <= n; i++ {
		for j := uint64(1); j <= n; j++ {
			if i == j {
				continue
			}
			for _, swap := range []bool{true, false} {
				f.store = whole.clone()
				f.store.set(commitName(i), whole.objects[commitName(j)])
				if swap {
					f.store.set(commitName(j), whole.objects[commitName(i)])
				}
				f.v = &Vault{store: f.store, config: f.v.config, recipients: f.v.recipients}
				all, err := f.follow(Head{})
				if !errors.Is(err, ErrNotAuthentic) || uint64(len(all)) >= min(i, j) && swap {
					t.Errorf("%d and %d, swapped: %v: %d believed, %v", i, j, swap, len(all), err)
				}
			}
		}
	}
}

// TestHostileTexts are texts as somebody writes them who has no key and wants
// memory, a crash, or a line taken for another. The signature is only looked at
// after the text was taken apart, so that must bear anything.
func TestHostileTexts(t *testing.T) {
	f := newFixture(t)
	f.commit(f.host, &Commit{Kind: CommitBackup, Journals: []Object{someObject(ObjectJournal, 1)}})
	stranger, err := f.v.NewHostKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	good := &Commit{Vault: f.v.ID(), Number: 2, Previous: f.head.Hash, Kind: CommitBackup, Time: testTime, Writer: f.host.ID(), Packs: []Object{someObject(ObjectPack, 1)}}
	text := string(good.marshal(stranger.writer))
	line := text[strings.Index(text, "pack "):]
	line = line[:strings.IndexByte(line, '\n')]
	id := strings.Fields(line)[1]
	with := func(lines string) []byte { return []byte(strings.Replace(text, line+"\n", lines, 1)) }
	cases := map[string][]byte{
		"an exabyte":             with("pack " + id + " 1152921504606846976\n"),
		"more than a number":     with("pack " + id + " 99999999999999999999\n"),
		"less than nothing":      with("pack " + id + " -1\n"),
		"nothing":                with("pack " + id + " 0\n"),
		"no size":                with("pack " + id + "\n"),
		"a path as an id":        with("pack ../../../../etc/passwd 1000\n"),
		"a long line":            with("pack " + strings.Repeat("f", 1<<20) + " 1\n"),
		"ten million empty ones": bytes.Repeat([]byte{'\n'}, 10<<20),
		"a million packs":        with(strings.Repeat(line+"\n", 1<<20)),
		"too large":              bytes.Repeat([]byte("x\n"), maxTextSize/2+1),
		"a NUL":                  with(line + "\x00\n"),
		"a second signature":     []byte(text + text[strings.Index(text, "signature"):]),
		"a line after it":        []byte(text + "erased pack " + id + "\n"),
		"a terminal's command":   []byte(strings.Replace(text, "kind backup", "kind \x1b[2Jbackup", 1)),
		"the text twice":         []byte(text + text),
		"the last number":        []byte(strings.Replace(text, "number 2", "number 9223372036854775807", 1)),
		"beyond it":              []byte(strings.Replace(text, "number 2", "number 18446744073709551615", 1)),
		"the year 9999":          []byte(strings.Replace(text, "time 2026", "time 9999", 1)),
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		store := f.store.clone()
		store.set(commitName(2), cases[name])
		v := &Vault{store: store, config: f.v.config, recipients: f.v.recipients}
		n := 0
		err := v.Commits(t.Context(), Head{}, func(*Commit) error { n++; return nil })
		var d *DamageError
		if n != 1 || !errors.As(err, &d) && !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%s: %d commits, %v", name, n, err)
		}
		if err != nil && (len(err.Error()) > 1000 || strings.Contains(err.Error(), "\x1b")) {
			t.Errorf("%s: the error is %d bytes: %.200q", name, len(err.Error()), err)
		}
	}
}

// TestHostileNames lists names as a hostile bucket gives them: none of them
// leads to an object elsewhere.
func TestHostileNames(t *testing.T) {
	f := newFixture(t)
	id := someObject(ObjectPack, 1).ID.String()
	for prefix, names := range map[string][]string{
		commitsPrefix: {"../config", "00000000000000000001/../../config", "1", "0000000000000000001", "99999999999999999999", "00000000000000000000", "", "\x1b[2J"},
		keysPrefix:    {"../config", id + "/../" + id, strings.ToUpper(id), id + ".revoked.revoked", ".revoked", id[:63], "\x1b[2J"},
	} {
		for _, name := range names {
			store := f.store.clone()
			store.set(prefix+name, f.store.objects[configName])
			v := &Vault{store: store, config: f.v.config, recipients: f.v.recipients}
			err := v.Commits(t.Context(), Head{}, func(*Commit) error { return nil })
			if err == nil {
				_, err = v.Certificates(t.Context())
			}
			var d *DamageError
			if !errors.As(err, &d) {
				t.Errorf("%s%q: %v", prefix, name, err)
			}
		}
	}
	for _, name := range []string{"packs/../config", "packs/00/" + id, "packs/" + id[:2] + "/../" + id[:2] + "/" + id, "packs/" + id[:2] + "/" + strings.ToUpper(id),
		"packs/" + id[:2] + "/" + id + "/", "journals/../packs/" + id, "journals/" + id + "x", "checkpoints/" + id[:2] + "/" + id} {
		f.store.set(name, []byte("x"))
	}
	for _, kind := range []ObjectKind{ObjectPack, ObjectJournal, ObjectCheckpoint} {
		err := f.v.Objects(t.Context(), kind, func(s Stored) error {
			if !s.Foreign || s.ID != (chunk.ID{}) {
				return fmt.Errorf("%q is taken for %s", s.Name, s.Object.Name())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestMarksThatAnybodyCanWrite: the mark of a copy and the beats of a lease are
// not signed. Whoever writes to the store can stop writers with them, and that
// is all: it is said, and reading goes on.
func TestMarksThatAnybodyCanWrite(t *testing.T) {
	f := newFixture(t)
	f.commit(f.host, &Commit{Kind: CommitBackup})
	f.store.set(replicaName, []byte("anything"))
	if _, err := f.v.Commit(t.Context(), f.host, f.head, &Commit{Kind: CommitBackup, Time: testTime}); !errors.Is(err, ErrReplica) {
		t.Errorf("commit: %v", err)
	}
	delete(f.store.objects, replicaName)
	// A holder on another machine that lives for ever.
	h := Holder{ID: "eve", Host: "evil\x1b[2J", Purpose: "nothing\x1b[2J", machine: "elsewhere", Since: testTime}
	beat := func(n uint64) { f.store.set(fmt.Sprintf("leases/writer/%020d", n), h.marshal(f.v.ID(), n, stateHeld)) }
	beat(1)
	go func() {
		for n := uint64(2); t.Context().Err() == nil; n++ {
			time.Sleep(ttl / 4)
			beat(n)
		}
	}()
	if _, err := f.acquire(LeaseOptions{}); !errors.Is(err, ErrLocked) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("lease: %v", err)
	}
	if _, err := f.follow(Head{}); err != nil {
		t.Errorf("follow: %v", err)
	}
	if err := objstore.CheckName("leases/../config"); err == nil {
		t.Error("a name may lead upwards")
	}
}
