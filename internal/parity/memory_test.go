package parity

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

// memory is an object store in memory.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	times   map[string]time.Time
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}, times: map[string]time.Time{}} }

func (m *memory) Now(ctx context.Context) (time.Time, error) { return time.Now(), ctx.Err() }

func (m *memory) Put(ctx context.Context, name string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.objects[name]; ok {
		if bytes.Equal(old, body) {
			return ctx.Err()
		}
		return objstore.ErrExists
	}
	if ctx.Err() == nil {
		m.objects[name], m.times[name] = bytes.Clone(body), time.Now()
	}
	return ctx.Err()
}

func (m *memory) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return nil, objstore.ErrNotExist
	}
	if n < 0 {
		n = int64(len(b)) - off
	}
	if n < 0 || off+n > int64(len(b)) {
		return nil, io.ErrUnexpectedEOF
	}
	return bytes.Clone(b[off : off+n]), ctx.Err()
}

func (m *memory) Delete(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil {
		delete(m.objects, name)
	}
	return ctx.Err()
}

func (m *memory) names(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Sorted(maps.Keys(m.objects))
	return slices.DeleteFunc(all, func(n string) bool { return !strings.HasPrefix(n, prefix) })
}

func (m *memory) List(ctx context.Context, prefix string, yield func(objstore.Info) error) error {
	for _, n := range m.names(prefix) {
		i, err := m.Stat(ctx, n)
		if err == nil {
			err = yield(i)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *memory) Stat(_ context.Context, name string) (objstore.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return objstore.Info{}, objstore.ErrNotExist
	}
	return objstore.Info{Name: name, Size: int64(len(b)), Modified: m.times[name]}, nil
}
