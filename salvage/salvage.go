package salvage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"salvor/catalog"
	"salvor/salvage/found"
	"salvor/salvage/fsys"
	"salvor/salvage/piece"
	"salvor/salvage/volume"
)

// Options says what to look through, for what, and where to keep what was found.
type Options struct {
	// Volumes are looked through one after the other.
	Volumes []volume.Volume
	// Trees are directories of files that are looked through too: a file system
	// that is mounted read-only, what a repair left behind.
	Trees []string
	// Work is a directory for the notes, so that a salvage that was stopped goes on
	// where it was. It must be there; only its owner may enter it.
	Work string
	// Keeper takes what was found, with its bytes.
	Keeper found.Keeper
	// Catalog knows what the vault holds and what users have deleted; nil: nobody
	// does. Incident is the one whose ledger tells what is owed; "": none.
	Catalog  *catalog.Catalog
	Incident string
	// Mark changes whenever the volumes may read differently than before, as with a
	// newer map: they are looked through again then. See Sources.
	Mark []byte
	// Anew forgets the notes of an earlier run.
	Anew bool
	// Progress hears how far the salvage is; nil: nobody.
	Progress Progress
}

// Progress hears how far a salvage is; see internal/progress.
type Progress interface {
	Stage(name string)
	Total(messages, bytes int64)
	Add(messages, bytes int64)
}

type noProgress struct{}

func (noProgress) Stage(string)     {}
func (noProgress) Total(_, _ int64) {}
func (noProgress) Add(_, _ int64)   {}

// LongestMessage is the longest message that is looked for, in bytes. Whatever
// claims to be longer is no message.
const LongestMessage = 1 << 30

// Run looks through everything and gives the report. It can be stopped at any
// time by ctx, and goes on where it was when it is called again with the same
// options.
func Run(ctx context.Context, o Options) (r *Report, err error) {
	if o.Progress == nil {
		o.Progress = noProgress{}
	}
	path := filepath.Join(o.Work, notesFile)
	if o.Anew {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	n, err := openNotes(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		// What stopped the salvage mostly stops this as well: it is told once.
		if closed := n.close(); err == nil {
			err = closed
		}
	}()
	e := &engine{o: o, notes: n, report: &Report{}}
	n.before = func() error { return e.syncKept(ctx) }
	for _, learn := range []func(context.Context) error{e.wants, e.tombstones, e.news, e.knownUsers} {
		if err := learn(ctx); err != nil {
			return nil, err
		}
	}
	for _, v := range o.Volumes {
		if err := e.volume(ctx, v); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name(), err)
		}
	}
	for _, dir := range o.Trees {
		if err := e.tree(ctx, dir); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return e.report, e.finish(ctx)
}

// notesFile is the notes' name in the work directory.
const notesFile = found.SurveyFile

// An engine is one salvage.
type engine struct {
	o      Options
	notes  *notes
	report *Report
	owed   *piece.Owed     // what can be proved by hash; nil: nothing is owed
	users  map[string]bool // that the vault or the ledger knows; nil: neither is there

	keeping sync.Mutex // Options.Keeper
	telling sync.Mutex // findings
}

// A stage of a volume's salvage.
type stage int64

const (
	sweeping stage = iota
	naming
	filing
	carving
	piecing
	over
)

// A scan is the salvage of one volume.
type scan struct {
	*engine
	v      volume.Volume
	note   volumeNote
	system fsys.System
	ground *ground
	// claimed are the blocks that files in the tables claim, contested those that
	// several of them do.
	claimed, contested *ground
	afresh             bool // all of its files are read in this run
	halves             bool // some names tell only half of their inode's number
	dirs               dirs
	said               said
	wise               bool // the system has learnt from the sweep
	source             *Source
	// older: another file system was made over this one. What nothing explains is
	// that one's business.
	older bool
	alone bool // there is no older one
}

// volume salvages one volume: what older file systems on it describe, then all the
// rest.
func (e *engine) volume(ctx context.Context, v volume.Volume) error {
	whole, systems, err := openSystems(ctx, v)
	if err != nil {
		return err
	}
	source := e.report.source(v.Name(), whole.Size())
	if whole.Size() > v.Size() {
		e.report.Notes = append(e.report.Notes, fmt.Sprintf("%s is cut off: it has %d of %d bytes; the rest is unknown", v.Name(), v.Size(), whole.Size()))
	}
	mark, err := fingerprint(v, e.o.Mark)
	if err != nil {
		return err
	}
	stamps := volume.Stamps(v)
	for i := len(systems) - 1; i >= 0; i-- {
		s := &scan{engine: e, v: whole, system: systems[i], older: i > 0, alone: len(systems) == 1, source: source}
		name := v.Name()
		if s.older {
			name = fmt.Sprintf("%s: older %s %d", name, s.system.Name(), i)
		}
		if s.note, err = e.notes.volume(name, whole.Size(), mark, encode(stamps)); err != nil {
			return err
		}
		e.changedSince(s.note.stamps, stamps)
		source.System = s.system.Name()
		if err := s.all(ctx); err != nil {
			return err
		}
		if err := s.lighten(v); err != nil {
			return err
		}
	}
	return nil
}

// all goes through the stages that are left.
func (s *scan) all(ctx context.Context) (err error) {
	if s.ground, err = newGround(s.o.Work, s.v.Size(), s.step()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.ground.close()) }()
	for _, step := range []struct {
		stage stage
		name  string
		do    func(context.Context) error
	}{
		{sweeping, "reading", s.sweep},
		{naming, "names", s.names},
		{filing, "files", s.files},
		{carving, "what no file explains", s.carve},
		{piecing, "fragments", s.piece},
	} {
		if s.note.stage > step.stage || s.older && step.stage >= carving {
			continue
		}
		if step.stage > sweeping {
			if err := s.learnSystem(ctx); err != nil {
				return err
			}
		}
		s.o.Progress.Stage(s.v.Name() + ": " + step.name)
		if err := step.do(ctx); err != nil {
			return err
		}
		s.note.stage = step.stage + 1
		if err := s.notes.mark(&s.note); err != nil {
			return err
		}
	}
	files, err := s.notes.number("SELECT count(*) FROM file WHERE volume = ?", s.note.id)
	s.source.Files += files
	s.source.Nonsense += s.note.nonsense
	if !s.older {
		s.source.Unknown = s.note.unknown
	}
	return err
}

// learnSystem lets the system learn from what the sweep has found.
func (s *scan) learnSystem(ctx context.Context) error {
	l, ok := s.system.(fsys.Learner)
	if !ok || s.wise {
		return nil
	}
	s.wise = true
	if d, ok := s.system.(interface{ Doubt() string }); ok && d.Doubt() == "" {
		return nil // it knows everything from its superblock
	}
	err := s.notes.eachTrace(ctx, s.note.id, fsys.Inode, func(t fsys.Trace) error { return l.Learn(ctx, t) })
	if err != nil {
		return err
	}
	return s.system.Known(ctx, func(t fsys.Trace) error { return s.notes.trace(s.note.id, t) })
}

// block is the size of the blocks at whose beginnings files begin, in bytes.
func (s *scan) block() int64 { return s.system.BlockSize() }

// syncKept makes durable what was kept, before the notes say that it is there.
func (e *engine) syncKept(ctx context.Context) error {
	e.keeping.Lock()
	defer e.keeping.Unlock()
	return e.o.Keeper.Sync(ctx)
}
