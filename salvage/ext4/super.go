package ext4

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
)

// Features that change how things are read.
const (
	compatJournal      = 0x4
	compatSparseSuper2 = 0x200

	incompatJournalDev = 0x8
	incompatMetaGroups = 0x10
	incompatExtents    = 0x40
	incompat64bit      = 0x80
	incompatSeed       = 0x2000

	roSparseSuper = 0x1
	roGroupSum    = 0x10
	roMetadataSum = 0x400
)

const (
	superSize   = 1024
	superMagic  = 0xEF53
	minBlock    = 1 << 10
	maxBlock    = 64 << 10
	maxGroups   = 1 << 20 // of a file system whose descriptors are read; 128 TiB with blocks of 4 KiB
	oldInode    = 128     // an inode's size in ext2, and its part that is older than ext4
	rootInode   = 2
	firstNormal = 11 // what comes before is for the file system's own use, but for the root
)

// A Super is what a superblock says, as far as it matters here.
type Super struct {
	Off       int64    // where it stands, in bytes from the volume's beginning
	Group     int      // the block group whose copy it is; 0: the primary one
	UUID      [16]byte // the file system's
	BlockSize int64    // in bytes
	Blocks    uint64   // of the whole file system
	Inodes    uint32   // of the whole file system
	InodeSize int      // in bytes
	// Sure: the checksum of one that says the same is right. Only metadata_csum has one.
	Sure bool
	// Copies is how many superblocks say the same about the file system's layout.
	Copies int

	first          uint32 // number of the first block of group 0
	blocksPerGroup uint32
	inodesPerGroup uint32
	descSize       int
	compat         uint32
	incompat       uint32
	roCompat       uint32
	firstMeta      uint32
	backups        [2]uint32
	journal        uint32     // number of its inode
	journalMap     [15]uint32 // a copy of its block map
	journalSize    int64
	seed           uint32
}

// ErrNoSuper says that no superblock, primary or copy, was found.
var ErrNoSuper = errors.New("no superblock of an ext file system found")

// ClaimedSize is how large the file system says it is, in bytes. A volume that is
// smaller has been cut off.
func (s *Super) ClaimedSize() int64 { return int64(s.Blocks) * s.BlockSize }

// String names the superblock in a report.
func (s *Super) String() string {
	what := "primary superblock"
	if s.Group > 0 {
		what = fmt.Sprintf("superblock copy of group %d", s.Group)
	}
	return fmt.Sprintf("%s at byte %d (UUID %s, %d blocks of %d bytes)", what, s.Off, hex.EncodeToString(s.UUID[:]), s.Blocks, s.BlockSize)
}

func (s *Super) groups() uint32 {
	return uint32((s.Blocks - uint64(s.first) + uint64(s.blocksPerGroup) - 1) / uint64(s.blocksPerGroup))
}

func (s *Super) sums() bool { return s.roCompat&roMetadataSum != 0 }

// start is the first block of a group.
func (s *Super) start(group uint32) uint64 {
	return uint64(s.first) + uint64(group)*uint64(s.blocksPerGroup)
}

// hasSuper tells whether a group begins with a copy of the superblock.
func (s *Super) hasSuper(group uint32) bool {
	switch {
	case group == 0:
		return true
	case s.compat&compatSparseSuper2 != 0:
		return group == s.backups[0] || group == s.backups[1]
	case s.roCompat&roSparseSuper == 0, group == 1:
		return true
	}
	return isPower(group, 3) || isPower(group, 5) || isPower(group, 7)
}

func isPower(n, base uint32) bool {
	for n > 1 && n%base == 0 {
		n /= base
	}
	return n == 1
}

// sameLayout tells whether two superblocks describe one file system.
func (s *Super) sameLayout(o *Super) bool {
	return s.UUID == o.UUID && s.BlockSize == o.BlockSize && s.Blocks == o.Blocks && s.Inodes == o.Inodes &&
		s.InodeSize == o.InodeSize && s.blocksPerGroup == o.blocksPerGroup && s.inodesPerGroup == o.inodesPerGroup && s.descSize == o.descSize
}

// parseSuper reads a superblock of 1024 bytes that stands at off. Whether its
// layout makes sense is part of whether it is one at all.
func parseSuper(p []byte, off int64) (*Super, error) {
	u16 := func(at int) uint32 { return uint32(binary.LittleEndian.Uint16(p[at:])) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(p[at:]) }
	if len(p) < superSize || u16(0x38) != superMagic {
		return nil, errors.New("no superblock")
	}
	shift := u32(0x18)
	if shift > 6 {
		return nil, fmt.Errorf("superblock at byte %d: blocks of 2^(10+%d) bytes", off, shift)
	}
	s := &Super{
		Off: off, Group: int(u16(0x5A)), BlockSize: minBlock << shift, Blocks: uint64(u32(4)), Inodes: u32(0), InodeSize: oldInode, Copies: 1,
		first: u32(0x14), blocksPerGroup: u32(0x20), inodesPerGroup: u32(0x28), descSize: 32,
		compat: u32(0x5C), incompat: u32(0x60), roCompat: u32(0x64), firstMeta: u32(0x104),
		backups: [2]uint32{u32(0x24C), u32(0x250)}, journal: u32(0xE0),
	}
	copy(s.UUID[:], p[0x68:])
	if u32(0x4C) > 0 { // revision: the first one had none of what follows
		s.InodeSize = int(u16(0x58))
	} else {
		s.compat, s.incompat, s.roCompat, s.Group = 0, 0, 0, 0
	}
	if s.incompat&incompat64bit != 0 {
		s.Blocks |= uint64(u32(0x150)) << 32
		s.descSize = int(u16(0xFE))
	}
	if p[0xFD] == 1 { // the backup is of a block map and a size
		for i := range s.journalMap {
			s.journalMap[i] = u32(0x10C + 4*i)
		}
		s.journalSize = int64(u32(0x10C+4*16)) | int64(u32(0x10C+4*15))<<32
	}
	s.seed = crc(^uint32(0), s.UUID[:])
	if s.incompat&incompatSeed != 0 {
		s.seed = u32(0x270)
	}
	s.Sure = s.sums() && crc(^uint32(0), p[:0x3FC]) == u32(0x3FC)
	return s, s.sane(u32(0x1C))
}

// sane tells whether the layout is one that mke2fs could have made.
func (s *Super) sane(clusterShift uint32) error {
	odd := func(what string, n any) error {
		return fmt.Errorf("superblock at byte %d: %s %v makes no sense", s.Off, what, n)
	}
	bs := uint32(s.BlockSize)
	ratio := uint32(1)
	if clusterShift >= uint32(bits.TrailingZeros32(bs))-10 && clusterShift <= 20 {
		ratio = 1 << (clusterShift - uint32(bits.TrailingZeros32(bs)) + 10)
	}
	switch {
	case s.incompat&incompatJournalDev != 0:
		return odd("a journal device", "")
	case s.InodeSize < oldInode || s.InodeSize > int(bs) || s.InodeSize > 4096 || bits.OnesCount(uint(s.InodeSize)) != 1:
		return odd("inode size", s.InodeSize)
	case s.first > 1:
		return odd("first block", s.first)
	case s.Blocks <= uint64(s.first) || s.Blocks > 1<<48:
		return odd("number of blocks", s.Blocks)
	case s.blocksPerGroup < 8 || uint64(s.blocksPerGroup) > 8*uint64(bs)*uint64(ratio):
		return odd("number of blocks in a group", s.blocksPerGroup)
	case s.inodesPerGroup == 0 || s.inodesPerGroup > 8*bs:
		return odd("number of inodes in a group", s.inodesPerGroup)
	case s.descSize < 32 || s.descSize > int(bs) || bits.OnesCount(uint(s.descSize)) != 1:
		return odd("descriptor size", s.descSize)
	case (s.Blocks-uint64(s.first))/uint64(s.blocksPerGroup) >= 1<<32:
		return odd("number of groups", (s.Blocks-uint64(s.first))/uint64(s.blocksPerGroup))
	case uint64(s.groups())*uint64(s.inodesPerGroup) != uint64(s.Inodes):
		return odd("number of inodes", s.Inodes)
	}
	return nil
}
