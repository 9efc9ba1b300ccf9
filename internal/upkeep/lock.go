package upkeep

import (
	"context"
	"errors"
	"time"

	"salvor/catalog"
	"salvor/internal/objstore"
	"salvor/internal/vault"
)

const (
	// lockRuns is over how many prunes one round of extending locks is spread,
	// when locks last long enough for that.
	lockRuns = 4
	// leastLocks is how many objects a prune always extends the locks of.
	leastLocks = 1000
	// oneGo is how long locks last for which a round is done in one prune.
	oneGo = 12 * 24 * time.Hour
	// settled is how far a store's clock may be behind ours; what was put later
	// than that after a round began has a lock that is long enough.
	settled = time.Hour
)

// lockRound is how often everything is locked anew.
func lockRound(r vault.LockRule) time.Duration { return r.Time() / 3 }

// locks extends the locks of what is needed, in rounds. One locks everything
// that was there when it began until a time (Target); what comes later is locked
// for longer by itself. So one moment, Lock.Until, holds for all objects.
func (p *pruner) locks(ctx context.Context) error {
	rule := p.h.Vault.Config().Lock
	if rule.Days == 0 || p.h.Vault.LocksMissing() {
		return nil
	}
	old, _, err := p.tx.Lock()
	if err != nil {
		return err
	}
	row := old
	row.Waiting, row.WaitingBytes, row.WaitingUntil = int64(p.report.Locked), p.report.LockedBytes, time.Time{}
	if p.report.LockedUntil != nil {
		row.WaitingUntil = *p.report.LockedUntil
	}
	if row.Until.IsZero() {
		row.Until = p.h.Vault.Config().Created.Add(rule.Time())
	}
	if row.Target.IsZero() && !p.now.Before(row.Until.Add(-2*lockRound(rule))) {
		row.Began, row.Target, row.Next = p.now, p.now.Add(rule.Time()), ""
	}
	if !row.Target.IsZero() && !p.o.DryRun && p.o.LockObjects >= 0 {
		if err := p.extend(ctx, rule, &row); err != nil {
			return err
		}
	}
	if row == old {
		return nil
	}
	return p.tx.Put(row)
}

// extend does a part of the round under way. A store that refuses stops nothing
// else: the report says so.
func (p *pruner) extend(ctx context.Context, rule vault.LockRule, row *catalog.Lock) error {
	limit := p.o.LockObjects
	if limit == 0 && rule.Time() > oneGo {
		limit = max(leastLocks, (len(p.past.names)+p.past.commits)/lockRuns+1)
	}
	done, err := p.h.Vault.ExtendLocks(ctx, vault.LockExtension{Until: row.Target, From: row.Next, Limit: limit, Before: row.Began.Add(settled), Keep: p.needed})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		p.report.LockProblem = err.Error()
		return nil
	}
	p.report.Extended += done.Objects
	row.Next, row.Left = done.Next, int64(done.Left)
	if done.Next == "" {
		row.Until = row.Target
		row.Target, row.Began = time.Time{}, time.Time{}
	}
	return nil
}

// needed tells which objects are locked for longer: those that commits name and
// none condemns, the one that is being made included.
func (p *pruner) needed(o vault.Object) bool {
	_, waits := p.past.waiting[o]
	return p.past.named(o) && !waits && !p.condemned[o]
}

// delete erases an object. It is false when locks still keep it, or a part of it.
func (p *pruner) delete(ctx context.Context, object vault.Object) (gone bool, err error) {
	var retained *objstore.RetainedError
	if p.o.DryRun {
		until, err := p.h.Vault.Retained(ctx, object)
		if err != nil {
			return false, err
		}
		retained = &objstore.RetainedError{Until: until}
		if !until.After(p.now) {
			return true, nil
		}
	} else {
		err := p.h.Vault.Delete(ctx, object)
		if err == nil || !errors.As(err, &retained) {
			return err == nil, err
		}
	}
	p.report.Locked++
	p.report.LockedBytes += object.Size
	if u := p.report.LockedUntil; u == nil || u.Before(retained.Until) {
		p.report.LockedUntil = &retained.Until
	}
	return false, nil
}

// EraseDue is how long what is dead may lie in the store before status wants
// attention.
const EraseDue = 30 * 24 * time.Hour

// DefaultRewriteAge is how long dead bytes may stand between living ones.
const DefaultRewriteAge = 7 * 24 * time.Hour

// EraseLimit is within which time after its deletion mail is to be gone.
func (p Policy) EraseLimit() time.Duration { return p.keep() + p.erase() + EraseDue }

// Remains is for how long after its deletion mail remains at most in a store
// that locks objects for a time, with a prune every night that has the identity.
func (p Policy) Remains(lock time.Duration) time.Duration {
	return p.keep() + DefaultRewriteAge + max(p.erase(), lock)
}

func (p Policy) keep() time.Duration { return p.Retention.For("") }

// LockStatus says how the locks of a vault that has them stand.
type LockStatus struct {
	Mode  string    `json:"mode"`
	Days  int       `json:"days"`
	Until time.Time `json:"until"` // every object that is needed is locked until then, or longer
	// Soon is how many objects have a lock that ends then, as far as a round of
	// extending is under way: those that it has not reached.
	Soon int64 `json:"soon"`
	// Waiting are objects that are to be erased and locked still.
	Waiting      int64      `json:"waiting"`
	WaitingBytes int64      `json:"waiting_bytes"`
	WaitingUntil *time.Time `json:"waiting_until,omitempty"`
}

// locks tells how the locks stand, and wants attention when they run out.
func (s *Status) locks(_ context.Context, c *catalog.Catalog, o StatusOptions) error {
	if o.Lock.Days == 0 {
		return nil
	}
	if o.LocksMissing {
		s.attend("the vault's objects are to be locked for %d days, and its store cannot lock: make the bucket anew with object lock, or copy the vault to one that has it", o.Lock.Days)
		return nil
	}
	row, _, err := c.Lock()
	if err != nil {
		return err
	}
	if row.Until.IsZero() {
		row.Until = o.Created.Add(o.Lock.Time())
	}
	s.Lock = &LockStatus{Mode: string(o.Lock.Mode), Days: o.Lock.Days, Until: row.Until, Soon: row.Left, Waiting: row.Waiting, WaitingBytes: row.WaitingBytes}
	if row.Waiting > 0 {
		s.Lock.WaitingUntil = &row.WaitingUntil
	}
	const advice = "let salvor prune run every night, with a credential that may lock (s3:PutObjectRetention)"
	switch rest := row.Until.Sub(o.Now); {
	case rest <= 0:
		s.attend("object locks have run out since %s, whoever may delete in the bucket can take the backup away: %s", row.Until.Format(time.DateOnly), advice)
	case rest < lockRound(o.Lock):
		s.attend("object locks run out on %s, and nothing has extended them: %s", row.Until.Format(time.DateOnly), advice)
	}
	return nil
}
