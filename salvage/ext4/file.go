package ext4

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"salvor/salvage/fsys"
)

// What File answers where a record is one, but has no content to give.
var (
	// ErrEmpty says that a removed inode's map was cleared, as the kernel does: an
	// older copy in the journal may still have it.
	ErrEmpty = errors.New("removed, and its block map cleared")
	// ErrEncrypted says that the content is there, and cannot be read.
	ErrEncrypted = errors.New("encrypted")
	// ErrCompressed says that the content is compressed by a file system that no
	// kernel reads any more.
	ErrCompressed = errors.New("compressed by the file system")
	// ErrNonsense says that bytes which looked like a record are none.
	ErrNonsense = errors.New("makes no sense")
)

// File tells what an inode's record, or a block of an extent tree, says about a
// file. A block says neither the size nor whose it is: see
// Owner.
func (f *FS) File(ctx context.Context, t fsys.Trace) (*fsys.File, error) {
	var file *fsys.File
	var err error
	switch t.Kind {
	case fsys.Inode:
		file, err = f.inodeFile(ctx, t)
	case fsys.Map:
		file, err = f.mapFile(ctx, t)
	default:
		err = fmt.Errorf("a trace of kind %q is no file", t.Kind)
	}
	if err != nil {
		return nil, fmt.Errorf("ext4 %s at byte %d: %w", t.Kind, t.Off, err)
	}
	file.Trace = t
	file.Trace.Raw = nil
	// Where no superblock tells where the tables are, a number does: it follows from the
	// record's checksum, or from its place among others.
	if f.super == nil && t.Kind == fsys.Inode && t.Origin == fsys.Loose && file.Inode != 0 {
		file.Trace.Origin = fsys.Table
	}
	return file, nil
}

// recordOf is a trace's record, read from the volume where it was not kept.
func (f *FS) recordOf(t fsys.Trace) (record, error) {
	r := record(t.Raw)
	if len(r) == 0 && t.Off >= 0 && t.Off <= math.MaxInt64-maxBlock {
		r = make(record, f.inodeSize())
		unknown, err := f.v.ReadAt(r, t.Off)
		if err != nil {
			return nil, err
		}
		if len(unknown) > 0 {
			return nil, errors.New("unreadable")
		}
	}
	if len(r) < oldInode {
		return nil, ErrNonsense
	}
	return r, nil
}

func (f *FS) inodeFile(ctx context.Context, t fsys.Trace) (*fsys.File, error) {
	r, err := f.recordOf(t)
	if err != nil {
		return nil, err
	}
	if kinds>>(r.mode()>>12)&1 == 0 {
		return nil, ErrNonsense
	}
	file := &fsys.File{Type: r.typ(), Generation: r.generation(), Links: uint32(r.links()), Deleted: r.deleted(), ModTime: r.modTime()}
	if file.Inode, file.Sure, err = f.numberOf(t, r); err != nil {
		return nil, err
	}
	if r.size() > 1<<60 {
		return nil, fmt.Errorf("%w: a size of %d bytes", ErrNonsense, r.size())
	}
	file.Size = int64(r.size())
	switch {
	case file.Type == fsys.OtherType:
		return file, nil
	case r.flags()&flagEncrypted != 0:
		return nil, ErrEncrypted
	case r.flags()&flagCompressed != 0 && !r.extents():
		return nil, ErrCompressed
	case r.flags()&flagInline != 0:
		file.Inline, err = r.inline()
		return file, err
	}
	return file, f.content(ctx, file, r)
}

// content fills in the places of a file's bytes, and weighs its size against them.
func (f *FS) content(ctx context.Context, file *fsys.File, r record) error {
	m := mapper{f: f, ctx: ctx}
	if k, ok := r.keyOf(); ok && file.Sure {
		m.key = &k
	}
	var err error
	if r.extents() {
		err = m.tree(r.blockMap(), maxDepth)
	} else {
		err = m.blockMap(r.blockMap())
	}
	if err != nil {
		return err
	}
	file.Extents = m.sorted()
	file.Lost = m.lost
	end := int64(0)
	if n := len(file.Extents); n > 0 {
		end = file.Extents[n-1].Logical + file.Extents[n-1].Len
	}
	if file.Deleted && len(file.Extents) == 0 && m.lost == 0 {
		return ErrEmpty
	}
	if file.Deleted && file.Size == 0 {
		file.Size = -1 // the kernel clears it first
	}
	// A sparse file may be larger than its volume. One whose record nobody vouches
	// for, and whose size nothing else supports, is text that was read as an inode.
	if file.Size > max(end, f.limit) && !file.Sure {
		return fmt.Errorf("%w: %d bytes claimed, %d mapped, on a volume of %d", ErrNonsense, file.Size, end, f.limit)
	}
	return nil
}

// mapFile tells what one block of an extent tree maps, with all below it.
func (f *FS) mapFile(ctx context.Context, t fsys.Trace) (*fsys.File, error) {
	p, err := f.blockAt(t.Off)
	if err != nil {
		return nil, err
	}
	h := header(p)
	if h.magic() != extentMagic || h.depth() > maxDepth {
		return nil, ErrNonsense
	}
	m := mapper{f: f, ctx: ctx, seen: map[uint64]bool{uint64(t.Off / f.bs): true}}
	if err := m.tree(h, maxDepth); err != nil {
		return nil, err
	}
	file := &fsys.File{Type: fsys.Regular, Inode: t.Number, Size: -1, Extents: m.sorted()}
	file.Lost = m.lost
	if len(file.Extents) == 0 {
		return nil, ErrEmpty
	}
	return file, nil
}

// blockAt reads the block at a place, in bytes.
func (f *FS) blockAt(off int64) ([]byte, error) {
	if off < 0 || off > math.MaxInt64-maxBlock {
		return nil, ErrNonsense
	}
	p := make([]byte, f.bs)
	unknown, err := f.v.ReadAt(p, off)
	if err != nil {
		return nil, err
	}
	if len(unknown) > 0 {
		return nil, errors.New("partly unreadable")
	}
	return p, nil
}

// blockSum is the checksum at the end of a directory's leaf or of an extent
// tree's node, and how much of the block it covers; ok is false where the block
// has no room for one, or none is there.
func blockSum(p []byte) (sum uint32, covers int, ok bool) {
	if len(p) < minBlock {
		return 0, 0, false
	}
	if h := header(p); h.magic() == extentMagic {
		covers = extentSize * (int(h.max()) + 1)
		if covers+4 > len(p) {
			return 0, 0, false
		}
		return binary.LittleEndian.Uint32(p[covers:]), covers, true
	}
	covers = len(p) - tailSize
	tail := p[covers:]
	at := 0 // an index of names may have an old tail at its end that nothing leads to
	for at < covers {
		n := dirent(p[at:]).length(len(p))
		if n < entryHead {
			break
		}
		at += n
	}
	if at != covers || binary.LittleEndian.Uint64(tail) != tailMark {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint32(tail[8:]), covers, true
}
