// Package pace keeps salvor from overloading a mail store: it parses limits
// like "200msg/s,20MB/s" and makes callers wait so that they are kept.
//
// A Limiter is shared by everybody who reads one source or writes one
// destination, may be changed while they run, and limits nothing as its zero
// value. It does not measure or report anything, and it knows no store.
//
// Invariant: over any stretch of time, what passes is at most the limit times
// the stretch, plus one second's worth (the burst) and the one item that
// passed last: an item larger than the burst passes whole and is paid for
// afterwards.
package pace

import (
	"context"
	"sync"
	"time"
)

// burst is how much unused allowance is kept: enough to smooth scheduling, too
// little to hit a server after a pause.
const burst = time.Second

// A Limiter holds its callers back to a rate. Its zero value and nil limit
// nothing. It may be used by many goroutines; they are served in turn.
type Limiter struct {
	mu       sync.Mutex
	rate     Rate
	messages bucket
	bytes    bucket
	changed  chan struct{} // closed by Set; made by the first who waits
	turn     chan struct{} // holds one token: whose turn it is to wait
}

// NewLimiter makes a limiter with a rate.
func NewLimiter(r Rate) *Limiter { return &Limiter{rate: r} }

// Set changes the rate; who waits now is judged by the new one at once.
func (l *Limiter) Set(r Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The time until now is settled at the old rate.
	now := time.Now()
	l.messages.refill(now, l.rate.Messages)
	l.bytes.refill(now, l.rate.Bytes)
	l.rate = r
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Rate gives the rate in force.
func (l *Limiter) Rate() Rate {
	if l == nil {
		return Rate{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate
}

// Wait returns when so many messages and bytes may pass, or with ctx's error.
// What was let through counts, also when the caller then does not use it.
func (l *Limiter) Wait(ctx context.Context, messages int, bytes int64) error {
	if err := ctx.Err(); err != nil || l == nil {
		return err
	}
	if l.Rate() == (Rate{}) {
		return nil
	}
	turn := l.queue()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-turn }()
	for {
		delay, changed := l.take(float64(messages), float64(bytes))
		if delay <= 0 {
			return nil
		}
		if err := sleep(ctx, delay, changed); err != nil {
			return err
		}
	}
}

// queue is where callers line up. Without it a caller with small items could
// pass one with large items for ever.
func (l *Limiter) queue() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn == nil {
		l.turn = make(chan struct{}, 1)
	}
	return l.turn
}

// take lets the items pass and gives 0, or gives how long to wait before
// asking again, and what says earlier that the rate has changed.
func (l *Limiter) take(messages, bytes float64) (time.Duration, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.messages.refill(now, l.rate.Messages)
	l.bytes.refill(now, l.rate.Bytes)
	delay := max(l.messages.delay(l.rate.Messages), l.bytes.delay(l.rate.Bytes))
	if delay <= 0 {
		l.messages.spend(messages, l.rate.Messages)
		l.bytes.spend(bytes, l.rate.Bytes)
		return 0, nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return delay, l.changed
}

// sleep waits for the time, for a change, or for ctx.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// A bucket holds the allowance of one kind; below zero it is a debt.
type bucket struct {
	allowance float64
	at        time.Time
}

func (b *bucket) refill(now time.Time, rate float64) {
	if b.at.IsZero() {
		b.at = now
	}
	if rate > 0 {
		most := rate * burst.Seconds()
		b.allowance = min(most, b.allowance+rate*now.Sub(b.at).Seconds())
	} else {
		// Nothing is saved up or owed from a time without limits.
		b.allowance = 0
	}
	b.at = now
}

// delay is how long until the bucket is out of debt.
func (b *bucket) delay(rate float64) time.Duration {
	if rate <= 0 || b.allowance >= 0 {
		return 0
	}
	// Rounded up: a sleep of zero would spin.
	return time.Duration(-b.allowance/rate*float64(time.Second)) + time.Microsecond
}

func (b *bucket) spend(n, rate float64) {
	if rate > 0 {
		b.allowance -= n
	}
}
