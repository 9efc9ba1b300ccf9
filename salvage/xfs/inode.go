package xfs

import (
	"time"

	"salvor/salvage/fsys"
)

// formats of a fork (di_format)
const (
	formatDev     = 0
	formatLocal   = 1
	formatExtents = 2
	formatTree    = 3
	formatUUID    = 4
)

// file types in di_mode
const (
	modeType    = 0o170000
	modeRegular = 0o100000
	modeDir     = 0o040000
	modeLink    = 0o120000
)

const (
	magicInode = 0x494e // "IN"
	coreOld    = 100    // bytes before the forks of di_version 1 and 2
	coreNew    = 176    // of di_version 3
	inodeCRC   = 100    // where di_crc stands
)

// bits of di_flags and di_flags2
const (
	flagRealtime = 1 << 0
	flagBigtime  = 1 << 3
	flagNrext64  = 1 << 4
)

// An inode is a record taken apart.
type inode struct {
	raw       []byte
	version   byte
	format    byte
	mode      uint16
	links     uint32
	size      int64
	blocks    uint64 // di_nblocks
	extents   uint64 // di_nextents
	gen       uint32
	number    uint64 // di_ino, of version 3 only
	seq       uint64 // di_lsn, of version 3 only
	modTime   time.Time
	realtime  bool
	fork      []byte // the data fork
	wholeFork []byte // the same and what follows: the attributes' fork
}

// parseInode reads a record of len(raw) bytes and tells whether it has the shape
// of an inode.
func parseInode(raw []byte) (in inode, ok bool) {
	if len(raw) < minInode || len(raw) > maxInode || be.Uint16(raw) != magicInode {
		return in, false
	}
	in = inode{
		raw: raw, mode: be.Uint16(raw[2:]), version: raw[4], format: raw[5],
		links: be.Uint32(raw[16:]), size: int64(be.Uint64(raw[56:])), blocks: be.Uint64(raw[64:]),
		extents: uint64(be.Uint32(raw[76:])), gen: be.Uint32(raw[92:]),
		realtime: be.Uint16(raw[90:])&flagRealtime != 0,
	}
	core, bigtime := coreOld, false
	switch in.version {
	case 1:
		in.links = uint32(be.Uint16(raw[6:]))
	case 2:
	case 3:
		if len(raw) < 2*minInode {
			return in, false
		}
		core = coreNew
		in.number, in.seq = be.Uint64(raw[152:]), be.Uint64(raw[112:])
		flags2 := be.Uint64(raw[120:])
		bigtime = flags2&flagBigtime != 0
		if flags2&flagNrext64 != 0 {
			in.extents = be.Uint64(raw[24:])
		}
	default:
		return in, false
	}
	in.modTime = timestamp(raw[40:48], bigtime)
	in.wholeFork = raw[core:]
	in.fork = in.wholeFork
	if n := int(raw[82]) * 8; n > 0 {
		if n > len(in.fork) {
			return in, false
		}
		in.fork = in.fork[:n]
	}
	return in, in.shaped()
}

// shaped tells whether format, type and counts can stand together.
func (in *inode) shaped() bool {
	if in.size < 0 || in.format > formatUUID || in.raw[83] > formatUUID || in.blocks >= 1<<52 {
		return false
	}
	switch in.mode & modeType {
	case 0:
		return in.mode == 0
	case modeRegular:
		if in.format != formatExtents && in.format != formatTree {
			return false
		}
	case modeDir:
		if in.format == formatDev || in.format == formatUUID {
			return false
		}
	case modeLink:
		if in.format != formatLocal && in.format != formatExtents {
			return false
		}
	case 0o010000, 0o020000, 0o060000, 0o140000: // pipes, devices, sockets
		return in.format == formatDev
	default:
		return false
	}
	switch in.format {
	case formatLocal:
		return in.size <= int64(len(in.fork))
	case formatExtents:
		return in.extents <= uint64(len(in.fork)/recordLen)
	}
	return in.extents < 1<<48
}

// freed: the record is nobody's. What its forks held still stands there.
func (in *inode) freed() bool { return in.mode == 0 }

// deleted: freed, or about to be when the system stopped.
func (in *inode) deleted() bool { return in.mode == 0 || in.links == 0 }

func (in *inode) fileType() fsys.Type {
	switch in.mode & modeType {
	case modeRegular:
		return fsys.Regular
	case modeDir:
		return fsys.Directory
	}
	return fsys.OtherType
}

// timestamp reads seconds and nanoseconds, or with bigtime nanoseconds since
// 1901.
func timestamp(b []byte, bigtime bool) time.Time {
	if bigtime {
		ns := be.Uint64(b)
		return time.Unix(int64(ns/1e9)-1<<31, int64(ns%1e9)).UTC()
	}
	return time.Unix(int64(int32(be.Uint32(b))), int64(min(be.Uint32(b[4:]), 999999999))).UTC()
}
