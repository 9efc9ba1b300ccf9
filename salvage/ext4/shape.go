package ext4

import (
	"bytes"
	"encoding/binary"
)

// How much a record looks like an inode.
type likeness int8

const (
	unlike likeness = iota
	likely          // nothing speaks against it: believed beside others only
	surely          // it has what nothing else has at that place
)

// like tells whether bytes look like an inode of this file system. Checksums are
// not asked: the inodes of an older file system have others.
func (f *FS) like(r record) likeness {
	if !maybe(r) || r.links() > 65000 {
		return unlike
	}
	if len(r) > oldInode {
		if extra := r.u16(oldInode); extra%4 != 0 || int(extra) > len(r)-oldInode {
			return unlike
		}
	}
	switch {
	case r.flags()&flagInline != 0:
		return f.likeInline(r)
	case r.extents():
		return f.likeExtents(r)
	}
	return f.likePlain(r)
}

// likeExtents tests a record with an extent tree.
func (f *FS) likeExtents(r record) likeness {
	m := r.blockMap()
	h := header(m)
	if h.magic() != extentMagic || h.max() != 4 || h.entries() > 4 || h.depth() > maxDepth {
		return unlike
	}
	if r.kind() == modeRegular && r.size() >= 1<<48 || r.kind() != modeRegular && r.size() >= 1<<40 {
		return unlike
	}
	return surely
}

// likeInline tests a record with its content inside.
func (f *FS) likeInline(r record) likeness {
	if r.size() >= 4096 || r.extents() || r.kind() != modeRegular && r.kind() != modeDirectory || r.links() == 0 && r.deletedAt() == 0 {
		return unlike
	}
	if len(r) > oldInode && bytes.Contains(r[oldInode:], []byte{0, 0, 2, 0xEA}) {
		return surely
	}
	return unlike
}

// likePlain tests a record with a block map, and those of symbolic links and
// devices. Nothing in them is as telling as the magic number of an extent tree, so
// every field must make sense.
func (f *FS) likePlain(r record) likeness {
	if r.flags() >= 1<<20 || r.u32(0x10) < 1<<28 || r.u32(0x0C) < 1<<28 || r.deleted() && r.deletedAt() == 0 {
		return unlike
	}
	m := r.blockMap()
	switch r.kind() {
	case modeRegular, modeDirectory:
		return f.likeMap(r, m)
	case modeLink:
		if n := r.size(); n > 0 && n < mapLen && r.u32(0x1C) == 0 {
			if bytes.IndexByte(m[:n], 0) < 0 && isZero(m[n:]) {
				return likely
			}
			return unlike
		} else if n < uint64(f.bs) {
			return f.likeMap(r, m)
		}
	default:
		if r.size() == 0 && isZero(m[8:]) && r.u32(0x1C) <= 8*uint32(f.bs/512) {
			return likely
		}
	}
	return unlike
}

// likeMap tests the 15 block pointers of a record.
func (f *FS) likeMap(r record, m []byte) likeness {
	if r.size() >= 1<<42 || r.kind() == modeDirectory && !r.deleted() && (r.size() == 0 || r.size()%minBlock != 0) {
		return unlike
	}
	blocks, seen := uint64(f.limit/f.bs), uint32(0)
	for i := 0; i < mapLen; i += 4 {
		p := uint64(binary.LittleEndian.Uint32(m[i:]))
		if p >= blocks {
			return unlike
		}
		if p != 0 {
			seen++
		}
	}
	// What is mapped must have been counted, in units of 512 bytes.
	if r.u32(0x1C) < seen*uint32(f.bs/512) || r.deleted() && seen == 0 && r.size() != 0 {
		return unlike
	}
	if seen == 0 && r.u32(0x1C) > 2*uint32(f.bs/512) {
		return unlike
	}
	if seen > 0 && !r.deleted() && r.size() > 0 && uint64(seen-1)*uint64(f.bs) < r.size()+uint64(3*f.bs) {
		return surely
	}
	return likely
}

func isZero(p []byte) bool {
	for len(p) >= 8 {
		if binary.LittleEndian.Uint64(p) != 0 {
			return false
		}
		p = p[8:]
	}
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
