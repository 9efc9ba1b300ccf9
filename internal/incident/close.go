package incident

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/vault"
)

// ErrOwing: messages of the incident are neither back nor given up.
var ErrOwing = errors.New("messages of the incident are neither back nor given up")

// CloseOptions say which incident is closed. Name and By are needed.
type CloseOptions struct {
	Name string
	By   string // who closes it
	// GiveUp counts as lost what is owed. What is held stays as it is: the backup
	// has it.
	GiveUp bool
	Now    func() time.Time
}

// Close ends an incident: from then on deleted mail of its users expires again.
// It gives ErrOwing while messages are owed, unless they are given up. Closing a
// closed one changes nothing.
func Close(ctx context.Context, h *history.History, o CloseOptions) (*Totals, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	var totals *Totals
	alone := func(ctx context.Context) error {
		change, err := h.Begin(ctx, vault.CommitDecision)
		if err != nil {
			return err
		}
		changed := false
		if totals, changed, err = closeIn(ctx, change.Tx, o); err != nil || !changed {
			return errors.Join(err, change.Abandon())
		}
		_, err = change.Commit(ctx, o.Now())
		return err
	}
	err := hold(ctx, h, o.Name, "close", func(ctx context.Context) error { return h.Exclusive(ctx, "incident "+o.Name, alone) })
	if err != nil {
		return totals, fmt.Errorf("close incident: %w", err)
	}
	return totals, nil
}

func closeIn(ctx context.Context, tx *catalog.Tx, o CloseOptions) (t *Totals, changed bool, err error) {
	if t, err = Count(ctx, tx, o.Name); err != nil {
		return nil, false, err
	}
	i, _, err := tx.Incident(o.Name)
	if err != nil || !i.ClosedAt.IsZero() {
		return t, false, err
	}
	if t.Owed > 0 && !o.GiveUp {
		return t, false, fmt.Errorf("%w: %d are owed", ErrOwing, t.Owed)
	}
	if err := giveUp(ctx, tx, o); err != nil {
		return nil, false, err
	}
	t.Lost, t.Owed = t.Lost+t.Owed, 0
	i.ClosedAt, i.ClosedBy = o.Now(), o.By
	return t, true, tx.Put(i)
}

// giveUpBatch bounds the claims that are in memory at a time.
const giveUpBatch = 4096

// giveUp makes what is owed lost, by the name of who says so.
func giveUp(ctx context.Context, tx *catalog.Tx, o CloseOptions) error {
	for {
		var batch []catalog.Claim
		err := tx.Claims(ctx, catalog.ClaimQuery{Incident: o.Name, State: catalog.ClaimOwed}, func(c *catalog.Claim) error {
			if batch = append(batch, *c); len(batch) == giveUpBatch {
				return catalog.ErrStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, catalog.ErrStop) {
			return err
		}
		for _, c := range batch {
			c.State, c.SettledAt, c.Reason = catalog.ClaimLost, o.Now(), fmt.Sprintf("given up by %s when the incident was closed; it was owed: %s", o.By, c.Reason)
			if err := tx.Put(c); err != nil {
				return err
			}
		}
		if len(batch) < giveUpBatch {
			return nil
		}
	}
}
