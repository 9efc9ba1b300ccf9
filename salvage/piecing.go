package salvage

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"salvor/salvage/carve"
	"salvor/salvage/fsys"
	"salvor/salvage/piece"

	"zombiezen.com/go/sqlite"
)

// openOwed reads what is owed and can be proved by hash, once for all volumes.
func (e *engine) openOwed(ctx context.Context) (err error) {
	if e.owed != nil || e.o.Incident == "" {
		return nil
	}
	e.owed, err = piece.Open(ctx, wanted{e.notes})
	return err
}

// wanted answers piece's questions from the notes.
type wanted struct{ n *notes }

const unfound = "FROM want WHERE sha1 IS NOT NULL AND finding = ''"

func (w wanted) Each(ctx context.Context, yield func(piece.Want) error) error {
	for after := int64(0); ; {
		batch, err := w.list("AND id > ? ORDER BY id"+limit(traceBatch), after)
		if err != nil || len(batch) == 0 {
			return err
		}
		after = batch[len(batch)-1].ID
		if err := each(ctx, batch, func(w *piece.Want) error { return yield(*w) }); err != nil {
			return err
		}
	}
}

func (w wanted) OfSize(ctx context.Context, size int64, yield func(piece.Want) error) error {
	batch, err := w.list("AND size = ?"+limit(traceBatch), size)
	if err != nil {
		return err
	}
	return each(ctx, batch, func(w *piece.Want) error { return yield(*w) })
}

func (w wanted) list(where string, args ...any) (out []piece.Want, err error) {
	err = w.n.ask("SELECT id, size, sha1 "+unfound+" "+where, args, func(s *sqlite.Stmt) error {
		want := piece.Want{ID: s.ColumnInt64(0), Size: s.ColumnInt64(1)}
		s.ColumnBytes(2, want.SHA1[:])
		out = append(out, want)
		return nil
	})
	return out, err
}

const (
	// pieceStrands bounds what a survey of the unexplained blocks holds: 50 MiB.
	pieceStrands = 1 << 19
	// blindTasks is how many heads are tried of which nothing says which owed message
	// they begin: each costs seconds.
	blindTasks = 200
)

// piece puts messages together from their fragments: those of which a head was
// found that an owed message may begin with. What is left of the heads is damaged.
func (s *scan) piece(ctx context.Context) error {
	if s.note.stage == piecing { // carving may have been an earlier run's
		if err := s.explainFiles(ctx); err != nil {
			return err
		}
		if err := s.openOwed(ctx); err != nil {
			return err
		}
	}
	left, err := s.notes.number("SELECT count(*) FROM head WHERE volume = ? AND done = ?", s.note.id, headPending)
	if err != nil || left == 0 {
		return err
	}
	s.o.Progress.Total(left, 0)
	if err := s.puzzle(ctx); err != nil {
		return err
	}
	for {
		heads, err := s.nextHeads(headPending, -1, carveBatch)
		if err != nil || len(heads) == 0 {
			return errors.Join(err, s.notes.commit())
		}
		if err := s.abreast(ctx, heads, s.rest, s.takeRest); err != nil {
			return err
		}
	}
}

// eachPending walks over the heads that wait.
func (s *scan) eachPending(ctx context.Context, do func(off int64) (state int, err error)) error {
	for after := int64(-1); ; {
		heads, err := s.nextHeads(headPending, after, carveBatch)
		if err != nil || len(heads) == 0 {
			return errors.Join(err, s.notes.commit())
		}
		for _, off := range heads {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			state, err := do(off)
			if err != nil {
				return err
			}
			if err := s.notes.put("UPDATE head SET done = ? WHERE volume = ? AND off = ?", state, s.note.id, off); err != nil {
				return err
			}
		}
		after = heads[len(heads)-1]
	}
}

func (s *scan) puzzle(ctx context.Context) error {
	if s.owed == nil {
		return nil
	}
	owing, err := s.notes.number("SELECT count(*) " + unfound)
	if err != nil || owing == 0 {
		return err
	}
	survey, err := piece.NewSurvey(ctx, s.v, s.free(), s.block(), pieceStrands)
	if err != nil {
		return err
	}
	if survey.Full > 0 {
		s.report.Notes = append(s.report.Notes, s.v.Name()+": there is more unexplained text than fits into memory; fragments behind byte "+
			strconv.FormatInt(survey.Full, 10)+" were not used")
	}
	for i, limits := range []piece.Limits{{Steps: 500_000, HashBytes: 128 << 20}, {Steps: 3_000_000, HashBytes: 512 << 20}} {
		came, err := s.assemble(ctx, piece.NewPuzzle(s.owed, survey, limits), i == 0)
		if err != nil || came == 0 {
			return err
		}
	}
	return nil
}

// assemble tries all heads that wait, once. What is found makes the next pass
// easier, and most is found with little work: much is spent on few heads only. first
// tells whether also heads are tried of which nobody knows what they begin.
func (s *scan) assemble(ctx context.Context, p *piece.Puzzle, first bool) (came int, err error) {
	blind := 0
	if !first {
		blind = blindTasks
	}
	return came, s.eachPending(ctx, func(off int64) (int, error) {
		s.o.Progress.Add(1, 0)
		if is, err := s.ground.explained(off); is || err != nil {
			return headDone, err
		}
		wants, named, err := s.wantsAt(off)
		if err != nil {
			return 0, err
		}
		if len(wants) == 0 {
			if named || blind >= blindTasks {
				return headPending, nil
			}
			blind++
		}
		m, err := p.Piece(ctx, piece.Task{Head: off, Wants: wants})
		if err != nil {
			return 0, err
		}
		if m == nil {
			return headPending, nil
		}
		came++
		return headDone, s.takeProof(ctx, m, "pieced")
	})
}

// wantsAt gives the owed messages that a head may begin, by its Message-ID. named:
// it has one, and the index names Message-IDs, so that nothing else is worth a try.
func (s *scan) wantsAt(off int64) (out []piece.Want, named bool, err error) {
	b := make([]byte, min(prefixBytes, s.v.Size()-off))
	if _, err := s.v.ReadAt(b, off); err != nil {
		return nil, false, err
	}
	var m message
	if err := m.readHeader(b); err != nil {
		return nil, false, err
	}
	if m.facts.messageID == "" {
		return nil, false, nil
	}
	wants, err := s.notes.wanted("WHERE message_id = ? AND finding = '' AND sha1 IS NOT NULL"+limit(mostAlike), bareID(m.facts.messageID))
	if err != nil {
		return nil, false, err
	}
	for _, w := range wants {
		out = append(out, piece.Want{ID: w.id, Size: w.size, SHA1: w.sha1})
	}
	ids, err := s.notes.number("SELECT EXISTS (SELECT 1 FROM want WHERE message_id <> '')")
	return out, ids != 0, err
}

// bareID is a Message-ID without its angle brackets: some indexes leave them out.
func bareID(id string) string { return strings.Trim(strings.TrimSpace(id), "<>") }

// rest reads what is left of a message whose other pieces were not found.
func (s *scan) rest(ctx context.Context, off int64) (c *carved, err error) {
	c = &carved{off: off}
	if err := s.readOn(ctx, c); err != nil {
		return nil, err
	}
	if c.piece.Verdict == carve.NotMail || c.piece.Len <= 0 {
		return c, nil
	}
	// It is known not to be whole: where another beginning of mail stands, it is over.
	length := c.piece.Len
	next, err := s.notes.number("SELECT off FROM head WHERE volume = ? AND off > ? AND done <> ? ORDER BY off LIMIT 1", s.note.id, off, headWithin)
	if err != nil {
		return nil, err
	}
	if next > off {
		length = min(length, next-off)
	}
	c.object = s.runObject([]fsys.Extent{{Off: off, Len: length}}, length, "carved")
	c.object.rest, c.object.why = true, c.piece.Why
	return c, nil
}

func (s *scan) takeRest(ctx context.Context, c *carved) (state int, err error) {
	if c.object != nil {
		_, err = s.takeObject(ctx, c.object)
	}
	return headDone, err
}
