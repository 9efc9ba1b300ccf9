package incident

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
)

var (
	// ErrNotOwed: what was named to be given up is not owed.
	ErrNotOwed = errors.New("this is not owed")
	// ErrInDoubt: nobody can tell of some messages whether they arrived.
	ErrInDoubt = errors.New("of messages that were sent nobody can tell yet whether they arrived")
)

// GiveUpOptions say what is given up, and who says so. Name, By, Reason and one
// of Users, Claims and All are needed.
type GiveUpOptions struct {
	Name   string
	By     string
	Reason string   // in a line
	Users  []string // all that these are owed
	Claims []int64  // these very messages
	All    bool     // all that is owed
	// InDoubt gives up also what may have arrived. A claim that is named itself
	// is given up in any case.
	InDoubt bool
	DryRun  bool
	Now     func() time.Time
}

// GiveUpReport is what was given up, and how the incident stands now.
type GiveUpReport struct {
	Totals
	GivenUp int64 `json:"given_up"` // in a dry run: would be
	// LeftInDoubt is how many stay owed because they may have arrived.
	LeftInDoubt int64 `json:"left_in_doubt"`
	DryRun      bool  `json:"dry_run,omitempty"`
}

// GiveUp counts messages that are owed as lost, in the name of who says so, all
// in one commit. It gives ErrNotOwed, and changes nothing, when something that
// was named is not there to be given up.
func GiveUp(ctx context.Context, h *history.History, o GiveUpOptions) (*GiveUpReport, error) {
	report := &GiveUpReport{DryRun: o.DryRun}
	err := Act(ctx, h, ActOptions{Name: o.Name, Purpose: "give-up", Now: o.Now, DryRun: o.DryRun}, func(ctx context.Context, l *Ledger) error {
		g := &giveUp{o: o, report: report}
		if o.DryRun {
			g.ledger, g.put = l.Catalog(), func(*catalog.Claim) error { return nil }
			if err := g.all(ctx); err != nil {
				return err
			}
		} else {
			err := l.Change(ctx, func(e *Edit) error {
				g.ledger, g.put, g.now = e.tx, e.Put, e.now
				return g.all(ctx)
			})
			if err != nil {
				return err
			}
		}
		totals, err := Count(ctx, l.Catalog(), o.Name)
		if err == nil {
			report.Totals = *totals
		}
		return err
	})
	if err != nil {
		return report, fmt.Errorf("give up: %w", err)
	}
	return report, nil
}

// A claimReader gives the answers of a catalog, or of its transaction, about claims.
type claimReader interface {
	Claim(incident string, id int64) (catalog.Claim, bool, error)
	Claims(ctx context.Context, w catalog.ClaimQuery, yield func(*catalog.Claim) error) error
}

// A giveUp is one try at it.
type giveUp struct {
	o      GiveUpOptions
	ledger claimReader
	put    func(*catalog.Claim) error
	now    time.Time
	report *GiveUpReport
}

func (g *giveUp) all(ctx context.Context) error {
	g.report.GivenUp, g.report.LeftInDoubt = 0, 0
	for _, id := range slices.Compact(slices.Sorted(slices.Values(g.o.Claims))) {
		c, ok, err := g.ledger.Claim(g.o.Name, id)
		switch {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("%w: there is no message %d", ErrNotOwed, id)
		case c.State == catalog.ClaimLost: // by an earlier try
		case c.State != catalog.ClaimOwed:
			return fmt.Errorf("%w: message %d is %s", ErrNotOwed, id, c.State)
		default:
			if err := g.lose(&c); err != nil {
				return err
			}
		}
	}
	for _, user := range slices.Compact(slices.Sorted(slices.Values(g.o.Users))) {
		if err := g.known(ctx, user); err != nil {
			return err
		}
		if err := g.owed(ctx, user); err != nil {
			return err
		}
	}
	if g.o.All {
		return g.owed(ctx, "")
	}
	return nil
}

// known refuses a user whom the incident does not know: a name that was
// mistyped must not look like one who is owed nothing.
func (g *giveUp) known(ctx context.Context, user string) error {
	known := false
	err := g.ledger.Claims(ctx, catalog.ClaimQuery{Incident: g.o.Name, User: user}, func(*catalog.Claim) error {
		known = true
		return catalog.ErrStop
	})
	if err == nil && !known {
		err = fmt.Errorf("%w: the incident has no user %q", ErrNotOwed, user)
	}
	return err
}

// giveUpBatch bounds the claims that are in memory at a time.
const giveUpBatch = 4096

// owed gives up what a user is owed, or with "" what anybody is.
func (g *giveUp) owed(ctx context.Context, user string) error {
	q := catalog.ClaimQuery{Incident: g.o.Name, User: user, State: catalog.ClaimOwed}
	for {
		var batch []catalog.Claim
		err := g.ledger.Claims(ctx, q, func(c *catalog.Claim) error {
			if batch = append(batch, *c); len(batch) == giveUpBatch {
				return catalog.ErrStop
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := range batch {
			if mayHaveArrived(&batch[i]) && !g.o.InDoubt {
				g.report.LeftInDoubt++
			} else if err := g.lose(&batch[i]); err != nil {
				return err
			}
		}
		if len(batch) < giveUpBatch {
			return nil
		}
		q.After = batch[len(batch)-1].ID
	}
}

func (g *giveUp) lose(c *catalog.Claim) error {
	g.report.GivenUp++
	loseClaim(c, fmt.Sprintf("given up by %s: %s", g.o.By, g.o.Reason), g.now)
	return g.put(c)
}

// mayHaveArrived tells whether a message may have arrived without anybody having seen
// it.
func mayHaveArrived(c *catalog.Claim) bool { return c.InFlight() || c.Doubt }

// loseClaim makes an owed claim a lost one. What was sent of it is history then: the
// reason keeps it.
func loseClaim(c *catalog.Claim, why string, now time.Time) {
	why += "; it was owed: " + c.Reason
	if c.InFlight() {
		why += fmt.Sprintf("; sent to %q of %s at %s, and nobody saw it arrive", c.SentFolder, c.SentStore, c.SentAt.UTC().Format(time.RFC3339))
	} else if c.Doubt {
		why += "; it may have arrived"
	}
	c.State, c.Reason, c.SettledAt, c.Doubt, c.Grade = catalog.ClaimLost, why, now, false, ""
	c.SentAt, c.SentStore, c.SentFolder, c.SentValidity, c.SentNext, c.SentOrder, c.SentSum = time.Time{}, "", "", 0, 0, 0, [32]byte{}
}
