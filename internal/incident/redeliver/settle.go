package redeliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/incident"
)

// ErrNoClaim: the incident has no message of this number.
var ErrNoClaim = errors.New("the incident has no message of this number")

// ErrSettled: nothing about the message is in doubt.
var ErrSettled = errors.New("nothing about this message is in doubt")

// SettleOptions say what became of a message that is in doubt. Name, Claim and By
// are needed.
type SettleOptions struct {
	Name  string // of the incident
	Claim int64
	// Delivered: it arrived, or its user has it in another way. Otherwise it did
	// not, and may be sent again.
	Delivered bool
	By        string // who says so
	Now       func() time.Time
}

// Settle decides, in a person's name, about a message of which nobody can tell
// whether it was delivered. It gives the claim as it is then.
func Settle(ctx context.Context, h *history.History, o SettleOptions) (claim catalog.Claim, err error) {
	act := incident.ActOptions{Name: o.Name, Purpose: "settle", Now: o.Now}
	err = incident.Act(ctx, h, act, func(ctx context.Context, l *incident.Ledger) error {
		c, ok, err := l.Catalog().Claim(o.Name, o.Claim)
		switch {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("%d: %w", o.Claim, ErrNoClaim)
		case c.State != catalog.ClaimOwed || !c.Doubt && !c.InFlight():
			return fmt.Errorf("message %s of %s is %s: %w", uidIn(c.Folder, c.UID), c.User, c.State, ErrSettled)
		}
		settle(&c, o)
		claim = c
		return l.Put(ctx, c)
	})
	if err != nil {
		return claim, fmt.Errorf("settle: %w", err)
	}
	return claim, nil
}

func settle(c *catalog.Claim, o SettleOptions) {
	if o.Delivered {
		c.State, c.Reason = catalog.ClaimRedelivered, "it arrived, says "+o.By
		c.NowStore, c.NowFolder, c.NowValidity = c.SentStore, c.SentFolder, c.SentValidity
		grade := orElse(c.Grade, catalog.GradeCertain)
		unsent(c)
		c.Doubt, c.Grade = false, grade
		return
	}
	c.Reason = "it did not arrive, says " + o.By
	unsent(c)
	c.Doubt = false
}
