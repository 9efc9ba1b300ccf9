package xfs

import (
	"bytes"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// Look puts the inodes, the blocks of names and the leaves of block maps that
// stand in a window. It goes by their shape, wherever they stand.
func (f *FS) Look(w volume.Window, put func(fsys.Trace) error) error {
	l := looker{f: f, g: f.main(), w: w, put: put}
	first := int(-(w.Off - l.g.base) & (minInode - 1))
	for at := first; at+minInode <= len(w.Data); at += minInode {
		word := w.Data[at : at+4]
		var err error
		switch {
		case word[0] == 'I' && word[1] == 'N':
			err = l.inode(at)
		case word[0] == 'X' && word[1] == 'D' || word[0] == 'B' && word[1] == 'M':
			err = l.block(at)
		case word[0] == 0xfe && word[1] == 0xed:
			if off := w.Off + int64(at); f.strayRecord(w.Data[at:], off) {
				err = f.looseRecord(off, put)
			}
		case f.certain:
		case word[0] == 'X' && word[1] == 'F':
			f.learnSuper(w.Data[at:], w.Off+int64(at))
			l.g = f.main()
		case word[0] == 'X' && word[1] == 'A' || word[2] == 'B' && word[3] == '3' || word[2] == '3':
			f.learnGroup(w.Data[at:], w.Off+int64(at))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A looker looks at one window.
type looker struct {
	f   *FS
	g   *geometry
	w   volume.Window
	put func(fsys.Trace) error
}

// inode puts the inode at a place in the window, if there is one.
func (l *looker) inode(at int) error {
	b := l.w.Data[at:]
	if len(b) < minInode || b[4] < 1 || b[4] > 3 || b[5] > formatUUID {
		return nil
	}
	off := l.w.Off + int64(at)
	t := fsys.Trace{Kind: fsys.Inode, Off: off, Origin: fsys.Loose}
	size := l.g.inode
	aligned := (off-l.g.base)%size == 0
	raw := []byte(nil)
	if b[4] == 3 {
		raw = vouchedInode(b)
	}
	if raw == nil {
		if a, ok := l.g.area(); ok && off >= a.start && off < a.start+a.size {
			return nil // a piece of one in the log, which Known reads
		}
		if !aligned {
			size = minInode
			if b[4] == 3 {
				size *= 2
			}
		}
		if int(size) > len(b) {
			return nil // no record lies across two windows
		}
		raw = b[:size]
	}
	in, ok := parseInode(raw)
	if !ok || in.freed() && blank(&in) {
		return nil
	}
	number := uint64(0)
	if aligned {
		number = l.g.number(off)
	}
	switch {
	case in.version < 3:
		t.Number = number
		if aligned && l.g.version != 5 {
			t.Origin = fsys.Table
		}
	case number == in.number && (l.g.uuid == [16]byte{} || bytes.Equal(raw[160:176], l.g.uuid[:])):
		t.Number, t.Seq, t.Origin = in.number, in.seq, fsys.Table
	default:
		t.Number, t.Seq = in.number, in.seq
		if number != in.number {
			l.f.learnInode(raw, off)
		}
	}
	t.Raw = raw
	return l.put(t)
}

// blank tells whether a freed inode has nothing left to tell.
func blank(in *inode) bool {
	return be.Uint64(in.wholeFork)|be.Uint64(in.wholeFork[8:]) == 0
}

// block puts the block of names or the leaf of a map at a place in the window, if
// there is one.
func (l *looker) block(at int) error {
	off := l.w.Off + int64(at)
	b := l.w.Data[at:]
	if (off-l.g.base)%minBlock != 0 || len(b) < minBlock {
		return nil
	}
	t := fsys.Trace{Off: off, Origin: fsys.Loose}
	var place uint64
	var self bool // it tells its place
	if h, ok := parseDirHead(b); ok {
		t.Kind, t.Number, place, self = fsys.Names, h.owner, h.place, h.new
		if h.new {
			t.Seq = be.Uint64(b[16:])
		}
	} else if mb, ok := l.leaf(b); ok {
		t.Kind, t.Number, place, self = fsys.Map, mb.owner, mb.place, mb.new
		if mb.new {
			t.Seq = be.Uint64(b[32:])
		}
	} else {
		return nil
	}
	if (off-l.g.base)%l.g.block == 0 && (!self || place == uint64(off-l.g.base)/512) {
		t.Origin = fsys.Table
	}
	return l.put(t)
}

// leaf reads a leaf of a block map that has a record, or had one.
func (l *looker) leaf(b []byte) (mapBlock, bool) {
	if int64(len(b)) > l.g.block {
		b = b[:l.g.block]
	}
	mb, ok := parseMapBlock(b)
	if !ok || mb.level != 0 {
		return mb, false
	}
	r := unpackRun(mb.body)
	return mb, r.count > 0 && r.start > 0
}

// learnSuper takes a superblock that the sweep came upon, where Open has found
// none.
func (f *FS) learnSuper(b []byte, off int64) {
	g, sure, ok := parseSuper(b)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen.supers) >= maxSupers {
		return
	}
	f.seen.super(g, off, sure)
	if 2*g.sector <= int64(len(b)) {
		if h, ok := parseAGF(b[g.sector:], off+g.sector); ok {
			f.seen.group(h)
		}
	}
	if best := f.seen.fromSupers(); best != nil {
		gs := append([]*geometry{best}, f.geometries()[1:]...)
		f.geos.Store(&gs)
	}
}

// learnGroup takes the head of a group, or a block of its trees.
func (f *FS) learnGroup(b []byte, off int64) {
	if len(b) < minBlock {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, ok := parseAGF(b, off); ok {
		f.seen.group(h)
	} else if t, ok := parseTree(b, off); ok {
		f.seen.tree(t)
	}
}

// maxGeometries bounds how many geometries are kept.
const maxGeometries = 4

// learnInode takes an inode whose number does not go with its place: it is from
// an earlier file system, or the geometry was inferred wrongly. Many such inodes
// tell the geometry that they speak of.
func (f *FS) learnInode(raw []byte, off int64) {
	if !vouched(raw, inodeCRC) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gs := f.geometries()
	ino := be.Uint64(raw[152:])
	for _, g := range gs[1:] {
		if g.number(off) == ino {
			return
		}
	}
	if len(gs) >= maxGeometries {
		return
	}
	had := len(f.foreign.inodes.all)
	f.foreign.inode(raw, off)
	n := len(f.foreign.inodes.all)
	if n == had || n < 2 || !powerOf2(int64(n)) {
		return
	}
	shapes, blocks := f.foreign.shapes()
	if len(shapes) == 0 {
		return
	}
	g := *gs[0]
	g.inode, g.version, g.ftype, g.uuid = int64(len(raw)), 5, true, [16]byte(raw[160:176])
	g, led := f.infer(g, shapes, blocks, &f.foreign)
	if len(shapes) > 1 && led == 0 {
		return // too many ways to understand them
	}
	more := append(append([]*geometry{}, gs...), &g)
	f.geos.Store(&more)
	f.foreign = evidence{}
}
