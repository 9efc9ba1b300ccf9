package upkeep_test

import (
	"context"
	"strings"
	"sync"
	"time"

	"salvor/internal/objstore"
	"salvor/internal/objstore/faulty"
	"salvor/internal/parity"
	"salvor/internal/testenv/world"
)

// makeVault makes a plain vault, or one with parity over three targets.
func (m *model) makeVault(dir string) {
	m.spread = m.rng.IntN(2) == 0
	m.faults = make([]*faulty.Store, 3)
	born := make([]map[string]time.Time, 3) // outlives opening a target again
	wrap := func(i int, s objstore.Store) objstore.Store {
		if born[i] == nil {
			born[i] = map[string]time.Time{}
		}
		m.faults[i] = faulty.New(&clockStore{Store: s, m: m, born: born[i]})
		return m.faults[i]
	}
	if m.spread {
		m.w = world.NewSpread(m.t, dir, parity.Layout{Data: 2, Parity: 1, Targets: 3}, wrap)
		return
	}
	m.w = world.NewIn(m.t, dir, func(s objstore.Store) objstore.Store { return wrap(0, s) })
	m.faults = m.faults[:1]
}

// reopen goes on as another process would.
func (m *model) reopen() {
	if m.spread {
		m.w.Respread()
	}
}

// disturb sets a fault on the whole store, or on one target of several.
func (m *model) disturb(f ...faulty.Fault) {
	only := -1
	if len(f) > 0 && m.rng.IntN(3) > 0 {
		only = m.rng.IntN(len(m.faults))
	}
	for i, store := range m.faults {
		if only < 0 || only == i {
			store.Set(f...)
		}
	}
}

// clockStore is a store whose clock is true, and whose objects age by it.
type clockStore struct {
	objstore.Store
	m    *model
	mu   sync.Mutex
	born map[string]time.Time
}

func (s *clockStore) Put(ctx context.Context, name string, b []byte) error {
	s.mu.Lock()
	// Leases live by the real time: to them this clock stands still.
	if _, there := s.born[name]; !there && !strings.HasPrefix(name, "leases/") {
		s.born[name] = s.m.now
	}
	s.mu.Unlock()
	return s.Store.Put(ctx, name, b)
}

func (s *clockStore) Now(context.Context) (time.Time, error) { return s.m.now, nil }

func (s *clockStore) Stat(ctx context.Context, name string) (objstore.Info, error) {
	return s.Store.(objstore.Stater).Stat(ctx, name)
}

func (s *clockStore) List(ctx context.Context, prefix string, yield func(objstore.Info) error) error {
	return s.Store.List(ctx, prefix, func(i objstore.Info) error {
		s.mu.Lock()
		i.Modified = s.born[i.Name]
		s.mu.Unlock()
		return yield(i)
	})
}
