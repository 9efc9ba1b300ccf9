package maildir

import (
	"errors"
	"io"
	"sync"
)

// cache keeps the latest few open things open. A thing in use is never closed.
type cache[K comparable, V io.Closer] struct {
	mu    sync.Mutex
	limit int
	tick  uint64
	items map[K]*cached[V]
}

type cached[V io.Closer] struct {
	value V
	users int
	used  uint64
	stale bool // to be closed by its last user
}

func newCache[K comparable, V io.Closer](limit int) *cache[K, V] {
	return &cache[K, V]{limit: limit, items: map[K]*cached[V]{}}
}

// get gives the value under k, opened by open where it is not there. The
// caller calls done when it is through with it.
func (c *cache[K, V]) get(k K, open func() (V, error)) (v V, done func(), err error) {
	c.mu.Lock()
	item := c.items[k]
	if item != nil {
		c.use(item)
	}
	c.mu.Unlock()
	if item == nil {
		if v, err = open(); err != nil {
			return v, nil, err
		}
		item = c.put(k, v)
	}
	return item.value, func() { c.done(item) }, nil
}

// put replaces what stands under k; the new value is in use by the caller.
func (c *cache[K, V]) put(k K, v V) *cached[V] {
	item := &cached[V]{value: v}
	c.mu.Lock()
	old := c.items[k]
	c.items[k] = item
	c.use(item)
	var drop []V
	if old != nil {
		drop = c.retire(old, drop)
	}
	drop = c.evict(drop)
	c.mu.Unlock()
	for _, d := range drop {
		d.Close()
	}
	return item
}

func (c *cache[K, V]) use(item *cached[V]) {
	c.tick++
	item.used = c.tick
	item.users++
}

// retire takes a replaced item out; it is closed now or by its last user.
func (c *cache[K, V]) retire(item *cached[V], drop []V) []V {
	item.stale = true
	if item.users == 0 {
		drop = append(drop, item.value)
	}
	return drop
}

// evict drops the item unused for the longest time while there are too many.
func (c *cache[K, V]) evict(drop []V) []V {
	for len(c.items) > c.limit {
		var oldest K
		var found *cached[V]
		for k, item := range c.items {
			if item.users == 0 && (found == nil || item.used < found.used) {
				oldest, found = k, item
			}
		}
		if found == nil {
			break
		}
		delete(c.items, oldest)
		drop = c.retire(found, drop)
	}
	return drop
}

func (c *cache[K, V]) done(item *cached[V]) {
	c.mu.Lock()
	item.users--
	last := item.stale && item.users == 0
	c.mu.Unlock()
	if last {
		item.value.Close()
	}
}

// close closes all that is not in use and forgets the rest.
func (c *cache[K, V]) close() error {
	c.mu.Lock()
	var drop []V
	for k, item := range c.items {
		delete(c.items, k)
		drop = c.retire(item, drop)
	}
	c.mu.Unlock()
	var err error
	for _, d := range drop {
		err = errors.Join(err, d.Close())
	}
	return err
}
