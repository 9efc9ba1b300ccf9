package redeliver

import (
	"context"
	"sync"

	"salvor/catalog"
	"salvor/internal/incident"
)

// A book writes to the ledger for several users at once: what they put while a
// commit is being made goes into the next one together.
type book struct {
	l       *incident.Ledger
	mu      sync.Mutex
	writing bool
	waiting []*entry
}

// An entry is what one user puts.
type entry struct {
	claims []catalog.Claim
	done   chan error
}

// put returns when the claims are in the vault.
func (b *book) put(ctx context.Context, claims []catalog.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	e := &entry{claims: claims, done: make(chan error, 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, e)
	write := !b.writing
	b.writing = true
	b.mu.Unlock()
	if write {
		b.write(ctx)
	}
	return <-e.done
}

// write makes commits until nobody waits for one.
func (b *book) write(ctx context.Context) {
	for {
		b.mu.Lock()
		now := b.waiting
		b.waiting = nil
		b.writing = len(now) > 0
		b.mu.Unlock()
		if len(now) == 0 {
			return
		}
		var claims []catalog.Claim
		for _, e := range now {
			claims = append(claims, e.claims...)
		}
		err := b.l.Put(ctx, claims...)
		for _, e := range now {
			e.done <- err
		}
	}
}
