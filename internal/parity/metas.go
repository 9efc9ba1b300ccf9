package parity

import "sync"

// maxKnown bounds how many objects' metas are remembered, each some 200 bytes.
const maxKnown = 8192

// metas remembers what shares say of their objects, so that a second read of
// one needs no header.
type metas struct {
	mu  sync.Mutex
	all map[string]meta
}

func newMetas() *metas { return &metas{all: map[string]meta{}} }

func (k *metas) get(name string) (meta, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, ok := k.all[name]
	return m, ok
}

func (k *metas) put(name string, m meta) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.all) >= maxKnown {
		for old := range k.all { // any: it costs one small read
			delete(k.all, old)
			break
		}
	}
	k.all[name] = m
}

func (k *metas) forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, name)
}
