package piece

import (
	"cmp"
	"slices"
	"sort"
)

const (
	mostBacks = 16      // ends with the right boundary that are read block by block
	mostQuick = 1 << 16 // ends that are taken whole
)

// whole searches the pieces of a message whose size is known. First what is
// cheap to search completely: two pieces, parted anywhere, and three. Then more,
// the most likely ways first.
func (s *search) whole() error {
	if err := s.chooseEnds(); err != nil {
		return err
	}
	if err := s.onePiece(); err != nil || s.match != nil {
		return err
	}
	natural := s.front.natural
	for cut := len(s.front.looks); cut >= s.front.known; cut-- {
		if err := s.from(cut, 0, true); err != nil || s.match != nil {
			return err
		}
	}
	if err := s.from(natural, 1, true); err != nil || s.match != nil {
		return err
	}
	for cut := len(s.front.looks); cut >= s.front.known; cut-- {
		if err := s.from(cut, 1, false); err != nil || s.match != nil {
			return err
		}
	}
	if err := s.cutMiddle(natural); err != nil || s.match != nil {
		return err
	}
	if natural == 0 || s.front.wires[natural-1] >= s.want.Size {
		return nil
	}
	return s.deepen(natural)
}

// onePiece tries what is known, and what follows a head, where its length is right.
func (s *search) onePiece() error {
	i, found := slices.BinarySearch(s.front.wires, s.want.Size)
	if !found {
		return nil
	}
	s.path, s.hashed = s.path[:0], 0
	return s.try(i, []part{{s.front.offs[i], 1}}, int64(s.front.looks[i].text))
}

// from tries to go on behind the first cut blocks of the front, with so many
// strands before the end, which may begin within its strand when inside is true.
func (s *search) from(cut, middle int, inside bool) error {
	if cut == 0 || s.front.wires[cut-1] >= s.want.Size {
		return nil
	}
	s.path, s.hashed = s.path[:0], 0
	last, rest := &s.front.looks[cut-1], s.want.Size-s.front.wires[cut-1]
	end := s.closeWhole
	if inside {
		end = s.close
	}
	if middle == 0 {
		return end(cut, last, rest)
	}
	for _, i := range s.after(last, s.front.offs[cut-1]+s.blockSize, int32(cut)) {
		if err := s.step(); err != nil {
			return err
		}
		next := &s.list[i]
		left := rest - next.wire(s.blockSize) - joined(last, &next.first)
		if left <= 0 || next.used {
			continue
		}
		s.path, s.hashed = append(s.path[:0], i), 0
		if err := end(cut, &next.last, left); err != nil || s.match != nil {
			return err
		}
	}
	return nil
}

// cutMiddle tries three pieces of which the middle one is only the beginning of a
// strand: text of two messages that touch by chance looks like one strand.
func (s *search) cutMiddle(cut int) error {
	if cut == 0 || s.front.wires[cut-1] >= s.want.Size {
		return nil
	}
	defer func() { s.short = 0 }()
	last, rest := &s.front.looks[cut-1], s.want.Size-s.front.wires[cut-1]
	for _, i := range s.after(last, s.front.offs[cut-1]+s.blockSize, int32(cut)) {
		strand, wire := s.list[i], int64(0)
		before := *last
		for n := int64(1); n < int64(strand.blocks); n++ {
			if err := s.step(); err != nil {
				return err
			}
			l, err := s.at(strand.off + (n-1)*s.blockSize)
			if err != nil {
				return err
			}
			wire += int64(l.text) + int64(l.bare) + joined(&before, &l)
			if wire >= rest {
				break
			}
			before, s.short = l, n
			s.path, s.hashed = append(s.path[:0], i), 0
			if err := s.closeWhole(cut, &l, rest-wire); err != nil || s.match != nil {
				return err
			}
		}
	}
	return nil
}

// close tries the ends that make the message whole.
func (s *search) close(cut int, last *look, rest int64) error {
	for _, b := range s.backs {
		if err := s.step(); err != nil {
			return err
		}
		i := max(b.known-1, sort.Search(len(b.wires), func(i int) bool { return b.wires[i]+1 >= rest }))
		for ; i < len(b.wires) && b.wires[i] <= rest; i++ {
			first := &b.looks[i]
			if b.wires[i]+joined(last, first) != rest || fit(last, first, s.blockSize) == misfit {
				continue
			}
			if err := s.tryEnd(cut, b.parts(i+1, s.blockSize), &b.looks[0]); err != nil || s.match != nil {
				return err
			}
		}
	}
	return s.closeWhole(cut, last, rest)
}

// closeWhole tries the ends that make the message whole as they are.
func (s *search) closeWhole(cut int, last *look, rest int64) error {
	for _, size := range []int64{rest, rest - 1} {
		for _, e := range s.quick[size] {
			if err := s.step(); err != nil {
				return err
			}
			if e.strand != nil && e.strand.used || size+joined(last, e.first) != rest || fit(last, e.first, s.blockSize) == misfit {
				continue
			}
			if err := s.tryEnd(cut, e.parts(s.blockSize), e.last); err != nil || s.match != nil {
				return err
			}
		}
	}
	return nil
}

// An ending is an end that is taken as it is: a strand or known blocks.
type ending struct {
	strand      *strand
	known       *back
	blocks      int // how many of known
	first, last *look
}

func (e *ending) parts(blockSize int64) []part {
	if e.known != nil {
		return e.known.parts(e.blocks, blockSize)
	}
	return []part{{e.strand.off, int64(e.strand.blocks)}}
}

// tryEnd hashes the front, the path and an end.
func (s *search) tryEnd(cut int, end []part, last *look) error {
	parts := make([]part, 0, len(s.path)+len(end))
	for _, i := range s.path {
		parts = append(parts, part{s.list[i].off, int64(s.list[i].blocks)})
	}
	if s.short > 0 {
		parts[len(parts)-1].blocks = s.short
	}
	return s.try(cut, append(parts, end...), int64(last.text))
}

// chooseEnds finds strands that may be the end of the message: the text stops
// where the size says, where the stored size is known, and the closing boundary is
// the head's, where it has one.
func (s *search) chooseEnds() error {
	blockSize := s.blockSize
	list := s.ends
	stored := s.want.Stored
	if s.front.looks[0].marks&(hasCRLF|hasLF) == hasCRLF {
		stored = s.want.Size
	}
	if stored > 0 {
		list = s.ending((stored-1)%blockSize + 1)
	}
	s.backs, s.quick = nil, map[int64][]ending{}
	if len(s.last) > 0 {
		b, err := s.knownEnd(s.last)
		if err != nil {
			return err
		}
		if b != nil {
			s.backs = []*back{b}
			for _, n := range []int{b.known, len(b.offs)} {
				s.quick[b.wires[n-1]] = []ending{{known: b, blocks: n, first: &b.looks[n-1], last: &b.looks[0]}}
			}
			return nil
		}
		s.last = nil
	}
	var same []*strand
	quick := 0
	for _, i := range list {
		e := &s.list[i]
		switch {
		case e.used || s.front.boundary != 0 && e.last.closing != 0 && e.last.closing != s.front.boundary:
			continue
		case s.front.boundary != 0 && e.last.closing != 0:
			same = append(same, e)
		}
		if quick < mostQuick {
			quick++
			w := e.wire(blockSize)
			s.quick[w] = append(s.quick[w], ending{strand: e, first: &e.first, last: &e.last})
		}
	}
	slices.SortStableFunc(same, func(a, b *strand) int { return cmp.Compare(s.far(a.off), s.far(b.off)) })
	for _, e := range same[:min(len(same), mostBacks)] {
		b, err := s.back(e, s.want.Size)
		if err != nil {
			return err
		}
		s.backs = append(s.backs, b)
	}
	return nil
}

// far is how far a place is from the head; backwards counts a bit more.
func (s *search) far(off int64) int64 {
	d := off - s.front.offs[0]
	if d < 0 {
		return -d - d/2
	}
	return d
}

// anything tries two pieces for all messages that are wanted: the end must have
// the head's closing boundary, and one of the two pieces end or begin where its
// strand does.
func (s *search) anything() error {
	if s.front.boundary == 0 {
		return nil
	}
	for _, i := range s.ends {
		e := &s.list[i]
		if e.used || e.last.closing != s.front.boundary {
			continue
		}
		b, err := s.back(e, s.owed.largest)
		if err != nil {
			return err
		}
		for cut := len(s.front.looks); cut >= s.front.known; cut-- {
			lowest := choose(cut == s.front.natural, 0, len(b.looks)-1)
			for j := len(b.looks) - 1; j >= lowest; j-- {
				if err := s.step(); err != nil {
					return err
				}
				last, first := &s.front.looks[cut-1], &b.looks[j]
				if fit(last, first, s.blockSize) == misfit || !s.owed.hasSize(s.front.wires[cut-1]+b.wires[j]+joined(last, first)) {
					continue
				}
				err := s.try(cut, b.parts(j+1, s.blockSize), int64(b.looks[0].text))
				if err != nil || s.match != nil {
					return err
				}
			}
		}
	}
	return nil
}
