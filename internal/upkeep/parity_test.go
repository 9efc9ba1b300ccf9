package upkeep_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"salvor/internal/history"
	"salvor/internal/objstore"
	"salvor/internal/objstore/faulty"
	"salvor/internal/parity"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
)

// corner is a part of a store that stands for a store of its own.
type corner struct {
	objstore.Store
	prefix string
}

func (c corner) Put(ctx context.Context, name string, body []byte) error {
	return c.Store.Put(ctx, c.prefix+name, body)
}

func (c corner) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	return c.Store.Get(ctx, c.prefix+name, off, n)
}

func (c corner) Delete(ctx context.Context, name string) error {
	return c.Store.Delete(ctx, c.prefix+name)
}

func (c corner) List(ctx context.Context, prefix string, yield func(objstore.Info) error) error {
	return c.Store.List(ctx, c.prefix+prefix, func(i objstore.Info) error {
		i.Name = strings.TrimPrefix(i.Name, c.prefix)
		return yield(i)
	})
}

func (c corner) Stat(ctx context.Context, name string) (objstore.Info, error) {
	i, err := c.Store.(objstore.Stater).Stat(ctx, c.prefix+name)
	i.Name = name
	return i, err
}

func (c corner) Now(ctx context.Context) (time.Time, error) {
	return c.Store.(objstore.Clock).Now(ctx)
}

// threeDisks is a world whose vault is spread 2+1, and its targets.
func threeDisks(t *testing.T, dir string) (w *world.World, disks []*faulty.Store, reopen func()) {
	t.Helper()
	var under objstore.Store
	open := func(s objstore.Store) objstore.Store {
		if under == nil {
			under = s
			for i := range 3 {
				disks = append(disks, faulty.New(corner{s, fmt.Sprintf("disk%d/", i+1)}))
			}
		}
		var targets []parity.Target
		for i, d := range disks {
			targets = append(targets, parity.Target{Label: fmt.Sprintf("disk%d", i+1), Store: d})
		}
		st, err := parity.New(parity.Options{Layout: parity.Layout{Data: 2, Parity: 1, Targets: 3}, Targets: targets,
			Whole: func(name string) bool {
				return !strings.HasPrefix(name, "packs/") && !strings.HasPrefix(name, "journals/") && !strings.HasPrefix(name, "checkpoints/")
			}})
		must(t, err)
		return st
	}
	w = world.NewIn(t, dir, open)
	w.Policy.Erase = time.Hour
	w.H.LeaseTTL = 20 * time.Millisecond
	return w, disks, func() {
		w.Store = open(under)
		w.H = &history.History{Vault: w.Reopen(), Catalog: w.H.Catalog, Host: w.H.Host, Keys: w.H.Keys, LeaseTTL: w.H.LeaseTTL}
	}
}

// A disk dies at any moment of a vault's life: no command fails. When it is
// back, a repair gives it what it has missed, and then another one may go.
func TestDiskDiesAtAnyMoment(t *testing.T) {
	for nth, met := 1, 1; met > 0; nth += 1 + nth/4 {
		dir, err := os.MkdirTemp(memory(), "salvor")
		must(t, err)
		defer os.RemoveAll(dir)
		w, disks, reopen := threeDisks(t, dir)
		disks[nth%3].Set(faulty.Fault{Nth: nth, Lasting: true})
		err = story(t, w, func(name string, do func() error) error {
			if err := do(); err != nil {
				t.Fatalf("disk %d away from its call %d on: %s: %v", nth%3+1, nth, name, err)
			}
			return nil
		})
		must(t, err)
		met = disks[nth%3].Met()
		disks[nth%3].Set()
		reopen()
		now := func() time.Time { return w.Now }
		r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{Repair: true, ReadData: true, Now: now})
		must(t, err)
		if len(r.Damaged) != len(r.Repaired) || len(r.Lost) > 0 {
			t.Fatalf("call %d: repair: %+v", nth, r)
		}
		disks[(nth+1)%3].Set(faulty.Fault{Lasting: true})
		reopen()
		r, err = upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true, Now: now})
		must(t, err)
		if len(r.Damaged) > 0 || len(r.Lost) > 0 {
			t.Fatalf("call %d: without another disk: %+v", nth, r)
		}
	}
}

// Every call to one disk fails once, the others work: no command fails, but
// for one that could not erase, which says so and can be run again.
func TestEveryCallToADiskFailsOnce(t *testing.T) {
	for _, effect := range []faulty.Effect{faulty.FailBefore, faulty.FailAfter} {
		for nth, met := 1, 1; met > 0; nth += 1 + nth/4 {
			dir, err := os.MkdirTemp(memory(), "salvor")
			must(t, err)
			defer os.RemoveAll(dir)
			w, disks, _ := threeDisks(t, dir)
			// The disk itself is at fault; it is not away.
			disks[nth%3].Set(faulty.Fault{Nth: nth, Effect: effect, Err: os.ErrInvalid})
			must(t, story(t, w, func(name string, do func() error) error {
				err := do()
				if err != nil && strings.Contains(err.Error(), "delete") {
					err = do()
				}
				if err != nil {
					t.Fatalf("call %d of disk %d: %s: %v", nth, nth%3+1, name, err)
				}
				return nil
			}))
			met = disks[nth%3].Met()
			r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{Repair: true, ReadData: true, Now: func() time.Time { return w.Now }})
			must(t, err)
			if len(r.Damaged) != len(r.Repaired) || len(r.Lost) > 0 {
				t.Fatalf("call %d: repair: %+v", nth, r)
			}
		}
	}
}
