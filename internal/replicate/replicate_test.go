package replicate_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/objstore"
	"salvor/internal/objstore/dir"
	"salvor/internal/objstore/faulty"
	"salvor/internal/pace"
	"salvor/internal/replicate"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func place(t testing.TB, w *world.World, name string) (objstore.Store, string) {
	t.Helper()
	path := filepath.Join(w.Dir, name)
	s, err := dir.Open(t.Context(), path, dir.Options{Create: true})
	must(t, err)
	return s, path
}

// sameCatalog compares the catalog that a copy gives with the vault's, and
// looks through the whole copy.
func sameCatalog(t *testing.T, w *world.World, store objstore.Store) {
	t.Helper()
	v, err := vault.Open(t.Context(), store, vault.OpenOptions{})
	must(t, err)
	c, err := catalog.Open(filepath.Join(t.TempDir(), "copy.db"), catalog.Options{})
	must(t, err)
	defer c.Close()
	h := &history.History{Vault: v, Catalog: c, Keys: w.H.Keys}
	_, err = h.Follow(t.Context())
	must(t, err)
	if got, want := dump(t, c), dump(t, w.H.Catalog); got != want {
		t.Error("the copy's catalog is not the vault's")
	}
	reader, err := v.NewReader(w.H.Keys, vault.ReaderOptions{})
	must(t, err)
	r, err := upkeep.Check(t.Context(), h, upkeep.CheckOptions{ReadData: true, Reader: reader})
	must(t, err)
	if len(r.Damaged) > 0 {
		t.Errorf("the copy is damaged: %+v", r.Damaged)
	}
}

func dump(t *testing.T, c *catalog.Catalog) string {
	t.Helper()
	var b strings.Builder
	must(t, c.Dump(t.Context(), func(line []byte) error { b.Write(line); return nil }))
	return b.String()
}

// packs gives the paths of a vault's packs.
func packs(t *testing.T, root string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "packs", "*", "*"))
	must(t, err)
	return found
}

func TestCopy(t *testing.T) {
	w := world.New(t)
	store, _ := place(t, w, "copy")
	for night := range 3 {
		w.Fill("ann", "INBOX", 5)
		w.Night()
		dry, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{DryRun: true})
		must(t, err)
		r, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{})
		must(t, err)
		if r.Copied != 2 || r.Commits != 1 || r.Present != 2*night || r.Head.Number != uint64(night+1) {
			t.Errorf("night %d: %+v", night, r)
		}
		if dry.Copied != r.Copied || dry.Bytes != r.Bytes || dry.Commits != r.Commits || dry.Head != r.Head {
			t.Errorf("the dry run said %+v", dry)
		}
		sameCatalog(t, w, store)
	}
	r, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{ReadData: true})
	must(t, err)
	if r.Copied != 0 || r.Commits != 0 || r.Present != 6 {
		t.Errorf("nothing is new: %+v", r)
	}
	if leases := names(t, store, "leases/"); len(leases) > 0 {
		t.Errorf("leases were copied: %v", leases)
	}
}

func names(t *testing.T, s objstore.Store, prefix string) (all []string) {
	t.Helper()
	must(t, s.List(t.Context(), prefix, func(i objstore.Info) error {
		all = append(all, i.Name)
		return nil
	}))
	return all
}

// A copy is cut off at each call to its store in turn; whatever it left opens
// as a vault, and the next copy completes it and sends nothing twice.
func TestCopyIsCutOff(t *testing.T) {
	w := world.New(t)
	for range 2 {
		w.Fill("ann", "INBOX", 3)
		w.Night()
	}
	for _, effect := range []faulty.Effect{faulty.FailBefore, faulty.FailAfter} {
		for nth := 1; ; nth++ {
			store, _ := place(t, w, "copy")
			bad := faulty.New(store, faulty.Fault{Effect: effect, Op: faulty.Put, Nth: nth, Lasting: true})
			first, err := replicate.Copy(t.Context(), w.H.Vault, bad, replicate.Options{Workers: 1})
			if bad.Met() == 0 {
				must(t, err)
				break
			}
			if err == nil {
				t.Fatalf("put %d: no error", nth)
			}
			if v, err := vault.Open(t.Context(), store, vault.OpenOptions{}); err == nil {
				must(t, v.Commits(t.Context(), vault.Head{}, func(c *vault.Commit) error { return nil }))
			} else if !errors.Is(err, vault.ErrNoVault) {
				t.Fatalf("put %d: %v", nth, err)
			}
			r, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{})
			must(t, err)
			if effect == faulty.FailBefore && r.Copied+first.Copied != 4 {
				t.Errorf("put %d: %d objects copied, then %d", nth, first.Copied, r.Copied)
			}
			sameCatalog(t, w, store)
			must(t, os.RemoveAll(filepath.Join(w.Dir, "copy")))
		}
		must(t, os.RemoveAll(filepath.Join(w.Dir, "copy")))
	}
}

// Each call to either store fails once: the copy fails or manages, and the next
// one completes it.
func TestEveryCallOfACopyFailsOnce(t *testing.T) {
	var source *faulty.Store
	w := world.NewIn(t, t.TempDir(), func(s objstore.Store) objstore.Store {
		source = faulty.New(s)
		return source
	})
	for range 2 {
		w.Fill("ann", "INBOX", 2)
		w.Night()
	}
	for _, op := range []faulty.Op{faulty.Get, faulty.List, faulty.Stat} {
		for _, there := range []bool{false, true} {
			for nth, met := 1, 1; met > 0; nth++ {
				store, path := place(t, w, "copy")
				to := faulty.New(store)
				bad := source
				if there {
					bad = to
				}
				bad.Set(faulty.Fault{Op: op, Nth: nth})
				_, err := replicate.Copy(t.Context(), w.H.Vault, to, replicate.Options{})
				if met = bad.Met(); met == 0 {
					must(t, err)
				}
				bad.Set()
				r, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{})
				must(t, err)
				if len(r.Damaged) > 0 || len(r.Mended) > 0 {
					t.Errorf("%s %d: %+v", op, nth, r)
				}
				must(t, os.RemoveAll(path))
			}
		}
	}
}

// full is a store whose disk is nearly full.
type full struct{ objstore.Store }

func (full) Free(context.Context) (int64, error) { return 100, nil }

func TestCopyDoesNotFit(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 2)
	w.Night()
	store, path := place(t, w, "copy")
	if _, err := replicate.Copy(t.Context(), w.H.Vault, full{store}, replicate.Options{}); !errors.Is(err, objstore.ErrFull) {
		t.Errorf("got %v", err)
	}
	if len(packs(t, path)) > 0 {
		t.Error("it began all the same")
	}
}

func TestDamageIsNotCopied(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Night()
	good, _ := place(t, w, "good")
	_, err := replicate.Copy(t.Context(), w.H.Vault, good, replicate.Options{})
	must(t, err)
	bad := packs(t, w.VaultDir)[0]
	flip(t, bad)
	w.Fill("bob", "INBOX", 3)
	w.Night()

	// The copy that has it keeps the good one.
	r, err := replicate.Copy(t.Context(), w.H.Vault, good, replicate.Options{ReadData: true})
	must(t, err)
	if len(r.Damaged) != 0 || r.Commits != 1 {
		t.Errorf("%+v", r)
	}
	sameCatalog(t, w, good)

	// A new one gets all the rest, and the damaged one when it is healed.
	late, latePath := place(t, w, "late")
	r, err = replicate.Copy(t.Context(), w.H.Vault, late, replicate.Options{})
	must(t, err)
	if len(r.Damaged) != 1 || !strings.HasSuffix(r.Damaged[0].Object, filepath.Base(bad)) || r.Commits != 2 || len(packs(t, latePath)) != 1 {
		t.Errorf("%+v", r)
	}
	flip(t, bad)
	r, err = replicate.Copy(t.Context(), w.H.Vault, late, replicate.Options{})
	must(t, err)
	if r.Copied != 1 || len(r.Damaged) != 0 {
		t.Errorf("%+v", r)
	}
	sameCatalog(t, w, late)
}

func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.Chmod(path, 0o600))
	must(t, os.WriteFile(path, b, 0o600))
}

// Damage in the copy is replaced, and what was there is put aside: objects,
// commits, certificates.
func TestCopyIsMended(t *testing.T) {
	w := world.New(t)
	for range 3 {
		w.Fill("ann", "INBOX", 3)
		w.Night()
	}
	store, path := place(t, w, "copy")
	_, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{})
	must(t, err)
	flip(t, packs(t, path)[0])
	must(t, os.Truncate(packs(t, path)[1], 100))
	must(t, os.Remove(packs(t, path)[2]))
	flip(t, filepath.Join(path, "commits", "00000000000000000001"))
	must(t, os.Remove(filepath.Join(path, "commits", "00000000000000000002")))
	for _, key := range names(t, store, "keys/") {
		flip(t, filepath.Join(path, key))
	}
	r, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{ReadData: true})
	must(t, err)
	if len(r.Mended) != 5 || r.Copied != 3 {
		t.Errorf("%+v", r)
	}
	if aside := names(t, store, "damaged/"); len(aside) != 4 {
		t.Errorf("put aside: %v", aside)
	}
	sameCatalog(t, w, store)
}

// What the vault has erased stays in the copy for the grace after the copy has
// learned of it, and goes then.
func TestErasedInTheCopy(t *testing.T) {
	w := world.New(t)
	w.Policy.Erase = time.Hour
	store, path := place(t, w, "copy")
	gone := w.Fill("ann", "INBOX", 4)
	w.Night()
	copied := func(o replicate.Options) *replicate.Report {
		r, err := replicate.Copy(t.Context(), w.H.Vault, store, o)
		must(t, err)
		return r
	}
	copied(replicate.Options{})
	w.Remove(gone[:3]...)
	w.Remove(gone[3])
	w.Fill("ann", "INBOX", 40)
	w.Night()
	w.Night()
	w.Sleep(8 * 24 * time.Hour)
	w.Backup()
	if r := w.Prune(); r.Condemned == 0 {
		t.Fatalf("%+v", r)
	}
	before := packs(t, path)
	if r := copied(replicate.Options{}); r.ToErase != 0 || r.Erased != 0 {
		t.Errorf("condemned only: %+v", r)
	}
	w.Sleep(2 * time.Hour)
	if r := w.Prune(); r.Erased == 0 {
		t.Fatalf("%+v", r)
	}
	if r := copied(replicate.Options{}); r.ToErase == 0 || r.Erased != 0 {
		t.Errorf("before the grace: %+v", r)
	}
	for _, name := range names(t, store, "commits/") { // the copy has known of it for two days
		old := time.Now().Add(-48 * time.Hour)
		must(t, os.Chtimes(filepath.Join(path, name), old, old))
	}
	if r := copied(replicate.Options{KeepErased: true}); r.ToErase == 0 || r.Erased != 0 {
		t.Errorf("told to keep: %+v", r)
	}
	if r := copied(replicate.Options{DryRun: true}); r.Erased == 0 || len(packs(t, path)) <= len(before)-1 {
		t.Errorf("a dry run: %+v", r)
	}
	if r := copied(replicate.Options{}); r.Erased == 0 || r.ToErase != 0 {
		t.Errorf("after the grace: %+v", r)
	}
	if _, err := os.Stat(before[0]); len(before) == 1 && err == nil {
		t.Error("the erased pack is still in the copy")
	}
	sameCatalog(t, w, store)
}

// Nothing is written where another vault lies, or one that has gone its own way.
func TestCopyRefuses(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Night()
	refused := func(store objstore.Store, want error) {
		t.Helper()
		before := len(names(t, store, ""))
		_, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{})
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than a line: %v", err)
		}
		if after := len(names(t, store, "")); after != before {
			t.Errorf("%d objects were written", after-before)
		}
	}
	refused(world.New(t).Store, vault.ErrVaultExists)
	rest, path := place(t, w, "rest")
	must(t, os.MkdirAll(filepath.Join(path, "packs", "ab"), 0o700))
	must(t, os.WriteFile(filepath.Join(path, "packs", "ab", "abcd"), []byte("x"), 0o600))
	refused(rest, vault.ErrVaultExists)

	store, path := place(t, w, "copy")
	_, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{})
	must(t, err)
	copied, err := vault.Open(t.Context(), store, vault.OpenOptions{})
	must(t, err)

	// Nobody commits to a copy.
	head, err := copied.Head(t.Context())
	must(t, err)
	c := &vault.Commit{Kind: vault.CommitDecision, Time: w.Now}
	if _, err := copied.Commit(t.Context(), w.H.Host, head, c); !errors.Is(err, vault.ErrReplica) {
		t.Errorf("a commit to a copy: %v", err)
	}

	// A promoted one is a vault of its own.
	must(t, copied.Promote(t.Context()))
	refused(store, vault.ErrVaultExists)
	_, err = copied.Commit(t.Context(), w.H.Host, head, c)
	must(t, err)

	// One that somebody wrote to all the same is ahead, and then forked.
	must(t, os.WriteFile(filepath.Join(path, "replica"), []byte("x"), 0o600))
	refused(store, vault.ErrDiverged)
	w.Night()
	refused(store, vault.ErrDiverged)
}

// The source is pruned while it is copied: what is gone is not damage.
func TestCopyDuringPrune(t *testing.T) {
	w := world.New(t)
	w.Policy.Erase = time.Hour
	gone := w.Fill("ann", "INBOX", 4)
	w.Night()
	w.Remove(gone...)
	w.Fill("ann", "INBOX", 40)
	w.Night()
	w.Night()
	w.Sleep(8 * 24 * time.Hour)
	w.Backup()
	store, _ := place(t, w, "copy")
	once := &hook{Store: store, before: func() {
		w.Prune()
		w.Sleep(2 * time.Hour)
		w.Prune()
	}}
	r, err := replicate.Copy(t.Context(), w.H.Vault, once, replicate.Options{Workers: 1})
	must(t, err)
	if len(r.Damaged) != 0 || !once.done {
		t.Errorf("%+v", r)
	}
	sameCatalog(t, w, store)
}

// hook does something before the first pack is stored.
type hook struct {
	objstore.Store
	before func()
	done   bool
}

func (h *hook) Put(ctx context.Context, name string, b []byte) error {
	if strings.HasPrefix(name, "keys/") && !h.done {
		h.done = true
		h.before()
	}
	return h.Store.Put(ctx, name, b)
}

func TestCopyIsPaced(t *testing.T) {
	w := world.New(t)
	for range 3 {
		w.Fill("ann", "INBOX", 2)
		w.Night()
	}
	store, _ := place(t, w, "copy")
	begun := time.Now()
	_, err := replicate.Copy(t.Context(), w.H.Vault, store, replicate.Options{Pace: pace.NewLimiter(pace.Rate{Messages: 10})})
	must(t, err)
	if d := time.Since(begun); d < 350*time.Millisecond {
		t.Errorf("6 objects at 10/s took %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := replicate.Copy(ctx, w.H.Vault, store, replicate.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
