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

// ErrClosed: nobody acts on an incident that is closed.
var ErrClosed = errors.New("the incident is closed")

// errTaken ends the work of a process whose lease went to another one.
var errTaken = errors.New("another process has taken the incident over (hint: it may have been asleep for long; run it again when the other one is done)")

// commitWait is how long a change of a ledger waits for whoever writes to the
// vault: a nightly backup takes its time, and what was done has to be written
// down.
const commitWait = 6 * time.Hour

// ActOptions say whose ledger is acted on. Name and Purpose are needed.
type ActOptions struct {
	Name    string
	Purpose string // in a word, for others who have to wait
	Now     func() time.Time
	// DryRun takes no lease; the ledger cannot be changed then.
	DryRun bool
}

// A Ledger is an open incident's ledger in the hands of one process: as long as
// it has it, no other one acts on the incident. Its methods may be called by
// several goroutines.
type Ledger struct {
	Incident catalog.Incident // as it was when the ledger was taken

	h    history.History
	o    ActOptions
	turn chan struct{} // one change at a time
}

// Act takes an incident's ledger and hands it to fn, whose context ends when the
// ledger is lost to somebody else. ErrUnknown, ErrClosed, ErrSums;
// *vault.LockedError while another process acts on the incident.
func Act(ctx context.Context, h *history.History, o ActOptions, fn func(context.Context, *Ledger) error) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Ledger{h: *h, o: o, turn: make(chan struct{}, 1)}
	l.h.LeaseWait = commitWait
	if o.DryRun {
		if err := l.load(ctx); err != nil {
			return err
		}
		return fn(ctx, l)
	}
	return hold(ctx, h, o.Name, o.Purpose, func(ctx context.Context) error {
		if err := l.load(ctx); err != nil {
			return err
		}
		err := fn(ctx, l)
		_, sums := Count(context.WithoutCancel(ctx), h.Catalog, o.Name)
		return errors.Join(err, sums)
	})
}

// hold runs fn while this process has an incident's lease.
func hold(ctx context.Context, h *history.History, name, purpose string, fn func(context.Context) error) error {
	if h.Host == nil {
		return history.ErrNoWriter
	}
	lease, err := h.Vault.Acquire(ctx, vault.LeaseOptions{Name: "incident-" + name, Purpose: purpose, Host: h.Host.Host(), TTL: h.LeaseTTL})
	if err != nil {
		return fmt.Errorf("incident %q: %w", name, err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-lease.Lost():
			stop(errTaken)
		case <-done:
		}
	}()
	err = fn(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, errTaken) {
		err = errors.Join(err, cause)
	}
	last, end := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer end()
	// One that could not be released runs out by itself.
	if rerr := lease.Release(last); rerr != nil && err != nil {
		err = errors.Join(err, fmt.Errorf("release the incident: %w", rerr))
	}
	return err
}

// releaseTime bounds the release of a lease, which runs out by itself.
const releaseTime = 3 * time.Second

// load brings the catalog to the vault's head and reads the incident.
func (l *Ledger) load(ctx context.Context) error {
	if _, err := l.h.Follow(ctx); err != nil {
		return err
	}
	i, ok, err := l.h.Catalog.Incident(l.o.Name)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%q: %w", l.o.Name, ErrUnknown)
	case !i.ClosedAt.IsZero():
		return fmt.Errorf("%q: %w", l.o.Name, ErrClosed)
	}
	l.Incident = i
	return nil
}

// Catalog is where the ledger is read. It may be read while it is changed.
func (l *Ledger) Catalog() *catalog.Catalog { return l.h.Catalog }

// Now is the time.
func (l *Ledger) Now() time.Time { return l.o.Now() }

// Claims lists claims of the incident by id. The ledger must not be changed
// inside yield: collect, then change.
func (l *Ledger) Claims(ctx context.Context, q catalog.ClaimQuery, yield func(*catalog.Claim) error) error {
	q.Incident = l.o.Name
	return l.h.Catalog.Claims(ctx, q, yield)
}

// Batches walks through the claims that q chooses, many at a time, and lets the
// ledger be changed in between.
func (l *Ledger) Batches(ctx context.Context, q catalog.ClaimQuery, n int, each func([]catalog.Claim) error) error {
	for {
		var batch []catalog.Claim
		err := l.Claims(ctx, q, func(c *catalog.Claim) error {
			if batch = append(batch, *c); len(batch) == n {
				return catalog.ErrStop
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return nil
		}
		q.After = batch[len(batch)-1].ID
		if err := each(batch); err != nil || len(batch) < n {
			return err
		}
	}
}

// Put writes claims in one commit; see Edit.Put. It returns when they are in the
// vault: what follows from them may be done then.
func (l *Ledger) Put(ctx context.Context, claims ...catalog.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	return l.Change(ctx, func(e *Edit) error {
		for i := range claims {
			if err := e.Put(&claims[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Change makes one commit of what fn puts. fn may be called again when the
// commit has to be made anew.
func (l *Ledger) Change(ctx context.Context, fn func(*Edit) error) error {
	return l.change(ctx, vault.CommitDecision, fn)
}

// Store is Change for what brings contents into the vault (Edit.Keep).
func (l *Ledger) Store(ctx context.Context, fn func(*Edit) error) error {
	return l.change(ctx, vault.CommitBackup, fn)
}

func (l *Ledger) change(ctx context.Context, kind vault.CommitKind, fn func(*Edit) error) error {
	if l.o.DryRun {
		return errors.New("a dry run does not change a ledger")
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	err := l.h.Exclusive(ctx, history.Brief+"incident "+l.o.Name, func(ctx context.Context) error {
		change, err := l.h.Begin(ctx, kind)
		if err != nil {
			return err
		}
		e := &Edit{tx: change.Tx, now: l.o.Now(), ctx: ctx, change: change}
		if err := e.all(l.o.Name, fn); err != nil {
			return errors.Join(err, change.Abandon())
		}
		_, err = change.Commit(ctx, l.o.Now())
		return err
	})
	if err != nil {
		return fmt.Errorf("write the ledger of incident %q: %w", l.o.Name, err)
	}
	return nil
}

// An Edit is a change of a ledger that is being made.
type Edit struct {
	tx       *catalog.Tx
	now      time.Time
	incident catalog.Incident

	ctx    context.Context // of this change
	change *history.Change
	store  *history.Store // made when it is needed
}

// all makes a change, with the number of claims kept right.
func (e *Edit) all(name string, fn func(*Edit) error) error {
	i, ok, err := e.tx.Incident(name)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%q: %w", name, ErrUnknown)
	case !i.ClosedAt.IsZero():
		return fmt.Errorf("%q: %w", name, ErrClosed)
	}
	e.incident = i
	if err := fn(e); err != nil {
		return err
	}
	if e.incident.Claims != i.Claims {
		return e.tx.Put(e.incident)
	}
	return nil
}

// Put writes a claim. One with ID 0 is new and gets an ID; one that is not in
// the ledger any more (its user was forgotten meanwhile) stays away. SettledAt
// is set where the state is another one than it was.
func (e *Edit) Put(c *catalog.Claim) error {
	c.Incident = e.incident.Name
	if c.ID == 0 {
		id, err := e.tx.NextID(catalog.ClaimIDs)
		if err != nil {
			return err
		}
		c.ID, c.SettledAt = id, e.now
		e.incident.Claims++
		return e.tx.Put(*c)
	}
	old, ok, err := e.tx.Claim(c.Incident, c.ID)
	if err != nil || !ok {
		return err
	}
	if old.State != c.State {
		c.SettledAt = e.now
	}
	return e.tx.Put(*c)
}

// Claim reads a claim as it is in the change; ok is false when there is none.
func (e *Edit) Claim(id int64) (c catalog.Claim, ok bool, err error) {
	return e.tx.Claim(e.incident.Name, id)
}

// Gate writes how far a user may come in.
func (e *Edit) Gate(g catalog.Gate) error {
	g.Incident = e.incident.Name
	return e.tx.Put(g)
}
