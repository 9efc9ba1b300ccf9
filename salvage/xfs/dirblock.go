package xfs

import (
	"bytes"

	"salvor/salvage/fsys"
)

// magics of directory blocks that hold names
const (
	magicDirSingle    = 0x58443242 // "XD2B": the only block, with its index at the end
	magicDirData      = 0x58443244 // "XD2D"
	magicDirSingleNew = 0x58444233 // "XDB3"
	magicDirDataNew   = 0x58444433 // "XDD3"
)

const (
	freeTag  = 0xffff
	maxIndex = 1 << 35 // bytes into a directory where the names end and its index begins
	nameAt   = 9       // bytes into an entry
)

// A dirHead is the head of a block of names.
type dirHead struct {
	len    int
	new    bool
	single bool
	owner  uint64 // of version 5; of version 4 the block's "." where it has one
	place  uint64 // where it should stand, in 512-byte units; version 5 only
	up     uint64 // the block's ".."; 0: it has none
}

func parseDirHead(b []byte) (h dirHead, ok bool) {
	if len(b) < 128 {
		return h, false
	}
	switch be.Uint32(b) {
	case magicDirSingle:
		h = dirHead{len: 16, single: true}
	case magicDirData:
		h = dirHead{len: 16}
	case magicDirSingleNew:
		h = dirHead{len: 64, single: true, new: true}
	case magicDirDataNew:
		h = dirHead{len: 64, new: true}
	default:
		return h, false
	}
	if self, parent, ok := dots(b, h.len); ok {
		h.owner, h.up = self, parent
	}
	if h.new {
		h.place, h.owner = be.Uint64(b[8:]), be.Uint64(b[40:])
		return h, true
	}
	// bestfree: the three largest free regions, largest first
	last := uint16(0xffff)
	for at := 4; at < 16; at += 4 {
		off, n := be.Uint16(b[at:]), be.Uint16(b[at+2:])
		if off%8 != 0 || n%8 != 0 || n > last || (off == 0) != (n == 0) {
			return h, false
		}
		last = n
	}
	return h, true
}

// dots reads "." and "..", which a directory's first block begins with.
func dots(b []byte, at int) (self, parent uint64, ok bool) {
	if b[at+8] != 1 || b[at+nameAt] != '.' || int(be.Uint16(b[at+14:])) != at {
		return 0, 0, false
	}
	self = be.Uint64(b[at:])
	if at += 16; b[at+8] == 2 && b[at+nameAt] == '.' && b[at+nameAt+1] == '.' && int(be.Uint16(b[at+14:])) == at {
		parent = be.Uint64(b[at:])
	}
	return self, parent, self != 0 && self < 1<<56
}

// A slot is a name as it stands in a directory.
type slot struct {
	at      int
	len     int
	ino     uint64
	name    []byte
	ftype   byte
	low     bool
	deleted bool
}

// entrySize is how much an entry with a name of n bytes takes.
func entrySize(n int, ftype bool) int {
	size := nameAt + n + 2
	if ftype {
		size++
	}
	return (size + 7) &^ 7
}

// readSlot reads the entry at a place in a block up to end; its tag, in the last
// two bytes, is left to the caller.
func readSlot(b []byte, at, end int, ftype bool) (s slot, tag int, ok bool) {
	if at+16 > end || b[at+8] == 0 {
		return s, 0, false
	}
	n := int(b[at+8])
	s = slot{at: at, len: entrySize(n, ftype), ino: be.Uint64(b[at:])}
	if at+s.len > end {
		return s, 0, false
	}
	s.name = b[at+nameAt : at+nameAt+n]
	if ftype {
		s.ftype = b[at+nameAt+n]
	}
	return s, int(be.Uint16(b[at+s.len-2:])), true
}

// eachSlot yields the names in a block of a directory, whose head has been read.
// It leans on the tag alone with which every entry and every free region ends,
// and which is its own place: where an entry makes no sense, it looks for the next.
func eachSlot(b []byte, h dirHead, g *geometry, ftype bool, yield func(slot) error) error {
	end := len(b)
	if h.single {
		if index := int64(be.Uint32(b[end-8:]))*8 + 8; index <= int64(end-h.len) {
			end -= int(index)
		}
	}
	for at := h.len; at+16 <= end; {
		if be.Uint16(b[at:]) == freeTag {
			n := int(be.Uint16(b[at+2:]))
			if n >= 8 && n%8 == 0 && at+n <= end && int(be.Uint16(b[at+n-2:])) == at {
				if err := givenUp(b, at, at+n, g, ftype, yield); err != nil {
					return err
				}
				at += n
				continue
			}
		}
		s, tag, ok := readSlot(b, at, end, ftype)
		if !ok || tag != at || !g.plausible(s.ino) {
			at += 8
			continue
		}
		at += s.len
		if err := yieldSlot(s, yield); err != nil {
			return err
		}
	}
	return nil
}

// givenUp yields what names a free region still holds. The first four bytes of
// such an entry may have been overwritten by the mark of free space; where regions
// have grown together, the last entry's tag is the place of an earlier one.
func givenUp(b []byte, from, to int, g *geometry, ftype bool, yield func(slot) error) error {
	for at := from; at+16 <= to; {
		s, tag, ok := readSlot(b, at, to, ftype)
		if !ok || tag > at || tag%8 != 0 || tag == 0 || !nameable(&s) {
			at += 8
			continue
		}
		if be.Uint16(b[at:]) == freeTag {
			s.low, s.ino = true, s.ino&(1<<32-1)
		}
		if s.ino == 0 || !s.low && !g.plausible(s.ino) {
			at += 8
			continue
		}
		at += s.len
		s.deleted = true
		if err := yieldSlot(s, yield); err != nil {
			return err
		}
	}
	return nil
}

// nameable tells whether a remnant can have been an entry.
func nameable(s *slot) bool {
	return s.ftype <= 8 && !bytes.ContainsAny(s.name, "\x00/")
}

func yieldSlot(s slot, yield func(slot) error) error {
	if n := string(s.name); n == "." || n == ".." {
		return nil
	}
	return yield(s)
}

// types of files in directories
var slotTypes = [...]fsys.Type{
	"", fsys.Regular, fsys.Directory, fsys.OtherType, fsys.OtherType,
	fsys.OtherType, fsys.OtherType, fsys.OtherType, fsys.OtherType,
}

func (s *slot) entry() fsys.Entry {
	e := fsys.Entry{Name: string(s.name), Child: s.ino, Low: s.low, Deleted: s.deleted}
	if int(s.ftype) < len(slotTypes) {
		e.Type = slotTypes[s.ftype]
	}
	return e
}
