package parity

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"salvor/internal/objstore"
	"salvor/internal/objstore/crash"
	"salvor/internal/objstore/dir"
	"salvor/internal/objstore/storetest"
)

// machines are the disks of a store whose process, and with it the power, can
// be cut off after any step.
type machines struct {
	t     *testing.T
	l     Layout
	luck  *rand.Rand
	disks []*crash.Disk
}

func newMachines(t *testing.T, l Layout, luck *rand.Rand) *machines {
	m := &machines{t: t, l: l, luck: luck}
	for range l.Targets {
		d, err := crash.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		m.disks = append(m.disks, d)
	}
	return m
}

// process is a store whose process does so many steps on each disk.
func (m *machines) process(steps int) (*Store, []*crash.Process) {
	var targets []Target
	var all []*crash.Process
	for i, d := range m.disks {
		n := steps
		if n >= 0 {
			n += m.luck.IntN(4)
		}
		p := d.Process(n)
		all = append(all, p)
		targets = append(targets, Target{Label: fmt.Sprint(i), Store: p.Store()})
	}
	return newStore(m.t, Options{Layout: m.l, Targets: targets}), all
}

// powerCut is the store that is found afterwards.
func (m *machines) powerCut() *Store {
	m.t.Helper()
	var targets []Target
	for i, d := range m.disks {
		path := m.t.TempDir()
		if err := d.Survive(path, m.luck); err != nil {
			m.t.Fatal(err)
		}
		s, err := dir.Open(m.t.Context(), path, dir.Options{})
		if err != nil {
			m.t.Fatal(err)
		}
		targets = append(targets, Target{Label: fmt.Sprint(i), Store: s})
	}
	return newStore(m.t, Options{Layout: m.l, Targets: targets})
}

// TestPowerCutWhilePutting cuts the power after every step of a put: what was
// promised is there, and what was not is there whole or not at all, and can be
// put again.
func TestPowerCutWhilePutting(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	luck := rand.New(rand.NewPCG(seed, 0))
	one, two := storetest.Bytes(1, 9000), storetest.Bytes(2, 9000)
	for _, name := range []string{"packs/ab/x", "commits/1"} {
		for steps := 0; ; steps++ {
			m := newMachines(t, layout(2, 1, 3), luck)
			s, processes := m.process(steps)
			promised := s.Put(t.Context(), name, one)
			after := m.powerCut()
			got, err := after.Get(t.Context(), name, 0, -1)
			if promised == nil && (err != nil || !bytes.Equal(got, one)) {
				t.Fatalf("%s, %d steps: promised, and now: %d bytes, %v", name, steps, len(got), err)
			}
			if err != nil && !errors.Is(err, objstore.ErrNotExist) || err == nil && !bytes.Equal(got, one) {
				t.Fatalf("%s, %d steps: %d bytes, %v", name, steps, len(got), err)
			}
			again := one
			if !after.sharded(name) {
				again = two // somebody else's, who wins only if there is nothing yet
			}
			perr := after.Put(t.Context(), name, again)
			want := again
			if err == nil {
				want = one
			}
			if !bytes.Equal(want, again) != errors.Is(perr, objstore.ErrExists) || bytes.Equal(want, again) && perr != nil {
				t.Fatalf("%s, %d steps: the next put: %v", name, steps, perr)
			}
			if got, err := after.Get(t.Context(), name, 0, -1); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s, %d steps: at last: %d bytes, %v", name, steps, len(got), err)
			}
			if promised == nil && processes[0].Steps() < steps && processes[1].Steps() < steps && processes[2].Steps() < steps {
				break
			}
		}
	}
}

// TestPowerCutWhileRepairing cuts it after every step of a repair: the object
// is there all the time, and so is what was damaged.
func TestPowerCutWhileRepairing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	luck := rand.New(rand.NewPCG(seed, 0))
	body := storetest.Bytes(1, 20000)
	for _, name := range []string{"packs/ab/x", "commits/1"} {
		for steps := 0; ; steps++ {
			m := newMachines(t, layout(2, 1, 3), luck)
			s, _ := m.process(-1)
			if err := s.Put(t.Context(), name, body); err != nil {
				t.Fatal(err)
			}
			// One disk has the object with a rotten byte.
			store := s.targets[1].store
			share, err := store.Get(t.Context(), name, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			share[5000] ^= 1
			if err := errors.Join(store.Delete(t.Context(), name), store.Put(t.Context(), name, share)); err != nil {
				t.Fatal(err)
			}
			s, processes := m.process(steps)
			if _, err := s.Scrub(t.Context(), repair(), func(Finding) error { return nil }); err != nil {
				t.Fatal(err)
			}
			after := m.powerCut()
			if got, err := after.Get(t.Context(), name, 0, -1); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%s, %d steps: %d bytes, %v", name, steps, len(got), err)
			}
			if _, err := after.Scrub(t.Context(), repair(), func(Finding) error { return nil }); err != nil {
				t.Fatal(err)
			}
			var left []Finding
			if _, err := after.Scrub(t.Context(), deep(), func(f Finding) error { left = append(left, f); return nil }); err != nil || len(left) > 0 {
				t.Fatalf("%s, %d steps: still %+v, %v", name, steps, left, err)
			}
			kept := 0
			err = after.targets[1].store.List(t.Context(), asidePrefix(name), func(objstore.Info) error { kept++; return nil })
			if err != nil || kept != 1 {
				t.Fatalf("%s, %d steps: %d damaged copies were kept, %v", name, steps, kept, err)
			}
			if processes[1].Steps() < steps {
				break
			}
		}
	}
}
