package xfs

import "math/bits"

// A geometry says how numbers of blocks and inodes become places on the volume.
type geometry struct {
	base     int64 // where the file system begins; negative if the volume begins within it
	block    int64 // sb_blocksize
	inode    int64 // sb_inodesize
	sector   int64 // sb_sectsize
	dirBlock int64 // of a directory: one block or several
	blocks   int64 // sb_dblocks
	agBlocks int64 // sb_agblocks; 0: nobody knows, and no extent can be resolved
	groups   int64 // sb_agcount
	version  int   // 4 or 5
	ftype    bool  // directory entries tell the type
	root     uint64
	uuid     [16]byte // as metadata blocks bear it; zero: unknown

	logStart  uint64 // sb_logstart, a file system block; 0: the log is elsewhere
	logBlocks int64
}

// limits of the format, or of reason
const (
	minBlock, maxBlock = 512, 64 << 10
	minInode, maxInode = 256, 2048
	minGroup           = 4 << 20 // bytes; the kernel wants 16 MiB, old ones were content with less
	maxGroup           = 1 << 40 // bytes
	maxBytes           = 1 << 60
)

// bitsFor is how many bits a number below n takes.
func bitsFor(n int64) uint {
	if n <= 1 {
		return 0
	}
	return uint(bits.Len64(uint64(n - 1)))
}

func powerOf2(n int64) bool { return n > 0 && n&(n-1) == 0 }

func (g *geometry) inodeBits() uint { return bitsFor(g.block / g.inode) }
func (g *geometry) groupBits() uint { return bitsFor(g.agBlocks) }
func (g *geometry) end() int64      { return g.base + g.blocks*g.block }
func (g *geometry) mapped() bool    { return g.agBlocks > 0 }

// same tells whether two geometries give the same places.
func (g *geometry) same(o *geometry) bool {
	return g.base == o.base && g.block == o.block && g.inode == o.inode && g.agBlocks == o.agBlocks
}

// here is where a run of blocks stands on the volume: not before its beginning, as
// what was cut off its front does.
func (g *geometry) here(fsblock, count uint64) (int64, bool) {
	off, ok := g.offset(fsblock, count)
	return off, ok && off >= 0
}

// offset is where a run of blocks stands. A run never leaves its group.
func (g *geometry) offset(fsblock, count uint64) (int64, bool) {
	if g.agBlocks <= 0 || fsblock >= 1<<52 || count == 0 || count >= 1<<21 {
		return 0, false
	}
	ag := int64(fsblock >> g.groupBits())
	at := int64(fsblock & (1<<g.groupBits() - 1))
	if ag >= g.groups || at+int64(count) > g.agBlocks {
		return 0, false
	}
	first := ag*g.agBlocks + at
	if first+int64(count) > g.blocks {
		return 0, false
	}
	return g.base + first*g.block, true
}

// number is that of the inode at off; 0 where none can stand.
func (g *geometry) number(off int64) uint64 {
	off -= g.base
	if !g.mapped() || off < 0 || off%g.inode != 0 || off/g.block >= g.blocks {
		return 0
	}
	block := off / g.block
	n := uint64(block/g.agBlocks)<<g.groupBits() | uint64(block%g.agBlocks)
	return n<<g.inodeBits() | uint64(off%g.block/g.inode)
}

// plausible tells whether an inode can have this number.
func (g *geometry) plausible(ino uint64) bool {
	if ino == 0 || ino >= 1<<56 {
		return false
	}
	if !g.mapped() {
		return true
	}
	_, ok := g.offset(ino>>g.inodeBits(), 1)
	return ok
}

// place is where the inode of a number stands.
func (g *geometry) place(ino uint64) (int64, bool) {
	off, ok := g.offset(ino>>g.inodeBits(), 1)
	return off + int64(ino&(1<<g.inodeBits()-1))*g.inode, ok
}
