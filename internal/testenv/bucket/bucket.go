// Package bucket is a bucket with versions and object lock in memory, whose
// clock the test moves, and which refuses what a credential may not do. It is
// imported by tests only; internal/objstore/locked is tested against a server.
package bucket

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"salvor/internal/objstore/object"
)

// Bucket implements object.Store, Stater, Clock and Locker.
type Bucket struct {
	// Clock is what the bucket's clock shows.
	Clock func() time.Time
	// Denied tells whether the credential lacks the right to do op ("put",
	// "overwrite", "delete", "lock") to an object; nil: it may do all.
	Denied func(op, name string) bool

	mu   sync.Mutex
	last int
	all  []stored // in the order of names, and of one name the newest first
}

type stored struct {
	object.Version
	body []byte
	lock object.Lock
}

// errLocked is what deleting a locked version is refused with.
var errLocked = errors.New("object is WORM protected and cannot be overwritten")

func (b *Bucket) fail(op, name string, kind error) error {
	return &object.Error{Op: op, Name: name, Store: "bucket", Kind: kind}
}

func (b *Bucket) may(op, name string) error {
	if b.Denied != nil && b.Denied(op, name) {
		return b.fail(op, name, object.ErrDenied)
	}
	return nil
}

// Put implements object.Store.
func (b *Bucket) Put(ctx context.Context, name string, body []byte) error {
	return b.PutLocked(ctx, name, body, object.Lock{})
}

// PutLocked implements object.Locker.
func (b *Bucket) PutLocked(_ context.Context, name string, body []byte, l object.Lock) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if newest, ok := b.newest(name); ok {
		if bytes.Equal(newest.body, body) {
			return nil
		}
		return b.fail("put", name, object.ErrExists)
	}
	if err := b.may("put", name); err != nil {
		return err
	}
	return b.add(name, body, l, false)
}

// PutVersion implements object.Locker.
func (b *Bucket) PutVersion(_ context.Context, name string, body []byte, l object.Lock) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.may("overwrite", name); err != nil {
		return err
	}
	return b.add(name, body, l, false)
}

// Hide puts a delete marker on top of an object, as whoever may delete can.
func (b *Bucket) Hide(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.add(name, nil, object.Lock{}, true)
}

func (b *Bucket) add(name string, body []byte, l object.Lock, marker bool) error {
	if err := object.CheckName(name); err != nil {
		return err
	}
	b.last++
	v := stored{body: slices.Clone(body), lock: l, Version: object.Version{ID: fmt.Sprint(b.last), Marker: marker,
		Info: object.Info{Name: name, Size: int64(len(body)), Modified: b.Clock()}}}
	at, _ := slices.BinarySearchFunc(b.all, name, func(s stored, name string) int { return cmp.Compare(s.Name, name) })
	b.all = slices.Insert(b.all, at, v)
	return nil
}

// newest gives what a reader sees who knows nothing of versions.
func (b *Bucket) newest(name string) (stored, bool) {
	at := slices.IndexFunc(b.all, func(s stored) bool { return s.Name == name })
	if at < 0 || b.all[at].Marker {
		return stored{}, false
	}
	return b.all[at], true
}

// Get implements object.Store.
func (b *Bucket) Get(_ context.Context, name string, off, n int64) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.newest(name)
	if !ok {
		return nil, b.fail("get", name, object.ErrNotExist)
	}
	return b.part(s, off, n)
}

func (b *Bucket) part(s stored, off, n int64) ([]byte, error) {
	if off+max(n, 0) > s.Size {
		return nil, b.fail("get", s.Name, io.ErrUnexpectedEOF)
	}
	if n < 0 {
		n = s.Size - off
	}
	return slices.Clone(s.body[off : off+n]), nil
}

// Stat implements object.Stater.
func (b *Bucket) Stat(_ context.Context, name string) (object.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.newest(name)
	if !ok {
		return object.Info{}, b.fail("stat", name, object.ErrNotExist)
	}
	return s.Info, nil
}

// List implements object.Store.
func (b *Bucket) List(ctx context.Context, prefix string, yield func(object.Info) error) error {
	before := ""
	return b.Versions(ctx, prefix, func(v object.Version) error {
		if v.Name == before {
			return nil
		}
		before = v.Name
		if v.Marker {
			return nil
		}
		return yield(v.Info)
	})
}

// Delete implements object.Store: it hides the object.
func (b *Bucket) Delete(_ context.Context, name string) error {
	if err := b.may("delete", name); err != nil {
		return err
	}
	return b.Hide(name)
}

// Now implements object.Clock.
func (b *Bucket) Now(context.Context) (time.Time, error) { return b.Clock(), nil }

// Versions implements object.Versioner.
func (b *Bucket) Versions(_ context.Context, prefix string, yield func(object.Version) error) error {
	b.mu.Lock()
	all := slices.Clone(b.all)
	b.mu.Unlock()
	for _, s := range all {
		if !strings.HasPrefix(s.Name, prefix) {
			continue
		}
		if err := yield(s.Version); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) find(v object.Version) int {
	return slices.IndexFunc(b.all, func(s stored) bool { return s.ID == v.ID && s.Name == v.Name })
}

// GetVersion implements object.Versioner.
func (b *Bucket) GetVersion(_ context.Context, v object.Version, off, n int64) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.find(v)
	if at < 0 {
		return nil, b.fail("get", v.Name, object.ErrNotExist)
	}
	return b.part(b.all[at], off, n)
}

// DeleteVersion implements object.Versioner.
func (b *Bucket) DeleteVersion(_ context.Context, v object.Version) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.may("delete", v.Name); err != nil {
		return err
	}
	at := b.find(v)
	if at < 0 {
		return nil
	}
	if b.all[at].lock.Until.After(b.Clock()) {
		return b.fail("delete", v.Name, errLocked)
	}
	b.all = slices.Delete(b.all, at, at+1)
	return nil
}

// CanLock implements object.Locker.
func (b *Bucket) CanLock(context.Context) (bool, error) { return true, nil }

// LockOf implements object.Locker.
func (b *Bucket) LockOf(_ context.Context, v object.Version) (object.Lock, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.find(v)
	if at < 0 {
		return object.Lock{}, b.fail("ask for the lock of", v.Name, object.ErrNotExist)
	}
	return b.all[at].lock, nil
}

// Extend implements object.Locker.
func (b *Bucket) Extend(_ context.Context, v object.Version, l object.Lock) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.may("lock", v.Name); err != nil {
		return err
	}
	at := b.find(v)
	if at < 0 {
		return b.fail("lock", v.Name, object.ErrNotExist)
	}
	if l.Until.Before(b.all[at].lock.Until) {
		return b.fail("lock", v.Name, object.ErrDenied)
	}
	b.all[at].lock = l
	return nil
}
