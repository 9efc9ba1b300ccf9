package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"salvor/internal/vault"
)

// raceRetries bounds how often a writer starts over after another writer took
// its commit number. The lease makes even one rare.
const raceRetries = 3

// Brief begins the purpose of writers that have the lease for a moment only, if
// again and again: nobody is to fail because of them.
const Brief = "note in "

const (
	briefWait  = time.Minute
	briefPause = 100 * time.Millisecond // less than it takes between two of them
)

// acquire takes the writer lease, and has patience with holders that are brief.
func (h *History) acquire(ctx context.Context, purpose string) (*vault.Lease, error) {
	begun := time.Now()
	for {
		lease, err := h.Vault.Acquire(ctx, vault.LeaseOptions{Purpose: purpose, Host: h.Host.Host(), TTL: h.LeaseTTL, Wait: h.LeaseWait})
		var locked *vault.LockedError
		if !errors.As(err, &locked) || !strings.HasPrefix(locked.Holder.Purpose, Brief) || time.Since(begun) > briefWait {
			return lease, err
		}
		select {
		case <-time.After(briefPause/2 + rand.N(briefPause)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Exclusive takes the vault's writer lease, brings the catalog to the vault's
// head and runs fn; it starts over when fn lost the race for its commit
// number. The lease only saves work: safety rests on the numbers. When ctx is
// cancelled, Grace(ctx) inside fn lives on for a bounded time.
func (h *History) Exclusive(ctx context.Context, purpose string, fn func(context.Context) error) (err error) {
	if h.Host == nil {
		return ErrNoWriter
	}
	// A commit would be refused in the end; better before the work.
	if err := h.Vault.RefuseReplica(ctx); err != nil {
		return err
	}
	lease, err := h.acquire(ctx, purpose)
	if err != nil {
		return err
	}
	defer func() {
		// A lease that could not be released runs out by itself.
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer stop()
		if rerr := lease.Release(last); rerr != nil && err != nil {
			err = errors.Join(err, fmt.Errorf("release the lease: %w", rerr))
		}
	}()
	ctx, stop := withGrace(ctx, graceTime)
	defer stop()
	for try := 0; ; try++ {
		if _, err = h.Follow(ctx); err != nil {
			return err
		}
		if err = fn(ctx); !errors.Is(err, vault.ErrLostRace) || try == raceRetries {
			return err
		}
	}
}
