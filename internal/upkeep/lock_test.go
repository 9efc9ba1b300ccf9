package upkeep_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/testenv/bucket"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

const day = 24 * time.Hour

// lockedWorld is a world whose vault lies in a bucket with object lock.
func lockedWorld(t *testing.T, days int) (*world.World, *bucket.Bucket) {
	t.Helper()
	dir := t.TempDir()
	w := &world.World{T: t, Dir: dir, Mail: filepath.Join(dir, "mail"), Catalog: filepath.Join(dir, "catalog.db"),
		Now: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
	must(t, os.MkdirAll(w.Mail, 0o700))
	b := &bucket.Bucket{Clock: func() time.Time { return w.Now }}
	w.Store = b
	var err error
	w.Identity, err = vault.NewIdentity(vault.IdentityOptions{})
	must(t, err)
	v, err := vault.Create(t.Context(), b, vault.CreateOptions{Root: w.Identity.Root(), Recipients: []string{w.Identity.Recipient()},
		Cutting: chunk.DefaultParams(), Created: w.Now, Lock: vault.LockRule{Mode: objstore.Governance, Days: days}})
	must(t, err)
	w.H = w.Join(v, w.Catalog, "host")
	return w, b
}

func lockStatus(t *testing.T, w *world.World) *upkeep.Status {
	t.Helper()
	c := w.H.Vault.Config()
	st, err := upkeep.ReadStatus(t.Context(), w.H.Catalog, upkeep.StatusOptions{Now: w.Now, Policy: w.Policy, Late: 1000 * day, Lock: c.Lock, Created: c.Created})
	must(t, err)
	return st
}

// locks gives until when each version in the bucket is locked.
func locks(t *testing.T, b *bucket.Bucket) map[string]time.Time {
	t.Helper()
	all := map[string]time.Time{}
	must(t, b.Versions(t.Context(), "", func(v objstore.Version) error {
		l, err := b.LockOf(t.Context(), v)
		all[v.Name] = l.Until
		return err
	}))
	return all
}

// Nightly prunes keep everything that is needed locked, and let the locks of
// what is not needed run out; then it is erased.
func TestLocksAreExtended(t *testing.T) {
	w, b := lockedWorld(t, 9)
	w.Fill("ann", "INBOX", 5)
	w.Fill("bob", "INBOX", 5)
	w.Backup()
	born := locks(t, b)
	for name, until := range born {
		if lease := strings.HasPrefix(name, "leases/"); lease != until.IsZero() || !lease && until != w.Now.Add(9*day) {
			t.Errorf("%s is locked until %v", name, until)
		}
	}
	o := w.PruneOptions()
	for range 40 {
		w.Now = w.Now.Add(day)
		r := w.Prune()
		if r.LockProblem != "" || r.Locked > 0 && r.LockedUntil == nil {
			t.Fatalf("%+v", r)
		}
		st := lockStatus(t, w)
		if len(st.Attention) > 0 || st.Lock == nil || !st.Lock.Until.After(w.Now.Add(3*day)) {
			t.Fatalf("%v: %+v, %v", w.Now, st.Lock, st.Attention)
		}
		for name, until := range locks(t, b) {
			if !strings.HasPrefix(name, "leases/") && until.Before(st.Lock.Until) && needed(t, w, name) {
				t.Fatalf("%s is locked until %v, the catalog says %v", name, until, st.Lock.Until)
			}
		}
	}
	// Nobody prunes for long enough: status says so, and the next prune helps.
	for _, step := range []struct {
		days int
		want string
	}{{7, "run out on"}, {4, "have run out"}} {
		w.Now = w.Now.Add(time.Duration(step.days) * day)
		if st := lockStatus(t, w); len(st.Attention) != 1 || !strings.Contains(st.Attention[0], step.want) {
			t.Errorf("after %d days: %v, want %q", step.days, st.Attention, step.want)
		}
	}
	if r, err := upkeep.Prune(t.Context(), w.H, o); err != nil || r.Extended == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if st := lockStatus(t, w); len(st.Attention) > 0 {
		t.Errorf("after a prune: %v", st.Attention)
	}
	rebuilt := w.Rebuilt(w.H.Vault, "rebuilt.db")
	want, _, err := w.H.Catalog.Lock()
	must(t, err)
	if got, ok, err := rebuilt.Catalog.Lock(); err != nil || !ok || got != want {
		t.Errorf("a rebuilt catalog says %+v (%v), want %+v", got, err, want)
	}
}

// needed tells whether a commit names an object and none condemns it, or it is
// no such object.
func needed(t *testing.T, w *world.World, name string) bool {
	t.Helper()
	is := !strings.Contains(name, "packs/") && !strings.Contains(name, "journals/") && !strings.Contains(name, "checkpoints/")
	must(t, w.H.Vault.Commits(t.Context(), vault.Head{}, func(c *vault.Commit) error {
		for _, list := range [][]vault.Object{c.Packs, c.Journals, c.Checkpoints} {
			for _, o := range list {
				is = is || o.Name() == name
			}
		}
		for _, o := range c.Condemned {
			is = is && o.Name() != name
		}
		return nil
	}))
	return is
}

// A round that is cut into pieces goes on where the last prune stopped.
func TestLocksInPieces(t *testing.T) {
	w, _ := lockedWorld(t, 30)
	for range 6 {
		w.Fill("ann", "INBOX", 2)
		w.Backup()
		w.Now = w.Now.Add(time.Hour)
	}
	w.Now = w.Now.Add(11 * day)
	o := w.PruneOptions()
	o.LockObjects = 7
	left := int64(1)
	for n := 0; left > 0; n++ {
		r, err := upkeep.Prune(t.Context(), w.H, o)
		must(t, err)
		if r.Extended == 0 || r.Extended > 7 || n > 10 {
			t.Fatalf("prune %d extended %d locks", n, r.Extended)
		}
		before := left // and the commit of each prune comes to it
		if left = lockStatus(t, w).Lock.Soon; n > 0 && left >= before {
			t.Errorf("prune %d: %d objects are left, before it were %d", n, left, before)
		}
	}
	if until := lockStatus(t, w).Lock.Until; until != w.Now.Add(30*day) {
		t.Errorf("locked until %v, want 30 days from %v", until, w.Now)
	}
}

// What is locked is not erased before its time, stays condemned until then, and
// every word about it says until when.
func TestLockedIsErasedLate(t *testing.T) {
	w, b := lockedWorld(t, 9)
	w.Fill("bob", "INBOX", 3)
	w.Backup()
	w.Deliver("ann", "INBOX", w.Message("ZYXANN"))
	w.Backup()
	r, err := upkeep.Forget(t.Context(), w.H, "ann", w.PruneOptions())
	must(t, err)
	until := w.Now.Add(9 * day)
	var said bool
	for _, m := range r.Remains {
		said = said || m.Until != nil && *m.Until == until && strings.Contains(m.What, "locked")
	}
	if !said {
		t.Errorf("forget says %+v, want until %v", r.Remains, until)
	}
	w.Now = w.Now.Add(2 * day)
	dry := w.PruneOptions()
	dry.DryRun = true
	d, err := upkeep.Prune(t.Context(), w.H, dry)
	must(t, err)
	p := w.Prune()
	if p.Locked == 0 || p.LockedBytes == 0 || p.LockedUntil == nil || *p.LockedUntil != until || d.Locked != p.Locked || *d.LockedUntil != until {
		t.Errorf("prune says %+v, dry %+v", p, d)
	}
	st := lockStatus(t, w)
	if st.Lock.Waiting != int64(p.Locked) || st.Lock.WaitingUntil == nil || *st.Lock.WaitingUntil != until || st.Bytes.ToErase < p.LockedBytes {
		t.Errorf("status says %+v, %d bytes to erase", st.Lock, st.Bytes.ToErase)
	}
	if len(st.Attention) > 0 {
		t.Errorf("attention: %v", st.Attention)
	}
	w.Now = until.Add(time.Hour)
	if p = w.Prune(); p.Locked != 0 || p.Erased == 0 {
		t.Errorf("after the locks: %+v", p)
	}
	must(t, w.H.Catalog.Packs(t.Context(), func(u *catalog.PackUse) error {
		if u.Condemned != 0 {
			t.Errorf("pack %s is still condemned", u.ID.Short())
		}
		return nil
	}))
	for name := range locks(t, b) {
		if !strings.HasPrefix(name, "leases/") && !needed(t, w, name) {
			t.Errorf("%s is still in the bucket", name)
		}
	}
	checkClean(t, w)
}

// A store whose clock is some seconds behind ours, or counts in whole seconds,
// keeps no journal of a forgotten user.
func TestForgetByASlowClock(t *testing.T) {
	w, b := lockedWorld(t, 9)
	w.Deliver("ann", "INBOX", w.Message("ZYXANN"))
	w.Fill("bob", "INBOX", 3)
	w.Backup()
	old := locks(t, b)
	w.Sleep(10 * day) // no lock is left
	b.Clock = func() time.Time { return w.Now.Add(-3 * time.Second) }
	_, err := upkeep.Forget(t.Context(), w.H, "ann", w.PruneOptions())
	must(t, err)
	now := locks(t, b)
	for name := range old {
		if _, there := now[name]; there && (strings.HasPrefix(name, "journals/") || strings.HasPrefix(name, "packs/")) {
			t.Errorf("%s is still there", name)
		}
	}
}

// Whoever has the keys to the bucket overwrites and hides everything. The next
// night, a rebuilt catalog and a whole check find nothing wrong.
func TestEverythingTakenAway(t *testing.T) {
	for _, attack := range []string{"overwrite", "hide", "both"} {
		t.Run(attack, func(t *testing.T) {
			w, b := lockedWorld(t, 9)
			w.Fill("ann", "INBOX", 5)
			w.Backup()
			w.Fill("ann", "INBOX", 2)
			w.Backup()
			for name, until := range locks(t, b) {
				if until.IsZero() {
					continue
				}
				if attack != "hide" {
					must(t, b.PutVersion(t.Context(), name, []byte("gone"), objstore.Lock{}))
				}
				if attack != "overwrite" {
					must(t, b.Hide(name))
				}
			}
			v, err := vault.Open(t.Context(), b, w.H.Host.Pin())
			must(t, err)
			w.H.Vault = v
			w.Fill("ann", "INBOX", 2)
			w.Backup()
			checkClean(t, w)
			if n := len(w.List(catalog.Query{})); n != 9 {
				t.Errorf("%d messages, want 9", n)
			}
			w.Rebuilt(v, "rebuilt.db")
			if _, err := vault.Create(t.Context(), b, vault.CreateOptions{Root: w.Identity.Root(), Recipients: []string{w.Identity.Recipient()},
				Cutting: chunk.DefaultParams(), Lock: v.Config().Lock}); !errors.Is(err, vault.ErrVaultExists) {
				t.Errorf("a vault over hidden objects: %v, want ErrVaultExists", err)
			}
		})
	}
}

// A credential that may neither delete nor overwrite does for nightly runs,
// checks and restores, beside another host whose leases it cannot tidy away.
// What needs more says so.
func TestPutOnly(t *testing.T) {
	w, b := lockedWorld(t, 9)
	paths := w.Fill("ann", "INBOX", 5)
	w.Backup()
	asked := 0
	b.Denied = func(op, _ string) bool {
		if op == "delete" {
			asked++
		}
		return op != "put"
	}
	for range 4 {
		w.Now = w.Now.Add(day)
		w.Fill("ann", "INBOX", 1)
		w.Backup()
	}
	checkClean(t, w)
	if asked == 0 {
		t.Error("nobody tried to delete a lease: the test shows nothing")
	}
	// Locks that cannot be extended stop no prune, and are told.
	r := w.Prune()
	if r.LockProblem == "" || r.Clean() || r.Extended != 0 {
		t.Errorf("a prune that may not lock: %+v", r)
	}
	w.Remove(paths...)
	w.Backup()
	w.Now = w.Now.Add(30 * day)
	w.Backup()
	_, err := upkeep.Prune(t.Context(), w.H, w.PruneOptions())
	must(t, err)
	w.Now = w.Now.Add(30 * day)
	_, err = upkeep.Prune(t.Context(), w.H, w.PruneOptions())
	if !errors.Is(err, objstore.ErrDenied) || !strings.Contains(err.Error(), "delete packs/") {
		t.Errorf("a prune that may not delete: %v", err)
	}
	b.Denied = nil
	if r := w.Prune(); r.Erased == 0 || r.LockProblem != "" {
		t.Errorf("with the upkeep credential: %+v", r)
	}
}
