// Package incident works on a disaster: a mail server is lost, wholly or in
// part. Open compares what survived of its metadata (the index: which messages
// there were) with the catalog (which of them the vault holds) and writes the
// incident's ledger: one claim for each message that was in either, in one
// state. Count adds a ledger up.
//
// The ledger is rows of the catalog (catalog.Incident, catalog.Claim), so it is
// in the vault before anybody acts on it, and a rebuild never drops it. It
// belongs to the commands; nothing here writes to a mail store.
//
// Who acts on a ledger holds it by Act: recall (what a restore brings back), fill
// (files under an index that survived), owe (out of a live index), gate (who may
// come in), redeliver (what is found); report only reads it.
//
// Invariants:
//   - The surviving metadata is copied first; when that fails, nothing else
//     happens. What is compared is the copy.
//   - No message is opened: metadata alone tells what there was.
//   - A ledger is one commit. A kill at any point leaves all of it or nothing,
//     and whoever begins again finds the first copy, which is never replaced.
//   - A message counts as deleted only where something says so: a record of its
//     removal, or a whole index that is not older than the backup and does not
//     name it. In doubt it is uncertain, which is brought back.
//
// Memory is bounded by the largest single mailbox, not by the server; of an
// index without hashes by the largest user.
package incident

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/progress"
	"salvor/internal/vault"
)

// What a caller may have to decide about.
var (
	// ErrExists: there is an incident of this name.
	ErrExists = errors.New("there is an incident of this name")
	// ErrName: the name is not fit for one.
	ErrName = errors.New("a name of an incident has letters, digits, - _ and . only, at most 64, and begins with a letter or digit")
	// ErrOverlap: another incident with these users is open.
	ErrOverlap = errors.New("an incident with the same users is open")
	// ErrSource: the catalog knows no such source, or not yet by that time.
	ErrSource = errors.New("the catalog has no backup of this source")
	// ErrIndex: the index does not look like that of this source at that time.
	ErrIndex = errors.New("this does not look like the index of that server at that time")
	// ErrNothing: nothing of the metadata could be copied.
	ErrNothing = errors.New("nothing survived of the metadata")
	// ErrUnknown: there is no incident of this name.
	ErrUnknown = errors.New("there is no incident of this name")
	// ErrSums: a ledger does not add up.
	ErrSums = errors.New("the ledger does not add up")
)

// Options say what to open. Name, Source and, unless nothing survived, Index
// and Keep are needed.
type Options struct {
	Name string
	// Source is the lost mail store's URL as the backup had it.
	Source string
	// Index is what survived of its metadata; nil: nothing.
	Index *Index
	// At is the time of the loss: the catalog is taken as it was then. Zero: now.
	At time.Time
	// Keep is the directory for the copy of the metadata, which Open makes. A
	// whole copy that an earlier try left there is used.
	Keep string
	// Scope is that of the backup; it tells which folders are Junk.
	Scope folder.Scope
	// AcceptIndex takes an index that Open would refuse with ErrIndex.
	AcceptIndex bool
	// DryRun copies nothing, compares with the metadata where it is, and writes
	// nothing.
	DryRun bool
	By     string // who opens it
	Host   string
	Meter  progress.Meter
	Now    func() time.Time
}

// An Index is metadata of a mail store that survived.
type Index struct {
	URL string
	// Trees are what is copied of it; Files are written beside them, by name,
	// when the copy's directory is known.
	Trees []Tree
	Files func(dir string) map[string]string
	// Open opens the copy in dir for listing, or with "" what survived itself.
	Open func(dir string) (mailstore.Source, error)
	// Apart says that this index does not live and die with the messages' files:
	// then a message that a whole one does not name was deleted.
	Apart bool
	// KeysTravel says that a message keeps its Key in another folder of its user.
	KeysTravel bool
	// KeysNumbered says that a Key means another message under another UIDVALIDITY.
	KeysNumbered bool
}

// Report is what Open found.
type Report struct {
	Totals
	Users     int       `json:"users"`   // in the index or in the catalog
	Folders   int       `json:"folders"` // likewise
	Run       uint64    `json:"run"`
	At        time.Time `json:"at"`
	Kept      *Copy     `json:"kept,omitempty"`
	Problems  []string  `json:"problems"` // what could not be read: the first 100
	Unread    int       `json:"unread"`   // how many problems there were
	DryRun    bool      `json:"dry_run,omitempty"`
	Seconds   float64   `json:"seconds"`
	startedAt time.Time
}

// maxProblems bounds what is said of what could not be read.
const maxProblems = 100

func (r *Report) problem(line string) {
	r.Unread++
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, line)
	}
}

var fitName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// CheckName gives ErrName unless a name can be an incident's.
func CheckName(name string) error {
	if fitName.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%q: %w", name, ErrName)
}

// Open opens an incident.
func Open(ctx context.Context, h *history.History, o Options) (*Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	report := &Report{}
	err := CheckName(o.Name)
	if err == nil {
		err = open(ctx, h, o, report)
	}
	if err != nil {
		return nil, fmt.Errorf("open incident: %w", err)
	}
	return report, nil
}

func open(ctx context.Context, h *history.History, o Options, report *Report) error {
	attempt := func(ctx context.Context, change *history.Change) error {
		*report = Report{DryRun: o.DryRun, Problems: []string{}, startedAt: o.Now()}
		c := &comparison{o: o, tx: change.Tx, number: change.Number(), report: report, runs: map[uint64]time.Time{}}
		return c.all(ctx)
	}
	if o.DryRun {
		return h.Rehearse(ctx, attempt)
	}
	return h.Exclusive(ctx, "incident "+o.Name, func(ctx context.Context) error {
		change, err := h.Begin(ctx, vault.CommitDecision)
		if err != nil {
			return err
		}
		if err := attempt(ctx, change); err != nil {
			return errors.Join(err, change.Abandon())
		}
		_, err = change.Commit(ctx, o.Now())
		return err
	})
}

// all takes the steps in their order.
func (c *comparison) all(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	if c.o.Index != nil {
		if err := c.glance(ctx); err != nil {
			return err
		}
		src, err := c.openIndex(ctx)
		if err != nil {
			return err
		}
		defer closeSource(src)
		if err := c.recognise(ctx, src); err != nil {
			return err
		}
		c.src = src
	}
	if err := c.tx.Put(c.incident); err != nil {
		return err
	}
	if err := c.walk(ctx); err != nil {
		return err
	}
	return c.finish(ctx)
}

// begin looks whether there may be such an incident, and what it starts from.
func (c *comparison) begin(ctx context.Context) error {
	now := c.o.Now()
	if c.o.At.IsZero() {
		c.o.At = now
	}
	if c.o.At.After(now) {
		return fmt.Errorf("%s is not over yet", c.o.At.Format(time.RFC3339))
	}
	err := c.tx.Incidents(ctx, func(i *catalog.Incident) error {
		switch {
		case i.Name == c.o.Name:
			return fmt.Errorf("%w: %q, opened %s", ErrExists, i.Name, i.OpenedAt.Format(time.RFC3339))
		case i.ClosedAt.IsZero() && i.Source == c.o.Source:
			return fmt.Errorf("%w: %q is about %s too", ErrOverlap, i.Name, i.Source)
		case i.ClosedAt.IsZero():
			c.others = append(c.others, i.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := c.findRun(ctx); err != nil {
		return err
	}
	head, err := c.tx.Head()
	c.incident = catalog.Incident{Name: c.o.Name, Source: c.o.Source, At: c.o.At, OpenedAt: now, OpenedBy: c.o.By,
		Head: head.Number, HeadHash: head.Hash, Run: c.report.Run}
	c.report.At = c.o.At
	return err
}

// findRun finds the last backup of the source by the time of the loss.
func (c *comparison) findRun(ctx context.Context) error {
	err := c.tx.Runs(ctx, 0, func(r *catalog.Run) error {
		if r.Source != c.o.Source || r.Kind != string(vault.CommitBackup) || r.Started.After(c.o.At) {
			return nil
		}
		c.report.Run = r.Number
		return catalog.ErrStop
	})
	if err != nil || c.report.Run != 0 {
		return err
	}
	sources := map[string]bool{}
	err = c.tx.Users(ctx, func(u *catalog.User) error {
		sources[u.Source] = true
		return nil
	})
	if err == nil && sources[c.o.Source] {
		err = fmt.Errorf("%w by %s: %s", ErrSource, c.o.At.Format(time.RFC3339), c.o.Source)
	} else if err == nil {
		err = fmt.Errorf("%w: %s; it has %s", ErrSource, c.o.Source, names(sources))
	}
	return err
}

// glance refuses another server's index before it is copied: its copy would be
// in the way of the right one's. What cannot be opened is for the copy to tell.
func (c *comparison) glance(ctx context.Context) error {
	if c.o.AcceptIndex {
		return nil
	}
	src, err := c.o.Index.Open("")
	if err != nil {
		return nil
	}
	defer closeSource(src)
	return c.recognise(ctx, src)
}

// closeSource closes what was only read.
func closeSource(src mailstore.Source) {
	if closer, ok := src.(io.Closer); ok {
		closer.Close()
	}
}

// openIndex copies the metadata and opens the copy.
func (c *comparison) openIndex(ctx context.Context) (mailstore.Source, error) {
	c.incident.Index = c.o.Index.URL
	if c.o.DryRun {
		return c.o.Index.Open("")
	}
	keep, err := filepath.Abs(c.o.Keep)
	if err != nil {
		return nil, err
	}
	c.o.Meter.Stage("copy the metadata")
	kept, err := keepCopy(ctx, keep, c.o.Index)
	if err != nil {
		return nil, fmt.Errorf("copy the metadata to %s: %w", keep, err)
	}
	for _, p := range kept.problems {
		c.report.problem(p)
	}
	c.report.Kept, c.incident.Kept, c.incident.KeptSum = kept, keep, kept.Sum
	return c.o.Index.Open(keep)
}

// finish makes the ledger count, if it adds up.
func (c *comparison) finish(ctx context.Context) error {
	if want := c.sums.listed + c.sums.known - c.sums.both; c.sums.claims != want {
		return fmt.Errorf("%w: %d messages in the index and %d in the backup, %d of them in both, make %d claims", ErrSums,
			c.sums.listed, c.sums.known, c.sums.both, c.sums.claims)
	}
	c.incident.Claims, c.incident.Problems = c.sums.claims, c.report.Problems
	now := c.o.Now()
	err := c.tx.Put(c.incident, catalog.Run{Number: c.number, Kind: string(vault.CommitDecision), Started: c.report.startedAt, Finished: now, Host: c.o.Host})
	if err != nil {
		return err
	}
	totals, err := Count(ctx, c.tx, c.o.Name)
	if err != nil {
		return err
	}
	c.report.Totals, c.report.Seconds = *totals, now.Sub(c.report.startedAt).Seconds()
	return nil
}
