package ext4

import (
	"context"
	"encoding/binary"
	"sort"

	"salvor/salvage/volume"
)

// A table is a run of inode tables that stand one behind the other, as those of a
// flex group do: the bytes of it, and the number of its first inode.
type table struct {
	off, end int64
	first    uint64
}

// tables are sorted by place.
type tables []table

// at is the table that covers a place; nil where none does.
func (t tables) at(off int64) *table {
	i := sort.Search(len(t), func(i int) bool { return t[i].end > off })
	if i < len(t) && t[i].off <= off {
		return &t[i]
	}
	return nil
}

// find is the place of an inode; -1 where its table is not known.
func (t tables) find(number uint64, isize int) int64 {
	for i := range t {
		if number >= t[i].first && number-t[i].first < uint64(t[i].end-t[i].off)/uint64(isize) {
			return t[i].off + int64(number-t[i].first)*int64(isize)
		}
	}
	return -1
}

// number is the number of the inode at a place; 0 where no table is known there.
func (t tables) number(off int64, isize int) uint64 {
	if s := t.at(off); s != nil {
		return s.first + uint64(off-s.off)/uint64(isize)
	}
	return 0
}

// readTables reads the group descriptors, each from the first of its copies that
// makes sense. A file system of more than maxGroups groups is known up to there.
func readTables(ctx context.Context, v volume.Volume, s *Super) (tables, error) {
	r := descriptors{v: v, s: s, per: uint32(s.BlockSize) / uint32(s.descSize), with: s.copyGroups()}
	// Of groups behind a volume's end, those whose tables stand with an earlier one's.
	there := v.Size()/s.BlockSize/int64(s.blocksPerGroup) + flexMost
	groups := uint32(min(int64(s.groups()), maxGroups, there))
	length := int64(s.inodesPerGroup) * int64(s.InodeSize)
	var all tables
	for g := range groups {
		if g%r.per == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := r.load(g / r.per); err != nil {
				return nil, err
			}
		}
		block, ok := r.table(g)
		if !ok {
			continue
		}
		off, first := int64(block)*s.BlockSize, uint64(g)*uint64(s.inodesPerGroup)+1
		if n := len(all); n > 0 && all[n-1].end == off && all[n-1].first+uint64(all[n-1].end-all[n-1].off)/uint64(s.InodeSize) == first {
			all[n-1].end += length
			continue
		}
		all = append(all, table{off, off + length, first})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].off < all[j].off })
	return all.apart(), nil
}

// apart leaves out tables that lie across an earlier one: one of both lies, and
// at() needs them apart.
func (t tables) apart() tables {
	kept := t[:0]
	for _, s := range t {
		if n := len(kept); n == 0 || kept[n-1].end <= s.off {
			kept = append(kept, s)
		}
	}
	return kept
}

// descriptors reads blocks of group descriptors.
type descriptors struct {
	v      volume.Volume
	s      *Super
	per    uint32   // descriptors in a block
	with   []uint32 // groups that begin with copies
	copies [][]byte // of the block that was loaded, best first
}

const (
	maxCopies = 6   // of a block of descriptors that are looked at
	flexMost  = 256 // groups that have their tables together, at most
)

// load reads the copies of one block of descriptors.
func (r *descriptors) load(index uint32) error {
	r.copies = r.copies[:0]
	for _, block := range r.places(index) {
		if block >= uint64(r.v.Size()/r.s.BlockSize) {
			continue
		}
		p := make([]byte, r.s.BlockSize)
		unknown, err := r.v.ReadAt(p, int64(block)*r.s.BlockSize)
		if err != nil {
			return err
		}
		if len(unknown) == 0 {
			r.copies = append(r.copies, p)
		}
	}
	return nil
}

// places lists where the copies of one block of descriptors are.
func (r *descriptors) places(index uint32) []uint64 {
	s := r.s
	var places []uint64
	if s.incompat&incompatMetaGroups != 0 && index >= s.firstMeta {
		// In the first, second and last group of those that they describe.
		for _, g := range []uint64{0, 1, uint64(r.per) - 1} {
			group := uint64(index)*uint64(r.per) + g
			if group >= uint64(s.groups()) {
				break
			}
			block := s.start(uint32(group))
			if s.hasSuper(uint32(group)) {
				block++
			}
			places = append(places, block)
		}
		return places
	}
	for _, g := range r.with {
		block := s.start(g) + 1
		if g == 0 && s.BlockSize == minBlock && s.first == 0 {
			block++ // bigalloc: the superblock is in block 1 all the same
		}
		places = append(places, block+uint64(index))
	}
	return places
}

// copyGroups lists the first groups that begin with a superblock and descriptors.
func (s *Super) copyGroups() []uint32 {
	if s.compat&compatSparseSuper2 != 0 {
		return []uint32{0, min(s.backups[0], s.groups()-1), min(s.backups[1], s.groups()-1)}
	}
	var groups []uint32
	for g := uint32(0); g < s.groups() && len(groups) < maxCopies; g++ {
		if s.hasSuper(g) {
			groups = append(groups, g)
		}
	}
	return groups
}

// table is the block at which a group's inode table begins. A copy whose checksum
// is right is preferred to one that only makes sense.
func (r *descriptors) table(group uint32) (uint64, bool) {
	s := r.s
	var fallback uint64
	for _, p := range r.copies {
		d := p[int(group%r.per)*s.descSize:][:s.descSize]
		block := uint64(binary.LittleEndian.Uint32(d[8:]))
		if s.descSize >= 64 {
			block |= uint64(binary.LittleEndian.Uint32(d[0x28:])) << 32
		}
		if block <= uint64(s.first) || block >= s.Blocks {
			continue
		}
		if r.sure(d, group) {
			return block, true
		}
		if fallback == 0 {
			fallback = block
		}
	}
	return fallback, fallback != 0
}

// sure tells whether a descriptor's checksum is right.
func (r *descriptors) sure(d []byte, group uint32) bool {
	s := r.s
	want := binary.LittleEndian.Uint16(d[0x1E:])
	var number [4]byte
	binary.LittleEndian.PutUint32(number[:], group)
	switch {
	case s.sums():
		sum := crc(crc32le(s.seed, group), d[:0x1E])
		return uint16(crc(crc(sum, []byte{0, 0}), d[0x20:])) == want
	case s.roCompat&roGroupSum != 0:
		sum := crc16(crc16(crc16(0xFFFF, s.UUID[:]), number[:]), d[:0x1E])
		return crc16(sum, d[0x20:]) == want
	}
	return false
}
