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

var (
	// ErrOwing: messages of the incident are neither back nor given up.
	ErrOwing = errors.New("messages of the incident are neither back nor given up")
	// ErrHeld: the vault has messages of the incident that were not brought back.
	ErrHeld = errors.New("messages that the vault has were not brought back")
	// ErrDangling: a server was seen to list messages without content.
	ErrDangling = errors.New("messages were listed without content when the server was looked at last")
)

// CloseOptions say which incident is closed. Name and By are needed.
type CloseOptions struct {
	Name string
	By   string // who closes it
	// GiveUp counts as lost what is owed, but for what may have arrived: see
	// GiveUp for that.
	GiveUp bool
	// LeaveHeld leaves what is held or uncertain as it is: the vault has it, and
	// it can be restored as ever.
	LeaveHeld bool
	// LeaveDangling closes it though messages without content were seen; nobody can
	// take them out of the index with salvor any more.
	LeaveDangling bool
	Now           func() time.Time
}

// Close ends an incident: from then on deleted mail of its users expires again.
// It gives ErrOwing while messages are owed, unless they are given up; ErrInDoubt
// when nobody can tell of some of these whether they arrived; ErrHeld while
// messages wait in the vault, and ErrDangling while a server lists messages without
// content, unless these are left there. What was found for it and kept in the vault
// ends with it. Closing a closed one changes nothing.
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
	marks, err := tx.ClaimMarks(ctx, o.Name)
	if err != nil {
		return nil, false, err
	}
	unsure := marks.InDoubt + marks.InFlight
	switch {
	case t.Owed > 0 && !o.GiveUp:
		return t, false, fmt.Errorf("%w: %d are owed, %d of these may have arrived", ErrOwing, t.Owed, unsure)
	case unsure > 0:
		return t, false, fmt.Errorf("%w: %d in doubt, %d under way", ErrInDoubt, marks.InDoubt, marks.InFlight)
	case t.Held+t.Uncertain > 0 && !o.LeaveHeld:
		return t, false, fmt.Errorf("%w: %d are held, %d uncertain", ErrHeld, t.Held, t.Uncertain)
	}
	if !o.LeaveDangling {
		if err := noneDangles(ctx, tx, o.Name); err != nil {
			return t, false, err
		}
	}
	if err := giveUpOwed(ctx, tx, o); err != nil {
		return nil, false, err
	}
	// What nobody has claimed by now is nobody's: it must not be kept for ever.
	if err := tx.DropFindings(ctx, catalog.FindingQuery{Incident: o.Name}); err != nil {
		return nil, false, err
	}
	t.Lost, t.Owed = t.Lost+t.Owed, 0
	i.ClosedAt, i.ClosedBy = o.Now(), o.By
	return t, true, tx.Put(i)
}

// noneDangles gives ErrDangling where the last look at a user's account saw what
// clients must not meet.
func noneDangles(ctx context.Context, tx *catalog.Tx, name string) error {
	users, messages := 0, int64(0)
	err := tx.Gates(ctx, name, func(g *catalog.Gate) error {
		if g.Dangling > 0 {
			users++
			messages += g.Dangling
		}
		return nil
	})
	if err == nil && users > 0 {
		err = fmt.Errorf("%w: %d, of %d users", ErrDangling, messages, users)
	}
	return err
}

// giveUpOwed makes what is owed lost, by the name of who says so.
func giveUpOwed(ctx context.Context, tx *catalog.Tx, o CloseOptions) error {
	now := o.Now()
	g := &giveUp{o: GiveUpOptions{Name: o.Name, By: o.By, Reason: "the incident was closed"}, ledger: tx, now: now, report: &GiveUpReport{},
		put: func(c *catalog.Claim) error { return tx.Put(*c) }}
	return g.owed(ctx, "")
}
