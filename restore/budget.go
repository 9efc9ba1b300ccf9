package restore

import (
	"context"
	"slices"
	"sync"
)

// A budget bounds the bytes of the messages that are in memory at once, over
// all users. Who waits is served in order, so that a large message is not
// passed for ever by small ones. One that is larger than the whole budget gets
// all of it and is then alone.
//
// It cannot deadlock: only a user who holds nothing waits (see run.reserve).
type budget struct {
	mu         sync.Mutex
	size, free int64
	queue      []*claim
}

type claim struct {
	n       int64
	granted chan struct{}
}

func newBudget(size int64) *budget { return &budget{size: size, free: size} }

// try takes n bytes if they are free and nobody waits.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.size)
	if len(b.queue) > 0 || n > b.free {
		return false
	}
	b.free -= n
	return true
}

// wait takes n bytes as soon as they are free.
func (b *budget) wait(ctx context.Context, n int64) error {
	b.mu.Lock()
	n = min(n, b.size)
	if len(b.queue) == 0 && n <= b.free {
		b.free -= n
		b.mu.Unlock()
		return nil
	}
	c := &claim{n, make(chan struct{})}
	b.queue = append(b.queue, c)
	b.mu.Unlock()
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
		b.withdraw(c)
		return ctx.Err()
	}
}

func (b *budget) withdraw(c *claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queue, c); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
	} else {
		b.free += c.n // granted in the same moment
	}
	b.serve()
}

// give returns what was taken with the same n.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += min(n, b.size)
	b.serve()
}

func (b *budget) serve() {
	for len(b.queue) > 0 && b.queue[0].n <= b.free {
		b.free -= b.queue[0].n
		close(b.queue[0].granted)
		b.queue = b.queue[1:]
	}
}
