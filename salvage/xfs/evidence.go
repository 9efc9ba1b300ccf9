package xfs

import (
	"bytes"
	"cmp"
	"slices"
)

// most of each kind of evidence that is kept
const (
	maxSupers  = 64
	maxHeaders = 64
	maxTrees   = 256
	maxSamples = 512
	maxLeaders = 32
)

// evidence is what was seen that tells a geometry. Its zero value is empty.
type evidence struct {
	supers  []super
	headers []groupHeader
	trees   []treeBlock // the first block of each group's trees
	inodes  spaced
	leaders spaced // inodes whose blocks bear their numbers
}

// A super is a superblock or a copy, and where it stands.
type super struct {
	g    geometry
	off  int64
	sure bool
}

// A sample is an inode that tells its number.
type sample struct {
	off int64
	ino uint64
	raw []byte
}

func (s *sample) size() int64 { return int64(len(s.raw)) }

// spaced are inodes far from each other, however many were seen.
type spaced struct {
	all   []sample
	apart int64 // bytes
}

// add takes an inode, unless it stands too near to the last one. Where there are
// more than most, every other one goes.
func (s *spaced) add(raw []byte, off int64, most int) {
	s.apart = max(s.apart, 32<<10) // a cluster of inodes is not longer
	if n := len(s.all); n > 0 && off >= s.all[n-1].off && off-s.all[n-1].off < s.apart {
		return
	}
	s.all = append(s.all, sample{off, be.Uint64(raw[152:]), bytes.Clone(raw)})
	for len(s.all) > most {
		slices.SortFunc(s.all, func(a, b sample) int { return cmp.Compare(a.off, b.off) })
		s.apart *= 2
		kept := s.all[:1]
		for _, one := range s.all[1:] {
			if one.off-kept[len(kept)-1].off >= s.apart {
				kept = append(kept, one)
			}
		}
		clear(s.all[len(kept):])
		s.all = kept
	}
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

// tree keeps the first block of each tree: mkfs.xfs puts it at the same place in
// every group.
func (e *evidence) tree(t treeBlock) {
	for i := range e.trees {
		if o := &e.trees[i]; o.magic == t.magic && o.group == t.group && o.base == t.base {
			if t.off < o.off {
				*o = t
			}
			return
		}
	}
	if len(e.trees) < maxTrees {
		e.trees = append(e.trees, t)
	}
}

// inode takes a record of version 3 whose checksum is right.
func (e *evidence) inode(raw []byte, off int64) {
	e.inodes.add(raw, off, maxSamples)
	if raw[5] == formatTree || raw[5] == formatExtents && be.Uint16(raw[2:])&modeType == modeDir {
		e.leaders.add(raw, off, maxLeaders)
	}
}

// settle makes a geometry of the evidence; nil where there is none at all.
// certain: superblocks tell it.
func (f *FS) settle(e *evidence) (g *geometry, certain bool) {
	if g := e.fromSupers(); g != nil {
		return g, true
	}
	guess := geometry{block: 4096, inode: 512, sector: 512, dirBlock: 4096, ftype: true}
	switch {
	case len(e.inodes.all) > 0:
		guess.inode, guess.version = e.inodes.all[0].size(), 5
	case len(e.trees) > 0:
		guess.version = 5
	case len(e.headers) > 0:
		guess.inode, guess.ftype = minInode, false
	default:
		return nil, false
	}
	shapes, blocks := e.shapes()
	if guess.version == 5 && !slices.ContainsFunc(shapes, func(sh shape) bool { return !powerOf2(sh.size) }) {
		// Numbers are places: so it is in all groups of such lengths, and in the first
		// group of any.
		shapes = append(usual(e.base(), f.v.Size()), shapes...)
	}
	guess, _ = f.infer(guess, shapes, blocks, e)
	guess.blocks = (f.v.Size() - guess.base) / guess.block
	if guess.mapped() {
		guess.groups = (guess.blocks + guess.agBlocks - 1) / guess.agBlocks
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

// baseOf tells where a file system begins of which a superblock stands at off, which
// may be before the volume's beginning: heads of free space know their group's number,
// blocks of trees their place. The place is taken for which most of them speak.
func (e *evidence) baseOf(g *geometry, off int64) int64 {
	size := g.agBlocks * g.block
	fits := func(base int64) bool {
		return (off-base)%size == 0 && off >= base && (off-base)/size < g.groups
	}
	var said []int64
	for _, s := range e.supers {
		for _, h := range e.headers {
			base := s.off - h.number*size
			if s.g.same(g) && s.g.uuid == g.uuid && h.off == s.off+g.sector && h.length <= g.agBlocks && fits(base) {
				said = append(said, base)
			}
		}
	}
	for _, t := range e.trees {
		if t.block == g.block && fits(t.base) && (t.off-t.base)/size == t.group {
			said = append(said, t.base)
		}
	}
	if len(said) > 0 {
		return commonest(said, func(base int64) int64 { return base })
	}
	// Without them: a group begins at a multiple of its size, or the file system
	// begins here.
	if off%size == 0 {
		return 0
	}
	for _, s := range e.inodes.all {
		if base := s.off - int64(s.ino)*s.size(); base <= off && fits(base) {
			return base
		}
	}
	return off % size
}
