package parity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"salvor/internal/objstore"
)

// flaky is a target as one process sees it: its calls fail now and then, before
// or after they took effect, and after some of them the process is dead.
type flaky struct {
	objstore.Store
	rnd  func(n int) int
	odds int   // one call in so many fails; 0: none
	left *life // of the process
}

// life is how many more calls a process does before it is killed; negative: it
// is not.
type life struct {
	mu   sync.Mutex
	left int
}

func (l *life) spend() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left > 0 {
		l.left--
	}
	return l.left != 0
}

func (f *flaky) do(call func() error) error {
	runtime.Gosched()
	if !f.left.spend() {
		return objstore.ErrUnavailable
	}
	fate := -1
	if f.odds > 0 {
		fate = f.rnd(f.odds)
	}
	if fate == 0 {
		return objstore.ErrUnavailable
	}
	err := call()
	if fate == 1 {
		return objstore.ErrUnavailable
	}
	return err
}

func (f *flaky) Put(ctx context.Context, name string, body []byte) error {
	return f.do(func() error { return f.Store.Put(ctx, name, body) })
}

func (f *flaky) Delete(ctx context.Context, name string) error {
	return f.do(func() error { return f.Store.Delete(ctx, name) })
}

func (f *flaky) Get(ctx context.Context, name string, off, n int64) (b []byte, err error) {
	err = f.do(func() error { b, err = f.Store.Get(ctx, name, off, n); return err })
	return b, err
}

// election is the model: what was told to writers and readers to be the value
// of a name.
type election struct {
	t       *testing.T
	rnd     *rand.Rand
	mu      sync.Mutex
	disks   []*memory
	blank   int // the disk that was replaced and is not filled yet; -1: none
	decided map[string][]byte
	doubts  int
	log     map[string][]string
}

func (e *election) n(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rnd.IntN(n)
}

// process is a store as a process sees it, with some targets away.
func (e *election) process(away, odds, calls int) *Store {
	l := layout(1, 1, len(e.disks))
	out := e.perm()[:away]
	left := &life{left: calls}
	var targets []Target
	for i, d := range e.disks {
		t := Target{Label: fmt.Sprint(i), Store: &flaky{d, e.n, odds, left}, Blank: i == e.blank}
		if slices.Contains(out, i) {
			t = Target{Label: fmt.Sprint(i), Err: objstore.ErrUnavailable, Blank: i == e.blank}
		}
		targets = append(targets, t)
	}
	return newStore(e.t, Options{Layout: l, Targets: targets, Whole: func(string) bool { return true }, Retry: time.Hour})
}

func (e *election) perm() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rnd.Perm(len(e.disks))
}

// told notes that somebody was told the value of a name.
func (e *election) told(who, name string, value []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log[name] = append(e.log[name], who+" was told "+string(value))
	if old, ok := e.decided[name]; ok && !bytes.Equal(old, value) {
		e.t.Fatalf("%s was told that %s is %s, it was %s before\n%q", who, name, value, old, e.log[name])
	}
	e.decided[name] = value
}

// write lets a process put a value.
func (e *election) write(who, name string, s *Store) {
	value := []byte(who + " " + name)
	err := s.Put(e.t.Context(), name, value)
	if err == nil {
		e.told(who, name, value)
	} else if !errors.Is(err, objstore.ErrExists) && !errors.Is(err, objstore.ErrUnavailable) {
		e.t.Errorf("put %s: %v", name, err)
	}
}

// read lets a process read what several have written; strict wants a value
// where there is one.
func (e *election) read(name string, s *Store, strict bool) {
	got, err := s.Get(e.t.Context(), name, 0, -1)
	switch {
	case err == nil:
		e.told("a reader", name, got)
	case errors.Is(err, objstore.ErrNotExist):
		if v, ok := e.decided[name]; ok {
			e.t.Fatalf("%s is gone, it was %s\n%q", name, v, e.log[name])
		}
	case strict:
		e.t.Fatalf("read %s with all targets there: %v\n%q", name, err, e.log[name])
	}
}

// fill fills the disk that was replaced. Where only its votes could tell what
// counts, an operator decides, as docs/runbook.md has it.
func (e *election) fill() {
	s := e.process(e.n(2), 0, -1)
	doubts := map[string]bool{}
	filled, err := s.Scrub(e.t.Context(), ScrubOptions{Repair: true}, func(f Finding) error {
		if errors.Is(f.Err, objstore.ErrUnavailable) && f.Target == "" {
			doubts[f.Object] = true
		}
		return nil
	})
	if err == nil && slices.Contains(filled, e.blank) {
		e.blank = -1
	} else if err != nil && !errors.Is(err, objstore.ErrUnavailable) {
		e.t.Errorf("fill: %v", err)
	}
	if s.anyAway() {
		return
	}
	for name := range doubts {
		e.doubts++
		var keep []byte
		for _, d := range e.disks {
			b, ok := unwrap(d.objects[name])
			if told, known := e.decided[name]; ok && (!known || bytes.Equal(b, told)) {
				keep = b
			}
		}
		for _, d := range e.disks {
			if b, ok := unwrap(d.objects[name]); ok && !bytes.Equal(b, keep) {
				delete(d.objects, name)
			}
		}
	}
}

// TestElections lets two writers meet at every name, with other targets away
// for each, calls that fail, and writers that die half way; now and then a
// disk is replaced by an empty one. Nobody is ever told two values of a name,
// and none vanishes.
func TestElections(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const names = 400
	for _, targets := range []int{1, 2, 3, 4, 5, 6} {
		t.Run(fmt.Sprint(targets), func(t *testing.T) {
			e := &election{t: t, rnd: rand.New(rand.NewPCG(seed, uint64(targets))), blank: -1, decided: map[string][]byte{}, log: map[string][]string{}}
			for range targets {
				e.disks = append(e.disks, newMemory())
			}
			for i := range names {
				name := fmt.Sprintf("commits/%05d", i)
				var wg sync.WaitGroup
				for _, who := range []string{"ann", "bob"} {
					for range 1 + e.n(2) { // now and then it tries again
						s := e.process(e.n(targets/2+1), []int{0, 0, 10, 30}[e.n(4)], []int{-1, -1, e.n(3 * targets)}[e.n(3)])
						wg.Go(func() { e.write(who, name, s) })
					}
				}
				wg.Wait()
				// Readers that reach a majority are told what counts.
				e.read(name, e.process(e.n((targets-1)/2+1), 0, -1), false)
				if e.blank < 0 {
					e.read(name, e.process(0, 0, -1), true)
				}
				switch {
				case e.blank >= 0 && e.n(3) == 0:
					e.fill()
				case e.blank < 0 && targets > 1 && e.n(20) == 0:
					e.blank = e.n(targets)
					e.disks[e.blank].objects = map[string][]byte{}
				}
			}
			for e.blank >= 0 {
				e.fill()
			}
			all := e.process(0, 0, -1)
			for name := range e.decided {
				e.read(name, all, true)
			}
			t.Logf("%d of %d names have a value, %d times an operator had to decide", len(e.decided), names, e.doubts)
		})
	}
}
