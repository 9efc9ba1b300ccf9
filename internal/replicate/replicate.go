// Package replicate makes and continues a second copy of a vault in another
// store, object by object and without any key: what is encrypted stays so. It
// reads the source through its signed chain only and knows nothing of catalogs
// or mail.
//
// Invariants:
//   - Keys first, then what the commits name, then the commits in the order of
//     their numbers. A copy that was cut off is an older or a growing vault, and
//     the next one goes on where it ended.
//   - Every object that is sent was compared with the hash that is its name. A
//     damaged one is named and not copied, and never takes the place of a good
//     one.
//   - A copy only follows. Where it has commits that the source does not have,
//     nothing is written.
//   - Nothing is erased in the copy but what its own signed commits say was
//     erased, and not before the commit that condemned it has been there for a
//     grace.
package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salvor/internal/objstore"
	"salvor/internal/pace"
	"salvor/internal/progress"
	"salvor/internal/vault"
)

// Options say how to copy. The zero value works.
type Options struct {
	// DryRun says what would be copied and erased, and writes nothing.
	DryRun bool
	// ReadData also reads what the copy has already and compares it with its
	// name; damaged objects are replaced.
	ReadData bool
	// Grace is how long what the source has erased stays in the copy after the
	// copy has learned that it was condemned; 0 means a day, less than nothing
	// none.
	Grace time.Duration
	// KeepErased erases nothing in the copy.
	KeepErased bool
	Pace       *pace.Limiter // one message is one object; nil: no limit
	Meter      progress.Meter
	Workers    int // objects on their way at a time, each in memory; 0: 3
	Now        func() time.Time
}

const (
	defaultGrace   = 24 * time.Hour
	defaultWorkers = 3
)

func (o Options) withDefaults() Options {
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Workers <= 0 {
		o.Workers = defaultWorkers
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Damage is an object of the source that could not be copied.
type Damage struct {
	Object string `json:"object"`
	What   string `json:"what"`
}

// Report is what a copy did, or would do. Sizes are stored bytes.
type Report struct {
	Vault       string     `json:"vault"`
	Head        vault.Head `json:"head"`    // the commit up to which it is a copy
	Objects     int        `json:"objects"` // packs, journals and checkpoints that belong to it
	Present     int        `json:"present"` // of these, how many were there
	Copied      int        `json:"copied"`
	Bytes       int64      `json:"bytes"` // of those copied
	Commits     int        `json:"commits"`
	Mended      []string   `json:"mended"`  // damaged objects of the copy that were replaced
	Damaged     []Damage   `json:"damaged"` // in the source, and not in the copy
	Erased      int        `json:"erased"`
	ErasedBytes int64      `json:"erased_bytes"`
	// ToErase counts objects that the source has erased and the copy still has.
	ToErase      int     `json:"to_erase"`
	ToEraseBytes int64   `json:"to_erase_bytes"`
	DryRun       bool    `json:"dry_run,omitempty"`
	Seconds      float64 `json:"seconds"`
}

// Copy brings the copy of a vault in the store to the source's head, and makes
// it where the store is empty. to may be nil in a dry run, for one that is not
// there yet. vault.ErrVaultExists: another vault lies there. vault.ErrDiverged:
// the copy has commits that the source has not. After an error what was copied
// stays and is not sent again.
func Copy(ctx context.Context, from *vault.Vault, to objstore.Store, o Options) (*Report, error) {
	o = o.withDefaults()
	started := o.Now()
	c := &copier{from: from, o: o, report: &Report{Vault: from.ID(), Mended: []string{}, Damaged: []Damage{}, DryRun: o.DryRun}}
	err := c.run(ctx, to)
	c.report.Seconds = o.Now().Sub(started).Seconds()
	if err != nil {
		return c.report, fmt.Errorf("copy: %w", err)
	}
	return c.report, nil
}

type copier struct {
	from   *vault.Vault
	to     *vault.Vault // nil in a dry run where there is none
	o      Options
	report *Report
	source line
	copied line // the chain of the copy as it was found
}

func (c *copier) run(ctx context.Context, store objstore.Store) error {
	if err := c.open(ctx, store); err != nil {
		return err
	}
	if err := c.readLines(ctx); err != nil {
		return err
	}
	if err := c.checkLines(); err != nil {
		return err
	}
	if err := c.copyKeys(ctx); err != nil {
		return err
	}
	if err := c.copyAll(ctx); err != nil {
		return err
	}
	if err := c.copyCommits(ctx); err != nil {
		return err
	}
	return c.eraseErased(ctx)
}

// open opens the copy, or begins it.
func (c *copier) open(ctx context.Context, store objstore.Store) (err error) {
	if store == nil {
		return nil
	}
	c.to, err = c.from.OpenReplica(ctx, store)
	if !errors.Is(err, vault.ErrNoVault) {
		return err
	}
	if c.o.DryRun {
		return nil
	}
	c.to, err = c.from.CreateReplica(ctx, store)
	return err
}

// readLines reads both chains, the copy's first: it is never ahead of what is
// read of the source after it, whoever else is copying.
func (c *copier) readLines(ctx context.Context) (err error) {
	if c.to != nil && !c.o.DryRun {
		mended, err := c.to.MendChain(ctx, c.from)
		if err != nil {
			return err
		}
		c.report.Mended = append(c.report.Mended, mended...)
	}
	if c.to != nil {
		if c.copied, err = readLine(ctx, c.to); err != nil {
			return fmt.Errorf("the copy: %w", err)
		}
	}
	c.source, err = readLine(ctx, c.from)
	return err
}

// checkLines refuses a copy that has gone its own way.
func (c *copier) checkLines() error {
	for i, commit := range c.copied.commits {
		if i >= len(c.source.commits) {
			return fmt.Errorf("%w: the copy has %d commits, the vault %d: somebody wrote to the copy, or the vault was rolled back",
				vault.ErrDiverged, len(c.copied.commits), len(c.source.commits))
		}
		if commit.Hash != c.source.commits[i].Hash {
			return fmt.Errorf("%w at commit %d: somebody wrote to the copy, or to an older state of the vault", vault.ErrDiverged, commit.Number)
		}
	}
	return nil
}

func (c *copier) copyKeys(ctx context.Context) error {
	if c.o.DryRun {
		return nil
	}
	_, err := c.from.CopyKeys(ctx, c.to)
	return err
}

// copyAll copies the objects that the source's head needs. When some are
// missing or damaged, the source may have been pruned meanwhile: then it is
// tried again with the new head, until the head stands still.
func (c *copier) copyAll(ctx context.Context) error {
	for {
		if err := c.copyObjects(ctx); err != nil || len(c.report.Damaged) == 0 {
			return err
		}
		newer, err := readLine(ctx, c.from)
		if err != nil {
			return err
		}
		if len(newer.commits) == len(c.source.commits) {
			return nil
		}
		c.source = newer
		if err := c.copyKeys(ctx); err != nil { // of a writer that is new
			return err
		}
	}
}

// copyCommits makes the objects that were copied part of the copy.
func (c *copier) copyCommits(ctx context.Context) error {
	for _, commit := range c.source.commits[len(c.copied.commits):] {
		if !c.o.DryRun {
			if err := c.from.CopyCommit(ctx, c.to, commit); err != nil {
				return err
			}
		}
		c.report.Commits++
	}
	c.report.Head = c.source.head(c.from.ID())
	return nil
}
