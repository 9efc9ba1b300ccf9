package upkeep_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/objstore"
	"salvor/internal/objstore/faulty"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// secondCopy makes a plain copy of the world's vault as it is, file by file.
func secondCopy(t *testing.T, w *world.World) (*vault.Vault, string) {
	t.Helper()
	root := filepath.Join(w.Dir, "second")
	must(t, os.CopyFS(root, os.DirFS(w.VaultDir)))
	return w.OpenAt(root), root
}

func glob(t *testing.T, root, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, pattern))
	must(t, err)
	return found
}

func spoil(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
}

// What is damaged or missing comes from a second copy, without an identity; the
// damaged bytes are kept, and packs that were marked count again.
func TestHealFromASecondCopy(t *testing.T) {
	w := world.New(t)
	for range 4 {
		w.Fill("ann", "INBOX", 3)
		w.Night()
	}
	second, root := secondCopy(t, w)
	packs, journals := glob(t, w.VaultDir, "packs/*/*"), glob(t, w.VaultDir, "journals/*")
	spoil(t, packs[0])
	must(t, os.Truncate(packs[1], 10))
	must(t, os.Remove(packs[2]))

	// A check notes it; the copy has one of them only damaged as well.
	spoil(t, filepath.Join(root, "packs", filepath.Base(filepath.Dir(packs[0])), filepath.Base(packs[0])))
	_, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true})
	must(t, err)
	if n := marked(t, w); n != 3 {
		t.Fatalf("%d packs are marked", n)
	}
	spoil(t, journals[0])
	r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true, Second: second})
	must(t, err)
	if len(r.Damaged) != 4 || len(r.Repaired) != 3 || len(r.Lost) != 0 {
		t.Errorf("%+v", r)
	}
	if n := marked(t, w); n != 1 {
		t.Errorf("%d packs are marked", n)
	}
	if aside := glob(t, w.VaultDir, "damaged/*/*"); len(aside) != 2 { // of a pack (in a directory) and of the journal
		t.Errorf("put aside: %v", aside)
	}

	// Put right by hand, or by a copy that has it: without --read-data as well.
	spoil(t, packs[0])
	r, err = upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{Second: second})
	must(t, err)
	if len(r.Damaged) != 0 || marked(t, w) != 0 {
		t.Errorf("%+v, %d packs are marked", r, marked(t, w))
	}
	checkClean(t, w)
	if got := dump(t, w.H.Catalog); got != dump(t, w.Rebuilt(w.H.Vault, "rebuilt.db").Catalog) {
		t.Error("the rebuilt catalog is another")
	}
}

// A damaged journal was replaced by a checkpoint. A host whose catalog is older
// than it goes on from there, and does not wait until the journal is erased.
func TestDamagedJournalStopsNoOtherHost(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Night()
	other := w.Join(w.H.Vault, filepath.Join(w.Dir, "other.db"), "other")
	_, err := other.Follow(t.Context())
	must(t, err)
	for range 3 {
		w.Fill("ann", "INBOX", 1)
		w.Night()
	}
	var last vault.Object
	must(t, w.H.Vault.Commits(t.Context(), vault.Head{}, func(c *vault.Commit) error {
		if c.Number == 3 {
			last = c.Journals[0]
		}
		return nil
	}))
	spoil(t, filepath.Join(w.VaultDir, last.Name()))
	if _, err := other.Follow(t.Context()); err == nil {
		t.Fatal("without a checkpoint there is nothing to go on from")
	}
	r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true})
	must(t, err)
	if len(r.Damaged) != 1 {
		t.Errorf("%+v", r)
	}
	w.Fill("ann", "INBOX", 1)
	w.Night()
	_, err = other.Follow(t.Context())
	must(t, err)
	if dump(t, other.Catalog) != dump(t, w.H.Catalog) {
		t.Error("the catalogs differ")
	}
}

func marked(t *testing.T, w *world.World) (n int) {
	t.Helper()
	must(t, w.H.Catalog.Packs(t.Context(), func(p *catalog.PackUse) error {
		if p.Damaged != "" {
			n++
		}
		return nil
	}))
	return n
}

// A chain that is damaged inside is mended where the other's commits fit; its
// end is not, for that would hide a rollback.
func TestMendChain(t *testing.T) {
	w := world.New(t)
	for range 4 {
		w.Fill("ann", "INBOX", 1)
		w.Night()
	}
	second, _ := secondCopy(t, w)
	commits := glob(t, w.VaultDir, "commits/*")
	spoil(t, commits[0])
	must(t, os.Remove(commits[1]))
	must(t, os.Remove(commits[3]))
	v := w.OpenAt(w.VaultDir)
	mended, err := v.MendChain(t.Context(), second)
	must(t, err)
	if want := []string{"commits/00000000000000000001", "commits/00000000000000000002"}; !slices.Equal(mended, want) {
		t.Errorf("mended %v", mended)
	}
	head, err := v.Head(t.Context())
	must(t, err)
	if head.Number != 3 {
		t.Errorf("the chain ends with %d", head.Number)
	}
	must(t, v.Commits(t.Context(), vault.Head{}, func(*vault.Commit) error { return nil }))
	again, err := v.MendChain(t.Context(), second)
	if len(again) > 0 || err != nil {
		t.Errorf("mended again: %v, %v", again, err)
	}
}

// Every call of a repair fails once, before or after it took effect: the next
// repair puts everything right, and the damaged bytes are never thrown away.
func TestEveryCallOfARepairFailsOnce(t *testing.T) {
	var store *faulty.Store
	w := world.NewIn(t, t.TempDir(), func(s objstore.Store) objstore.Store {
		store = faulty.New(s)
		return store
	})
	w.H.LeaseTTL = 20 * time.Millisecond
	for range 2 {
		w.Fill("ann", "INBOX", 3)
		w.Night()
	}
	second, _ := secondCopy(t, w)
	pack, journal := glob(t, w.VaultDir, "packs/*/*")[0], glob(t, w.VaultDir, "journals/*")[0]
	for _, fault := range []faulty.Fault{
		{Effect: faulty.FailBefore, Op: faulty.Put}, {Effect: faulty.FailAfter, Op: faulty.Put},
		{Effect: faulty.FailBefore, Op: faulty.Delete}, {Effect: faulty.FailAfter, Op: faulty.Delete},
		{Effect: faulty.FailBefore, Op: faulty.Get}, {Effect: faulty.FailBefore, Op: faulty.List},
	} {
		for met := 1; met > 0; fault.Nth++ {
			spoil(t, pack)
			bad, err := os.ReadFile(pack)
			must(t, err)
			must(t, os.Remove(journal))
			store.Set(fault)
			repairUnlocked(t, w, second)
			met = store.Met()
			store.Set()
			must(t, repairUnlocked(t, w, second))
			checkClean(t, w)
			kept := glob(t, w.VaultDir, "damaged/packs/*/*")
			if len(kept) != 1 {
				t.Fatalf("%+v: kept %v", fault, kept)
			}
			if b, err := os.ReadFile(kept[0]); err != nil || string(b) != string(bad) {
				t.Fatalf("%+v: what is kept are not the damaged bytes, %v", fault, err)
			}
			must(t, os.Remove(kept[0]))
			if _, err := w.H.Follow(t.Context()); err != nil || marked(t, w) > 0 {
				t.Fatalf("%+v: %d packs are marked, %v", fault, marked(t, w), err)
			}
		}
	}
}

// repairUnlocked repairs, while a lease that could not be released runs out.
func repairUnlocked(t *testing.T, w *world.World, second *vault.Vault) (err error) {
	t.Helper()
	for range 100 {
		_, err = upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true, Second: second})
		if !errors.Is(err, vault.ErrLocked) {
			return err
		}
		time.Sleep(w.H.LeaseTTL)
	}
	return err
}

// sector is a store of which one object lies on a bad sector, until it is moved
// out of the way.
type sector struct {
	objstore.Store
	bad string
}

func (s *sector) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if name == s.bad {
		return nil, &objstore.Error{Op: "get", Name: name, Err: syscall.EIO}
	}
	return s.Store.Get(ctx, name, off, n)
}

func (s *sector) Put(ctx context.Context, name string, b []byte) error {
	if name == s.bad { // what is there is compared first
		return &objstore.Error{Op: "put", Name: name, Err: syscall.EIO}
	}
	return s.Store.Put(ctx, name, b)
}

func (s *sector) Move(ctx context.Context, from, to string) error {
	if from == s.bad {
		s.bad = ""
	}
	return s.Store.(objstore.Mover).Move(ctx, from, to)
}

func (s *sector) Now(ctx context.Context) (time.Time, error) {
	return s.Store.(objstore.Clock).Now(ctx)
}

// A bad sector is damage to one object, and no end of the check; the file is
// moved aside without being read.
func TestBadSector(t *testing.T) {
	disk := &sector{}
	w := world.NewIn(t, t.TempDir(), func(s objstore.Store) objstore.Store {
		disk.Store = s
		return disk
	})
	for range 2 {
		w.Fill("ann", "INBOX", 3)
		w.Night()
	}
	second, _ := secondCopy(t, w)
	pack := glob(t, w.VaultDir, "packs/*/*")[0]
	disk.bad = "packs/" + filepath.Base(filepath.Dir(pack)) + "/" + filepath.Base(pack)
	r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true})
	must(t, err)
	if len(r.Damaged) != 1 || r.Damaged[0].Affected != 3 {
		t.Errorf("%+v", r)
	}
	r, err = upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true, Second: second})
	must(t, err)
	if len(r.Repaired) != 1 || disk.bad != "" || marked(t, w) != 0 {
		t.Errorf("%+v, %d packs are marked", r, marked(t, w))
	}
	checkClean(t, w)
}
