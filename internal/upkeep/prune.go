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

// PruneOptions say how to prune. The zero value works.
type PruneOptions struct {
	Policy Policy
	// DryRun says what would happen and changes nothing.
	DryRun bool
	// Reader reads packs that are to be rewritten; nil where no identity is at
	// hand, then only wholly dead packs go.
	Reader *vault.Reader
	// RewriteBytes bounds the stored bytes of packs rewritten in one prune;
	// 0 means 2 GiB.
	RewriteBytes int64
	// RewriteDead is the dead share of a pack from which rewriting pays; 0
	// means a fifth. Packs whose dead bytes are older than RewriteAge are
	// rewritten whatever the share; 0 means 7 days.
	RewriteDead float64
	RewriteAge  time.Duration
	// CheckpointEvery is how old the last checkpoint may be when something has
	// expired since; 0 means 7 days, less than nothing writes one now.
	CheckpointEvery time.Duration
	// LockObjects bounds how many objects' locks one prune extends; 0 means a
	// quarter of all, and all where locks last less than twelve days; less than
	// nothing extends none.
	LockObjects int
	Host        string
	Now         func() time.Time
}

func (o PruneOptions) withDefaults() PruneOptions {
	if o.RewriteBytes == 0 {
		o.RewriteBytes = 2 << 30
	}
	if o.RewriteDead == 0 {
		o.RewriteDead = 0.2
	}
	if o.RewriteAge == 0 {
		o.RewriteAge = DefaultRewriteAge
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 7 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// PruneReport is what a prune did, or would do.
type PruneReport struct {
	Expired      int64    `json:"expired"`           // records whose time was over
	ExpiredBytes int64    `json:"expired_bytes"`     // of contents that nothing holds any more
	Withheld     int64    `json:"withheld"`          // records whose time is over, and that an open incident keeps
	Condemned    int      `json:"condemned"`         // objects condemned, to be erased after the grace
	CondemnBytes int64    `json:"condemn_bytes"`     // their stored bytes
	Rewritten    int      `json:"rewritten"`         // packs of these whose living rest was packed again
	Erased       int      `json:"erased"`            // objects erased now
	ErasedBytes  int64    `json:"erased_bytes"`      // their stored bytes
	Strays       int      `json:"strays"`            // of these, objects that no commit names
	Remaining    int64    `json:"remaining"`         // dead bytes that are still stored
	Between      int64    `json:"between"`           // of these, in packs that hold living mail too
	NeedIdentity bool     `json:"need_identity"`     // half-dead packs wait for an identity
	Postponed    int      `json:"postponed"`         // half-dead packs left to the next prune, enough were rewritten
	Damaged      []string `json:"damaged,omitempty"` // packs that could not be rewritten because they are damaged
	Checkpoint   bool     `json:"checkpoint"`        // a checkpoint was written
	Clock        string   `json:"clock,omitempty"`   // why nothing was done
	// Locked are objects that were to be erased, and which a lock in their store
	// keeps, LockedUntil when the last of these ends.
	Locked      int        `json:"locked"`
	LockedBytes int64      `json:"locked_bytes"`
	LockedUntil *time.Time `json:"locked_until,omitempty"`
	// Extended are objects whose locks were extended; LockProblem is why that
	// could not be done.
	Extended    int    `json:"extended"`
	LockProblem string `json:"lock_problem,omitempty"`

	DryRun  bool    `json:"dry_run,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Clean tells whether the prune did all that it should: exit code 0, not 3.
func (r *PruneReport) Clean() bool {
	return r.Clock == "" && len(r.Damaged) == 0 && r.LockProblem == ""
}

// Prune expires records whose time is over, condemns what nothing holds any
// more and erases what was condemned long enough ago.
func Prune(ctx context.Context, h *history.History, o PruneOptions) (*PruneReport, error) {
	o = o.withDefaults()
	started := o.Now()
	report := &PruneReport{DryRun: o.DryRun}
	step := func(ctx context.Context) error {
		*report = PruneReport{DryRun: o.DryRun}
		clock, err := h.Clock(ctx, o.Now())
		if err != nil {
			return err
		}
		if report.Clock = clock.Doubt; !clock.Trusted() {
			return nil
		}
		p := &pruner{h: h, o: o, now: clock.Now, started: started, report: report, condemned: map[vault.Object]bool{}}
		return p.run(ctx)
	}
	var err error
	if o.DryRun {
		if _, err = h.Follow(ctx); err == nil {
			err = step(ctx)
		}
	} else {
		err = h.Exclusive(ctx, "prune", step)
	}
	report.Seconds = o.Now().Sub(started).Seconds()
	if err != nil {
		return report, fmt.Errorf("prune: %w", err)
	}
	return report, nil
}

type pruner struct {
	h       *history.History
	o       PruneOptions
	now     time.Time
	started time.Time
	report  *PruneReport
	tx      *catalog.Tx
	change  *history.Change // nil in a dry run
	past    past
	// withheld is what open incidents keep from expiring.
	withheld *withholder
	// condemned are the packs that this prune condemns.
	condemned map[vault.Object]bool
}

func (p *pruner) run(ctx context.Context) error {
	var err error
	if p.past, err = readPast(ctx, p.h); err != nil {
		return err
	}
	if p.o.DryRun {
		return p.dry(ctx)
	}
	if p.change, err = p.h.Begin(ctx, vault.CommitPrune); err != nil {
		return err
	}
	p.tx = p.change.Tx
	if err := p.all(ctx); err != nil {
		return errors.Join(err, p.change.Abandon())
	}
	if err := p.commit(ctx); err != nil {
		return err
	}
	// Only now: our commit took the number that a writer which slept over its
	// packs would have needed, so nobody can name them any more.
	if err := p.eraseStrays(ctx); err != nil {
		return err
	}
	return p.checkpoint(ctx)
}

func (p *pruner) dry(ctx context.Context) error {
	var err error
	if p.tx, err = p.h.Catalog.Begin(ctx); err != nil {
		return err
	}
	return errors.Join(p.all(ctx), p.eraseStrays(ctx), p.tx.Rollback())
}

// all takes the steps in their order: erase what was condemned before, so that
// nothing condemned now goes in the same run; then expire, then condemn.
func (p *pruner) all(ctx context.Context) error {
	for _, step := range []func(context.Context) error{p.eraseCondemned, p.expire, p.condemnDead, p.rewrite, p.remaining, p.locks} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruner) commit(ctx context.Context) error {
	now := p.o.Now()
	row := catalog.Run{Number: p.change.Number(), Kind: string(vault.CommitPrune), Host: p.o.Host, Started: p.started, Finished: now,
		Gone: p.report.Expired}
	if err := p.tx.Put(row); err != nil {
		return errors.Join(err, p.change.Abandon())
	}
	_, err := p.change.Commit(ctx, now)
	return err
}

// eraseCondemned erases packs, journals and checkpoints whose grace is over.
func (p *pruner) eraseCondemned(ctx context.Context) error {
	var packs []catalog.Pack
	err := p.tx.Packs(ctx, func(u *catalog.PackUse) error {
		if u.Condemned != 0 && p.past.condemns(u.Pack) && p.graceOver(u.CondemnedAt) {
			packs = append(packs, u.Pack)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, row := range packs {
		gone, err := p.erase(ctx, vault.Object{Kind: vault.ObjectPack, ID: row.ID, Size: row.Size})
		if err == nil && gone {
			err = p.tx.Delete(row)
		}
		if err != nil {
			return err
		}
	}
	for _, c := range p.past.condemned() {
		if at := c.at; c.object.Kind != vault.ObjectPack && p.graceOver(&at) {
			if _, err := p.erase(ctx, c.object); err != nil {
				return err
			}
		}
	}
	return nil
}

// graceOver tells whether what was condemned at a time may be erased. Without a
// grace that is at once, also where the store's clock is behind the one by which
// it was condemned.
func (p *pruner) graceOver(since *time.Time) bool {
	if p.o.Policy.erase() == 0 {
		return since != nil
	}
	return since != nil && !p.now.Before(since.Add(p.o.Policy.erase()))
}

// erase erases an object that was condemned; gone is false when it is locked.
func (p *pruner) erase(ctx context.Context, object vault.Object) (gone bool, err error) {
	if gone, err = p.delete(ctx, object); !gone {
		return false, err
	}
	if !p.o.DryRun {
		p.change.Erased(vault.Object{Kind: object.Kind, ID: object.ID})
	}
	p.report.Erased++
	p.report.ErasedBytes += object.Size
	return true, nil
}

// eraseStrays erases objects that no commit names, left by a run that was
// killed, once they are older than the grace by the store's own clock. A store
// without a clock keeps them.
func (p *pruner) eraseStrays(ctx context.Context) error {
	now, err := p.h.Vault.Now(ctx)
	if errors.Is(err, vault.ErrNoClock) {
		return nil
	}
	if err != nil {
		return err
	}
	// A running backup may need as long as it likes before its commit; the
	// lease keeps it away from here, and a day covers a writer without one.
	limit := now.Add(-max(p.o.Policy.erase(), strayAge))
	for _, kind := range []vault.ObjectKind{vault.ObjectPack, vault.ObjectJournal, vault.ObjectCheckpoint} {
		var strays []vault.Stored
		err := p.h.Vault.Objects(ctx, kind, func(s vault.Stored) error {
			if s.Foreign || s.Modified.After(limit) || p.past.named(s.Object) {
				return nil
			}
			strays = append(strays, s)
			return nil
		})
		if err != nil {
			return err
		}
		for _, s := range strays {
			gone, err := p.delete(ctx, s.Object)
			if err != nil {
				return err
			}
			if !gone {
				continue
			}
			p.report.Erased++
			p.report.ErasedBytes += s.Size
			p.report.Strays++
		}
	}
	return nil
}

// strayAge is the least age of an object without a commit before it is erased.
const strayAge = 24 * time.Hour
