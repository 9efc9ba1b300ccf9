package ext4

import (
	"encoding/binary"
	"time"

	"salvor/salvage/fsys"
)

// Flags of inodes that change how they are read.
const (
	flagCompressed = 0x4
	flagEncrypted  = 0x800
	flagIndexed    = 0x1000
	flagExtents    = 0x80000
	flagValue      = 0x200000 // holds an extended attribute's value
	flagInline     = 0x10000000

	// flagsNever are bits to which no version has given a meaning on disk that lasts.
	// Letters have some of them.
	flagsNever = 0x8F800000
)

const (
	modeMask      = 0xF000
	modeFIFO      = 0x1000
	modeDevice    = 0x2000
	modeDirectory = 0x4000
	modeBlockDev  = 0x6000
	modeRegular   = 0x8000
	modeLink      = 0xA000
	modeSocket    = 0xC000
)

// kinds tells for each upper four bits of a mode whether there is such a type of
// file, as bits.
const kinds = 1<<1 | 1<<2 | 1<<4 | 1<<6 | 1<<8 | 1<<10 | 1<<12

const (
	mapOff      = 0x28 // of the block map, or whatever stands in its place
	mapLen      = 60
	extentMagic = 0xF30A
	extentSize  = 12
	maxDepth    = 5
)

// A record is an inode as it stands on disk: at least 128 bytes.
type record []byte

func (r record) u16(at int) uint16 { return binary.LittleEndian.Uint16(r[at:]) }
func (r record) u32(at int) uint32 { return binary.LittleEndian.Uint32(r[at:]) }

func (r record) mode() uint16       { return r.u16(0) }
func (r record) kind() uint16       { return r.u16(0) & modeMask }
func (r record) links() uint16      { return r.u16(0x1A) }
func (r record) flags() uint32      { return r.u32(0x20) }
func (r record) deletedAt() uint32  { return r.u32(0x14) }
func (r record) generation() uint32 { return r.u32(0x64) }
func (r record) blockMap() []byte   { return r[mapOff:][:mapLen] }
func (r record) extents() bool      { return r.flags()&flagExtents != 0 }

// size is what the record claims, in bytes; the upper half may be nonsense.
func (r record) size() uint64 {
	return uint64(r.u32(4)) | uint64(r.u32(0x6C))<<32
}

// deleted tells whether the file has been removed. An orphan, which was removed
// while in use, has no links and keeps the number of the next orphan in dtime.
func (r record) deleted() bool { return r.links() == 0 }

func (r record) typ() fsys.Type {
	switch r.kind() {
	case modeRegular:
		return fsys.Regular
	case modeDirectory:
		return fsys.Directory
	}
	return fsys.OtherType
}

// has tells whether the part of a record behind the first 128 bytes reaches up to
// an offset.
func (r record) has(end int) bool {
	return len(r) >= end && len(r) > oldInode+2 && end <= oldInode+int(r.u16(oldInode))
}

func (r record) modTime() time.Time {
	seconds := int64(int32(r.u32(0x10)))
	nano := int64(0)
	if r.has(0x8C) {
		extra := r.u32(0x88)
		seconds += int64(extra&3) << 32 // the epoch's bits, which the first 32 have no room for
		nano = int64(extra >> 2)
	}
	if nano >= int64(time.Second) {
		nano = 0
	}
	return time.Unix(seconds, nano).UTC()
}

// sum is the checksum that a record carries, and which of its bits it has room for.
func (r record) sum() (sum, mask uint32) {
	sum, mask = uint32(r.u16(0x7C)), 0xFFFF
	if r.has(0x84) {
		sum, mask = sum|uint32(r.u16(0x82))<<16, 0xFFFFFFFF
	}
	return sum, mask
}

var noSum [2]byte

// crc goes on from state over the record with its checksum as zeros.
func (r record) crc(state uint32) uint32 {
	state = crc(crc(state, r[:0x7C]), noSum[:])
	if !r.has(0x84) {
		return crc(state, r[0x7E:])
	}
	state = crc(crc(state, r[0x7E:0x82]), noSum[:])
	return crc(state, r[0x84:])
}

// vouches tells whether a record's checksum is right for a file system's seed and
// an inode's number.
func (r record) vouches(seed uint32, number uint64) bool {
	want, mask := r.sum()
	return r.crc(key(seed, number, r.generation()))&mask == want
}

// key is what seeds the checksums of an inode, of its directory blocks and of its
// extent blocks.
func key(seed uint32, number uint64, generation uint32) uint32 {
	return crc32le(crc32le(seed, uint32(number)), generation)
}

// keyOf is the key for which a record's checksum is right. It needs all 32 bits.
func (r record) keyOf() (uint32, bool) {
	sum, mask := r.sum()
	if mask != 0xFFFFFFFF {
		return 0, false
	}
	return uncrc(sum^r.crc(0), len(r)), true
}

// numberBy is the number for which a record's checksum is right, given the file
// system's seed: there always is one.
func (r record) numberBy(seed uint32) (uint64, bool) {
	k, ok := r.keyOf()
	return uint64(missing(seed, uncrc(k, 4)^r.generation())), ok
}

// seedBy is the seed for which a record's checksum is right, given its number.
func (r record) seedBy(number uint64) (uint32, bool) {
	k, ok := r.keyOf()
	return uncrc(uncrc(k, 4)^r.generation(), 4) ^ uint32(number), ok
}

// maybe is a cheap test that nearly everything that is no inode fails: text,
// zeros, what is random. It needs 128 bytes.
func maybe(r []byte) bool {
	_ = r[oldInode-1]
	if kinds>>(r[1]>>4)&1 == 0 {
		return false
	}
	flags := binary.LittleEndian.Uint32(r[0x20:])
	switch {
	case flags&flagsNever != 0:
		return false
	case flags&flagExtents != 0:
		return binary.LittleEndian.Uint16(r[mapOff:]) == extentMagic
	case flags&flagInline != 0:
		return binary.LittleEndian.Uint32(r[4:]) < 4096 && binary.LittleEndian.Uint32(r[0x6C:]) == 0
	}
	return flags < 1<<20
}
