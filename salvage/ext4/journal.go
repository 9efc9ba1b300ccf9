package ext4

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"

	"salvor/salvage/fsys"
)

// The journal's numbers are big-endian.
const (
	journalMagic = 0xC03B3998
	journalMark  = 0x98393BC0 // the same, read as a little-endian number

	blockDescriptor = 1
	blockSuper1     = 3
	blockSuper2     = 4

	journal64bit = 0x2
	journalSum2  = 0x8
	journalSum3  = 0x10

	tagSameUUID = 0x2
	tagLast     = 0x8

	// minSpan is the shortest journal that there is, in blocks.
	minSpan = 1024
	// remembered bounds how many inodes are told apart by their last copy.
	remembered = 1 << 16
)

// A journal is jbd2's log, of which every block that was not yet written over is
// read, whatever the file system still needs of it: old transactions are the
// treasure. They are told by their place in the ring; a descriptor is written over
// before the blocks that it describes are, so what it says of them holds.
type journal struct {
	f       *FS
	blocks  uint32 // of the whole journal, with its superblock
	first   uint32
	feature uint32
	seed    uint32
	where   []fsys.Extent // its blocks on the volume
	seen    map[uint64]uint64
	hash    maphash.Seed
	put     func(fsys.Trace) error
	covered covered
}

// parseJournal reads a journal's superblock.
func parseJournal(p []byte) (*journal, error) {
	be := func(at int) uint32 { return binary.BigEndian.Uint32(p[at:]) }
	if len(p) < superSize || be(0) != journalMagic || be(4) != blockSuper1 && be(4) != blockSuper2 {
		return nil, errors.New("no journal")
	}
	j := &journal{blocks: be(0x10), first: be(0x14)}
	if be(4) == blockSuper2 {
		j.feature = be(0x28)
	}
	if be(0x0C) != uint32(len(p)) || j.first == 0 || j.first >= j.blocks || j.blocks < minSpan {
		return nil, errors.New("a journal's superblock that makes no sense")
	}
	j.seed = crc(^uint32(0), p[0x30:0x40])
	return j, nil
}

// Known reads the journal, from the oldest block that it still holds on. Its inode
// is number 8, or its map is in the superblock; else it is read from where Learn or
// Look saw it. A volume without a journal has nothing to tell.
func (f *FS) Known(ctx context.Context, put func(fsys.Trace) error) error {
	done := map[int64]bool{}
	read := func(where []fsys.Extent) error {
		if len(where) == 0 || done[where[0].Off] {
			return nil
		}
		p, err := f.namesAt(where[0].Off)
		if err != nil {
			return err
		}
		j, err := parseJournal(p)
		if err != nil {
			return nil // no journal there: the next place may have one
		}
		done[where[0].Off] = true
		j.f, j.where, j.put = f, where, put
		j.seen, j.hash = map[uint64]uint64{}, maphash.MakeSeed()
		if err := j.read(ctx); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.covered = j.covered.with(f.covered)
		return nil
	}
	maps, err := f.journalMaps(ctx)
	if err != nil {
		return err
	}
	for _, where := range maps {
		if err := read(where); err != nil {
			return err
		}
	}
	f.mu.RLock()
	guesses := append([]int64(nil), f.journals...)
	f.mu.RUnlock()
	for _, off := range guesses { // mke2fs makes a journal in one piece
		if err := read([]fsys.Extent{{Off: off, Len: f.limit - off}}); err != nil {
			return err
		}
	}
	return nil
}

// journalMaps lists where the journal is by its inode, and by the copy of that
// inode's map in the superblock.
func (f *FS) journalMaps(ctx context.Context) ([][]fsys.Extent, error) {
	var all [][]fsys.Extent
	add := func(p []byte) error {
		m := mapper{f: f, ctx: ctx}
		var err error
		if header(p).magic() == extentMagic {
			err = m.tree(p, maxDepth)
		} else {
			err = m.blockMap(p)
		}
		if where := m.sorted(); len(where) > 0 && where[0].Logical == 0 {
			all = append(all, where)
		}
		return err
	}
	if f.super == nil || f.super.compat&compatJournal == 0 {
		return nil, nil
	}
	if off := f.tables.find(uint64(f.super.journal), f.isize); off >= 0 && f.super.journal != 0 {
		r := make(record, f.isize)
		unknown, err := f.v.ReadAt(r, off)
		if err != nil {
			return nil, err
		}
		if len(unknown) == 0 && f.like(r) != unlike && r.kind() == modeRegular {
			if err := add(r.blockMap()); err != nil {
				return nil, err
			}
		}
	}
	p := make([]byte, mapLen)
	for i, n := range f.super.journalMap {
		binary.LittleEndian.PutUint32(p[4*i:], n)
	}
	return all, add(p)
}

// learnJournal remembers where a journal is that an inode leads to.
func (f *FS) learnJournal(ctx context.Context, r record) error {
	m := mapper{f: f, ctx: ctx}
	if !r.extents() {
		return nil // Look finds its first block by itself
	}
	if err := m.tree(r.blockMap(), maxDepth); err != nil {
		return err
	}
	where := m.sorted()
	if len(where) == 0 || where[0].Logical != 0 {
		return nil
	}
	p, err := f.namesAt(where[0].Off)
	if err == nil {
		f.noteJournal(p, where[0].Off)
	}
	return err
}

// place is where a block of the journal is on the volume; -1 for nowhere.
func (j *journal) place(n uint32) int64 {
	at := int64(n) * j.f.bs
	for _, e := range j.where {
		if at >= e.Logical && at < e.Logical+e.Len {
			return e.Off + at - e.Logical
		}
	}
	return -1
}

// block reads a block of the journal; nil where it cannot be read as a whole.
func (j *journal) block(n uint32) ([]byte, int64, error) {
	off := j.place(n)
	if off < 0 || off+j.f.bs > j.f.v.Size() {
		return nil, -1, nil
	}
	p := make([]byte, j.f.bs)
	unknown, err := j.f.v.ReadAt(p, off)
	if err != nil || len(unknown) > 0 {
		return nil, -1, err
	}
	return p, off, nil
}

// read goes over the whole ring once, by place. What a descriptor describes is
// passed over, so that it is not taken for a descriptor itself.
func (j *journal) read(ctx context.Context) error {
	if n := uint32(min(j.span(), 1<<31)); n < j.blocks {
		j.blocks = n // a superblock that claims more than there is
	}
	for n := j.first; n < j.blocks; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, _, err := j.block(n)
		if err != nil {
			return err
		}
		n++
		if p == nil || binary.BigEndian.Uint32(p) != journalMagic || binary.BigEndian.Uint32(p[4:]) != blockDescriptor {
			continue
		}
		if n, err = j.transaction(ctx, p, n); err != nil {
			return err
		}
	}
	return nil
}

// span is how many blocks the journal's map reaches.
func (j *journal) span() int64 {
	last := j.where[len(j.where)-1]
	return (last.Logical + last.Len) / j.f.bs
}

// A tag names the block that a block of the journal is a copy of.
type tag struct {
	home uint64
	sum  uint32
	mask uint32 // which bits of the checksum there are
}

// tags reads a descriptor's tags.
func (j *journal) tags(p []byte) []tag {
	size := 8
	switch {
	case j.feature&journalSum3 != 0:
		size = 16
	case j.feature&journal64bit != 0:
		size = 12
	}
	if j.feature&journalSum2 != 0 && j.feature&journalSum3 == 0 {
		size += 2
	}
	end := len(p)
	if j.feature&(journalSum2|journalSum3) != 0 {
		end -= 4 // the descriptor's own checksum
	}
	var all []tag
	for at := 12; at+size <= end; {
		t := tag{home: uint64(binary.BigEndian.Uint32(p[at:]))}
		var flags uint32
		if j.feature&journalSum3 != 0 {
			flags = binary.BigEndian.Uint32(p[at+4:])
			t.sum, t.mask = binary.BigEndian.Uint32(p[at+12:]), 0xFFFFFFFF
		} else {
			flags = uint32(binary.BigEndian.Uint16(p[at+6:]))
			if j.feature&journalSum2 != 0 {
				t.sum, t.mask = uint32(binary.BigEndian.Uint16(p[at+4:])), 0xFFFF
			}
		}
		if j.feature&journal64bit != 0 {
			t.home |= uint64(binary.BigEndian.Uint32(p[at+8:])) << 32
		}
		all = append(all, t)
		at += size
		if flags&tagSameUUID == 0 {
			at += 16
		}
		if flags&tagLast != 0 {
			break
		}
	}
	return all
}

// transaction puts what one descriptor describes, which stands from block n on, and
// tells where that ends. The ring's end goes on at its beginning. Blocks with the
// journal's own magic number are escaped: none of those that matter begins so.
func (j *journal) transaction(ctx context.Context, descriptor []byte, n uint32) (next uint32, err error) {
	seq := binary.BigEndian.Uint32(descriptor[8:])
	next = n
	for _, t := range j.tags(descriptor) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n >= j.blocks {
			n = j.first
		}
		p, off, err := j.block(n)
		if err != nil {
			return 0, err
		}
		n++
		if n > next {
			next = n
		}
		if p == nil || t.mask != 0 && j.sum(seq, p)&t.mask != t.sum&t.mask {
			continue
		}
		if err := j.copyOf(t.home, p, off, uint64(seq)); err != nil {
			return 0, err
		}
		j.covered.add(off, j.f.bs)
	}
	return next, nil
}

func (j *journal) sum(seq uint32, p []byte) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], seq)
	return crc(crc(j.seed, b[:]), p)
}

// copyOf puts what a copy of the block at home holds.
func (j *journal) copyOf(home uint64, p []byte, off int64, seq uint64) error {
	f := j.f
	if home < uint64(f.limit/f.bs) {
		if first := f.numberAt(int64(home)*f.bs, f.inodeSize()); first != 0 {
			return j.inodes(first, p, off, seq)
		}
	}
	return f.lookBlock(p, off, func(t fsys.Trace) error {
		t.Origin, t.Seq = fsys.Log, seq
		if t.Kind == fsys.Inode && j.known(t.Number, t.Raw) {
			return nil
		}
		return j.put(t)
	})
}

// inodes puts the inodes in a copy of a block of an inode table.
func (j *journal) inodes(first uint64, p []byte, off int64, seq uint64) error {
	size := j.f.inodeSize()
	for i := range len(p) / size {
		r, number := record(p[i*size:][:size]), first+uint64(i)
		if !maybe(r) || j.f.reserved(r, number) || j.known(number, r) || j.f.like(r) == unlike && !j.f.proves(r, number) {
			continue
		}
		t := fsys.Trace{Kind: fsys.Inode, Off: off + int64(i*size), Origin: fsys.Log, Seq: seq, Number: number, Raw: r}
		if err := j.put(t); err != nil {
			return err
		}
	}
	return nil
}

// known tells whether an inode's record is the same as in the copy before, as most
// of a block's are in every transaction that changes one of them.
func (j *journal) known(number uint64, r []byte) bool {
	if number == 0 {
		return false
	}
	h := maphash.Bytes(j.hash, r)
	if j.seen[number] == h {
		return true
	}
	if len(j.seen) >= remembered {
		clear(j.seen) // costs copies that are put twice
	}
	j.seen[number] = h
	return false
}
