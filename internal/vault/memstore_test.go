package vault

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"salvor/internal/objstore"
)

// memStore is an object store in memory with a place for mischief.
type memStore struct {
	mu      sync.Mutex
	objects map[string][]byte
	times   map[string]time.Time
	gets    int
	got     int64 // bytes given
	// before is asked before each operation ("put", "get", "list", "delete",
	// "stat"); its error is the operation's.
	before func(op, name string) error
}

func newMem() *memStore {
	return &memStore{objects: map[string][]byte{}, times: map[string]time.Time{}}
}

func (m *memStore) enter(ctx context.Context, op, name string) (func(), error) {
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	if before != nil {
		if err := before(op, name); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

func (m *memStore) Put(ctx context.Context, name string, body []byte) error {
	leave, err := m.enter(ctx, "put", name)
	if err != nil {
		return err
	}
	defer leave()
	if err := objstore.CheckName(name); err != nil {
		return err
	}
	if old, ok := m.objects[name]; ok {
		if bytes.Equal(old, body) {
			return nil
		}
		return &objstore.Error{Op: "put", Name: name, Store: "memory", Kind: objstore.ErrExists}
	}
	m.objects[name] = bytes.Clone(body)
	m.times[name] = time.Now()
	return nil
}

func (m *memStore) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	leave, err := m.enter(ctx, "get", name)
	if err != nil {
		return nil, err
	}
	defer leave()
	b, ok := m.objects[name]
	if !ok {
		return nil, &objstore.Error{Op: "get", Name: name, Store: "memory", Kind: objstore.ErrNotExist}
	}
	if off > int64(len(b)) || n >= 0 && off+n > int64(len(b)) {
		return nil, io.ErrUnexpectedEOF
	}
	if n < 0 {
		n = int64(len(b)) - off
	}
	m.gets++
	m.got += n
	return bytes.Clone(b[off : off+n]), nil
}

func (m *memStore) Stat(ctx context.Context, name string) (objstore.Info, error) {
	leave, err := m.enter(ctx, "stat", name)
	if err != nil {
		return objstore.Info{}, err
	}
	defer leave()
	b, ok := m.objects[name]
	if !ok {
		return objstore.Info{}, &objstore.Error{Op: "stat", Name: name, Store: "memory", Kind: objstore.ErrNotExist}
	}
	return objstore.Info{Name: name, Size: int64(len(b))}, nil
}

func (m *memStore) List(ctx context.Context, prefix string, yield func(objstore.Info) error) error {
	leave, err := m.enter(ctx, "list", prefix)
	if err != nil {
		return err
	}
	var found []objstore.Info
	for _, name := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(name, prefix) {
			found = append(found, objstore.Info{Name: name, Size: int64(len(m.objects[name])), Modified: m.times[name]})
		}
	}
	leave()
	for _, i := range found {
		if err := yield(i); err != nil {
			return err
		}
	}
	return nil
}

func (m *memStore) Delete(ctx context.Context, name string) error {
	leave, err := m.enter(ctx, "delete", name)
	if err != nil {
		return err
	}
	defer leave()
	delete(m.objects, name)
	return nil
}

func (m *memStore) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// clone copies the store as it is.
func (m *memStore) clone() *memStore {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memStore{objects: maps.Clone(m.objects), times: maps.Clone(m.times)}
}

// set replaces an object, as only an attacker or rot does.
func (m *memStore) set(name string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = b
	m.times[name] = time.Time{}
}

func (m *memStore) names(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []string
	for _, name := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(name, prefix) {
			found = append(found, name)
		}
	}
	return found
}
