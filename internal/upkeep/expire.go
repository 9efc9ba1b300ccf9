package upkeep

import (
	"context"
	"time"

	"salvor/catalog"
	"salvor/internal/retention"
)

// expireBatch bounds how many records are held in memory between deletions.
const expireBatch = 4096

// expire removes records whose time is over, contents that nothing holds any
// more, and mailboxes, users and tombstones that have nothing left.
func (p *pruner) expire(ctx context.Context) error {
	before, err := contentBytes(ctx, p.tx)
	if err != nil {
		return err
	}
	if p.withheld, err = newWithholder(ctx, p.tx); err != nil {
		return err
	}
	for {
		batch, err := p.expired(ctx)
		if err != nil {
			return err
		}
		for _, rec := range batch {
			if err := p.expireRecord(rec); err != nil {
				return err
			}
		}
		if len(batch) < expireBatch {
			break
		}
	}
	after, err := contentBytes(ctx, p.tx)
	if err != nil {
		return err
	}
	p.report.ExpiredBytes = before - after
	return p.tidy(ctx)
}

// expired collects the next records whose time is over.
func (p *pruner) expired(ctx context.Context) ([]catalog.Expiring, error) {
	var batch []catalog.Expiring
	p.report.Withheld = 0
	err := p.tx.Expiring(ctx, p.now, func(e *catalog.Expiring) error {
		if !p.o.Policy.expired(e, p.now) {
			return nil
		}
		if held, err := p.withheld.record(e.User, e.Content); held || err != nil {
			p.report.Withheld++
			return err
		}
		batch = append(batch, *e)
		if len(batch) == expireBatch {
			return catalog.ErrStop
		}
		return nil
	})
	return batch, err
}

// expired tells whether a record's time is over at now.
func (p Policy) expired(e *catalog.Expiring, now time.Time) bool {
	return p.Retention.Expired(e.User, *e.GoneAt, now,
		retention.Sightings{GoneRun: e.GoneRun, ListedRun: e.UserLastRun, FailedRun: e.MailboxFailedRun})
}

// expireRecord removes a record, and its content when it was the last. A
// tombstone remembers what its user deleted, unless the message only moved or
// the user has it elsewhere.
func (p *pruner) expireRecord(e catalog.Expiring) error {
	if err := dropRecord(p.tx, e.Record); err != nil {
		return err
	}
	if e.MovedTo != 0 {
		return nil
	}
	p.report.Expired++ // deletions: what only moved is not lost
	has, err := p.tx.UserHas(e.User, e.Content)
	if err != nil || has {
		return err
	}
	return p.tx.Put(catalog.Tombstone{User: e.User, Content: e.Content, LastSeen: *e.GoneAt, ExpiredAt: p.now,
		Until: p.now.Add(p.o.Policy.tombstones())})
}

// tidy removes what is left of removed mailboxes and users once their mail has
// expired, and tombstones that are over or void.
func (p *pruner) tidy(ctx context.Context) error {
	var rows []catalog.Row
	err := p.tx.Leftovers(ctx, p.now, func(r catalog.Row) error {
		held, err := p.withheld.row(r)
		if !held && err == nil {
			rows = append(rows, r)
		}
		return err
	})
	if err != nil {
		return err
	}
	return p.tx.Delete(rows...)
}

// contentBytes is the size of all contents that the catalog holds.
func contentBytes(ctx context.Context, tx *catalog.Tx) (int64, error) {
	s, err := tx.Stats(ctx)
	return s.ContentBytes, err
}
