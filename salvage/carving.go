package salvage

import (
	"context"
	"errors"

	"salvor/salvage/carve"
	"salvor/salvage/found"
	"salvor/salvage/fsys"
	"salvor/salvage/piece"

	"zombiezen.com/go/sqlite"
)

// What became of a head.
const (
	headLeft    = 0 // not looked at yet
	headDone    = 1
	headPending = 2 // it is one, and what follows it is not the whole of it
	headWithin  = 3 // it is within the message before it
)

// explainFiles marks what is explained by now, unless this run has done it all: the
// blocks of files that are surely there, and of everything that was proved.
func (s *scan) explainFiles(ctx context.Context) error {
	if s.afresh {
		return nil
	}
	err := s.eachFile(ctx, "done = 2", func(f *fsys.File) error {
		size := f.Size
		if size < 0 {
			size = LongestMessage
		}
		return s.explain(fsys.Pieces(f.Extents, size))
	})
	if err != nil {
		return err
	}
	return s.explainFindings(ctx)
}

func (s *scan) explainFindings(ctx context.Context) error {
	return s.eachFinding(ctx, "source = ? AND rank % 10 < 2", []any{s.v.Name()}, func(f *found.Finding) error {
		return s.explain(f.Extents)
	})
}

func (s *scan) explain(extents []fsys.Extent) error {
	for _, e := range extents {
		if err := s.ground.explain(e.Off, e.Len); err != nil {
			return err
		}
	}
	return nil
}

// A carved is what follows a head.
type carved struct {
	off    int64
	piece  carve.Piece
	proved bool    // by a hash
	object *object // nil: it is not whole
}

const carveBatch = 32

// carve looks at every head that no file explains.
func (s *scan) carve(ctx context.Context) error {
	if err := s.explainFiles(ctx); err != nil {
		return err
	}
	if err := s.openOwed(ctx); err != nil {
		return err
	}
	left, err := s.notes.number("SELECT count(*) FROM head WHERE volume = ? AND done = 0", s.note.id)
	if err != nil {
		return err
	}
	s.o.Progress.Total(left, 0)
	for after := int64(-1); ; {
		heads, err := s.nextHeads(headLeft, after, carveBatch)
		if err != nil || len(heads) == 0 {
			return errors.Join(err, s.notes.commit())
		}
		after = heads[len(heads)-1]
		if err := s.carveBatch(ctx, heads); err != nil {
			return err
		}
		s.o.Progress.Add(int64(len(heads)), 0)
	}
}

// nextHeads gives the next heads in a state.
func (s *scan) nextHeads(state int, after int64, most int) (out []int64, err error) {
	err = s.notes.ask("SELECT off FROM head WHERE volume = ? AND done = ? AND off > ? ORDER BY off"+limit(most),
		[]any{s.note.id, state, after}, func(st *sqlite.Stmt) error {
			out = append(out, st.ColumnInt64(0))
			return nil
		})
	return out, err
}

// carveBatch follows some heads side by side, and then takes what was found in
// their order: a head that lies in what an earlier one has explained is none.
func (s *scan) carveBatch(ctx context.Context, heads []int64) error {
	return s.abreast(ctx, heads, s.follow, s.takeCarved)
}

// abreast reads on from some heads side by side, and takes what was found in their
// order.
func (s *scan) abreast(ctx context.Context, heads []int64, read func(context.Context, int64) (*carved, error), take func(context.Context, *carved) (int, error)) error {
	results := make([]*carved, len(heads))
	defer func() {
		for _, c := range results {
			if c != nil && c.object != nil {
				c.object.drop()
			}
		}
	}()
	at := make([]int, len(heads))
	for i := range at {
		at[i] = i
	}
	err := together(ctx, at, func(ctx context.Context, i int) (err error) {
		if is, err := s.ground.explained(heads[i]); is || err != nil {
			return err
		}
		if results[i], err = read(ctx, heads[i]); err == nil && results[i].object != nil {
			err = results[i].object.read()
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, c := range results {
		state := headDone
		if c != nil {
			is, err := s.ground.explained(c.off)
			if err == nil && !is {
				state, err = take(ctx, c)
			}
			if err != nil {
				return err
			}
		}
		if err := s.notes.put("UPDATE head SET done = ? WHERE volume = ? AND off = ?", state, s.note.id, heads[i]); err != nil {
			return err
		}
	}
	return nil
}

// follow reads on from a head.
func (s *scan) follow(ctx context.Context, off int64) (*carved, error) {
	c := &carved{off: off}
	if s.owed != nil {
		run, err := s.owed.Run(ctx, s.v, off, s.block(), 0)
		if err != nil {
			return nil, err
		}
		if len(run.Matches) > 0 {
			m := &run.Matches[0]
			c.object, c.proved = s.runObject(m.Extents, m.Stored, "carved"), true
			return c, nil
		}
	}
	if err := s.readOn(ctx, c); err != nil {
		return nil, err
	}
	if c.piece.Verdict == carve.Whole || c.piece.Verdict == carve.Plausible {
		c.object = s.runObject([]fsys.Extent{{Off: off, Len: c.piece.Len}}, c.piece.Len, "carved")
		if c.piece.Sign.Kind == carve.Header { // of a holder it says nothing of the mail in it
			c.object.why = c.piece.Why
		}
	}
	return c, nil
}

// readOn reads on from a head by what stands there.
func (s *scan) readOn(ctx context.Context, c *carved) error {
	back, err := s.unexplainedBefore(c.off)
	if err == nil {
		c.piece, err = carve.Follow(ctx, s.v, c.off, carve.Options{Block: s.block(), Back: back})
	}
	return err
}

// unexplainedBefore is how many bytes right before a head nothing explains, as far as
// carving may look back.
func (s *scan) unexplainedBefore(off int64) (n int64, err error) {
	for block := s.block(); n < carve.MaxBack && off-n-block >= 0; n += block {
		if is, err := s.ground.explained(off - n - block); is || err != nil {
			return n, err
		}
	}
	return n, nil
}

// takeCarved judges what was carved. One that is not whole waits: its other pieces
// may be found.
func (s *scan) takeCarved(ctx context.Context, c *carved) (state int, err error) {
	switch {
	case c.object != nil:
	case c.piece.Verdict == carve.NotMail:
		return headDone, nil
	case c.piece.Verdict == carve.Part:
		return headWithin, nil
	default:
		return headPending, nil
	}
	if _, err := s.takeObject(ctx, c.object); err != nil {
		return 0, err
	}
	if c.proved || c.piece.Verdict == carve.Whole {
		err = s.explain(c.object.extents)
	}
	return headDone, err
}

func (s *scan) takeProof(ctx context.Context, m *piece.Match, how string) error {
	o := s.runObject(m.Extents, m.Stored, how)
	defer o.drop()
	if _, err := s.takeObject(ctx, o); err != nil {
		return err
	}
	return s.explain(o.extents)
}
