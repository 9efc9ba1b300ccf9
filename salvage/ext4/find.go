package ext4

import (
	"context"
	"sort"

	"salvor/salvage/volume"
)

const (
	maxSupers = 8   // different file systems that Find tells apart
	minGroup  = 256 // blocks in a group, the fewest that mke2fs can be told
)

// Find looks for superblocks where mke2fs puts them: the primary one, and the
// copies in groups 1 and the powers of 3, 5 and 7, and in the last group, for each
// size of blocks. It returns one for each layout found, best first: those of the file
// system of the primary superblock before others; then the one whose checksum is
// right, then the one that most copies agree with, then the one that stands first. More than one means that another file system was made over an
// older one, or that a superblock is damaged. The error is ErrNoSuper, or the
// volume's.
func Find(ctx context.Context, v volume.Volume) ([]Super, error) {
	var found []Super
	seen := map[int64]bool{}
	buf := make([]byte, superSize)
	look := func(off int64, group uint32) error {
		if seen[off] || off < 0 || off+superSize > v.Size() {
			return nil
		}
		seen[off] = true
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := v.ReadAt(buf, off); err != nil {
			return err
		}
		s, err := parseSuper(buf, off)
		if err != nil || !s.stands(group) {
			return nil // not a superblock: there is nothing wrong with that
		}
		found = gather(found, s)
		return nil
	}
	if err := look(superSize, 0); err != nil {
		return nil, err
	}
	for bs := int64(minBlock); bs <= maxBlock; bs *= 2 {
		if err := lookCopies(v.Size(), bs, 8*bs, look); err != nil {
			return nil, err
		}
	}
	if len(found) == 0 { // groups smaller than mke2fs makes them unless it is told to
		for bs := int64(minBlock); bs <= maxBlock; bs *= 2 {
			for bpg := 4 * bs; bpg >= minGroup; bpg /= 2 {
				if err := lookCopies(v.Size(), bs, bpg, look); err != nil {
					return nil, err
				}
			}
		}
	}
	for i := range found { // groups of unusual size are known only now
		if bpg := int64(found[i].blocksPerGroup); bpg != 8*found[i].BlockSize {
			if err := lookCopies(v.Size(), found[i].BlockSize, bpg, look); err != nil {
				return nil, err
			}
		}
	}
	if len(found) == 0 {
		return nil, ErrNoSuper
	}
	var newest [16]byte // whatever made a file system last wrote its primary superblock
	for i := range found {
		if found[i].Off == superSize {
			newest = found[i].UUID
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].better(&found[j], newest) })
	return found, nil
}

// lookCopies looks at the beginnings of the groups that have copies, of a file
// system with bpg blocks of bs bytes in a group.
func lookCopies(size, bs, bpg int64, look func(off int64, group uint32) error) error {
	first := int64(0)
	if bs == minBlock {
		first = 1
	}
	last := (size/bs - first - 1) / bpg
	at := func(group int64) error { return look((first+group*bpg)*bs, uint32(group)) }
	for _, g := range []int64{1, last, last - 1} {
		if g > 0 {
			if err := at(g); err != nil {
				return err
			}
		}
	}
	for _, base := range []int64{3, 5, 7} {
		for g := base; g <= last; g *= base {
			if err := at(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// stands tells whether a superblock may stand where it was found. A file that
// holds a file system's image has superblocks too, in the wrong places.
func (s *Super) stands(group uint32) bool {
	if group == 0 {
		return s.Off == superSize
	}
	// Only 16 bits of the number are kept.
	return uint32(s.Group) == group&0xFFFF && int64(s.start(group))*s.BlockSize == s.Off
}

// gather adds a superblock to those that were found.
func gather(found []Super, s *Super) []Super {
	for i := range found {
		if !found[i].sameLayout(s) {
			continue
		}
		n := found[i].Copies + 1
		if s.Sure && !found[i].Sure && found[i].Off != superSize {
			found[i] = *s
		}
		found[i].Sure = found[i].Sure || s.Sure // it is the layout that is vouched for
		found[i].Copies = n
		return found
	}
	if len(found) < maxSupers {
		found = append(found, *s)
	}
	return found
}

func (s *Super) better(o *Super, newest [16]byte) bool {
	if a, b := s.UUID == newest, o.UUID == newest; a != b {
		return a
	}
	if s.Sure != o.Sure {
		return s.Sure
	}
	if s.Copies != o.Copies {
		return s.Copies > o.Copies
	}
	return s.Off < o.Off
}
