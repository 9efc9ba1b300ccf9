package piece

import (
	"cmp"
	"slices"
	"sort"
)

const (
	mostBacks = 16      // ends with the right boundary that are read block by block
	mostQuick = 1 << 16 // other ends
	mostOdd   = 256     // strands that begin with text: the nearest
	mostFits  = 4096    // strands that begin within base64, for one joint
)

// whole searches all pieces of a message whose size is known: first two pieces,
// then three, and so on.
func (s *search) whole() error {
	if err := s.chooseEnds(); err != nil {
		return err
	}
	all := len(s.front.looks)
	for middle := 0; middle <= s.limits.Pieces-2 && s.match == nil; middle++ {
		if err := s.from(s.front.natural, middle); err != nil || s.match != nil {
			return err
		}
		if middle > 1 {
			continue
		}
		for cut := all; cut > 0 && s.match == nil; cut-- {
			if cut != s.front.natural {
				if err := s.from(cut, middle); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// from tries to go on behind the first cut blocks of the front, with so many
// strands before the end.
func (s *search) from(cut, middle int) error {
	if cut == 0 || s.front.wires[cut-1] >= s.want.Size {
		return nil
	}
	s.path = s.path[:0]
	return s.grow(cut, &s.front.looks[cut-1], s.want.Size-s.front.wires[cut-1], middle)
}

// grow adds strands behind a block until so many are in the path, and tries all
// ends then. rest is what the message lacks, in bytes of the wire form.
func (s *search) grow(cut int, last *look, rest int64, middle int) error {
	if middle == 0 {
		return s.close(cut, last, rest)
	}
	for _, i := range s.candidates(last) {
		if err := s.step(); err != nil {
			return err
		}
		next := &s.list[i]
		left := rest - next.wire(s.blockSize) - joined(last, &next.first)
		if left <= 0 || next.used || slices.Contains(s.path, i) || next.last.ended(s.blockSize) {
			continue
		}
		s.path = append(s.path, i)
		err := s.grow(cut, &next.last, left, middle-1)
		s.path = s.path[:len(s.path)-1]
		if err != nil || s.match != nil {
			return err
		}
	}
	return nil
}

// candidates are strands that can continue a block, the best and nearest first.
func (s *search) candidates(last *look) []int32 {
	var list []int32
	for _, key := range keysAfter(last) {
		found := s.starting(key)
		if len(found) > mostFits {
			found = found[:mostFits]
		}
		for _, i := range found {
			if fit(last, &s.list[i].first, s.blockSize) > misfit {
				list = append(list, i)
			}
		}
	}
	return list
}

// close tries the ends that make the message whole.
func (s *search) close(cut int, last *look, rest int64) error {
	for _, b := range s.backs {
		if err := s.step(); err != nil {
			return err
		}
		i := sort.Search(len(b.wires), func(i int) bool { return b.wires[i]+1 >= rest })
		for ; i < len(b.wires) && b.wires[i] <= rest; i++ {
			first := &b.looks[i]
			if b.wires[i]+joined(last, first) != rest || fit(last, first, s.blockSize) == misfit {
				continue
			}
			blocks := int64(i + 1)
			if err := s.tryEnd(cut, part{b.strand.end(s.blockSize) - blocks*s.blockSize, blocks}, &b.looks[0]); err != nil || s.match != nil {
				return err
			}
		}
	}
	for _, size := range []int64{rest, rest - 1} {
		for _, e := range s.quick[size] {
			if err := s.step(); err != nil {
				return err
			}
			if e.used || size+joined(last, &e.first) != rest || fit(last, &e.first, s.blockSize) == misfit {
				continue
			}
			if err := s.tryEnd(cut, part{e.off, int64(e.blocks)}, &e.last); err != nil || s.match != nil {
				return err
			}
		}
	}
	return nil
}

// tryEnd hashes the front, the path and an end.
func (s *search) tryEnd(cut int, end part, last *look) error {
	parts := make([]part, 0, len(s.path)+1)
	for _, i := range s.path {
		parts = append(parts, part{s.list[i].off, int64(s.list[i].blocks)})
	}
	return s.try(cut, append(parts, end), int64(last.text))
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
	s.backs, s.quick = nil, map[int64][]*strand{}
	var same []*strand
	quick := 0
	for _, i := range list {
		e := &s.list[i]
		switch {
		case e.used:
		case s.front.boundary != 0 && e.last.closing == s.front.boundary:
			same = append(same, e)
		case (e.last.closing == 0 || s.front.boundary == 0) && quick < mostQuick:
			quick++
			w := e.wire(blockSize)
			s.quick[w] = append(s.quick[w], e)
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
	if d := off - s.front.off; d >= 0 {
		return d
	} else {
		return -d - d/2
	}
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
		for cut := len(s.front.looks); cut > 0; cut-- {
			lowest := choose(cut == s.front.natural, 0, len(b.looks)-1)
			for j := len(b.looks) - 1; j >= lowest; j-- {
				if err := s.step(); err != nil {
					return err
				}
				last, first := &s.front.looks[cut-1], &b.looks[j]
				if fit(last, first, s.blockSize) == misfit || !s.owed.hasSize(s.front.wires[cut-1]+b.wires[j]+joined(last, first)) {
					continue
				}
				blocks := int64(j + 1)
				err := s.try(cut, []part{{e.end(s.blockSize) - blocks*s.blockSize, blocks}}, int64(b.looks[0].text))
				if err != nil || s.match != nil {
					return err
				}
			}
		}
	}
	return nil
}
