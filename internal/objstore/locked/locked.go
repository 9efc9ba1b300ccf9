// Package locked is an object store in which nobody can take away or replace
// what lies there for a time: a bucket with object lock (object.Locker), seen as
// a store of immutable objects.
//
// What is put gets a lock. Whoever may write to the bucket can still put a
// version on top of an object, or hide it behind a delete marker; what was there
// before stays below. So a name stands for the version whose SHA-256 is the
// name, where names are hashes, and else for the oldest one: objects are only
// created where there is none, and so the first to come is the one that counts.
// The newest is never taken for granted, and markers count for nothing.
// Deleting removes every version, as soon as its lock is over.
//
// Only internal/vault calls this package; it says which names are locked.
package locked

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"salvor/internal/objstore/object"
)

// Rules say what is locked, and how.
type Rules struct {
	Mode object.LockMode
	For  time.Duration // from the moment when an object is put
	// Locked tells which names are.
	Locked func(name string) bool
	// Sum is the SHA-256 that a name promises; ok is false for other names.
	Sum func(name string) (sum [sha256.Size]byte, ok bool)
}

// Store is such a store. It implements object.Store, Stater and Clock.
type Store struct {
	under store
	rules Rules

	mu    sync.Mutex
	known map[string]object.Version // what names stand for, at most maxKnown
}

type store interface {
	object.Store
	object.Locker
	object.Clock
}

// maxKnown bounds what is remembered of versions: a few megabytes.
const maxKnown = 16384

// New puts rules over a store; ok is false when that cannot lock at all.
func New(under object.Store, rules Rules) (s *Store, ok bool) {
	st, ok := under.(store)
	return &Store{under: st, rules: rules, known: map[string]object.Version{}}, ok
}

// String is the name of the store below.
func (s *Store) String() string { return fmt.Sprint(s.under) }

// Now implements object.Clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) { return s.under.Now(ctx) }

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, name string, body []byte) error {
	if !s.rules.Locked(name) {
		return s.under.Put(ctx, name, body)
	}
	// By the store's own clock: a host whose clock is wrong would lock too short,
	// or for years.
	now, err := s.under.Now(ctx)
	if err != nil {
		return err
	}
	l := object.Lock{Mode: s.rules.Mode, Until: now.Add(s.rules.For).UTC().Truncate(time.Second)}
	err = s.under.PutLocked(ctx, name, body, l)
	sum, hashed := s.rules.Sum(name)
	if err != nil && !errors.Is(err, object.ErrExists) || err == nil && hashed {
		return err
	}
	// Where a marker hid an earlier version, the server may have found the name
	// free, or taken.
	s.forget(name)
	there, err := s.stands(ctx, name)
	if err != nil {
		return err
	}
	if hashed && sha256.Sum256(there) != sum {
		defer s.forget(name)
		return s.under.PutVersion(ctx, name, body, l)
	}
	if !bytes.Equal(there, body) {
		return &object.Error{Op: "put", Name: name, Store: s.String(), Kind: object.ErrExists}
	}
	return nil
}

// stands gives the bytes that a name stands for.
func (s *Store) stands(ctx context.Context, name string) ([]byte, error) {
	v, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.under.GetVersion(ctx, v, 0, -1)
}

// Get implements object.Store.
func (s *Store) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	for again := false; ; again = true {
		v, err := s.find(ctx, name)
		if err != nil {
			return nil, err
		}
		b, err := s.under.GetVersion(ctx, v, off, n)
		if again || !errors.Is(err, object.ErrNotExist) {
			return b, err
		}
		s.forget(name) // it was erased, and perhaps stored anew
	}
}

// Stat implements object.Stater.
func (s *Store) Stat(ctx context.Context, name string) (object.Info, error) {
	v, err := s.find(ctx, name)
	return v.Info, err
}

// List implements object.Store.
func (s *Store) List(ctx context.Context, prefix string, yield func(object.Info) error) error {
	return s.each(ctx, prefix, func(v object.Version) error { return yield(v.Info) })
}

// each calls yield for what every name stands for, in the order of names.
func (s *Store) each(ctx context.Context, prefix string, yield func(object.Version) error) error {
	var all []object.Version // of one name
	give := func() error {
		v, ok, err := s.choose(ctx, all)
		if err != nil || !ok {
			return err
		}
		s.know(v)
		return yield(v)
	}
	err := s.under.Versions(ctx, prefix, func(v object.Version) error {
		if len(all) > 0 && all[0].Name != v.Name {
			if err := give(); err != nil {
				return err
			}
			all = all[:0]
		}
		all = append(all, v)
		return nil
	})
	if err != nil {
		return err
	}
	return give()
}

// choose gives the version that a name stands for; ok is false when there are
// only markers. all are its versions, newest first.
func (s *Store) choose(ctx context.Context, all []object.Version) (v object.Version, ok bool, err error) {
	all = slices.DeleteFunc(slices.Clone(all), func(v object.Version) bool { return v.Marker })
	if len(all) == 0 {
		return object.Version{}, false, nil
	}
	oldest := all[len(all)-1]
	sum, hashed := s.rules.Sum(oldest.Name)
	if !hashed || len(all) == 1 {
		return oldest, true, nil
	}
	for _, v := range slices.Backward(all) {
		if object.CheckSize(v.Size) != nil {
			continue
		}
		b, err := s.under.GetVersion(ctx, v, 0, -1)
		if err != nil && !errors.Is(err, object.ErrNotExist) {
			return object.Version{}, false, err
		}
		if err == nil && sha256.Sum256(b) == sum {
			return v, true, nil
		}
	}
	return oldest, true, nil // whoever reads it finds the damage
}

// Covered calls yield for every locked name on which something was put, or which
// was hidden: salvor never does that.
func (s *Store) Covered(ctx context.Context, yield func(name string) error) error {
	name, versions := "", 0
	return s.under.Versions(ctx, "", func(v object.Version) error {
		if v.Name != name {
			name, versions = v.Name, 0
		}
		if versions++; versions == 2 && s.rules.Locked(name) {
			return yield(name)
		}
		return nil
	})
}

// find gives the version that a name stands for.
func (s *Store) find(ctx context.Context, name string) (object.Version, error) {
	s.mu.Lock()
	v, ok := s.known[name]
	s.mu.Unlock()
	if ok {
		return v, nil
	}
	all, err := s.versions(ctx, name)
	if err != nil {
		return object.Version{}, err
	}
	if v, ok, err = s.choose(ctx, all); err != nil {
		return object.Version{}, err
	}
	if !ok {
		return object.Version{}, &object.Error{Op: "get", Name: name, Store: s.String(), Kind: object.ErrNotExist}
	}
	s.know(v)
	return v, nil
}

// versions gives all versions of one name, markers too, newest first.
func (s *Store) versions(ctx context.Context, name string) (all []object.Version, err error) {
	if err := object.CheckName(name); err != nil {
		return nil, err
	}
	errEnd := errors.New("end")
	err = s.under.Versions(ctx, name, func(v object.Version) error {
		if v.Name != name {
			return errEnd // the name is the first one with this prefix
		}
		all = append(all, v)
		return nil
	})
	if errors.Is(err, errEnd) {
		err = nil
	}
	return all, err
}

func (s *Store) know(v object.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKnown {
		clear(s.known) // it is asked for again
	}
	s.known[v.Name] = v
}

func (s *Store) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, name)
}

// Delete implements object.Store: it removes every version. *RetainedError when
// some are locked still; the others are gone then.
func (s *Store) Delete(ctx context.Context, name string) error {
	all, err := s.versions(ctx, name)
	if err != nil || len(all) == 0 {
		return err
	}
	now, err := s.under.Now(ctx)
	if err != nil {
		return err
	}
	s.forget(name)
	var until time.Time // of the last lock to end
	for _, v := range all {
		end, err := s.deleteVersion(ctx, v, now)
		if err != nil {
			return err
		}
		if end.After(until) {
			until = end
		}
	}
	if !until.IsZero() {
		return &object.RetainedError{Name: name, Until: until}
	}
	return nil
}

// deleteVersion returns the end of the lock that keeps the version, or zero.
func (s *Store) deleteVersion(ctx context.Context, v object.Version, now time.Time) (time.Time, error) {
	end, err := s.lockedUntil(ctx, v)
	if err != nil || end.After(now) {
		return end, err
	}
	err = s.under.DeleteVersion(ctx, v)
	if err != nil && end.After(now.Add(-rounding)) {
		return end, nil
	}
	return time.Time{}, err
}

// rounding is how exact clocks and locks are.
const rounding = 2 * time.Second

// lockedUntil gives the end of a version's lock; zero when it has none.
func (s *Store) lockedUntil(ctx context.Context, v object.Version) (time.Time, error) {
	if v.Marker || !s.rules.Locked(v.Name) {
		return time.Time{}, nil
	}
	l, err := s.under.LockOf(ctx, v)
	if errors.Is(err, object.ErrNotExist) {
		err = nil // erased meanwhile
	}
	return l.Until, err
}

// Retained is when Delete will be able to remove the last version of an object;
// a moment that is past when it is now.
func (s *Store) Retained(ctx context.Context, name string) (until time.Time, err error) {
	all, err := s.versions(ctx, name)
	for i := 0; err == nil && i < len(all); i++ {
		var end time.Time
		if end, err = s.lockedUntil(ctx, all[i]); end.After(until) {
			until = end
		}
	}
	return until, err
}

// ErrNotLocking says that a store does not keep what it was asked to lock.
var ErrNotLocking = errors.New("the store does not lock objects")

// Prove makes sure that an object which was just put is locked: the store says
// so, and does not delete it.
func (s *Store) Prove(ctx context.Context, name string) error {
	v, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	now, err := s.under.Now(ctx)
	if err != nil {
		return err
	}
	l, err := s.under.LockOf(ctx, v)
	if err != nil {
		return err
	}
	if l.Mode != s.rules.Mode || l.Until.Before(now.Add(s.rules.For*9/10)) {
		return fmt.Errorf("%w: %s was put with a lock and has none", ErrNotLocking, name)
	}
	if err := s.under.DeleteVersion(ctx, v); err == nil {
		return fmt.Errorf("%w: %s was locked and could be deleted all the same", ErrNotLocking, name)
	}
	return ctx.Err()
}
