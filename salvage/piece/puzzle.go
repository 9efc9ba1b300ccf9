package piece

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"salvor/salvage/fsys"
)

// Limits bound the work for one message. Zero values stand for the defaults.
type Limits struct {
	HashBytes int64 // how much is hashed; default 2 GiB
	Steps     int64 // how many joints are judged; default 10 million, a second or so
	Pieces    int   // how many pieces a message may have; default 64
}

func (l *Limits) defaults() {
	l.HashBytes = cmp.Or(l.HashBytes, 2<<30)
	l.Steps = cmp.Or(l.Steps, 10e6)
	l.Pieces = cmp.Or(l.Pieces, 64)
}

// Stats counts what a Puzzle did.
type Stats struct {
	Tasks, Found int
	Spent        int // tasks that ended because a limit was reached
	Hashes       int64
	HashBytes    int64
	Steps        int64
}

// A Puzzle puts messages together from the strands of a Survey. It is not for
// concurrent use; several puzzles can share what is Owed, and one after the other
// a Survey: small limits for all messages first, larger ones for the rest. Each
// message that is found leaves fewer strands for the others, so what was not found
// can be tried again as long as something is.
type Puzzle struct {
	Stats Stats

	eye
	owed   *Owed
	limits Limits
	wire   *wire
	buf    []byte
	known  map[int32][]int32 // what after gave for the ends of strands
}

// NewPuzzle makes one. The limits are for each message.
func NewPuzzle(o *Owed, s *Survey, l Limits) *Puzzle {
	l.defaults()
	return &Puzzle{
		eye:  eye{Survey: s, seen: map[int64]look{}},
		owed: o, limits: l, wire: newWire(),
		buf:   make([]byte, min(largestRead, max(s.blockSize, s.v.Size()))),
		known: map[int32][]int32{},
	}
}

// A Task is a message to be put together.
type Task struct {
	// Head is where the message begins, unless Known tells it.
	Head int64
	// Wants are the messages that it may be, best first: by Message-ID, by name.
	// Where there are none, Piece tries two pieces and everything that is wanted.
	Wants []Want
	// Known are extents of it that are sure, by a copy of an inode in a log or by a
	// part of a block map: those at the beginning and, behind the last gap, those at
	// the end are used. Others may lie where they like.
	Known []fsys.Extent
}

// errSpent ends a search.
var errSpent = errors.New("the limit is reached")

// search is the work on one Want of one Task.
type search struct {
	*Puzzle
	ctx    context.Context
	want   Want
	front  *front
	marks  []mark  // behind each block of front, as far as needed
	last   []int64 // blocks that are known to be its last ones
	backs  []*back
	quick  map[int64][]ending // ends that are taken whole, by the size of their wire form
	path   []int32            // strands behind the front
	trail  []mark             // behind each of them, as far as hashed
	hashed int                // how many of trail are right
	short  int64              // how many blocks of the path's last strand are used; 0: all
	hashes int64              // bytes left
	steps  int64              // left
	match  *Match
}

// Piece looks for the pieces of a message that is known not to lie in one. It
// gives nil where it finds none. What it finds it takes from the survey.
func (p *Puzzle) Piece(ctx context.Context, t Task) (*Match, error) {
	p.Stats.Tasks++
	size := p.owed.largest
	if len(t.Wants) > 0 {
		size = slices.MaxFunc(t.Wants, func(a, b Want) int { return cmp.Compare(a.Size, b.Size) }).Size
	}
	size = min(size, 2*p.v.Size()) // an LF counts as two bytes
	first, last := knownBlocks(t.Known, t.Head, p.blockSize, size)
	f, err := p.front(first, size)
	if err != nil || len(f.looks) == 0 {
		return nil, err
	}
	s := &search{Puzzle: p, ctx: ctx, front: f, last: last, hashes: p.limits.HashBytes, steps: p.limits.Steps}
	if len(t.Wants) == 0 {
		err = s.anything()
	}
	for i, w := range t.Wants {
		if s.match != nil || err != nil {
			break
		}
		// Each one gets its share of what is left.
		share := int64(len(t.Wants) - i)
		hashes, steps := s.hashes, s.steps
		s.want, s.hashes, s.steps = w, hashes/share, steps/share
		if w.Size > 0 && !w.SHA1.IsZero() { // nothing could prove it otherwise
			err = s.whole()
		}
		if errors.Is(err, errSpent) && i+1 < len(t.Wants) {
			err = nil
		}
		s.hashes, s.steps = hashes-hashes/share+max(0, s.hashes), steps-steps/share+max(0, s.steps)
	}
	p.Stats.HashBytes += p.limits.HashBytes - s.hashes
	p.Stats.Steps += p.limits.Steps - s.steps
	if errors.Is(err, errSpent) {
		p.Stats.Spent++
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("piece together a message at %d of %s: %w", first[0], p.v.Name(), err)
	}
	if s.match != nil {
		p.Stats.Found++
		for _, e := range s.match.Extents {
			p.use(e.Off, e.Off+(e.Len+p.blockSize-1)/p.blockSize*p.blockSize)
		}
	}
	return s.match, nil
}

// step counts a step.
func (s *search) step() error {
	if s.steps--; s.steps < 0 {
		return errSpent
	}
	if s.steps%4096 == 0 {
		return s.ctx.Err()
	}
	return nil
}

// A part is a run of blocks as a message would use it.
type part struct{ off, blocks int64 }

// try hashes a guess: the first cut blocks of the front, then parts. text is where
// the text of the last block ends.
func (s *search) try(cut int, parts []part, text int64) error {
	if !s.sound(cut, parts) {
		return nil
	}
	s.Stats.Hashes++
	if err := s.hashAll(cut, parts, text); err != nil {
		return notUnread(err)
	}
	sum := s.wire.now()
	want := s.want
	switch {
	case want.Size == 0:
		list, err := s.owed.find(s.ctx, s.wire.size, sum)
		if err != nil || len(list) == 0 {
			return err
		}
		want = list[0]
	case s.wire.size != want.Size || sum != want.SHA1:
		return nil
	}
	extents := s.extents(cut, parts, text)
	last := extents[len(extents)-1]
	s.match = &Match{Want: want, Extents: extents, Stored: last.Logical + last.Len}
	return nil
}

// hashAll hashes a guess. The strands of the path are its first parts: what is
// already hashed of them is not hashed again.
func (s *search) hashAll(cut int, parts []part, text int64) error {
	if s.hashed == 0 {
		if err := s.prefix(cut); err != nil {
			return err
		}
	} else if err := s.wire.back(s.trail[s.hashed-1]); err != nil {
		return err
	}
	for i := s.hashed; i < len(parts); i++ {
		size := parts[i].blocks * s.blockSize
		if i == len(parts)-1 {
			size += text - s.blockSize
		}
		if err := s.hash(parts[i].off, size); err != nil {
			return err
		}
		if i >= len(s.path) {
			continue
		}
		if i == len(s.trail) {
			s.trail = append(s.trail, mark{})
		}
		var err error
		if s.trail[i], err = s.wire.mark(s.trail[i]); err != nil {
			return err
		}
		s.hashed = i + 1
	}
	return nil
}

// extents says where the bytes of a guess stand.
func (s *search) extents(cut int, parts []part, text int64) []fsys.Extent {
	var list []fsys.Extent
	next := int64(0)
	for _, p := range append(partsOf(s.front.offs[:cut], s.blockSize), parts...) {
		size := p.blocks * s.blockSize
		if n := len(list); n > 0 && list[n-1].Off+list[n-1].Len == p.off {
			list[n-1].Len += size
		} else {
			list = append(list, fsys.Extent{Logical: next, Off: p.off, Len: size})
		}
		next += size
	}
	list[len(list)-1].Len += text - s.blockSize
	return list
}

func notUnread(err error) error {
	if errors.Is(err, errUnread) {
		return nil
	}
	return err
}

// sound tells whether no block is taken twice, and none that is explained.
func (s *search) sound(cut int, parts []part) bool {
	all := append(partsOf(s.front.offs[:cut], s.blockSize), parts...)
	if len(s.last) > 0 {
		parts = parts[:min(len(parts), len(s.path))] // the end is known
	}
	slices.SortFunc(all, func(a, b part) int { return cmp.Compare(a.off, b.off) })
	for i, p := range all {
		if i+1 < len(all) && p.off+p.blocks*s.blockSize > all[i+1].off {
			return false
		}
	}
	for _, p := range parts {
		if cut < len(s.front.offs) && p == (part{s.front.offs[cut], 1}) {
			continue // it was looked at with the front
		}
		end := p.off + p.blocks*s.blockSize
		if run, ok := s.ground.Next(p.off); !ok || run.Off > p.off || run.End() < end {
			return false
		}
	}
	return true
}

// prefix leaves the hash as it is behind the first so many blocks of the front.
func (s *search) prefix(blocks int) error {
	if blocks == 0 || len(s.marks) == 0 {
		s.wire.reset()
	} else if err := s.wire.back(s.marks[min(blocks, len(s.marks))-1]); err != nil {
		return err
	}
	for len(s.marks) < blocks {
		if err := s.hash(s.front.offs[len(s.marks)], s.blockSize); err != nil {
			return err
		}
		m, err := s.wire.mark(mark{})
		if err != nil {
			return err
		}
		s.marks = append(s.marks, m)
	}
	return nil
}

// hash hashes bytes of the volume.
func (s *search) hash(off, size int64) error {
	for size > 0 {
		n := min(size, int64(len(s.buf)))
		if s.hashes -= n; s.hashes < 0 {
			return errSpent
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		unknown, err := s.v.ReadAt(s.buf[:n], off)
		if err != nil {
			return err
		}
		if len(unknown) > 0 {
			return errUnread
		}
		s.wire.write(s.buf[:n])
		off, size = off+n, size-n
	}
	return nil
}
