// Package backup is the nightly run: it compares a source with the catalog,
// stores what is new, and records what changed and what is gone.
//
// Data flows one way. The scan (one goroutine) walks users and mailboxes and
// compares each with what the catalog knows; what must be read becomes a job.
// Workers read and cut messages. The keeper (one goroutine) deduplicates,
// hands chunks to the packer, and writes a row only once everything that the
// row refers to is durable. The settlement at the end decides which
// disappearances start their week (internal/retention).
//
// Invariants:
//   - The source is only read. Absence counts as deletion only in a mailbox
//     that was listed whole, without an error, in this run.
//   - A mailbox's state token is recorded only after each of its messages is
//     safe: what failed tonight is tried again tomorrow.
//   - All rows of a run reach the catalog and the journal through one change
//     (internal/history); nothing counts before its commit.
//
// Memory is bounded by the workers' messages, the packer's buffers and the
// largest single mailbox's list, not by the number of messages.
package backup

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/pace"
	"salvor/internal/progress"
	"salvor/internal/retention"
	"salvor/internal/vault"
)

// Options say what to back up. Source, Name and Host are needed; the zero
// value of everything else works.
type Options struct {
	Source mailstore.Source
	// Name is the source's URL without secrets. Users belong to the source
	// that first showed them.
	Name string
	// Users limits the run to these; nil means all. Others are left alone.
	Users  []string
	Scope  folder.Scope
	Policy retention.Policy
	Limits retention.Limits
	Meter  progress.Meter
	Pace   *pace.Limiter
	// Workers read and cut at the same time; 0 chooses by the machine.
	Workers int
	// DryRun compares and reports without reading content or writing anything.
	DryRun bool
	// Host is this machine's name, for the run's record.
	Host string
	// Now is the host's clock; nil means time.Now.
	Now func() time.Time
	// CommitAfter is how many bytes of new mail a crash may cost: a long run
	// commits in between, after a whole user. 0 means 4 GiB.
	CommitAfter int64
}

func (o Options) withDefaults() Options {
	if o.Workers == 0 {
		// More than there are processors: cold disks answer many readers
		// several times as fast as one.
		o.Workers = min(16, max(4, 2*runtime.GOMAXPROCS(0)))
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CommitAfter == 0 {
		o.CommitAfter = 4 << 30
	}
	return o
}

// errMorePasses ends a pass that has stored enough for a commit of its own.
// The next pass walks the source again and finds what is done unchanged.
var errMorePasses = errors.New("commit what there is and go on")

// Run makes one backup. An error means that the last commit before the run
// still stands and nothing after it does, except when Report.Partial says that
// an interrupted run has kept what was complete. Problems with single users or
// messages are not errors: they stand in the report.
func Run(ctx context.Context, h *history.History, o Options) (*Report, error) {
	o = o.withDefaults()
	started := o.Now()
	if o.DryRun {
		return dryRun(ctx, h, o, started)
	}
	var report *Report
	err := h.Exclusive(ctx, "backup", func(ctx context.Context) error {
		var err error
		report, err = attempt(ctx, h, o, started)
		return err
	})
	if err != nil {
		return report, fmt.Errorf("backup of %s: %w", o.Name, err)
	}
	return report, nil
}

// attempt makes the run's commits: usually one, more when much is new.
func attempt(ctx context.Context, h *history.History, o Options, started time.Time) (*Report, error) {
	clock, err := h.Clock(ctx, o.Now())
	if err != nil {
		return nil, err
	}
	var carried *Report
	for {
		r, err := begin(ctx, h, o, clock, started, carried)
		if err != nil {
			return nil, err
		}
		err = r.pass(ctx)
		more := errors.Is(err, errMorePasses)
		interrupted := err != nil && !more && ctx.Err() != nil && errors.Is(err, ctx.Err())
		if err != nil && !more && !interrupted {
			return nil, errors.Join(err, r.change.Abandon())
		}
		if cerr := r.finish(ctx, more || interrupted); cerr != nil {
			return nil, cerr
		}
		if interrupted {
			return &r.report, err
		}
		if !more {
			return &r.report, nil
		}
		carried = &r.report
	}
}

// dryRun compares without a commit: the transaction is rolled back.
func dryRun(ctx context.Context, h *history.History, o Options, started time.Time) (*Report, error) {
	if _, err := h.Follow(ctx); err != nil && !errors.Is(err, history.ErrNoKey) {
		return nil, err
	}
	clock, err := h.Clock(ctx, o.Now())
	if err != nil {
		return nil, err
	}
	tx, err := h.Catalog.Begin(ctx)
	if err != nil {
		return nil, err
	}
	r := newRun(o, clock, started, tx, 0)
	if head, err := tx.Head(); err == nil {
		r.number = head.Number + 1
	}
	err = r.scan(ctx, func(_ context.Context, j job) error {
		if j.kind == readMessage && j.replaces == 0 {
			r.report.Messages.New++
		}
		return nil
	})
	if err == nil {
		err = r.settle(ctx)
	}
	r.report.Seconds = o.Now().Sub(started).Seconds()
	return &r.report, errors.Join(err, tx.Rollback())
}

// A run is one pass over the source on top of one change.
type run struct {
	o      Options
	tx     *catalog.Tx
	change *history.Change // nil in a dry run
	number uint64
	clock  retention.Clock
	// submitted counts the bytes that this pass has given to the workers.
	submitted int64
	mu        sync.Mutex // guards report and suspect while the pipeline runs
	report    Report
	// suspect remembers, by user, why a mailbox's index is no evidence.
	suspect map[string]string
	// removed counts, by user, the messages of each folder tree removed now.
	removed map[string][]int
}

func newRun(o Options, clock retention.Clock, started time.Time, tx *catalog.Tx, number uint64) *run {
	return &run{o: o, tx: tx, number: number, clock: clock,
		report:  Report{Run: number, Started: started, Clock: clock.Doubt, HeldByBrake: []Held{}},
		suspect: map[string]string{}, removed: map[string][]int{}}
}

func begin(ctx context.Context, h *history.History, o Options, clock retention.Clock, started time.Time, carried *Report) (*run, error) {
	change, err := h.Begin(ctx, vault.CommitBackup)
	if err != nil {
		return nil, err
	}
	r := newRun(o, clock, started, change.Tx, change.Number())
	r.change = change
	if carried != nil {
		r.report = carried.continued()
		r.number = carried.Run
	}
	return r, nil
}

// pass goes through the source once, reading what is new.
func (r *run) pass(ctx context.Context) error {
	packer, err := r.change.Packer(history.Grace(ctx)) // an interrupted run keeps what it has
	if err != nil {
		return err
	}
	p, err := r.startPipeline(ctx, packer)
	if err != nil {
		return err
	}
	err = r.scan(p.ctx, p.submit)
	return p.finish(err)
}

// finish settles what is gone and commits.
func (r *run) finish(ctx context.Context, partial bool) error {
	ctx = context.WithoutCancel(ctx)
	if err := r.change.Flush(); err != nil {
		return errors.Join(err, r.change.Abandon())
	}
	r.report.Bytes.Stored += r.change.StoredBytes()
	r.report.Partial = partial
	if !partial {
		if err := r.settle(ctx); err != nil {
			return errors.Join(err, r.change.Abandon())
		}
	}
	now := r.o.Now()
	r.report.Seconds = now.Sub(r.report.Started).Seconds()
	if err := r.tx.Put(r.report.row(r.o, now)); err != nil {
		return errors.Join(err, r.change.Abandon())
	}
	head, err := r.change.Commit(ctx, now)
	r.report.Head = head
	return err
}
