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

// ErrNoUser says that the catalog does not know the user.
var ErrNoUser = errors.New("no such user in the catalog")

// ForgetReport says what forgetting a user erased and what remains.
type ForgetReport struct {
	User      string `json:"user"`
	Mailboxes int    `json:"mailboxes"`
	Records   int64  `json:"records"`
	// Bytes of contents that only this user had.
	Bytes int64 `json:"bytes"`
	// Erased counts the vault's objects erased for it: packs, and the journals
	// that told of the user.
	Erased      int   `json:"erased"`
	ErasedBytes int64 `json:"erased_bytes"`
	// Remaining are dead bytes still stored, in packs that hold other users'
	// mail too: they go when a prune has an identity to rewrite these packs.
	Remaining    int64    `json:"remaining"`
	NeedIdentity bool     `json:"need_identity"`
	Damaged      []string `json:"damaged,omitempty"` // packs that could not be rewritten
	// Remains says what is left of the user, where, and until when.
	Remains []Remainder `json:"remains"`
	DryRun  bool        `json:"dry_run,omitempty"`
}

// Remainder is something that remains of a forgotten user.
type Remainder struct {
	What  string     `json:"what"`
	Bytes int64      `json:"bytes,omitempty"`
	Until *time.Time `json:"until,omitempty"` // nil where a moment cannot be told: When says it
	When  string     `json:"when"`
}

// remains lists what is left after the last prune of a forget, and what is out
// of its reach.
func (r *ForgetReport) remains(last *PruneReport) {
	r.Remains = []Remainder{}
	if last.Between > 0 {
		when := "until a prune with the identity rewrites these packs"
		if len(r.Damaged) > 0 {
			when = "until the damaged packs are repaired (salvor check --repair) and pruned again"
		}
		r.Remains = append(r.Remains, Remainder{What: "in packs that hold other users' mail too", Bytes: last.Between, When: when})
	}
	if last.Locked > 0 {
		r.Remains = append(r.Remains, Remainder{What: "in objects that are locked in their store", Bytes: last.LockedBytes,
			Until: last.LockedUntil, When: "until the first prune after the locks end"})
	}
	r.Remains = append(r.Remains,
		Remainder{What: "in copies of the vault", When: "until the first `salvor copy` after the grace; with --keep-erased until removed by hand"},
		Remainder{What: "in snapshots or old versions that the store itself keeps", When: "as long as the store keeps them"},
		Remainder{What: "in catalogs of other hosts", When: "until their next command"},
		Remainder{What: "in backups of a catalog file, in the metadata that incidents have kept, and in logs and mails about runs: names and subjects", When: "as long as they are kept"},
		Remainder{What: "in signed commits: number, size and hash of objects, no word about mail", When: "for ever"})
}

// Forget erases one user: records, contents that nobody else has, tombstones,
// and, without waiting for any grace, the packs and journals that held them. A
// user that is still at the source comes back with the next backup.
func Forget(ctx context.Context, h *history.History, user string, o PruneOptions) (*ForgetReport, error) {
	o = o.withDefaults()
	report := &ForgetReport{User: user, DryRun: o.DryRun}
	if o.DryRun {
		err := h.Rehearse(ctx, func(ctx context.Context, change *history.Change) error { return forget(ctx, change, user, o, report) })
		if err != nil {
			return report, fmt.Errorf("forget %q: %w", user, err)
		}
		return report, nil
	}
	err := h.Exclusive(ctx, "forget", func(ctx context.Context) error {
		*report = ForgetReport{User: user}
		change, err := h.Begin(ctx, vault.CommitForget)
		if err != nil {
			return err
		}
		if err := forget(ctx, change, user, o, report); err != nil {
			return errors.Join(err, change.Abandon())
		}
		_, err = change.Commit(ctx, o.Now())
		return err
	})
	if err == nil {
		err = eraseNow(ctx, h, o, report)
	}
	if err != nil {
		return report, fmt.Errorf("forget %q: %w", user, err)
	}
	return report, nil
}

// eraseNow condemns and erases in prunes without a grace in between.
func eraseNow(ctx context.Context, h *history.History, o PruneOptions, report *ForgetReport) error {
	o.Policy.Erase, o.CheckpointEvery = -1, -1
	o.LockObjects = -1 // the checkpoint is about to condemn what would be locked anew
	o.RewriteAge, o.RewriteDead = time.Nanosecond, 1e-9
	// Each prune rewrites so much and no more; and what one condemns, the next
	// erases.
	for n, again := 0, true; n < 2 || again; n++ {
		p, err := Prune(ctx, h, o)
		if err != nil {
			return err
		}
		if p.Clock != "" {
			return fmt.Errorf("the user is forgotten, but nothing is erased by a clock in doubt: %s", p.Clock)
		}
		report.Erased += p.Erased
		report.ErasedBytes += p.ErasedBytes
		report.Remaining, report.NeedIdentity, report.Damaged = p.Remaining, p.NeedIdentity, p.Damaged
		report.remains(p)
		again = p.Condemned > 0
	}
	return nil
}

func forget(ctx context.Context, change *history.Change, user string, o PruneOptions, report *ForgetReport) error {
	tx := change.Tx
	if _, found, err := tx.User(user); err != nil {
		return err
	} else if !found {
		return ErrNoUser
	}
	before, err := contentBytes(ctx, tx)
	if err != nil {
		return err
	}
	var boxes []catalog.Mailbox
	err = tx.Mailboxes(ctx, user, func(b *catalog.Mailbox) error {
		boxes = append(boxes, *b)
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range boxes {
		if err := forgetMailbox(ctx, tx, b, report); err != nil {
			return err
		}
	}
	after, err := contentBytes(ctx, tx)
	if err != nil {
		return err
	}
	report.Bytes = before - after
	if err := forgetFacts(ctx, tx, user); err != nil {
		return err
	}
	now := o.Now()
	return tx.Put(catalog.Run{Number: change.Number(), Kind: string(vault.CommitForget), Started: now, Finished: now, Host: o.Host, Gone: report.Records})
}

func forgetMailbox(ctx context.Context, tx *catalog.Tx, b catalog.Mailbox, report *ForgetReport) error {
	for {
		var batch []catalog.Record
		err := tx.Records(ctx, b.ID, func(rec *catalog.Record) error {
			if batch = append(batch, *rec); len(batch) == expireBatch {
				return catalog.ErrStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, catalog.ErrStop) {
			return err
		}
		for _, rec := range batch {
			if err := dropRecord(tx, rec); err != nil {
				return err
			}
		}
		report.Records += int64(len(batch))
		if len(batch) < expireBatch {
			break
		}
	}
	report.Mailboxes++
	return tx.Delete(b)
}

// dropRecord removes a record, and its content when it was the last to hold it.
func dropRecord(tx *catalog.Tx, rec catalog.Record) error {
	if err := tx.Delete(rec); err != nil {
		return err
	}
	return tx.DropContent(rec.Content)
}

func forgetFacts(ctx context.Context, tx *catalog.Tx, user string) error {
	var rows []catalog.Row
	err := tx.Holds(ctx, func(hold *catalog.Hold) error {
		if hold.User == user {
			rows = append(rows, *hold)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.Tombstones(ctx, user, func(t *catalog.Tombstone) error {
		rows = append(rows, *t)
		return nil
	})
	if err != nil {
		return err
	}
	if err := tx.Delete(append(rows, catalog.User{Name: user})...); err != nil {
		return err
	}
	if err := forgetClaims(ctx, tx, user); err != nil {
		return err
	}
	if err := forgetFindings(ctx, tx, user); err != nil {
		return err
	}
	return forgetNames(ctx, tx, user)
}
