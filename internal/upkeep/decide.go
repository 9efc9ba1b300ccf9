package upkeep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/vault"
)

// ErrNothingHeld says that the brake holds nothing of that user.
var ErrNothingHeld = errors.New("the brake holds no deletions of this user")

// Verdict is an operator's decision over one user's held deletions.
type Verdict struct {
	User string
	// Confirm: these deletions are real, their week begins now. Otherwise they
	// are rejected: the messages are kept until the source shows them again or
	// a later verdict confirms them.
	Confirm bool
	By      string
	Host    string
	Now     func() time.Time
	DryRun  bool
}

// DecideReport says what a verdict changed.
type DecideReport struct {
	User    string `json:"user"`
	Verdict string `json:"verdict"`
	Holds   int    `json:"holds"`
	Records int64  `json:"records"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// Decide records a verdict in the vault and acts on it.
func Decide(ctx context.Context, h *history.History, v Verdict) (*DecideReport, error) {
	if v.Now == nil {
		v.Now = time.Now
	}
	report := &DecideReport{User: v.User, Verdict: catalog.Rejected, DryRun: v.DryRun}
	if v.Confirm {
		report.Verdict = catalog.Confirmed
	}
	attempt := func(ctx context.Context, change *history.Change) error {
		report.Holds, report.Records = 0, 0
		clock, err := h.Clock(ctx, v.Now())
		if err != nil {
			return err
		}
		if v.Confirm && !clock.Trusted() {
			return fmt.Errorf("a week cannot begin by a clock in doubt: %s", clock.Doubt)
		}
		return decide(ctx, change, v, clock.Now, report)
	}
	if err := commitOrRehearse(ctx, h, v, attempt); err != nil {
		return nil, fmt.Errorf("deletions of %q: %w", v.User, err)
	}
	return report, nil
}

func commitOrRehearse(ctx context.Context, h *history.History, v Verdict, attempt func(context.Context, *history.Change) error) error {
	if v.DryRun {
		return h.Rehearse(ctx, attempt)
	}
	return h.Exclusive(ctx, "deletions", func(ctx context.Context) error {
		change, err := h.Begin(ctx, vault.CommitDecision)
		if err != nil {
			return err
		}
		if err := attempt(ctx, change); err != nil {
			return errors.Join(err, change.Abandon())
		}
		_, err = change.Commit(ctx, v.Now())
		return err
	})
}

func decide(ctx context.Context, change *history.Change, v Verdict, now time.Time, report *DecideReport) error {
	var holds []catalog.Hold
	err := change.Tx.Holds(ctx, func(hold *catalog.Hold) error {
		holds = append(holds, *hold)
		return nil
	})
	if err != nil {
		return err
	}
	for _, hold := range holds {
		open := hold.Verdict == "" || (v.Confirm && hold.Verdict == catalog.Rejected)
		if hold.User != v.User || !open {
			continue
		}
		report.Holds++
		hold.Verdict, hold.VerdictAt, hold.VerdictBy = report.Verdict, &now, v.By
		if err := change.Tx.Put(hold); err != nil {
			return err
		}
		if err := release(ctx, change, hold, v, now, report); err != nil {
			return err
		}
	}
	if report.Holds == 0 {
		return ErrNothingHeld
	}
	row := catalog.Run{Number: change.Number(), Kind: string(vault.CommitDecision), Started: now, Finished: now, Host: v.Host}
	return change.Tx.Put(row)
}

// release lets the week of a confirmed hold's records begin. The records keep
// the hold's number, so the brake does not count them again.
func release(ctx context.Context, change *history.Change, hold catalog.Hold, v Verdict, now time.Time, report *DecideReport) error {
	var recs []catalog.Record
	err := change.Tx.Held(ctx, hold.ID, func(rec *catalog.Record) error {
		recs = append(recs, *rec)
		return nil
	})
	for i := 0; err == nil && i < len(recs); i++ {
		report.Records++
		if v.Confirm {
			recs[i].GoneAt = &now
			err = change.Tx.Put(recs[i])
		}
	}
	return err
}
