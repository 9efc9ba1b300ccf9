package ext4

import (
	"encoding/binary"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// Look puts what stands in a window: inodes in the known tables and anywhere else,
// blocks of directories and of extent trees, but for what Known has put out of the
// journal. A trace's Raw is valid during put only. Records of inodes for the file
// system's own use are left out where their number is known.
func (f *FS) Look(w volume.Window, put func(fsys.Trace) error) error {
	step := int(f.bs)
	skip := 0
	if over := w.Off % f.bs; over != 0 {
		skip = int(f.bs - over) // a volume that does not begin at a multiple; none does
	}
	f.mu.RLock()
	read := f.covered.within(w)
	f.mu.RUnlock()
	for at := skip; at+step <= len(w.Data); at += step {
		if len(read) > 0 && read.has(w.Off+int64(at)) {
			continue
		}
		if err := f.lookBlock(w.Data[at:at+step:at+step], w.Off+int64(at), put); err != nil {
			return err
		}
	}
	return nil
}

// lookBlock looks at one block. It is where a sweep spends its time: every block
// that is of no interest has to leave it after a handful of comparisons.
func (f *FS) lookBlock(p []byte, off int64, put func(fsys.Trace) error) error {
	first := binary.LittleEndian.Uint64(p)
	if uint16(first) == extentMagic {
		if f.likeNode(p) {
			return put(fsys.Trace{Kind: fsys.Map, Off: off, Origin: fsys.Loose})
		}
	} else if n := uint16(first >> 32); n%4 == 0 && n >= tailSize && byte(first>>56) <= 8 || f.bs == maxBlock {
		if f.likeNames(p) {
			self, _ := (&walker{f: f, block: p}).dots()
			return put(fsys.Trace{Kind: fsys.Names, Off: off, Origin: fsys.Loose, Number: self})
		}
	} else if uint32(first) == journalMark {
		f.noteJournal(p, off)
	}
	for at := 0; at+oldInode <= len(p); at += oldInode {
		if flags := binary.LittleEndian.Uint32(p[at+0x20:]); flags&flagsNever == 0 && maybe(p[at:at+oldInode]) {
			return f.lookInodes(p, off, put)
		}
	}
	return nil
}

// lookInodes puts the inodes of a block that has at least something like one.
func (f *FS) lookInodes(p []byte, off int64, put func(fsys.Trace) error) error {
	t := fsys.Trace{Kind: fsys.Inode, Origin: fsys.Loose}
	size := f.inodeSize()
	var room, other [maxBlock / oldInode]likeness
	found := f.inodesIn(p, size, room[:])
	if first := f.tables.number(off, size); first != 0 {
		t.Origin = fsys.Table
		for i, like := range found {
			number := first + uint64(i)
			r := record(p[i*size:][:size])
			if like == unlike && !(maybe(r) && f.proves(r, number)) || f.reserved(r, number) {
				continue
			}
			t.Off, t.Number, t.Raw = off+int64(i*size), number, r
			if err := put(t); err != nil {
				return err
			}
		}
		return nil
	}
	if better := f.otherSize(p, found, size, other[:]); better != size {
		size, found = better, f.inodesIn(p, better, other[:])
	}
	if !believed(p, found, size) {
		return nil
	}
	first, _ := f.numberBlock(p, found, size)
	for i, like := range found {
		if like == unlike {
			continue
		}
		t.Off, t.Raw, t.Number = off+int64(i*size), p[i*size:][:size], 0
		if first != 0 {
			t.Number = first + uint64(i)
		}
		if f.reserved(record(t.Raw), t.Number) {
			continue
		}
		if err := put(t); err != nil {
			return err
		}
	}
	return nil
}

// reserved tells whether an inode is for the file system's own use. One that an
// older file system left at such a place has a wrong checksum.
func (f *FS) reserved(r record, number uint64) bool {
	return number != 0 && number < firstNormal && number != rootInode && (f.proves(r, number) || len(f.seeds()) == 0)
}

// inodesIn tells for each record of a block how much it looks like an inode. The
// answer stands in room.
func (f *FS) inodesIn(p []byte, size int, room []likeness) []likeness {
	found := room[:len(p)/size]
	for i := range found {
		found[i] = f.like(record(p[i*size:][:size]))
	}
	return found
}

// otherSize is the size of records for which a block makes most sense, where it
// does not with the expected one: inodes of an older file system.
func (f *FS) otherSize(p []byte, found []likeness, size int, room []likeness) int {
	best, most := size, count(found, surely)
	for _, other := range []int{128, 256, 512, 1024} {
		if n := count(f.inodesIn(p, min(other, len(p)), room), surely); n > most && other <= len(p) {
			best, most = other, n
		}
	}
	return best
}

func count(found []likeness, least likeness) int {
	n := 0
	for _, like := range found {
		if like >= least {
			n++
		}
	}
	return n
}

// believed tells whether records in a place that no table is known of are
// inodes: one with what only inodes have is, and such as only could be are where
// all others of the block are so too, or empty.
func believed(p []byte, found []likeness, size int) bool {
	sure, could, odd := 0, 0, 0
	for i, like := range found {
		switch {
		case like == surely:
			sure++
		case like == likely:
			could++
		case !isZero(p[i*size:][:size]):
			odd++
		}
	}
	if sure == 0 && (odd > 0 || could < 2) {
		clear(found)
		return false
	}
	if odd > 0 { // a damaged block: only what is certain
		for i := range found {
			if found[i] != surely {
				found[i] = unlike
			}
		}
	}
	return true
}

const maxJournals = 16

// noteJournal remembers a block that looks like a journal's first: Known reads the
// journal from there when nothing else leads to it.
func (f *FS) noteJournal(p []byte, off int64) {
	if _, err := parseJournal(p); err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, known := range f.journals {
		if known == off {
			return
		}
	}
	if len(f.journals) < maxJournals {
		f.journals = append(f.journals, off)
	}
}
