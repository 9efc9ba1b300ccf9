package xfs

import (
	"cmp"
	"slices"

	"salvor/salvage/volume"
)

// Without a superblock, three kinds of things tell how large the groups are: the
// heads of their free space; the blocks of their trees, which in version 5 know
// their place and their group; and inodes, which know their numbers. Each gives
// shapes in which the groups may lie. Which it is follows from what it explains:
// numbers of inodes, and the extents in them.

// fromHeaders infers groups from the heads of their free space: each knows its
// number and its length.
func (e *evidence) fromHeaders() (g geometry, ok bool) {
	fit := func(base, size, length int64) bool {
		block := size / max(length, 1)
		if size <= 0 || size%max(length, 1) != 0 || !powerOf2(block) || block < minBlock || block > maxBlock || size < minGroup {
			return false
		}
		g = geometry{base: base, block: block, agBlocks: length}
		return true
	}
	for i, a := range e.headers {
		for _, b := range e.headers[i+1:] {
			if b.number == a.number {
				continue
			}
			size := (b.off - a.off) / (b.number - a.number)
			for _, sector := range []int64{512, 4096, 1024, 2048} {
				base := a.off - sector - a.number*size
				if base >= 0 && base%(4<<10) == 0 && fit(base, size, max(a.length, b.length)) {
					return g, true
				}
			}
		}
	}
	for _, h := range e.headers {
		for _, sector := range []int64{512, 4096, 1024, 2048} {
			if h.number > 0 && (h.off-sector)%h.number == 0 && fit(0, (h.off-sector)/h.number, h.length) {
				return g, true
			}
		}
	}
	return geometry{}, false
}

// A shape is one way in which groups can lie.
type shape struct {
	base, size int64 // bytes
}

// number is that of an inode of a size at off, 0 where none can stand.
func (sh shape) number(off, size int64) uint64 {
	if off -= sh.base; off < 0 {
		return 0
	}
	return uint64(off/sh.size)<<bitsFor(sh.size/size) | uint64(off%sh.size/size)
}

// shapes are those in which the inode has its number. A number is that of the
// group, shifted, and of the place in it; the shift says between which powers of two
// the group's length lies.
func (s *sample) shapes(base int64, put func(shape)) {
	for shift := uint(8); shift <= 48; shift++ {
		group := int64(s.ino >> shift)
		if group == 0 {
			break
		}
		size := s.off - base - int64(s.ino&(1<<shift-1))*s.size()
		if size <= 0 || size%group != 0 {
			continue
		}
		size /= group
		if n := size / s.size(); size%minBlock == 0 && size >= minGroup && size <= maxGroup && bitsFor(n) == shift {
			put(shape{base, size})
		}
	}
}

const maxShapes = 32 // that are looked at closely

// likelyBlocks are the sizes of blocks, the likeliest first.
var likelyBlocks = []int64{4096, 1024, 2048, 512, 8192, 16384, 32768, 65536}

// shapes gives the ways in which groups may lie, the likeliest first, and the sizes
// that blocks may have.
func (e *evidence) shapes() ([]shape, []int64) {
	if h, ok := e.fromHeaders(); ok {
		return []shape{{h.base, h.agBlocks * h.block}}, []int64{h.block}
	}
	blocks, all := likelyBlocks, e.fromInodes()
	if len(e.trees) > 0 {
		blocks = []int64{commonest(e.trees, func(t treeBlock) int64 { return t.block })}
		all = append(e.fromTrees(), all...)
	}
	return all, blocks
}

// base is where the file system most likely begins.
func (e *evidence) base() int64 {
	if len(e.trees) > 0 {
		return commonest(e.trees, func(t treeBlock) int64 { return t.base })
	}
	if len(e.inodes.all) == 0 {
		return 0
	}
	first := slices.MinFunc(e.inodes.all, func(a, b sample) int { return cmp.Compare(a.ino, b.ino) })
	// In the first group, numbers are places.
	if own := first.off - int64(first.ino)*first.size(); own > 0 && own%512 == 0 && first.ino < 1<<32 {
		return own
	}
	return 0
}

// commonest is what most of them have, of those that agree the first one's.
func commonest[T any, K comparable](all []T, of func(T) K) (best K) {
	votes, most := map[K]int{}, 0
	for _, t := range all {
		votes[of(t)]++
	}
	for _, t := range all {
		if k := of(t); votes[k] > most {
			best, most = k, votes[k]
		}
	}
	return best
}

// fromTrees finds shapes by the distances of the same trees in different groups.
func (e *evidence) fromTrees() []shape {
	votes := map[shape]int{}
	for i, a := range e.trees {
		for _, b := range e.trees[i+1:] {
			if a.magic != b.magic || a.group == b.group || a.base != b.base || (b.off-a.off)%(b.group-a.group) != 0 {
				continue
			}
			if size := (b.off - a.off) / (b.group - a.group); size >= minGroup && size <= maxGroup && size%a.block == 0 {
				votes[shape{a.base, size}]++
			}
		}
	}
	return ranked(votes)
}

// fromInodes finds the shapes in which most inodes have their numbers. Where all
// stand in the front half of their groups, half as large groups fit as well, and in
// groups whose length is a power of two any other power.
func (e *evidence) fromInodes() []shape {
	all := e.inodes.all
	if len(all) == 0 {
		return nil
	}
	votes := map[shape]int{}
	for _, base := range slices.Compact([]int64{0, e.base()}) {
		for i := range all {
			all[i].shapes(base, func(sh shape) { votes[sh]++ })
		}
	}
	// The first group's inodes have their numbers in every shape that is large
	// enough: they only speak against some.
	likely := map[shape]int{}
	most := 0
	for _, sh := range ranked(votes) {
		for _, s := range all {
			if sh.number(s.off, s.size()) == s.ino {
				likely[sh]++
			}
		}
		most = max(most, likely[sh])
	}
	for sh, n := range likely {
		if n <= most-most/8-1 {
			delete(likely, sh)
		}
	}
	return ranked(likely)
}

// ranked are the shapes with most votes, of those that have the same number the
// largest groups first: they take in the extents that lie across the borders of
// smaller ones.
func ranked(votes map[shape]int) []shape {
	var all []shape
	for sh := range votes {
		all = append(all, sh)
	}
	slices.SortFunc(all, func(a, b shape) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(b.size, a.size), cmp.Compare(a.base, b.base))
	})
	return all[:min(len(all), maxShapes)]
}

// usual are the shapes that mkfs.xfs gives file systems of a size in bytes: four
// groups, or more if it is told to or if there are many disks below.
func usual(base, size int64) (all []shape) {
	const unit = 4096
	add := func(groups int64) {
		if n := ((size-base)/unit + groups - 1) / groups * unit; n >= minGroup && n <= maxGroup {
			all = append(all, shape{base, n})
		}
	}
	add(4)
	for groups := range int64(searchGroups) {
		add(groups + 1)
	}
	return append(all, shape{base, maxGroup - unit})
}

// usualDirBlock is what mkfs.xfs makes a directory's blocks, if not larger.
const usualDirBlock = 4096

// infer finds the size of blocks, and which of the shapes it is: those for which
// most of the evidence speaks. led is how many inodes lead to blocks that bear their
// number.
func (f *FS) infer(g geometry, shapes []shape, blocks []int64, e *evidence) (best geometry, led int) {
	best, most := g, -1
	w := &witness{v: f.v, heads: map[int64][]byte{}}
	for _, sh := range shapes {
		for _, block := range blocks {
			if sh.size%block != 0 || block < g.inode {
				continue
			}
			t := g
			t.base, t.block, t.dirBlock, t.agBlocks = sh.base, block, max(block, usualDirBlock), sh.size/block
			t.blocks = (f.v.Size() - t.base) / block
			t.groups = (t.blocks + t.agBlocks - 1) / t.agBlocks
			hits := w.led(&t, e.leaders.all)
			if n := hits + explained(&t, e); n > most {
				best, most, led = t, n, hits
			}
		}
	}
	return best, led
}

// explained is how many of the inodes and of the blocks of trees stand where a
// geometry says, and of how many inodes it has a place for every extent.
func explained(g *geometry, e *evidence) (n int) {
	for i := range e.inodes.all {
		s := &e.inodes.all[i]
		if g.number(s.off) == s.ino {
			n++
		}
		if in, ok := parseInode(s.raw); ok && in.format == formatExtents && in.extents > 0 {
			m := mapper{g: g}
			if m.records(in.fork, in.extents); m.lost == 0 {
				n++
			}
		}
	}
	size := g.agBlocks * g.block
	for _, t := range e.trees {
		if t.base == g.base && t.block == g.block && (t.off-t.base)/size == t.group {
			n++
		}
	}
	return n
}

// A witness looks at blocks for several geometries, each once.
type witness struct {
	v     volume.Volume
	heads map[int64][]byte // by place
}

// maxHeads is at how many blocks it looks: a disk may need 10 ms for each.
const maxHeads = 4096

func (w *witness) head(off int64) []byte {
	b, ok := w.heads[off]
	if !ok {
		b = make([]byte, minBlock)
		if len(w.heads) >= maxHeads {
			return b
		}
		if _, err := w.v.ReadAt(b, off); err != nil {
			clear(b) // who reads on will meet the error again
		}
		w.heads[off] = b
	}
	return b
}

// led counts the inodes whose map leads to a block of their own, and makes the
// blocks of directories as large as those are.
func (w *witness) led(g *geometry, leaders []sample) (n int) {
	for _, s := range leaders {
		in, ok := parseInode(s.raw)
		if !ok {
			continue
		}
		size, ok := w.names(g, &in)
		if ok = ok || w.leaf(g, &in); ok {
			n++
			g.dirBlock = max(g.dirBlock, size)
		}
	}
	return n
}

// names tells whether a directory's first extent leads to a block of its own, and
// how large its blocks are, as far as that can be seen.
func (w *witness) names(g *geometry, in *inode) (size int64, ok bool) {
	if in.format != formatExtents || in.extents == 0 {
		return 0, false
	}
	m := mapper{g: g}
	e, ok := m.extent(unpackRun(in.fork))
	if !ok {
		return 0, false
	}
	h, ok := parseDirHead(w.head(e.Off))
	if !ok || h.owner != in.number {
		return 0, false
	}
	if h.single && powerOf2(in.size) && in.size <= maxBlock {
		return in.size, true
	}
	return g.block, true
}

// leaf tells whether the root of a map leads to a block of the map.
func (w *witness) leaf(g *geometry, in *inode) bool {
	most := (len(in.fork) - 4) / recordLen
	if in.format != formatTree || most < 1 {
		return false
	}
	off, ok := g.here(be.Uint64(in.fork[4+most*8:]), 1)
	if !ok {
		return false
	}
	mb, ok := parseMapBlock(w.head(off))
	return ok && mb.new && mb.owner == in.number && mb.place == uint64(off-g.base)/512
}
