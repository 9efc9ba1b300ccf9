package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"salvor/internal/durable"
	"salvor/internal/objstore/dir"
	"salvor/internal/objstore/object"
	"salvor/internal/objstore/storetest"
)

const lives = -1

func newDisk(t *testing.T) *Disk {
	t.Helper()
	d, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// fates are the ways in which a disk may survive: without luck, and with some.
func fates(n int) []*rand.Rand {
	all := []*rand.Rand{nil}
	for seed := range n {
		all = append(all, rand.New(rand.NewPCG(uint64(seed), 1)))
	}
	return all
}

// survivor is the store that is left.
func survivor(t *testing.T, d *Disk, luck *rand.Rand) *dir.Store {
	t.Helper()
	path := t.TempDir()
	if err := d.Survive(path, luck); err != nil {
		t.Fatal(err)
	}
	s, err := dir.Open(t.Context(), path, dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// holds reads everything in a store.
func holds(t *testing.T, s object.Store) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := s.List(t.Context(), "", func(i object.Info) error {
		body, err := s.Get(t.Context(), i.Name, 0, -1)
		all[i.Name] = body
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestConformance: a store on a Disk is a store.
func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) object.Store { return newDisk(t).Process(lives).Store() })
}

// TestPutSurvives cuts the power after each of many Puts and Deletes.
func TestPutSurvives(t *testing.T) {
	d := newDisk(t)
	s := d.Process(lives).Store()
	want := map[string][]byte{}
	for i := range 24 {
		name := fmt.Sprintf("packs/%02x/%d", i%5, i)
		body := storetest.Bytes(uint64(i), i*1000)
		if i%6 == 5 {
			name = fmt.Sprintf("packs/%02x/%d", (i-2)%5, i-2)
			delete(want, name)
			if err := s.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		} else {
			want[name] = body
			if err := s.Put(t.Context(), name, body); err != nil {
				t.Fatal(err)
			}
		}
		for f, luck := range fates(3) {
			got := holds(t, survivor(t, d, luck))
			if len(got) != len(want) {
				t.Fatalf("after %d steps, fate %d: %d objects are left of %d", i, f, len(got), len(want))
			}
			for name, body := range want {
				if !bytes.Equal(got[name], body) {
					t.Fatalf("after %d steps, fate %d: %s is damaged", i, f, name)
				}
			}
		}
	}
}

// TestTornPut cuts the power at every step of a Put.
func TestTornPut(t *testing.T) {
	old, body := storetest.Bytes(1, 5000), storetest.Bytes(2, 3<<20)
	for steps := 0; ; steps++ {
		d := newDisk(t)
		if err := d.Process(lives).Store().Put(t.Context(), "packs/aa/old", old); err != nil {
			t.Fatal(err)
		}
		err := d.Process(steps).Store().Put(t.Context(), "packs/bb/new", body)
		if err != nil && !errors.Is(err, ErrKilled) {
			t.Fatal(err)
		}
		for f, luck := range fates(6) {
			s := survivor(t, d, luck)
			got := holds(t, s)
			if !bytes.Equal(got["packs/aa/old"], old) {
				t.Errorf("%d steps, fate %d: the old object is damaged", steps, f)
			}
			new, there := got["packs/bb/new"]
			if there && !bytes.Equal(new, body) {
				t.Errorf("%d steps, fate %d: a torn object of %d bytes", steps, f, len(new))
			}
			if err == nil && !there {
				t.Errorf("%d steps, fate %d: the object is lost though Put returned", steps, f)
			}
			delete(got, "packs/aa/old")
			delete(got, "packs/bb/new")
			if len(got) > 0 {
				t.Errorf("%d steps, fate %d: %d other objects", steps, f, len(got))
			}
			if err := s.Put(t.Context(), "packs/bb/new", body); err != nil {
				t.Errorf("%d steps, fate %d: Put after the crash: %v", steps, f, err)
			}
		}
		if err == nil {
			t.Logf("a Put has %d steps", steps)
			return
		}
	}
}

// TestSecondWriter kills a writer at every step; another one then puts the
// same object, is told that it is there, and the power fails.
func TestSecondWriter(t *testing.T) {
	body := storetest.Bytes(3, 2000)
	for steps := 0; ; steps++ {
		d := newDisk(t)
		killed := d.Process(steps).Store().Put(t.Context(), "packs/aa/x", body)
		if err := d.Process(lives).Store().Put(t.Context(), "packs/aa/x", body); err != nil {
			t.Fatal(err)
		}
		for f, luck := range fates(6) {
			if got := holds(t, survivor(t, d, luck)); !bytes.Equal(got["packs/aa/x"], body) {
				t.Errorf("the first writer did %d steps, fate %d: the second one's object is lost", steps, f)
			}
		}
		if killed == nil {
			return
		}
	}
}

// careless is a process that leaves out one kind of sync.
type careless struct {
	*Process
	skip func(name string) bool
}

func (c careless) Sync(name string) error {
	if c.skip(name) {
		return nil
	}
	return c.Process.Sync(name)
}

func (c careless) Create(name string, perm fs.FileMode) (durable.File, error) {
	f, err := c.Process.Create(name, perm)
	if err == nil && c.skip(name) {
		f = unsynced{f}
	}
	return f, err
}

type unsynced struct{ durable.File }

func (unsynced) Sync() error { return nil }

// TestTheTest leaves out each sync of a Put, and the model must notice.
func TestTheTest(t *testing.T) {
	body := storetest.Bytes(4, 4000)
	for _, test := range []struct {
		name string
		skip func(string) bool
	}{
		{"the file", func(n string) bool { return len(n) > 5 && n[:5] == ".tmp/" }},
		{"its directory", func(n string) bool { return n == "packs/aa" }},
		{"the parent of the new directory", func(n string) bool { return n == "packs" }},
		{"the top", func(n string) bool { return n == "." }},
	} {
		d := newDisk(t)
		p := d.Process(lives)
		s := dir.New(d.root, careless{p, test.skip}, "careless")
		if err := s.Put(t.Context(), "packs/aa/x", body); err != nil {
			t.Fatal(err)
		}
		lost := slices.ContainsFunc(fates(10), func(luck *rand.Rand) bool {
			return !bytes.Equal(holds(t, survivor(t, d, luck))["packs/aa/x"], body)
		})
		if !lost {
			t.Errorf("a Put that does not sync %s survives every crash", test.name)
		}
	}
}

// TestLuckIsRepeatable: the same seed leaves the same.
func TestLuckIsRepeatable(t *testing.T) {
	d := newDisk(t)
	p := d.Process(lives)
	for i := range 20 {
		name := fmt.Sprintf("f%d", i)
		if err := durable.Fill(context.Background(), careless{p, func(string) bool { return true }}, name, storetest.Bytes(5, 3000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var first map[string][]byte
	for range 3 {
		got := holds(t, survivor(t, d, rand.New(rand.NewPCG(7, 7))))
		if first == nil {
			first = got
		}
		if fmt.Sprint(got) != fmt.Sprint(first) {
			t.Fatal("the same seed left something else")
		}
	}
	if len(first) == 0 || len(first) == 20 {
		t.Errorf("%d of 20 unsynced files are left", len(first))
	}
}
