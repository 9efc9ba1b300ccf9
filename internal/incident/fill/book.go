package fill

import (
	"context"
	"slices"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
)

// When what was done is written into the ledger: after so many claims, or so long.
const (
	bookAfter = 5000
	bookEvery = 20 * time.Second
)

// A mark says that a claim's message is in the store now.
type mark struct {
	id int64
	// Where it stands.
	folder        string
	validity, uid uint32
	put           bool // it came from the vault
}

// A book keeps marks until they are written into the ledger, many at a time: each
// change is a commit in the vault, which takes a second, and nobody waits for it.
type book struct {
	l     *incident.Ledger
	store string

	mu     sync.Mutex
	marks  []mark
	since  time.Time
	failed error // of a change that nobody waited for
	write  sync.Mutex
}

// note keeps marks of what is durable in the store. The error is that of a change
// of the ledger before.
func (b *book) note(ctx context.Context, marks []mark) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.marks) == 0 {
		b.since = b.l.Now()
	}
	b.marks = append(b.marks, marks...)
	due := len(b.marks) >= bookAfter || b.l.Now().Sub(b.since) >= bookEvery
	if due && b.failed == nil && b.write.TryLock() {
		go func() {
			defer b.write.Unlock()
			if err := b.flush(ctx); err != nil {
				b.mu.Lock()
				b.failed = err
				b.mu.Unlock()
			}
		}()
	}
	return b.failed
}

// end writes all marks into the ledger.
func (b *book) end(ctx context.Context) error {
	b.write.Lock()
	defer b.write.Unlock()
	return b.flush(ctx)
}

// flush is called by who has write.
func (b *book) flush(ctx context.Context) error {
	for {
		b.mu.Lock()
		batch := b.marks[:min(len(b.marks), bookAfter)]
		b.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		err := b.l.Change(ctx, func(e *incident.Edit) error { return b.put(e, batch) })
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.marks, b.since = slices.Clone(b.marks[len(batch):]), b.l.Now()
		b.mu.Unlock()
	}
}

func (b *book) put(e *incident.Edit, batch []mark) error {
	for _, m := range batch {
		c, ok, err := e.Claim(m.id)
		if err != nil {
			return err
		}
		if !ok || !waits(&c) && !stood(&c) {
			continue // forgotten, or settled by somebody else
		}
		switch {
		case stood(&c): // put once more
			c.SettledAt = b.l.Now()
		case !m.put:
			c.State, c.Reason = catalog.ClaimPresent, ""
		case c.State == catalog.ClaimUncertain:
			c.State = catalog.ClaimRestoredMaybe
		default:
			c.State, c.Reason = catalog.ClaimRestored, ""
		}
		c.NowStore, c.NowFolder, c.NowValidity, c.NowUID = b.store, m.folder, m.validity, m.uid
		if err := e.Put(&c); err != nil {
			return err
		}
	}
	return nil
}

// waits tells whether it is open what becomes of a claim. What may have been sent
// to somewhere is redelivery's to settle.
func waits(c *catalog.Claim) bool {
	switch c.State {
	case catalog.ClaimHeld, catalog.ClaimUncertain:
		return true
	case catalog.ClaimOwed:
		return !c.InFlight() && !c.Doubt
	}
	return false
}

// stood tells whether a message was put, or seen, in its own place before. Its
// file may have been lost once more.
func stood(c *catalog.Claim) bool {
	switch c.State {
	case catalog.ClaimPresent, catalog.ClaimRestored, catalog.ClaimRestoredMaybe:
		return !c.Content.IsZero() && c.UID != 0 && c.NowFolder == c.Folder && c.NowValidity == c.UIDValidity && c.NowUID == c.UID
	}
	return false
}
