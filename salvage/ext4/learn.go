package ext4

import (
	"context"
	"sort"

	"salvor/salvage/fsys"
)

// Bounds of what is learned.
const (
	maxSeeds    = 4
	maxVotes    = 1 << 10
	seedVotes   = 3        // inodes that must agree on a seed
	maxAnchors  = 1 << 18  // of 16 GiB of inode tables, at least
	anchorEvery = 64 << 10 // groups of ext2 and ext3 have small tables, each in a place of its own
	anchorReach = 32 << 20 // between two anchors that agree, in bytes
	anchorAlone = 64 << 10 // beyond the last one
)

// learned is what inodes told about their file system.
type learned struct {
	seeds   []uint32       // of checksums, believed
	votes   map[uint32]int // for seeds that are not yet
	anchors []anchor       // by place
}

// An anchor is an inode whose number is known.
type anchor struct {
	off    int64
	number uint64
}

// Learn takes what an inode's trace tells about the file system. A directory says
// its own number in its first block. From a few such pairs follow the seed of all
// checksums, and with it the number of every inode that has one; where there are
// no checksums, the numbers of the inodes that stand between two directories. And
// the journal's own inode leads to the journal.
//
// Who reads a volume without a superblock or without group descriptors, or one
// that was made anew over an older one, sweeps it, calls Learn with all traces of
// inodes, then Known once more, and only then File.
func (f *FS) Learn(ctx context.Context, t fsys.Trace) error {
	if t.Kind != fsys.Inode || len(t.Raw) < oldInode {
		return nil
	}
	r := record(t.Raw)
	switch r.kind() {
	case modeRegular:
		if r.mode() == modeRegular|0o600 && r.links() == 1 && r.u32(2)&0xFFFF == 0 && r.size() >= 1<<20 && (t.Number == 0 || t.Number == 8) {
			return f.learnJournal(ctx, r)
		}
	case modeDirectory:
		if t.Origin == fsys.Log {
			return nil
		}
		number, err := f.ownNumber(ctx, r)
		if err != nil || number == 0 {
			return err
		}
		f.learnNumber(t.Off, r, number)
	}
	return nil
}

// ownNumber is the number that a directory's first block gives for itself; 0 where
// there is none.
func (f *FS) ownNumber(ctx context.Context, r record) (uint64, error) {
	if r.deleted() {
		return 0, nil // its first block may be another's by now
	}
	m := mapper{f: f, ctx: ctx}
	var err error
	switch {
	case r.flags()&(flagInline|flagEncrypted) != 0:
		return 0, nil
	case r.extents():
		err = m.tree(r.blockMap(), maxDepth)
	default:
		err = m.blockMap(r.blockMap())
	}
	extents := m.sorted()
	if err != nil || len(extents) == 0 || extents[0].Logical != 0 {
		return 0, err
	}
	p, err := f.namesAt(extents[0].Off)
	if err != nil {
		return 0, err
	}
	self, _ := (&walker{f: f, block: p}).dots()
	return self, nil
}

// learnNumber takes that the inode at a place has a number.
func (f *FS) learnNumber(off int64, r record, number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &f.learned
	if seed, ok := r.seedBy(number); ok && (len(l.votes) < maxVotes || l.votes[seed] > 0) && !l.believes(seed) {
		if l.votes == nil {
			l.votes = map[uint32]int{}
		}
		l.votes[seed]++
		if l.votes[seed] >= seedVotes && len(l.seeds) < maxSeeds {
			l.seeds = append(l.seeds, seed)
			delete(l.votes, seed)
		}
	}
	i := sort.Search(len(l.anchors), func(i int) bool { return l.anchors[i].off >= off-off%anchorEvery })
	if i < len(l.anchors) && l.anchors[i].off < off-off%anchorEvery+anchorEvery || len(l.anchors) >= maxAnchors {
		return
	}
	l.anchors = append(l.anchors, anchor{})
	copy(l.anchors[i+1:], l.anchors[i:])
	l.anchors[i] = anchor{off, number}
}

func (l *learned) believes(seed uint32) bool {
	for _, s := range l.seeds {
		if s == seed {
			return true
		}
	}
	return false
}

// number is the number of the inode at a place between two anchors that agree on
// it, or close to one; 0 where nobody knows.
func (l *learned) number(off int64, size int) uint64 {
	i := sort.Search(len(l.anchors), func(i int) bool { return l.anchors[i].off >= off })
	by := func(i int, reach int64) int64 {
		if i < 0 || i >= len(l.anchors) {
			return 0
		}
		a := l.anchors[i]
		if gap := a.off - off; gap > reach || -gap > reach || gap%int64(size) != 0 {
			return 0
		}
		return max(0, int64(a.number)-(a.off-off)/int64(size))
	}
	if n := by(i, anchorReach); n > 0 && n == by(i-1, anchorReach) {
		return uint64(n)
	}
	if n := by(i, anchorAlone); n > 0 {
		return uint64(n)
	}
	return uint64(by(i-1, anchorAlone))
}

func (f *FS) seeds() []uint32 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.learned.seeds
}

// proves tells whether a record's checksum is right for a number.
func (f *FS) proves(r record, number uint64) bool {
	for _, seed := range f.seeds() {
		if r.vouches(seed, number) {
			return true
		}
	}
	return false
}

// numberBlock is the number of the first inode of a block of records, by their
// checksums: it must be the same for at least two of them, or for the only one
// that has a checksum of 32 bits, and be the beginning of a block.
func (f *FS) numberBlock(p []byte, found []likeness, size int) (first uint64, ok bool) {
	per := uint64(len(p) / size)
	for _, seed := range f.seeds() {
		votes := make([]vote, 0, 16) // mostly all records say the same
		for i, like := range found {
			n, ok := uint64(0), false
			if like != unlike {
				n, ok = record(p[i*size:][:size]).numberBy(seed)
			}
			if ok && n > uint64(i) && n <= f.inodes() && (n-uint64(i)-1)%per == 0 {
				votes = cast(votes, n-uint64(i))
			}
		}
		var best vote
		for _, v := range votes {
			if v.times > best.times {
				best = v
			}
		}
		if best.times > 1 || best.times == 1 && len(votes) == 1 && f.inodes() < 1<<24 {
			return best.first, true
		}
	}
	return 0, false
}

// A vote is how many records of a block say that its first one has a number.
type vote struct {
	first uint64
	times int
}

func cast(votes []vote, first uint64) []vote {
	for i := range votes {
		if votes[i].first == first {
			votes[i].times++
			return votes
		}
	}
	return append(votes, vote{first, 1})
}

// numberOf is an inode's number as its trace says, or as can be found out, and
// whether its checksum proves it.
func (f *FS) numberOf(t fsys.Trace, r record) (uint64, bool, error) {
	if t.Number != 0 {
		return t.Number, f.proves(r, t.Number), nil
	}
	off := t.Off - t.Off%f.bs
	first, err := f.firstNumber(off, len(r))
	if err != nil {
		return 0, false, err
	}
	if first != 0 {
		number := first + uint64(t.Off-off)/uint64(len(r))
		return number, f.proves(r, number), nil
	}
	if t.Origin == fsys.Log {
		return 0, false, nil
	}
	number := f.numberAt(t.Off, len(r))
	return number, number != 0 && f.proves(r, number), nil
}

// A numbered is a block of records whose first number was looked for: the others of
// the block are asked for next.
type numbered struct {
	off         int64
	size, seeds int
	first       uint64
}

// firstNumber is the number of the first inode in the block at a place, by the
// block's checksums; 0 where they do not tell.
func (f *FS) firstNumber(off int64, size int) (uint64, error) {
	seeds := len(f.seeds())
	if seeds == 0 {
		return 0, nil
	}
	if n := f.numbered.Load(); n != nil && n.off == off && n.size == size && n.seeds == seeds {
		return n.first, nil
	}
	p, err := f.namesAt(off)
	if err != nil {
		return 0, err
	}
	first, _ := f.numberBlock(p, f.inodesIn(p, size, make([]likeness, len(p)/size)), size)
	f.numbered.Store(&numbered{off, size, seeds, first})
	return first, nil
}

// numberAt is the number that the inode at a place has by that place; 0 where
// nobody knows.
func (f *FS) numberAt(off int64, size int) uint64 {
	if n := f.tables.number(off, size); n != 0 {
		return n
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if n := f.learned.number(off, size); n <= f.inodes() {
		return n
	}
	return 0
}
