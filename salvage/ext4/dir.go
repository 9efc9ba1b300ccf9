package ext4

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"salvor/salvage/fsys"
)

const (
	entryHead = 8  // bytes of a directory entry before its name
	tailSize  = 12 // of the entry without a name that holds a block's checksum

	// tailMark is what that entry begins with: inode 0, length 12, no name, type 0xDE.
	tailMark = 0xDE00000C00000000

	maxDirBlocks = 1 << 16 // of one directory; about ten million names
)

// types are those of a directory entry, by its number.
var types = [8]fsys.Type{"", fsys.Regular, fsys.Directory, fsys.OtherType, fsys.OtherType, fsys.OtherType, fsys.OtherType, fsys.OtherType}

// An entry of a directory as it stands in a block, at p[0].
type dirent []byte

func (d dirent) inode() uint32 { return binary.LittleEndian.Uint32(d) }
func (d dirent) nameLen() int  { return int(d[6]) }
func (d dirent) name() []byte  { return d[entryHead:][:d.nameLen()] }
func (d dirent) used() int     { return (entryHead + d.nameLen() + 3) &^ 3 }

// length is how far the next entry is. A whole block of 64 KiB does not fit into
// its 16 bits and is written in another way.
func (d dirent) length(block int) int {
	n := int(binary.LittleEndian.Uint16(d[4:]))
	if block < maxBlock {
		return n
	}
	if n == 0 || n == 65535 {
		return block
	}
	return n&^3 | n&3<<16
}

// fits tells whether an entry can be one, within the bytes that it has.
func (d dirent) fits(length int) bool {
	return length >= entryHead && length <= len(d) && length%4 == 0 && entryHead+d.nameLen() <= length
}

// named tells whether an entry's name can be one of a file.
func (d dirent) named() bool {
	n := d.name()
	return len(n) > 0 && bytes.IndexByte(n, 0) < 0 && bytes.IndexByte(n, '/') < 0
}

// typ is the file's type, where the entry tells it. Old file systems have the
// upper half of the name's length there, which is zero.
func (d dirent) typ() fsys.Type {
	if d[7] < 8 {
		return types[d[7]]
	}
	return ""
}

// likeNames tells whether a block looks like one of a directory: a chain of
// entries that ends exactly at the block's end, with a name somewhere. What it
// costs for a block that is none is one comparison.
func (f *FS) likeNames(p []byte) bool {
	d := dirent(p)
	if n := d.length(len(p)); n < tailSize || n > len(p) || n%4 != 0 || p[7] > 8 || entryHead+d.nameLen() > n {
		return false
	}
	limit := f.inodes()
	names := 0
	for at := 0; at < len(p); {
		if len(p)-at < entryHead {
			return false
		}
		d := dirent(p[at:])
		n := d.length(len(p))
		if !d.fits(n) || uint64(d.inode()) > limit {
			return false
		}
		if d.inode() != 0 && (!d.named() || d[7] > 8) {
			return false
		}
		if d.nameLen() > 0 && d.named() {
			names++
		}
		at += n
	}
	// A directory from which all was removed has names in its slack only.
	return names > 0 || f.hasSlack(p)
}

// hasSlack tells whether a block that holds no name has one that was removed.
func (f *FS) hasSlack(p []byte) bool {
	found := false
	w := walker{f: f, block: p, yield: func(fsys.Entry) error { found = true; return nil }}
	_ = w.walk() // only yield fails
	return found
}

// A walker goes over one block of a directory.
type walker struct {
	f          *FS
	block      []byte
	base       int64 // the block's place
	parent, up uint64
	yield      func(fsys.Entry) error
}

// dots reads "." and "..", which are the first two entries of a directory's first
// block and of no other.
func (w *walker) dots() (self, up uint64) {
	if len(w.block) < 24 {
		return 0, 0
	}
	d := dirent(w.block)
	if d.length(len(w.block)) != 12 || d.nameLen() != 1 || d[8] != '.' || d.inode() == 0 {
		return 0, 0
	}
	self = uint64(d.inode())
	d = d[12:]
	if d.nameLen() == 2 && d[8] == '.' && d[9] == '.' {
		up = uint64(d.inode())
	}
	if self > w.f.inodes() || up > w.f.inodes() {
		return 0, 0
	}
	return self, up
}

// walk yields the block's names, and behind each entry those that were removed
// from the space that it has over. Where the chain breaks the rest is searched
// like such space.
func (w *walker) walk() error {
	for at := 0; at+entryHead <= len(w.block); {
		d := dirent(w.block[at:])
		n := d.length(len(w.block))
		if !d.fits(n) {
			return w.slack(at, len(w.block))
		}
		used := d.used()
		switch {
		case d.inode() == 0 && d.nameLen() == 0:
			used = entryHead
			if n == tailSize && d[7] == 0xDE {
				used = n
			}
		case d.named():
			if err := w.put(d, at, d.inode() == 0); err != nil {
				return err
			}
		}
		if err := w.slack(at+min(used, n), at+n); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// slack looks for removed entries between two places of the block.
func (w *walker) slack(at, end int) error {
	for at+tailSize <= end {
		d := dirent(w.block[at:])
		n := d.length(len(w.block))
		if d.inode() == 0 || uint64(d.inode()) > w.f.inodes() || !d.fits(n) || d.used() > end-at || d[7] > 7 || !d.named() {
			at += 4
			continue
		}
		if err := w.put(d, at, true); err != nil {
			return err
		}
		at += d.used()
	}
	return nil
}

// put yields one entry. A name whose inode is gone from it is of no use.
func (w *walker) put(d dirent, at int, deleted bool) error {
	name := string(d.name())
	if name == "." || name == ".." || d.inode() == 0 || uint64(d.inode()) > w.f.inodes() {
		return nil
	}
	return w.yield(fsys.Entry{Parent: w.parent, Name: name, Child: uint64(d.inode()), Type: d.typ(), Deleted: deleted, Off: w.base + int64(at), Up: w.up})
}

// Entries yields the names in a directory, or in one block of one. A removed name
// is told as such; the name of an entry whose inode was cleared is not told.
// Blocks of an inode that by now begin another directory are left out: they are
// found by themselves. Names in a block whose checksum is not this directory's have
// no parent.
func (f *FS) Entries(ctx context.Context, t fsys.Trace, yield func(fsys.Entry) error) error {
	if t.Kind == fsys.Names {
		p, err := f.namesAt(t.Off)
		if err != nil {
			return fmt.Errorf("ext4 names at byte %d: %w", t.Off, err)
		}
		return f.blockEntries(p, t.Off, t.Number, yield)
	}
	file, err := f.File(ctx, t)
	if err != nil {
		return err
	}
	if file.Type != fsys.Directory {
		return fmt.Errorf("ext4 inode at byte %d: no directory", t.Off)
	}
	if file.Inline != nil {
		return f.inlineEntries(t, file, yield)
	}
	keys := f.Keys(file.Inode, file.Generation)
	blocks := 0
	for _, e := range file.Extents {
		for at := int64(0); at < e.Len && blocks < maxDirBlocks; at += f.bs {
			if err := ctx.Err(); err != nil {
				return err
			}
			blocks++
			p, err := f.namesAt(e.Off + at)
			if err != nil {
				return fmt.Errorf("ext4 inode at byte %d: %w", t.Off, err)
			}
			w := walker{f: f, block: p}
			if self, _ := w.dots(); self != 0 && file.Inode != 0 && self != file.Inode {
				continue
			}
			parent := file.Inode
			if sum, covers, ok := blockSum(p); ok && file.Sure && !slices.Contains(keys, before(sum, p[:covers])) {
				parent = 0 // damaged, or another directory's by now
			}
			if err := f.blockEntries(p, e.Off+at, parent, yield); err != nil {
				return err
			}
		}
	}
	return nil
}

// namesAt reads a block of a directory, as far as it can be read: what cannot is
// zero, and ends the chain of entries there.
func (f *FS) namesAt(off int64) ([]byte, error) {
	p := make([]byte, f.bs)
	if off < 0 || off > f.limit {
		return p, nil
	}
	_, err := f.v.ReadAt(p, off)
	return p, err
}

// blockEntries yields the names in one block. Its directory is the one that the
// block itself names, or else parent.
func (f *FS) blockEntries(p []byte, off int64, parent uint64, yield func(fsys.Entry) error) error {
	w := walker{f: f, block: p, base: off, parent: parent, yield: yield}
	if self, dotdot := w.dots(); self != 0 {
		w.parent, w.up = self, dotdot
	}
	return w.walk()
}

// inlineEntries yields the names of a directory that stands in its inode: the
// parent's number, entries, and in the extended attribute more entries.
func (f *FS) inlineEntries(t fsys.Trace, file *fsys.File, yield func(fsys.Entry) error) error {
	if len(file.Inline) < 4 {
		return nil
	}
	up := uint64(binary.LittleEndian.Uint32(file.Inline))
	first := file.Inline[4:min(mapLen, len(file.Inline))]
	for _, part := range [][]byte{first, file.Inline[min(mapLen, len(file.Inline)):]} {
		w := walker{f: f, block: part, base: t.Off, parent: file.Inode, up: up, yield: yield}
		if err := w.walk(); err != nil {
			return err
		}
	}
	return nil
}
