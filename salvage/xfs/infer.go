package xfs

import (
	"bytes"
	"cmp"
	"slices"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// most of each kind of evidence that is kept
const (
	maxSupers  = 64
	maxHeaders = 64
	maxSamples = 512
	maxDirs    = 32
	maxShapes  = 8
)

// evidence is what was seen that tells a geometry.
type evidence struct {
	supers  []super
	headers []groupHeader
	samples []sample
	dirs    [][]byte // inodes of directories that have blocks
	foreign []sample // inodes whose numbers do not go with the geometry
}

// A super is a superblock or a copy, and where it stands.
type super struct {
	g    geometry
	off  int64
	sure bool
}

// A sample is an inode that tells its number.
type sample struct {
	off  int64
	ino  uint64
	size int64
}

func (e *evidence) super(g geometry, off int64, sure bool) {
	if len(e.supers) < maxSupers {
		e.supers = append(e.supers, super{g, off, sure})
	}
}

func (e *evidence) group(h groupHeader) {
	if len(e.headers) < maxHeaders {
		e.headers = append(e.headers, h)
	}
}

// sample keeps inodes that are far from each other.
func (e *evidence) sample(s sample) { e.samples = spread(e.samples, s) }

func spread(samples []sample, s sample) []sample {
	const apart = 32 << 10 // a cluster of inodes is not longer
	if n := len(samples); n < maxSamples && (n == 0 || s.off < samples[n-1].off || s.off-samples[n-1].off >= apart) {
		return append(samples, s)
	}
	return samples
}

func (e *evidence) directory(raw []byte) {
	if len(e.dirs) < maxDirs {
		e.dirs = append(e.dirs, bytes.Clone(raw))
	}
}

// settle makes a geometry of the evidence; nil where there is none at all.
// certain: superblocks tell it.
func (e *evidence) settle(v volume.Volume, infer inferer) (g *geometry, certain bool) {
	if g := e.fromSupers(); g != nil {
		return g, true
	}
	guess := geometry{block: 4096, inode: 512, sector: 512, dirBlock: 4096, ftype: true}
	switch {
	case len(e.samples) > 0:
		guess.inode, guess.version = e.samples[0].size, 5
	case len(e.headers) > 0:
		guess.inode = minInode
	default:
		return nil, false
	}
	blocks := likelyBlocks
	shapes := fromInodes(e.samples)
	if h, ok := e.fromHeaders(); ok {
		blocks, shapes = []int64{h.block}, []shape{{h.base, h.agBlocks * h.block}}
	}
	if len(shapes) > 0 {
		guess, _ = infer(guess, shapes, blocks, e.dirs)
	}
	guess.blocks = (v.Size() - guess.base) / guess.block
	if guess.mapped() {
		guess.groups = (guess.blocks + guess.agBlocks - 1) / guess.agBlocks
	}
	if guess.version == 0 && len(e.samples) == 0 {
		guess.ftype = false
	}
	return &guess, false
}

// fromSupers takes the superblock that most others agree with, best one with a
// right checksum.
func (e *evidence) fromSupers() *geometry {
	var best *super
	most := 0
	for i := range e.supers {
		s := &e.supers[i]
		votes := 0
		for j := range e.supers {
			if e.supers[j].g.same(&s.g) && e.supers[j].g.uuid == s.g.uuid {
				votes++
			}
		}
		if s.sure {
			votes += 2
		}
		if votes > most {
			best, most = s, votes
		}
	}
	if best == nil {
		return nil
	}
	g := best.g
	for _, s := range e.supers {
		if !g.plausible(g.root) && s.g.same(&g) && s.g.uuid == g.uuid {
			g.root = s.g.root
		}
	}
	g.base = e.baseOf(&g, best.off)
	return &g
}

// baseOf tells where a file system begins of which a superblock stands at off: the
// head of the free space behind it knows its group's number.
func (e *evidence) baseOf(g *geometry, off int64) int64 {
	size := g.agBlocks * g.block
	for _, s := range e.supers {
		for _, h := range e.headers {
			if s.g.same(g) && h.off == s.off+g.sector && s.off >= h.number*size {
				return s.off - h.number*size
			}
		}
	}
	// Without it: a group begins at a multiple of its size, or the file system
	// begins here.
	if off%size == 0 {
		return 0
	}
	for _, s := range e.samples {
		if base := s.off - int64(s.ino)*s.size; base >= 0 && base <= off && (off-base)%size == 0 {
			return base
		}
	}
	return off % size
}

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
	base, size int64
}

// shapes are the ways in which groups can lie if an inode is to have its number at
// its place. A number is that of the group, shifted, and of the place in it; the
// shift says between which powers of two the group's length lies.
func (s sample) shapes(base int64, put func(shape)) {
	for shift := uint(8); shift <= 48; shift++ {
		group := int64(s.ino >> shift)
		if group == 0 {
			break
		}
		size := s.off - base - int64(s.ino&(1<<shift-1))*s.size
		if size <= 0 || size%group != 0 {
			continue
		}
		size /= group
		if n := size / s.size; size%minBlock == 0 && size >= minGroup && size <= maxGroup && bitsFor(n) == shift {
			put(shape{base, size})
		}
	}
}

// fromInodes finds the shapes with which most inodes agree, the likeliest first.
// Where all inodes stand in the front half of their groups, half as large groups
// fit as well.
func fromInodes(samples []sample) []shape {
	if len(samples) == 0 {
		return nil
	}
	first := slices.MinFunc(samples, func(a, b sample) int { return cmp.Compare(a.ino, b.ino) })
	bases := []int64{0}
	if own := first.off - int64(first.ino)*first.size; own > 0 && own%512 == 0 && first.ino < 1<<32 {
		bases = append(bases, own)
	}
	votes := map[shape]int{}
	most := 0
	for _, base := range bases {
		for _, s := range samples {
			s.shapes(base, func(sh shape) {
				votes[sh]++
				most = max(most, votes[sh])
			})
		}
	}
	var likely []shape
	for sh, n := range votes {
		if n > most-most/8-1 {
			likely = append(likely, sh)
		}
	}
	slices.SortFunc(likely, func(a, b shape) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(b.size, a.size), cmp.Compare(a.base, b.base))
	})
	return likely[:min(len(likely), maxShapes)]
}

// likelyBlocks are the sizes of blocks, the likeliest first.
var likelyBlocks = []int64{4096, 1024, 2048, 512, 8192, 16384, 32768, 65536}

// usualDirBlock is what mkfs.xfs makes a directory's blocks, if not larger.
const usualDirBlock = 4096

// An inferer chooses among shapes and sizes of blocks.
type inferer func(g geometry, shapes []shape, blocks []int64, dirs [][]byte) (geometry, int)

// inferBlock finds the size of blocks, and which of the shapes it is: those with
// which most directories lead to their own blocks, and with how many that is so.
func (f *FS) inferBlock(g geometry, shapes []shape, blocks []int64, dirs [][]byte) (geometry, int) {
	best, most := geometry{}, -1
	for _, sh := range shapes {
		for _, block := range blocks {
			if sh.size%block != 0 || block < g.inode {
				continue
			}
			t := g
			t.base, t.block, t.dirBlock, t.agBlocks = sh.base, block, max(block, usualDirBlock), sh.size/block
			t.blocks = (f.v.Size() - t.base) / block
			t.groups = (t.blocks + t.agBlocks - 1) / t.agBlocks
			hits := 0
			for _, raw := range dirs {
				if size := f.ownsBlock(&t, raw); size > 0 {
					hits++
					t.dirBlock = max(t.dirBlock, size)
				}
			}
			if hits > most {
				best, most = t, hits
			}
		}
	}
	return best, most
}

// ownsBlock tells how large a directory's blocks are if its first extent leads to
// a block of its own, as far as that can be seen.
func (f *FS) ownsBlock(g *geometry, raw []byte) int64 {
	in, ok := parseInode(raw)
	if !ok || in.extents == 0 {
		return 0
	}
	m := mapper{g: g}
	e, ok := m.extent(unpackRun(in.fork))
	if !ok {
		return 0
	}
	b := make([]byte, minBlock)
	if _, err := f.v.ReadAt(b, e.Off); err != nil {
		return 0
	}
	h, ok := parseDirHead(b)
	if !ok || h.owner != in.number {
		return 0
	}
	if h.single && powerOf2(in.size) && in.size <= maxBlock {
		return in.size
	}
	return g.block
}

// searchRoot bounds where a root directory's inode is looked for, in bytes from
// the beginning of the file system: mkfs.xfs puts it behind the heads of the first
// group.
const searchRoot = 4 << 20

// findRoot looks for the root directory, which is the one that is its own parent. Not
// every superblock's copy knows it.
func (f *FS) findRoot(g *geometry) (uint64, error) {
	if !g.mapped() {
		return 0, nil
	}
	b := make([]byte, min(searchRoot, g.agBlocks*g.block))
	if _, err := f.v.ReadAt(b, g.base); err != nil {
		return 0, f.readError(g.base, err)
	}
	for at := int64(0); at+g.inode <= int64(len(b)); at += g.inode {
		in, ok := parseInode(b[at : at+g.inode])
		if !ok || in.fileType() != fsys.Directory {
			continue
		}
		number := g.number(g.base + at)
		if f.parentOf(g, &in) == number {
			return number, nil
		}
	}
	return 0, nil
}

// parentOf is a directory's parent, 0 where it cannot be seen.
func (f *FS) parentOf(g *geometry, in *inode) uint64 {
	switch in.format {
	case formatLocal:
		sd, _ := parseShort(in.fork, in.version == 3 || g.ftype, g)
		return sd.up
	case formatExtents:
		m := mapper{g: g}
		e, ok := m.extent(unpackRun(in.fork))
		b := make([]byte, minBlock)
		if !ok {
			return 0
		}
		if _, err := f.v.ReadAt(b, e.Off); err != nil {
			return 0
		}
		if h, ok := parseDirHead(b); ok {
			return h.up
		}
	}
	return 0
}
