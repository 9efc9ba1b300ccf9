package piece

import (
	"cmp"
	"slices"

	"salvor/salvage/fsys"
)

// knownBlocks sorts out what is known of a file: the blocks that it begins with,
// and those of the last extents, behind the last gap. Both end at the largest size
// that makes sense, whatever the extents claim.
func knownBlocks(known []fsys.Extent, head, blockSize, largest int64) (first, last []int64) {
	list := slices.DeleteFunc(slices.Clone(known), func(e fsys.Extent) bool {
		return e.Len <= 0 || e.Unwritten || e.Logical < 0 || e.Logical >= largest || e.Off < 0 || e.Logical%blockSize != 0
	})
	slices.SortStableFunc(list, func(a, b fsys.Extent) int { return cmp.Compare(a.Logical, b.Logical) })
	next := int64(0)
	for _, e := range list {
		if e.Logical < next {
			return []int64{head}, nil // they contradict each other
		}
		if e.Logical != next {
			last = last[:0]
		}
		blocks := (min(e.Len, largest-e.Logical) + blockSize - 1) / blockSize
		begins := e.Logical == int64(len(first))*blockSize
		for i := range blocks {
			if begins {
				first = append(first, e.Off+i*blockSize)
			} else {
				last = append(last, e.Off+i*blockSize)
			}
		}
		next = e.Logical + blocks*blockSize
	}
	if len(first) == 0 {
		first = []int64{head}
	}
	return first, last
}

// knownEnd makes the end of a message of blocks that are known, and of what stands
// before them on the volume. What is allocated behind the end is left out. nil:
// they do not hold the end.
func (s *search) knownEnd(blocks []int64) (*back, error) {
	b := &back{}
	for i, off := range blocks {
		l, err := s.at(off)
		if err != nil {
			return nil, err
		}
		if l.text == 0 {
			blocks = blocks[:i]
			break
		}
		if l.ended(s.blockSize) {
			blocks = blocks[:i+1]
			break
		}
	}
	for _, off := range slices.Backward(blocks) {
		if err := s.extend(b, off); err != nil {
			return nil, err
		}
	}
	if len(b.looks) == 0 || !b.looks[0].ended(s.blockSize) && b.looks[0].closing != s.front.boundary {
		return nil, nil
	}
	b.known = len(b.looks)
	for b.wire() < s.want.Size {
		n := len(b.offs) - 1
		at := b.offs[n] - s.blockSize
		if at < 0 || !s.isFree(at) {
			break
		}
		l, err := s.at(at)
		if err != nil {
			return nil, err
		}
		if fit(&l, &b.looks[n], s.blockSize) == misfit {
			break
		}
		if err := s.extend(b, at); err != nil {
			return nil, err
		}
	}
	return b, nil
}
