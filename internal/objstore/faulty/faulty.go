// Package faulty makes a good object store fail as a test wants: the n-th
// call fails before or after it took effect, an object comes back damaged, cut
// or late. Faults are data, so that a test is a table of them, and a loop over
// Nth with Met as its end fails every single call of an operation in turn.
//
// It is for tests only.
package faulty

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"salvor/internal/objstore/object"
)

// Op is an operation of a store; "" in a Fault is any of them.
type Op string

// The operations.
const (
	Put    Op = "put"
	Get    Op = "get"
	List   Op = "list"
	Delete Op = "delete"
	Stat   Op = "stat"
	Now    Op = "now"
	Free   Op = "free"
)

// Effect is what a fault does.
type Effect int

// The effects.
const (
	// FailBefore returns the error and does nothing.
	FailBefore Effect = iota
	// FailAfter does the operation and returns the error all the same, as
	// when a server's answer is lost.
	FailAfter
	// Flip inverts a bit of what Get returns; At is its number, taken modulo
	// the number of bits.
	Flip
	// Truncate makes Get see only the object's first At bytes.
	Truncate
	// Slow waits for Delay first.
	Slow
)

// Fault is one fault of a Store. The zero value fails the first call.
type Fault struct {
	Effect Effect
	// Op, and the beginning Name of an object's name or a listing's prefix,
	// say which calls the fault may meet.
	Op   Op
	Name string
	// Nth is which of those calls it meets, counted from 1; 0 is 1.
	Nth int
	// Lasting makes it meet all later ones, too.
	Lasting bool
	// Err is the error that is returned; nil is object.ErrUnavailable.
	Err   error
	At    int64
	Delay time.Duration
}

// Call is a call that a Store has seen.
type Call struct {
	Op   Op
	Name string // the object, or List's prefix
	Size int    // bytes that Put was given or Get has returned
}

// Store is a store with faults. It implements object.Store, Stater, Clock and
// Space as far as the store below does; where that does not, it says so in an
// error. It is safe for concurrent use.
type Store struct {
	under object.Store

	mu     sync.Mutex
	faults []Fault
	seen   []int // calls of each fault's kind
	met    int
	calls  []Call
}

// New puts faults before a store.
func New(under object.Store, faults ...Fault) *Store {
	s := &Store{under: under}
	s.Set(faults...)
	return s
}

// Set replaces the faults and starts counting anew.
func (s *Store) Set(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.seen, s.met, s.calls = faults, make([]int, len(faults)), 0, nil
}

// Met is how many calls have met a fault since Set.
func (s *Store) Met() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.met
}

// Calls are the calls since Set, in order of their beginning.
func (s *Store) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Count is how many of the calls since Set were op and had to do with a name
// that begins with prefix.
func (s *Store) Count(op Op, prefix string) int {
	n := 0
	for _, c := range s.Calls() {
		if c.Op == op && strings.HasPrefix(c.Name, prefix) {
			n++
		}
	}
	return n
}

// begin counts a call and returns the faults that it meets.
func (s *Store) begin(op Op, name string, size int) (faults []Fault, call int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, Call{op, name, size})
	for i, f := range s.faults {
		if f.Op != "" && f.Op != op || !strings.HasPrefix(name, f.Name) {
			continue
		}
		s.seen[i]++
		nth := max(f.Nth, 1)
		if s.seen[i] == nth || f.Lasting && s.seen[i] > nth {
			faults = append(faults, f)
		}
	}
	if len(faults) > 0 {
		s.met++
	}
	return faults, len(s.calls) - 1
}

// run does one call with the faults that it meets.
func (s *Store) run(ctx context.Context, faults []Fault, op Op, name string, do func() error) error {
	for _, f := range faults {
		switch f.Effect {
		case FailBefore:
			return f.failure(op, name)
		case Slow:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(f.Delay):
			}
		}
	}
	err := do()
	for _, f := range faults {
		if f.Effect == FailAfter && err == nil {
			err = f.failure(op, name)
		}
	}
	return err
}

func (f Fault) failure(op Op, name string) error {
	err := f.Err
	if err == nil {
		err = object.ErrUnavailable
	}
	return fmt.Errorf("%s %s in faulty store: %w", op, name, err)
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, name string, body []byte) error {
	faults, _ := s.begin(Put, name, len(body))
	return s.run(ctx, faults, Put, name, func() error { return s.under.Put(ctx, name, body) })
}

// Get implements object.Store.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (data []byte, err error) {
	faults, call := s.begin(Get, name, 0)
	err = s.run(ctx, faults, Get, name, func() error {
		data, err = s.under.Get(ctx, name, off, n)
		for _, f := range faults {
			if err == nil {
				data, err = f.damage(data, name, off, n)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if call < len(s.calls) {
		s.calls[call].Size = len(data)
	}
	return data, nil
}

// damage does to the bytes from off on what the fault says; n is what Get was
// asked for.
func (f Fault) damage(data []byte, name string, off, n int64) ([]byte, error) {
	switch f.Effect {
	case Flip:
		if len(data) > 0 {
			bit := int(f.At % int64(8*len(data)))
			data[bit/8] ^= 1 << (bit % 8)
		}
	case Truncate:
		if off+int64(len(data)) <= f.At {
			break
		}
		if n >= 0 || off > f.At {
			return nil, fmt.Errorf("get %s in faulty store: %w: it has %d bytes", name, io.ErrUnexpectedEOF, f.At)
		}
		return data[:f.At-off], nil
	}
	return data, nil
}

// List implements object.Store.
func (s *Store) List(ctx context.Context, prefix string, yield func(object.Info) error) error {
	faults, _ := s.begin(List, prefix, 0)
	return s.run(ctx, faults, List, prefix, func() error { return s.under.List(ctx, prefix, yield) })
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	faults, _ := s.begin(Delete, name, 0)
	return s.run(ctx, faults, Delete, name, func() error { return s.under.Delete(ctx, name) })
}

// Stat implements object.Stater.
func (s *Store) Stat(ctx context.Context, name string) (info object.Info, err error) {
	faults, _ := s.begin(Stat, name, 0)
	err = s.run(ctx, faults, Stat, name, func() error {
		under, ok := s.under.(object.Stater)
		if !ok {
			return fmt.Errorf("stat %s: the store cannot", name)
		}
		info, err = under.Stat(ctx, name)
		return err
	})
	return info, err
}

// Now implements object.Clock.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	faults, _ := s.begin(Now, "", 0)
	err = s.run(ctx, faults, Now, "", func() error {
		under, ok := s.under.(object.Clock)
		if !ok {
			return fmt.Errorf("ask the clock: the store has none")
		}
		now, err = under.Now(ctx)
		return err
	})
	return now, err
}

// Free implements object.Space.
func (s *Store) Free(ctx context.Context) (free int64, err error) {
	faults, _ := s.begin(Free, "", 0)
	err = s.run(ctx, faults, Free, "", func() error {
		under, ok := s.under.(object.Space)
		if !ok {
			return fmt.Errorf("ask the free space: the store does not know")
		}
		free, err = under.Free(ctx)
		return err
	})
	return free, err
}
