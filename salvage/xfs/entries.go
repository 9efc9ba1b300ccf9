package xfs

import (
	"context"
	"fmt"
	"slices"

	"salvor/salvage/fsys"
)

// maxDirBlocks bounds what is read of one directory.
const maxDirBlocks = 1 << 16

// Entries yields the names in the directory of an inode's trace, or in the single
// block of a Names trace. Blocks of the directory that are gone cost their names
// only.
func (f *FS) Entries(ctx context.Context, t fsys.Trace, yield func(fsys.Entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch t.Kind {
	case fsys.Inode:
		return f.inodeEntries(ctx, t, yield)
	case fsys.Names:
		return f.blockEntries(ctx, t, yield)
	}
	return fmt.Errorf("a %s at %d of %s holds no names", t.Kind, t.Off, f.v.Name())
}

func (f *FS) inodeEntries(ctx context.Context, t fsys.Trace, yield func(fsys.Entry) error) error {
	in, ok := parseInode(t.Raw)
	if !ok || !in.freed() && in.fileType() != fsys.Directory {
		return fmt.Errorf("what stands at %d of %s is no directory", t.Off, f.v.Name())
	}
	number, g, _ := f.identify(&in, t)
	m := mapper{f: f, g: g, owner: number}
	if in.format != formatLocal {
		if err := m.follow(ctx, &in); err != nil {
			return err
		}
	}
	if in.format == formatLocal || in.freed() && len(m.extents) == 0 {
		return f.shortEntries(&in, t, number, g, yield)
	}
	d := &directory{f: f, g: g, number: number, deleted: in.deleted(), yield: yield}
	return d.read(ctx, m.extents)
}

func (f *FS) shortEntries(in *inode, t fsys.Trace, number uint64, g *geometry, yield func(fsys.Entry) error) error {
	sd, ok := f.short(in, g)
	if !ok && in.freed() {
		return nil
	}
	if !ok {
		return fmt.Errorf("the directory in the inode at %d of %s makes no sense", t.Off, f.v.Name())
	}
	head := int64(len(in.raw) - len(in.wholeFork))
	for _, s := range sd.slots {
		e := s.entry()
		e.Parent, e.Up, e.Off = number, sd.up, t.Off+head+int64(s.at)
		e.Deleted = e.Deleted || in.deleted()
		if t.Origin == fsys.Log {
			e.Off = t.Off
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

// short reads the directory in an inode, and what is left of it there.
func (f *FS) short(in *inode, g *geometry) (sd short, ok bool) {
	fork, room := in.fork, in.fork
	if in.freed() {
		fork, room = in.wholeFork, in.wholeFork
	} else {
		fork = fork[:in.size] // shaped has compared them
	}
	ftype := g.ftype || in.version == 3
	sd, ok = parseShort(fork, ftype, g)
	if !ok && g.version == 0 {
		ftype = !ftype
		sd, ok = parseShort(fork, ftype, g)
	}
	if ok {
		sd.remnants(room, ftype, g)
	}
	return sd, ok
}

// A directory is read block by block along its inode's extents.
type directory struct {
	f       *FS
	g       *geometry
	number  uint64
	up      uint64
	deleted bool
	yield   func(fsys.Entry) error
}

func (d *directory) read(ctx context.Context, extents []fsys.Extent) error {
	size := d.g.dirBlock
	b := make([]byte, size)
	done := int64(-1)
	blocks := 0
	for i, e := range extents {
		for at := e.Logical / size * size; at < e.Logical+e.Len; at += size {
			if at <= done {
				continue
			}
			if at >= maxIndex {
				return nil
			}
			if blocks++; blocks > maxDirBlocks {
				return fmt.Errorf("directory %d of %s has more than %d blocks", d.number, d.f.v.Name(), maxDirBlocks)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			done = at
			if err := d.block(b, at, extents[i:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// block yields the names of the block at a place in the directory, which may lie
// in several extents.
func (d *directory) block(b []byte, at int64, extents []fsys.Extent) error {
	clear(b)
	for _, e := range extents {
		from, to := max(at, e.Logical), min(at+int64(len(b)), e.Logical+e.Len)
		if from >= to {
			break
		}
		off := e.Off + from - e.Logical
		if _, err := d.f.v.ReadAt(b[from-at:to-at], off); err != nil {
			return d.f.readError(off, err)
		}
	}
	h, ok := parseDirHead(b)
	if !ok || h.owner != 0 && d.number != 0 && h.owner != d.number {
		return nil // another's by now
	}
	if d.up == 0 {
		d.up = h.up
	}
	return eachSlot(b, h, d.g, d.g.ftype || h.new, func(s slot) error {
		e := s.entry()
		e.Parent, e.Up = d.number, d.up
		if e.Parent == 0 {
			e.Parent = h.owner
		}
		e.Deleted = e.Deleted || d.deleted
		e.Off = placeOf(extents, at+int64(s.at))
		return d.yield(e)
	})
}

// placeOf is where a byte of a file stands.
func placeOf(extents []fsys.Extent, at int64) int64 {
	i := slices.IndexFunc(extents, func(e fsys.Extent) bool { return at >= e.Logical && at < e.Logical+e.Len })
	if i < 0 {
		return 0
	}
	return extents[i].Off + at - extents[i].Logical
}

// blockEntries yields the names of a block alone.
func (f *FS) blockEntries(ctx context.Context, t fsys.Trace, yield func(fsys.Entry) error) error {
	g := f.geometries()[0]
	b := make([]byte, g.dirBlock)
	if t.Origin == fsys.Log {
		logged, err := f.loggedBlock(ctx, t.Off)
		if err != nil {
			return err
		}
		b = logged
	} else if _, err := f.v.ReadAt(b, t.Off); err != nil {
		return f.readError(t.Off, err)
	}
	h, ok := parseDirHead(b)
	if !ok {
		return fmt.Errorf("what stands at %d of %s is no block of a directory", t.Off, f.v.Name())
	}
	return eachSlot(b, h, g, h.new || f.tells(b, h, g), func(s slot) error {
		e := s.entry()
		e.Parent, e.Up, e.Off = h.owner, h.up, t.Off+int64(s.at)
		if t.Origin == fsys.Log {
			e.Off = t.Off
		}
		return yield(e)
	})
}

// tells says whether the entries of a version 4 block tell the type. Where no
// superblock says so, that reading is right which makes sense of more entries.
func (f *FS) tells(b []byte, h dirHead, g *geometry) bool {
	if g.version != 0 {
		return g.ftype
	}
	var n [2]int
	for i, ftype := range []bool{false, true} {
		_ = eachSlot(b, h, g, ftype, func(s slot) error {
			if !s.deleted && s.ftype <= 8 {
				n[i]++
			}
			return nil
		})
	}
	return n[1] > n[0]
}
