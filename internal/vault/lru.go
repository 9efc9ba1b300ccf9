package vault

import "container/list"

// lru keeps values up to a total weight; the one used longest ago goes first.
// It is not for concurrent use.
type lru[K comparable, V any] struct {
	max, used int64
	order     *list.List // of *lruEntry, the newest in front
	byKey     map[K]*list.Element
	dropped   func(V) // told of every value that is not kept any more; may be nil
}

type lruEntry[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

func newLRU[K comparable, V any](max int64) *lru[K, V] {
	return &lru[K, V]{max: max, order: list.New(), byKey: map[K]*list.Element{}}
}

func (c *lru[K, V]) get(key K) (value V, ok bool) {
	e := c.byKey[key]
	if e == nil {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

// put adds a value. One that is heavier than all may be is not kept.
func (c *lru[K, V]) put(key K, value V, weight int64) {
	if e := c.byKey[key]; e != nil {
		c.remove(e)
	}
	if weight > c.max {
		if c.dropped != nil {
			c.dropped(value)
		}
		return
	}
	c.used += weight
	c.byKey[key] = c.order.PushFront(&lruEntry[K, V]{key, value, weight})
	for c.used > c.max {
		c.remove(c.order.Back())
	}
}

func (c *lru[K, V]) remove(e *list.Element) {
	entry := c.order.Remove(e).(*lruEntry[K, V])
	delete(c.byKey, entry.key)
	c.used -= entry.weight
	if c.dropped != nil {
		c.dropped(entry.value)
	}
}
