package piece

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"

	"salvor/salvage/volume"
)

// A strand is a run of unexplained blocks in which each continues the one before,
// as far as looks can tell: in base64 to 77 in 78, in text only until a message
// ends or begins.
type strand struct {
	off    int64
	blocks int32
	used   bool
	bare   int64 // LFs that lack their CR, as in look
	first  look
	last   look
}

// wire is the size of its wire form, but for joined.
func (s *strand) wire(blockSize int64) int64 {
	return int64(s.blocks-1)*blockSize + int64(s.last.text) + s.bare
}

func (s *strand) end(blockSize int64) int64 { return s.off + int64(s.blocks)*blockSize }

// A Survey is what the unexplained blocks of a volume look like.
type Survey struct {
	// Blocks is how many were looked at, Text how many of them hold text, Strands in
	// how many runs those lie that may be the middle or the end of a message.
	Blocks, Text int64
	Strands      int
	// Full is where the survey had no more place, in bytes from the volume's
	// beginning; what lies behind it is not used. 0: it has seen everything.
	Full int64

	v         volume.Volume
	ground    Ground
	blockSize int64
	list      []strand // by off
	starts    []int32  // of list, by startKey and off
	ends      []int32  // of list, those that end a file, by where and off
	odd       int      // how many of starts have no key: the first ones
}

// DefaultStrands is how many strands a survey keeps when nobody says otherwise:
// 100 MiB.
const DefaultStrands = 1 << 20

const surveyRead = 1 << 20

// NewSurvey looks at all unexplained blocks of a volume once. most is how many
// strands it may keep, about 100 bytes each; 0: DefaultStrands.
func NewSurvey(ctx context.Context, v volume.Volume, g Ground, blockSize int64, most int) (*Survey, error) {
	if blockSize < 512 || blockSize > largestBlock || surveyRead%blockSize != 0 {
		return nil, fmt.Errorf("survey %s: a block size of %d bytes makes no sense", v.Name(), blockSize)
	}
	if most <= 0 {
		most = DefaultStrands
	}
	s := &Survey{v: v, ground: g, blockSize: blockSize}
	w := weaver{Survey: s, most: most}
	buf := make([]byte, min(surveyRead, max(v.Size(), blockSize)))
	for off := int64(0); s.Full == 0; {
		run, ok := g.Next(off)
		if !ok {
			break
		}
		for off = run.Off; off < run.End() && s.Full == 0; {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			n := min(int64(len(buf)), run.End()-off)
			unknown, err := v.ReadAt(buf[:n], off)
			if err != nil {
				return nil, fmt.Errorf("survey %s at %d: %w", v.Name(), off, err)
			}
			w.window(buf[:n], off, unknown)
			off += n
		}
		w.cut()
	}
	w.cut()
	s.index()
	return s, nil
}

// weaver puts blocks together to strands.
type weaver struct {
	*Survey
	most int
	now  strand // blocks 0: none
	own  uint32 // the boundary in the head that the strand begins with, 0: none
}

func (w *weaver) window(data []byte, off int64, unknown []volume.Range) {
	for at := int64(0); at+w.blockSize <= int64(len(data)) && w.Full == 0; at += w.blockSize {
		w.Blocks++
		b := data[at : at+w.blockSize]
		if len(unknown) > 0 && overlaps(unknown, off+at, w.blockSize) || b[0] == 0 && isZero(b) {
			w.cut()
			continue
		}
		l := lookAt(b)
		if l.text == 0 {
			w.cut()
			continue
		}
		w.Text++
		if w.now.blocks > 0 && fit(&w.now.last, &l, w.blockSize) == misfit {
			w.cut()
		}
		if w.now.blocks == 0 {
			w.now = strand{off: off + at, first: l}
			if w.own = 0; l.is(headLike) {
				w.own = boundaryOf(b[:l.text])
			}
		} else {
			w.now.bare += joined(&w.now.last, &l)
		}
		w.now.blocks++
		w.now.bare += int64(l.bare)
		w.now.last = l
	}
}

// cut ends a strand. Those that begin with a head are somebody's first piece, and
// whole messages that nobody wants; they are kept only where they end with the
// closing boundary of another message, which then lies there by chance.
func (w *weaver) cut() {
	s := &w.now
	if s.blocks > 0 && (!s.first.is(headLike) || s.last.closing != 0 && s.last.closing != w.own) {
		if len(w.list) >= w.most {
			w.Full = s.off
		} else {
			w.list = append(w.list, *s)
		}
	}
	w.now = strand{}
}

// startKey tells strands apart by what they can continue: the length of base64
// lines, and how much of the first one is there. 0: no base64, or nobody knows.
func startKey(l *look) uint32 {
	if !l.is(start64) || l.firstIs == 0 || l.is(headLike) {
		return 0
	}
	return uint32(l.firstIs)<<16 | uint32(l.first)
}

func (s *Survey) index() {
	s.Strands = len(s.list)
	for i := range s.list {
		s.starts = append(s.starts, int32(i))
		if startKey(&s.list[i].first) == 0 {
			s.odd++
		}
		if s.list[i].last.ended(s.blockSize) || s.list[i].last.closing != 0 {
			s.ends = append(s.ends, int32(i))
		}
	}
	slices.SortFunc(s.starts, func(a, b int32) int {
		x, y := &s.list[a], &s.list[b]
		return cmp.Or(cmp.Compare(startKey(&x.first), startKey(&y.first)), cmp.Compare(a, b))
	})
	slices.SortFunc(s.ends, func(a, b int32) int {
		return cmp.Or(cmp.Compare(s.list[a].last.text, s.list[b].last.text), cmp.Compare(a, b))
	})
}

// starting gives the strands with this key, which is not 0.
func (s *Survey) starting(key uint32) []int32 {
	rest := s.starts[s.odd:]
	at := func(key uint32) int {
		return sort.Search(len(rest), func(i int) bool { return startKey(&s.list[rest[i]].first) >= key })
	}
	return rest[at(key):at(key+1)]
}

// nearest gives those of a list by off that are nearest to a place, at most so many
// on each side.
func (s *Survey) nearest(list []int32, off int64, most int) []int32 {
	i := sort.Search(len(list), func(i int) bool { return s.list[list[i]].off >= off })
	return list[max(0, i-most):min(len(list), i+most)]
}

// ending gives the strands whose text stops there in their last block.
func (s *Survey) ending(text int64) []int32 {
	at := func(text int64) int {
		return sort.Search(len(s.ends), func(i int) bool { return int64(s.list[s.ends[i]].last.text) >= text })
	}
	return s.ends[at(text):at(text+1)]
}

// keysAfter gives the keys of strands that may continue a block, best first.
func keysAfter(l *look) []uint32 {
	cr := int(bit(l.is(hasCRLF)))
	switch {
	case l.is(end64) && l.lastIs != 0:
		if first := int(l.lastIs) + cr - int(l.last); first >= 0 {
			return []uint32{uint32(l.lastIs)<<16 | uint32(first)}
		}
	case l.is(opens64):
		keys := make([]uint32, 0, 5)
		for _, line := range []int{76, 72, 64, 60} {
			if first := line + cr - int(l.last); first >= 0 {
				keys = append(keys, uint32(line)<<16|uint32(first))
			}
		}
		return keys
	}
	return nil
}

// use marks strands that a message has taken, so that nothing else is built of
// them.
func (s *Survey) use(off, end int64) {
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].off >= off })
	for ; i < len(s.list) && s.list[i].end(s.blockSize) <= end; i++ {
		s.list[i].used = true
	}
}
