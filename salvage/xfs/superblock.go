package xfs

import (
	"encoding/binary"
	"hash/crc32"
)

var be = binary.BigEndian

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var zeros [4]byte

// checksum is the CRC32c of b as XFS has it: the four bytes at its own place
// count as zeros.
func checksum(b []byte, at int) uint32 {
	crc := crc32.Update(0, castagnoli, b[:at])
	crc = crc32.Update(crc, castagnoli, zeros[:])
	return crc32.Update(crc, castagnoli, b[at+4:])
}

// vouched tells whether the checksum at a place in b, little-endian, is right.
func vouched(b []byte, at int) bool {
	return binary.LittleEndian.Uint32(b[at:]) == checksum(b, at)
}

const (
	magicSuper = 0x58465342 // "XFSB"
	magicAGF   = 0x58414746 // "XAGF"
)

// superblockLen is as much of a superblock as is read; its sector may be larger.
const superblockLen = 512

// parseSuper reads a superblock, or a copy. It knows nothing about where it
// stands: base is left 0. sure: its checksum is right, which version 4 has not.
func parseSuper(b []byte) (g geometry, sure, ok bool) {
	if len(b) < superblockLen || be.Uint32(b) != magicSuper {
		return g, false, false
	}
	dblocks := be.Uint64(b[8:])
	g = geometry{
		block:     int64(be.Uint32(b[4:])),
		root:      be.Uint64(b[56:]),
		logStart:  be.Uint64(b[48:]),
		agBlocks:  int64(be.Uint32(b[84:])),
		groups:    int64(be.Uint32(b[88:])),
		logBlocks: int64(be.Uint32(b[96:])),
		version:   int(be.Uint16(b[100:]) & 15),
		sector:    int64(be.Uint16(b[102:])),
		inode:     int64(be.Uint16(b[104:])),
	}
	if !powerOf2(g.block) || g.block < minBlock || g.block > maxBlock ||
		!powerOf2(g.inode) || g.inode < minInode || g.inode > min(maxInode, g.block) ||
		!powerOf2(g.sector) || g.sector < 512 || g.sector > 32<<10 ||
		g.version < 4 || g.version > 5 || dblocks == 0 || dblocks > maxBytes/uint64(g.block) {
		return g, false, false
	}
	g.blocks = int64(dblocks)
	size := g.agBlocks * g.block
	if size < minGroup || size > maxGroup || g.groups < 1 ||
		g.blocks > g.groups*g.agBlocks || g.blocks <= (g.groups-1)*g.agBlocks {
		return g, false, false
	}
	dirLog := b[192]
	if uint(b[120]) != bitsFor(g.block) || uint(b[124]) != g.groupBits() || uint(b[123]) != g.inodeBits() || dirLog > 7 {
		return g, false, false
	}
	g.dirBlock = g.block << dirLog
	if g.dirBlock > maxBlock {
		return g, false, false
	}
	copy(g.uuid[:], b[32:48])
	g.ftype = be.Uint32(b[200:])&0x200 != 0
	if g.version == 5 {
		incompat := be.Uint32(b[216:])
		g.ftype = incompat&1 != 0
		if incompat&4 != 0 { // sb_meta_uuid: the volume's UUID was changed later
			copy(g.uuid[:], b[248:264])
		}
		sure = g.sector <= int64(len(b)) && vouched(b[:g.sector], 224)
	}
	return g, sure, true
}

// groupHeader is what the header of a group's free space (AGF) tells.
type groupHeader struct {
	off    int64 // of the header
	number int64 // agf_seqno
	length int64 // agf_length, in blocks
}

func parseAGF(b []byte, off int64) (groupHeader, bool) {
	h := groupHeader{off: off, number: int64(be.Uint32(b[8:])), length: int64(be.Uint32(b[12:]))}
	return h, be.Uint32(b) == magicAGF && be.Uint32(b[4:]) == 1 && h.length > 0 && h.number < 1<<24
}

// A treeBlock is a block of the trees in which a group keeps its free space and
// its inodes. In version 5 it tells its place, its group and, by its checksum, how
// large blocks are.
type treeBlock struct {
	magic uint32
	off   int64
	base  int64 // where the file system begins, as it says; negative: before the volume
	group int64
	block int64
}

const (
	magicFree     = 0x41423342 // "AB3B", free space by place
	magicFreeSize = 0x41423343 // "AB3C", by size
	magicInodes   = 0x49414233 // "IAB3"
	magicUnused   = 0x46494233 // "FIB3", chunks with free inodes
	treeCRC       = 52
)

func parseTree(b []byte, off int64) (t treeBlock, ok bool) {
	switch t.magic = be.Uint32(b); t.magic {
	case magicFree, magicFreeSize, magicInodes, magicUnused:
	default:
		return t, false
	}
	t.off, t.group = off, int64(be.Uint32(b[48:]))
	place := be.Uint64(b[16:])
	if place > maxBytes/512 || t.group >= 1<<24 {
		return t, false
	}
	t.base = off - int64(place)*512
	for t.block = minBlock; t.block <= maxBlock && t.block <= int64(len(b)); t.block *= 2 {
		if vouched(b[:t.block], treeCRC) {
			return t, true
		}
	}
	return t, false
}
