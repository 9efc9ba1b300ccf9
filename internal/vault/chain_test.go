package vault

import (
	"bytes"
	"errors"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// someObject gives an object that need not exist.
func someObject(kind ObjectKind, seed int64) Object {
	o := Object{Kind: kind, Size: 1000 + seed}
	rand.New(rand.NewSource(seed)).Read(o.ID[:])
	return o
}

func bare(o Object) Object {
	o.Size = 0
	return o
}

func TestChain(t *testing.T) {
	f := newFixture(t)
	if h, err := f.v.Head(t.Context()); err != nil || h.Number != 0 {
		t.Fatalf("head of nothing: %v, %v", h, err)
	}
	old := someObject(ObjectPack, 1)
	f.commit(f.host, &Commit{Kind: CommitBackup, Packs: []Object{old, someObject(ObjectPack, 2)}, Journals: []Object{someObject(ObjectJournal, 3), someObject(ObjectJournal, 1)}})
	first := f.head
	f.commit(f.host, &Commit{Kind: CommitDecision, Journals: []Object{someObject(ObjectJournal, 4)}})
	f.commit(f.host, &Commit{Kind: CommitCheckpoint, Checkpoints: []Object{someObject(ObjectCheckpoint, 5)}, Condemned: []Object{bare(someObject(ObjectJournal, 4))}})
	f.commit(f.host, &Commit{Kind: CommitPrune, Condemned: []Object{bare(old)}})
	f.commit(f.host, &Commit{Kind: CommitPrune, Erased: []Object{bare(old)}})
	all, err := f.follow(Head{})
	if err != nil || len(all) != 5 {
		t.Fatalf("%d commits, %v", len(all), err)
	}
	c := all[0]
	if c.Kind != CommitBackup || len(c.Packs) != 2 || c.Packs[0] != old || c.Journals[1] != someObject(ObjectJournal, 1) ||
		c.Writer != f.host.ID() || !c.Time.Equal(testTime) || c.Vault != f.v.ID() || c.Number != 1 {
		t.Errorf("first commit: %+v", c)
	}
	if all[3].Condemned[0] != bare(old) || all[4].Erased[0] != bare(old) {
		t.Errorf("condemned %+v, erased %+v", all[3].Condemned, all[4].Erased)
	}
	if rest, err := f.follow(first); err != nil || len(rest) != 4 || rest[0].Number != 2 {
		t.Errorf("after the first: %d, %v", len(rest), err)
	}
	if rest, err := f.follow(f.head); err != nil || len(rest) != 0 {
		t.Errorf("after the last: %d, %v", len(rest), err)
	}
	if h, err := f.v.Head(t.Context()); err != nil || h != f.head {
		t.Errorf("head %v, want %v, %v", h, f.head, err)
	}
}

func TestRoles(t *testing.T) {
	journal, pack, check := []Object{someObject(ObjectJournal, 1)}, []Object{someObject(ObjectPack, 2)}, []Object{someObject(ObjectCheckpoint, 3)}
	gone := []Object{bare(someObject(ObjectPack, 4))}
	for name, c := range map[string]struct {
		commit Commit
		ok     []Role
	}{
		"backup":                {Commit{Kind: CommitBackup, Packs: pack, Journals: journal}, []Role{RoleBackup}},
		"backup that condemns":  {Commit{Kind: CommitBackup, Condemned: gone}, nil},
		"backup that erases":    {Commit{Kind: CommitBackup, Erased: gone}, nil},
		"backup, checkpoint":    {Commit{Kind: CommitBackup, Checkpoints: check}, nil},
		"prune":                 {Commit{Kind: CommitPrune, Packs: pack, Journals: journal, Condemned: gone}, []Role{RoleUpkeep}},
		"decision":              {Commit{Kind: CommitDecision, Journals: journal}, []Role{RoleDecide}},
		"decision that erases":  {Commit{Kind: CommitDecision, Erased: gone}, nil},
		"decision with packs":   {Commit{Kind: CommitDecision, Packs: pack}, nil},
		"forget":                {Commit{Kind: CommitForget, Journals: journal, Condemned: gone, Checkpoints: check}, []Role{RoleDecide}},
		"checkpoint":            {Commit{Kind: CommitCheckpoint, Checkpoints: check}, []Role{RoleBackup, RoleUpkeep}},
		"checkpoint, condemns":  {Commit{Kind: CommitCheckpoint, Checkpoints: check, Condemned: gone}, []Role{RoleUpkeep}},
		"checkpoint with packs": {Commit{Kind: CommitCheckpoint, Packs: pack}, nil},
		"key":                   {Commit{Kind: CommitKey, Journals: journal}, []Role{RoleDecide}},
		"unknown kind":          {Commit{Kind: "merge"}, nil},
		"wrong list":            {Commit{Kind: CommitBackup, Packs: journal}, nil},
		"no size":               {Commit{Kind: CommitBackup, Packs: gone}, nil},
		"twice":                 {Commit{Kind: CommitBackup, Packs: []Object{pack[0], pack[0]}}, nil},
		"condemned and erased":  {Commit{Kind: CommitPrune, Condemned: gone, Erased: gone}, nil},
	} {
		f := newFixture(t)
		hosts := map[Role]*HostKey{}
		for _, r := range []Role{RoleBackup, RoleUpkeep, RoleDecide} {
			hosts[r] = f.newHost("only-"+string(r), r)
		}
		for r, h := range hosts {
			c := c
			commit := c.commit
			commit.Time = testTime
			head, err := f.v.Commit(t.Context(), h, f.head, &commit)
			if want := slices.Contains(c.ok, r); (err == nil) != want {
				t.Errorf("%s by role %s: %v", name, r, err)
			}
			if err == nil {
				f.head = head
			} else if len(f.store.names(commitName(f.head.Number+1))) > 0 {
				t.Errorf("%s by role %s: a refused commit was written", name, r)
			}
		}
		if _, err := f.follow(Head{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A commit that a reader must refuse, however it came to lie there.
func TestForgedCommits(t *testing.T) {
	f := newFixture(t)
	backup := f.newHost("backup-only", RoleBackup)
	for i := range 3 {
		f.commit(backup, &Commit{Kind: CommitBackup, Journals: []Object{someObject(ObjectJournal, int64(i))}})
	}
	uncertified, err := f.v.NewHostKey("unknown")
	if err != nil {
		t.Fatal(err)
	}
	other := newFixture(t)
	next := func(change func(c *Commit), key *HostKey) []byte {
		c := &Commit{Vault: f.v.ID(), Number: 4, Previous: f.head.Hash, Kind: CommitBackup, Time: testTime, Writer: key.ID()}
		change(c)
		return c.marshal(key.writer)
	}
	asIs := func(*Commit) {}
	good := next(asIs, backup)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-10] ^= 1
	for name, c := range map[string]struct {
		b    []byte
		want error // nil: DamageError
	}{
		"good":               {good, errGood},
		"flipped signature":  {[]byte(strings.Replace(string(good), "signature ", "signature 0", 1)), nil},
		"flipped bit":        {bytes.Replace(good, []byte("number 4"), []byte("number 5"), 1), ErrNotAuthentic},
		"unsigned":           {good[:bytes.LastIndex(good, []byte("signature"))], nil},
		"wrong key":          {next(func(c *Commit) { c.Writer = backup.ID() }, uncertified), ErrNotAuthentic},
		"uncertified":        {next(asIs, uncertified), ErrNotAuthentic},
		"other vault's host": {next(asIs, other.host), ErrNotAuthentic},
		"role missing":       {next(func(c *Commit) { c.Kind = CommitPrune }, backup), ErrNotAuthentic},
		"condemns":           {next(func(c *Commit) { c.Condemned = []Object{bare(someObject(ObjectPack, 1))} }, backup), ErrNotAuthentic},
		"other vault":        {next(func(c *Commit) { c.Vault = other.v.ID() }, backup), ErrNotAuthentic},
		"other number":       {next(func(c *Commit) { c.Number = 5 }, backup), ErrNotAuthentic},
		"other previous":     {next(func(c *Commit) { c.Previous = chunk.ID{1} }, backup), ErrNotAuthentic},
		"unknown kind":       {next(func(c *Commit) { c.Kind = "merge" }, backup), ErrVersion},
		"new version":        {bytes.Replace(good, []byte("commit 1"), []byte("commit 2"), 1), ErrVersion},
		"other text":         {f.store.objects[configName], nil},
		"an earlier commit":  {f.store.objects[commitName(3)], ErrNotAuthentic},
		"unknown line":       {bytes.Replace(good, []byte("kind "), []byte("kin "), 1), nil},
		"carriage return":    {bytes.Replace(good, []byte("backup\n"), []byte("backup\r\n"), 1), nil},
		"odd time":           {bytes.Replace(good, []byte("Z\n"), []byte("+00:00\n"), 1), nil},
		"truncated":          {good[:len(good)/2], nil},
		"empty":              {nil, nil},
		"not UTF-8":          {append([]byte("salvor commit 1\n\xff"), good[16:]...), nil},
	} {
		store := f.store
		f.store = store.clone()
		v, err := Open(t.Context(), f.store, f.host.Pin())
		if err != nil {
			t.Fatal(err)
		}
		f.store.set(commitName(4), c.b)
		var got []*Commit
		err = v.Commits(t.Context(), Head{}, func(c *Commit) error { got = append(got, c); return nil })
		var d *DamageError
		switch {
		case c.want == errGood && err != nil,
			c.want == nil && !errors.As(err, &d),
			c.want != nil && c.want != errGood && !errors.Is(err, c.want):
			t.Errorf("%s: %v, want %v", name, err, c.want)
		case err != nil && len(got) != 3:
			t.Errorf("%s: %d commits came before it", name, len(got))
		}
		f.store = store
	}
}

var errGood = errors.New("good")

func TestGapsAndRollback(t *testing.T) {
	f := newFixture(t)
	var heads []Head
	for i := range 4 {
		f.commit(f.host, &Commit{Kind: CommitBackup, Journals: []Object{someObject(ObjectJournal, int64(i))}})
		heads = append(heads, f.head)
	}
	fork := heads[1]
	fork.Hash[0] ^= 1
	elsewhere := heads[1]
	elsewhere.Vault = strings.Repeat("0", 32)
	for name, c := range map[string]struct {
		change func(*memStore)
		after  Head
		want   error
	}{
		"gap":            {func(m *memStore) { delete(m.objects, commitName(2)) }, heads[0], objstore.ErrNotExist},
		"first missing":  {func(m *memStore) { delete(m.objects, commitName(1)) }, Head{}, objstore.ErrNotExist},
		"rolled back":    {func(m *memStore) { delete(m.objects, commitName(4)); delete(m.objects, commitName(3)) }, heads[2], ErrRolledBack},
		"emptied":        {func(m *memStore) { clear(m.objects) }, heads[0], ErrRolledBack},
		"known is other": {func(*memStore) {}, fork, ErrRolledBack},
		"other vault":    {func(*memStore) {}, elsewhere, ErrRolledBack},
		"reordered": {func(m *memStore) {
			m.objects[commitName(2)], m.objects[commitName(3)] = m.objects[commitName(3)], m.objects[commitName(2)]
		}, heads[0], ErrNotAuthentic},
		"foreign object":  {func(m *memStore) { m.objects["commits/notes.txt"] = []byte("x") }, Head{}, nil},
		"number zero":     {func(m *memStore) { m.objects["commits/00000000000000000000"] = []byte("x") }, Head{}, nil},
		"foreign key":     {func(m *memStore) { m.objects["keys/readme"] = []byte("x") }, Head{}, nil},
		"no certificates": {func(m *memStore) { delete(m.objects, certName(f.host.ID())) }, Head{}, ErrNotAuthentic},
	} {
		store := f.store.clone()
		c.change(store)
		v := &Vault{store: store, config: f.v.config, recipients: f.v.recipients}
		err := v.Commits(t.Context(), c.after, func(*Commit) error { return nil })
		var d *DamageError
		if c.want != nil && !errors.Is(err, c.want) || c.want == nil && !errors.As(err, &d) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := v.Commit(t.Context(), f.host, c.after, &Commit{Kind: CommitBackup, Time: testTime}); c.want != nil && err == nil {
			t.Errorf("%s: a commit was written", name)
		}
	}
}

func TestLostRace(t *testing.T) {
	f := newFixture(t)
	f.commit(f.host, &Commit{Kind: CommitBackup})
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wg.Go(func() {
			_, results[i] = f.v.Commit(t.Context(), f.host, f.head, &Commit{Kind: CommitBackup, Time: testTime, Journals: []Object{someObject(ObjectJournal, int64(i))}})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrLostRace) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d writers won", won)
	}
	if all, err := f.follow(Head{}); err != nil || len(all) != 2 {
		t.Errorf("%d commits, %v", len(all), err)
	}
}

func TestRevocation(t *testing.T) {
	f := newFixture(t)
	h := f.newHost("stolen", RoleBackup)
	f.commit(h, &Commit{Kind: CommitBackup})
	f.commit(f.host, &Commit{Kind: CommitBackup})
	if err := f.v.Revoke(t.Context(), newFixture(t).id.Root(), h.ID(), 1, testTime); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("revoked by another root: %v", err)
	}
	if err := f.v.Revoke(t.Context(), f.id.Root(), h.ID(), 1, testTime); err != nil {
		t.Fatal(err)
	}
	if all, err := f.follow(Head{}); err != nil || len(all) != 2 {
		t.Errorf("commits before the revocation: %d, %v", len(all), err)
	}
	if _, err := f.v.Commit(t.Context(), h, f.head, &Commit{Kind: CommitBackup, Time: testTime}); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("a revoked writer wrote: %v", err)
	}
	c := &Commit{Vault: f.v.ID(), Number: 3, Previous: f.head.Hash, Kind: CommitBackup, Time: testTime, Writer: h.ID()}
	f.store.set(commitName(3), c.marshal(h.writer))
	if all, err := f.follow(Head{}); !errors.Is(err, ErrNotAuthentic) || len(all) != 2 {
		t.Errorf("a night by a revoked writer: %d, %v", len(all), err)
	}
	certs, err := f.v.Certificates(t.Context())
	if err != nil || len(certs) != 2 {
		t.Fatal(certs, err)
	}
	for _, c := range certs {
		if (c.Revoked != nil) != (c.Writer == h.ID()) {
			t.Errorf("certificate %+v", c)
		}
	}
}

func TestCertificates(t *testing.T) {
	f := newFixture(t)
	other := newFixture(t)
	// The same once more, at another time, is no change; other roles are.
	if err := f.v.Certify(t.Context(), f.id.Root(), f.host.Request(), []Role{RoleDecide, RoleUpkeep, RoleBackup, RoleBackup}, testTime.Add(1)); err != nil {
		t.Error(err)
	}
	if err := f.v.Certify(t.Context(), f.id.Root(), f.host.Request(), []Role{RoleBackup}, testTime); !errors.Is(err, objstore.ErrExists) {
		t.Errorf("fewer roles: %v", err)
	}
	hybrid := newFixtureWith(t, IdentityOptions{PostQuantum: true})
	request := hybrid.host.Request()
	request.vault = f.v.ID()
	for name, try := range map[string]func() error{
		"other root": func() error {
			return f.v.Certify(t.Context(), other.id.Root(), f.host.Request(), []Role{RoleBackup}, testTime)
		},
		"other vault": func() error {
			return f.v.Certify(t.Context(), f.id.Root(), other.host.Request(), []Role{RoleBackup}, testTime)
		},
		"no role":    func() error { return f.v.Certify(t.Context(), f.id.Root(), f.host.Request(), nil, testTime) },
		"odd role":   func() error { return f.v.Certify(t.Context(), f.id.Root(), f.host.Request(), []Role{"root"}, testTime) },
		"other sort": func() error { return f.v.Certify(t.Context(), f.id.Root(), request, []Role{RoleBackup}, testTime) },
	} {
		if err := try(); err == nil {
			t.Errorf("%s: certified", name)
		}
	}
	cert := f.store.objects[certName(f.host.ID())]
	for name, change := range map[string]func(m *memStore){
		"other vault's": func(m *memStore) { m.set(certName(other.host.ID()), other.store.objects[certName(other.host.ID())]) },
		"other name":    func(m *memStore) { m.set(certName(other.host.ID()), cert) },
		"more roles": func(m *memStore) {
			m.set(certName(f.host.ID()), bytes.Replace(cert, []byte("role upkeep"), []byte("role root"), 1))
		},
		"as revocation": func(m *memStore) { m.set(certName(f.host.ID())+revokedSuffix, cert) },
		"new version": func(m *memStore) {
			m.set(certName(f.host.ID()), bytes.Replace(cert, []byte("key 1"), []byte("key 9"), 1))
		},
		"no certificate": func(m *memStore) {
			v := &Vault{store: m, config: f.v.config}
			if err := v.Revoke(t.Context(), f.id.Root(), other.host.ID(), 1, testTime); err != nil {
				t.Error(err)
			}
		},
	} {
		m := f.store.clone()
		change(m)
		v := &Vault{store: m, config: f.v.config, recipients: f.v.recipients}
		if c, err := v.Certificates(t.Context()); err == nil {
			t.Errorf("%s: accepted %+v", name, c)
		}
	}
}

// Following from a known head reads that commit and the new ones, not all.
func TestFollowingIsCheap(t *testing.T) {
	f := newFixture(t)
	for range 300 {
		f.commit(f.host, &Commit{Kind: CommitBackup})
	}
	v, err := Open(t.Context(), f.store, f.host.Pin())
	if err != nil {
		t.Fatal(err)
	}
	f.store.gets = 0
	if err := v.Commits(t.Context(), f.head, func(*Commit) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.store.gets > 4 {
		t.Errorf("%d requests", f.store.gets)
	}
}
