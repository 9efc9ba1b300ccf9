// Package stow puts what a salvage found into the vault, as findings of an
// incident, and reads them from there. It is the found.Keeper that `salvor salvage
// --incident` uses where no directory is named.
//
// Contents and rows go into the vault in commits of bounded size, while the
// salvage goes on: a run that is killed has lost what was found since the last one,
// and finds it again. Storing needs no identity; reading does, as a restore does.
//
// A finding is nobody's mail: it holds its content until its incident is closed.
package stow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/salvage/found"
)

// Options say how findings are stored. Salvage and Envelope are needed.
type Options struct {
	// Salvage names the salvage, the same in each of its runs: only its own findings
	// end when they are not found any more.
	Salvage string
	// Envelope fills in what a content is searched by, from its header.
	Envelope func(*catalog.Content, []byte)
	// MaxBytes is how many bytes of mail are stored by one Keeper; 0: no bound.
	MaxBytes int64
}

// What goes into one commit.
const (
	batchFindings = 1024
	batchBytes    = 48 << 20
)

// maxMessage is the longest message that is kept, in bytes: it is in memory while
// it is cut.
const maxMessage = 1 << 30

// A Keeper stores findings. Its methods are not safe for concurrent use.
type Keeper struct {
	l *incident.Ledger
	o Options

	waiting []kept
	names   map[string]string // of what waits: IDs, and SHA-256
	weight  int
	stored  int64
}

// A kept finding is on its way into the vault.
type kept struct {
	row    catalog.Finding
	stored []byte
}

// New makes a Keeper for the incident whose ledger this is.
func New(l *incident.Ledger, o Options) *Keeper {
	return &Keeper{l: l, o: o, names: map[string]string{}}
}

var _ found.Keeper = (*Keeper)(nil)

// Keep implements found.Keeper. An f without ID gets one.
func (k *Keeper) Keep(ctx context.Context, f *found.Finding, content io.Reader) error {
	if !f.Class.Kept() {
		return fmt.Errorf("keep %s: what is %s is not kept", f.Path, f.Class)
	}
	if f.SHA256Stored != "" {
		if has, err := k.has(f); err != nil || has {
			return err
		}
	}
	stored, err := io.ReadAll(io.LimitReader(content, maxMessage+1))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(stored)
	name := hex.EncodeToString(sum[:])
	switch {
	case len(stored) > maxMessage:
		return fmt.Errorf("%s at %d of %s is longer than any message (%d bytes)", f.How, f.Offset, f.Source, maxMessage)
	case f.SHA256Stored != "" && (name != f.SHA256Stored || f.Size != int64(len(stored))):
		return fmt.Errorf("%s at %d of %s: %w", f.How, f.Offset, f.Source, found.ErrChanged)
	case k.o.MaxBytes > 0 && k.stored+int64(len(stored)) > k.o.MaxBytes:
		return fmt.Errorf("%w: it would be more than %d bytes (hint: allow more, and run it again; it goes on from here)", found.ErrFull, k.o.MaxBytes)
	}
	if f.SHA256Stored == "" {
		f.SHA256Stored, f.Size = name, int64(len(stored))
		if has, err := k.has(f); err != nil || has {
			return err
		}
	}
	row, err := rowOf(f, k.o.Salvage)
	if err != nil {
		return err
	}
	k.waiting, k.names[f.ID] = append(k.waiting, kept{row, stored}), name
	k.weight += len(stored)
	k.stored += int64(len(stored))
	if len(k.waiting) < batchFindings && k.weight < batchBytes {
		return nil
	}
	return k.flush(ctx)
}

// has tells whether these bytes are in the vault for the incident, or wait.
func (k *Keeper) has(f *found.Finding) (bool, error) {
	if f.ID == "" {
		f.ID = found.NewID(f.SHA256Stored, func(string) bool { return false })
	}
	other := k.names[f.ID]
	if other == "" {
		old, ok, err := k.l.Catalog().Finding(k.l.Incident.Name, f.ID)
		if err != nil || !ok {
			return false, err
		}
		other = old.Stored.String()
	}
	if other != f.SHA256Stored {
		return false, fmt.Errorf("finding %s is taken by other bytes", f.ID)
	}
	return true, nil
}

// Sync implements found.Keeper.
func (k *Keeper) Sync(ctx context.Context) error { return k.flush(ctx) }

// flush makes one commit of what waits.
func (k *Keeper) flush(ctx context.Context) error {
	if len(k.waiting) == 0 {
		return nil
	}
	err := k.l.Store(ctx, func(e *incident.Edit) error {
		for _, w := range k.waiting {
			if err := e.Keep(w.row, w.stored, k.o.Envelope); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put what was found into the vault: %w", err)
	}
	k.waiting, k.weight = k.waiting[:0], 0
	clear(k.names)
	return nil
}

// Finish implements found.Keeper. What another salvage has found as well keeps the
// better of the two descriptions.
func (k *Keeper) Finish(ctx context.Context, each func(yield func(*found.Finding) error) error) error {
	if err := k.flush(ctx); err != nil {
		return err
	}
	m := &merge{k: k, ctx: ctx, last: ""}
	err := each(func(f *found.Finding) error {
		if !f.Class.Kept() {
			return nil
		}
		if f.ID <= m.last && m.last != "" {
			return fmt.Errorf("finding %s comes after %s", f.ID, m.last)
		}
		m.last = f.ID
		return m.take(f)
	})
	if err == nil {
		err = m.dropUntil("")
	}
	if err == nil {
		err = m.flush()
	}
	if err != nil {
		return fmt.Errorf("write the list of what was found: %w", err)
	}
	return nil
}

// A merge compares the list of findings with the rows that are there.
type merge struct {
	k    *Keeper
	ctx  context.Context
	last string // ID that was listed last

	own   []catalog.Finding // the next rows of this salvage
	after string            // the last of them that was read
	end   bool

	put, drop []catalog.Finding
}

// next gives the next row of this salvage; nil at the end.
func (m *merge) next() (*catalog.Finding, error) {
	if len(m.own) == 0 && !m.end {
		err := m.k.l.Findings(m.ctx, catalog.FindingQuery{Salvage: m.k.o.Salvage, After: m.after}, func(f *catalog.Finding) error {
			m.own = append(m.own, catalog.Finding{ID: f.ID, Content: f.Content})
			if len(m.own) == batchFindings {
				return catalog.ErrStop
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if m.end = len(m.own) < batchFindings; len(m.own) > 0 {
			m.after = m.own[len(m.own)-1].ID
		}
	}
	if len(m.own) == 0 {
		return nil, nil
	}
	return &m.own[0], nil
}

// dropUntil gives up the rows of this salvage before id; all, with "".
func (m *merge) dropUntil(id string) error {
	for {
		old, err := m.next()
		if err != nil || old == nil || id != "" && old.ID > id {
			return err
		}
		if old.ID != id {
			m.drop = append(m.drop, *old)
		}
		m.own = m.own[1:]
		if err := m.full(); err != nil {
			return err
		}
	}
}

// take compares one finding with its row.
func (m *merge) take(f *found.Finding) error {
	if err := m.dropUntil(f.ID); err != nil {
		return err
	}
	old, ok, err := m.k.l.Catalog().Finding(m.k.l.Incident.Name, f.ID)
	if err != nil {
		return err
	}
	if !ok || old.Stored.String() != f.SHA256Stored {
		return fmt.Errorf("finding %s: %w", f.ID, found.ErrNotKept)
	}
	if old.Salvage != m.k.o.Salvage && rank(string(f.Class), string(f.Grade)) >= rank(old.Class, old.Grade) {
		return nil
	}
	row, err := rowOf(f, m.k.o.Salvage)
	if err != nil {
		return err
	}
	row.Incident, row.Content, row.Stored, row.StoredSize, row.LineEnds = old.Incident, old.Content, old.Stored, old.StoredSize, old.LineEnds
	if catalog.SameRow(row, old) {
		return nil
	}
	m.put = append(m.put, row)
	return m.full()
}

// rank orders descriptions of the same bytes, the best first.
func rank(class, grade string) int {
	return slices.Index(found.Classes, found.Class(class))*len(found.Grades) + slices.Index(found.Grades, found.Grade(grade))
}

func (m *merge) full() error {
	if len(m.put)+len(m.drop) < batchFindings {
		return nil
	}
	return m.flush()
}

func (m *merge) flush() error {
	if len(m.put)+len(m.drop) == 0 {
		return nil
	}
	err := m.k.l.Change(m.ctx, func(e *incident.Edit) error {
		for _, f := range m.put {
			if err := e.PutFinding(f); err != nil {
				return err
			}
		}
		for _, f := range m.drop {
			if err := e.DropFinding(f); err != nil {
				return err
			}
		}
		return nil
	})
	m.put, m.drop = m.put[:0], m.drop[:0]
	return err
}

// Findings lists an incident's findings by ID, as a result directory would.
func Findings(c *catalog.Catalog, name string) func(ctx context.Context, yield func(*found.Finding, error) error) error {
	return func(ctx context.Context, yield func(*found.Finding, error) error) error {
		for after := ""; ; {
			var batch []catalog.Finding
			err := c.Findings(ctx, catalog.FindingQuery{Incident: name, After: after}, func(f *catalog.Finding) error {
				if batch = append(batch, *f); len(batch) == batchFindings {
					return catalog.ErrStop
				}
				return nil
			})
			if err != nil {
				return err
			}
			for i := range batch {
				f, err := findingOf(c, &batch[i])
				if err != nil {
					return err
				}
				if err := yield(f, nil); err != nil {
					return err
				}
			}
			if len(batch) < batchFindings {
				return nil
			}
			after = batch[len(batch)-1].ID
		}
	}
}

// Open opens the bytes of a finding of an incident. read gives a message of the
// vault as it was stored.
func Open(c *catalog.Catalog, name string, read func(context.Context, *catalog.Entry) ([]byte, error)) func(context.Context, *found.Finding) (io.ReadCloser, error) {
	return func(ctx context.Context, f *found.Finding) (io.ReadCloser, error) {
		row, ok, err := c.Finding(name, f.ID)
		if err == nil && !ok {
			err = found.ErrNoFinding
		}
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", f.ID, err)
		}
		e, err := entryOf(c, &row)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", f.ID, err)
		}
		stored, err := read(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", f.ID, err)
		}
		return io.NopCloser(bytes.NewReader(stored)), nil
	}
}

var errNoContent = errors.New("the vault has not got its content")
