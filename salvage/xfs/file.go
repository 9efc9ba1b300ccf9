package xfs

import (
	"bytes"
	"context"
	"fmt"

	"salvor/salvage/fsys"
)

// File tells what an inode's record or a leaf of a block map says about a file.
// A freed inode's Type is what its first block looks like: Directory or Regular.
func (f *FS) File(ctx context.Context, t fsys.Trace) (*fsys.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch t.Kind {
	case fsys.Inode:
		return f.inodeFile(ctx, t)
	case fsys.Map:
		return f.mapFile(ctx, t)
	}
	return nil, fmt.Errorf("a %s at %d of %s says nothing about a file", t.Kind, t.Off, f.v.Name())
}

func (f *FS) inodeFile(ctx context.Context, t fsys.Trace) (*fsys.File, error) {
	in, ok := parseInode(t.Raw)
	if !ok {
		return nil, fmt.Errorf("what stands at %d of %s is no inode", t.Off, f.v.Name())
	}
	number, g, sure := f.identify(&in, t)
	m := mapper{f: f, g: g, owner: number}
	if err := m.follow(ctx, &in); err != nil {
		return nil, err
	}
	file := &fsys.File{
		Trace: bare(t), Type: in.fileType(), Inode: number, Generation: in.gen, Size: in.size, Links: in.links,
		Deleted: in.deleted(), ModTime: in.modTime, Extents: m.extents, Lost: m.lost, Sure: sure,
	}
	if sure && t.Origin == fsys.Loose && g == f.main() && (g.uuid == [16]byte{} || bytes.Equal(in.raw[160:176], g.uuid[:])) {
		file.Trace.Origin = fsys.Table // the geometry was not known yet when it was seen
	}
	if in.freed() {
		file.Type = fsys.Regular
		names, err := f.leadsToNames(&in, &m)
		if err != nil {
			return nil, err
		}
		if names {
			file.Type = fsys.Directory
		}
	}
	// The first step of removing a file zeroes its size, a later one its map.
	if in.deleted() && in.size == 0 {
		file.Size = -1
	}
	if file.Size >= 0 && file.Type != fsys.Directory {
		file.Extents = cut(file.Extents, file.Size)
	}
	return file, nil
}

// identify tells an inode's number, the geometry in which its record speaks, and
// whether a checksum vouches for both.
func (f *FS) identify(in *inode, t fsys.Trace) (uint64, *geometry, bool) {
	gs := f.geometries()
	g := gs[0]
	if in.version < 3 {
		number := t.Number
		if number == 0 && t.Origin != fsys.Log {
			number = g.number(t.Off)
		}
		return number, g, false
	}
	sure := vouched(in.raw, inodeCRC)
	if t.Origin == fsys.Log {
		return in.number, g, sure
	}
	for _, g := range gs {
		if g.number(t.Off) == in.number {
			return in.number, g, sure
		}
	}
	f.learnInode(in.raw, t.Off)
	return in.number, g, false
}

// leadsToNames tells whether a freed inode was a directory's.
func (f *FS) leadsToNames(in *inode, m *mapper) (bool, error) {
	if len(m.extents) == 0 {
		sd, ok := f.short(in, m.g)
		return ok && len(sd.slots) > 0, nil
	}
	b := make([]byte, minBlock)
	off := m.extents[0].Off
	if _, err := f.v.ReadAt(b, off); err != nil {
		return false, f.readError(off, err)
	}
	h, ok := parseDirHead(b)
	return ok && (h.owner == 0 || m.owner == 0 || h.owner == m.owner), nil
}

// mapFile is a file of which there is one leaf of its block map.
func (f *FS) mapFile(ctx context.Context, t fsys.Trace) (*fsys.File, error) {
	g := f.geometries()[0]
	b := make([]byte, g.block)
	if t.Origin == fsys.Log {
		logged, err := f.loggedBlock(ctx, t.Off)
		if err != nil {
			return nil, err
		}
		copy(b, logged)
	} else if _, err := f.v.ReadAt(b, t.Off); err != nil {
		return nil, f.readError(t.Off, err)
	}
	mb, ok := parseMapBlock(b)
	if !ok || mb.level != 0 {
		return nil, fmt.Errorf("what stands at %d of %s is no leaf of a block map", t.Off, f.v.Name())
	}
	m := mapper{f: f, g: f.speaking(&mb, t.Off), stale: true}
	if m.g.mapped() {
		m.records(mb.body, uint64(mb.count))
		m.settle()
	} else {
		m.lost = mb.count
	}
	return &fsys.File{
		Trace: bare(t), Type: fsys.Regular, Inode: mb.owner, Size: -1, Extents: m.extents, Lost: m.lost,
		Sure: mb.new && t.Origin != fsys.Log && vouched(b, 64) && mb.place == uint64(t.Off-m.g.base)/512,
	}, nil
}

// speaking is the geometry in which a leaf's owner has a number.
func (f *FS) speaking(mb *mapBlock, off int64) *geometry {
	gs := f.geometries()
	for _, g := range gs {
		if mb.new && g.plausible(mb.owner) && mb.place == uint64(off-g.base)/512 {
			return g
		}
	}
	return gs[0]
}

// bare is a trace without its record.
func bare(t fsys.Trace) fsys.Trace {
	t.Raw = nil
	return t
}

// cut ends extents at a file's size: XFS allocates beyond it.
func cut(extents []fsys.Extent, size int64) []fsys.Extent {
	for i := range extents {
		e := &extents[i]
		if e.Logical >= size {
			return extents[:i]
		}
		e.Len = min(e.Len, size-e.Logical)
	}
	return extents
}
