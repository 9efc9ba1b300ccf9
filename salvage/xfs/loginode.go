package xfs

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"salvor/salvage/fsys"
)

// fields of an inode that an item brings (ilf_fields)
const (
	logLocal   = 0x02 // the data fork: as it stands in a record
	logExtents = 0x04
	logTree    = 0x08 // the root of a map, as it stands in memory
)

// maxRemembered bounds how many inodes' forks a reading of the log remembers.
const maxRemembered = 4096

// A logReader makes traces of the log's items.
type logReader struct {
	f     *FS
	g     *geometry
	put   func(fsys.Trace) error
	items assembler
	// forks are the data forks that were logged last, by inode: an item that brings
	// none goes with the one before.
	forks map[uint64][]byte
	// told is a checksum of what was last put, by inode: most items change nothing
	// that matters.
	told map[uint64]uint32
}

func newLogReader(f *FS, g *geometry, put func(fsys.Trace) error) *logReader {
	return &logReader{f: f, g: g, put: put, forks: map[uint64][]byte{}, told: map[uint64]uint32{}}
}

func (l *logReader) item(it *item) error {
	switch it.kind {
	case itemInode:
		return l.inode(it)
	case itemBuffer:
		return l.buffer(it)
	}
	return nil
}

// inode puts the inode of an item (xfs_inode_log_format, the core, forks), made to
// look as on disk. Its checksum is right if those of the log's records are.
func (l *logReader) inode(it *item) error {
	desc := it.regions[0]
	if len(desc) < 52 || len(it.regions) < 2 || len(it.regions[1]) < 96 {
		return nil
	}
	at := 16
	if len(desc) < 56 { // as 32-bit kernels write it
		at = 12
	}
	number := it.order.Uint64(desc[at:])
	raw := l.core(it)
	if raw == nil {
		return nil
	}
	in, ok := parseInode(raw)
	if !ok || in.freed() || in.version == 3 && in.number != number {
		return nil
	}
	if !l.fork(it, &in, number) {
		found, err := l.forkInPlace(it, &in, at)
		if err != nil || !found {
			return err
		}
	}
	if l.again(&in, number) {
		return nil
	}
	if in.version == 3 && it.sure {
		binary.LittleEndian.PutUint32(raw[inodeCRC:], checksum(raw, inodeCRC))
	}
	return l.put(fsys.Trace{
		Kind: fsys.Inode, Off: it.off, Origin: fsys.Log, Seq: it.lsn, Number: number, Raw: raw,
	})
}

// again tells whether the same was put for an inode just before.
func (l *logReader) again(in *inode, number uint64) bool {
	crc := crc32.Update(0, castagnoli, in.raw[2:32]) // but for the times
	crc = crc32.Update(crc, castagnoli, in.raw[40:48])
	crc = crc32.Update(crc, castagnoli, in.raw[56:coreOld])
	crc = crc32.Update(crc, castagnoli, in.fork)
	if before, ok := l.told[number]; ok && before == crc {
		return true
	}
	if len(l.told) >= maxRemembered {
		clear(l.told)
	}
	l.told[number] = crc
	return false
}

// core makes the record's beginning of what was logged, whose numbers are in the
// host's order.
func (l *logReader) core(it *item) []byte {
	logged := it.regions[1]
	size := l.g.inode
	if logged[4] == 3 {
		size = max(size, 2*minInode)
		if len(logged) < coreNew {
			return nil
		}
	}
	raw := make([]byte, size)
	n := copy(raw[:coreNew], logged)
	if logged[4] < 3 {
		clear(raw[min(n, 96):coreNew])
	}
	if it.order == binary.BigEndian {
		clear(raw[inodeCRC : inodeCRC+4])
		return raw
	}
	turn := func(from, to, width int) {
		for at := from; at < to; at += width {
			for i, j := at, at+width-1; i < j; i, j = i+1, j-1 {
				raw[i], raw[j] = raw[j], raw[i]
			}
		}
	}
	turn(0, 4, 2)  // magic, mode
	turn(6, 8, 2)  // onlink
	turn(8, 20, 4) // uid, gid, nlink
	turn(20, 24, 2)
	large, times := false, 4
	if logged[4] == 3 {
		turn(104, 128, 8) // changecount, lsn, flags2
		turn(128, 132, 4)
		turn(152, 160, 8) // ino
		flags2 := be.Uint64(raw[120:])
		large = flags2&flagNrext64 != 0
		if flags2&flagBigtime != 0 {
			times = 8
		}
		turn(144, 152, times)
	}
	if large {
		turn(24, 32, 8)
	} else {
		turn(30, 32, 2)
	}
	turn(32, 56, times)
	turn(56, 72, 8) // size, nblocks
	turn(72, 80, 4)
	turn(80, 82, 2)
	turn(84, 88, 4)
	turn(88, 92, 2)
	turn(92, 100, 4) // gen, next_unlinked
	clear(raw[inodeCRC : inodeCRC+4])
	return raw
}

// fork puts the data fork into a record: the item's own, or the one that was
// logged last. It tells whether there was a fitting one.
func (l *logReader) fork(it *item, in *inode, number uint64) bool {
	fields := it.order.Uint32(it.regions[0][4:])
	logged := fields & (logLocal | logExtents | logTree)
	if logged == 0 {
		kept := l.forks[number]
		if kept == nil || len(kept) > len(in.fork) {
			return needsNoFork(in)
		}
		copy(in.fork, kept)
		return l.complete(in)
	}
	if len(it.regions) < 3 {
		return false
	}
	data := it.regions[2]
	if fields&logTree != 0 {
		data = l.packRoot(data, len(in.fork), in.version)
	}
	if data == nil || len(data) > (len(in.fork)+3)&^3 {
		return false
	}
	n := copy(in.fork, data)
	if len(l.forks) >= maxRemembered {
		clear(l.forks)
	}
	l.forks[number] = bytes.Clone(in.fork[:n])
	return true
}

func needsNoFork(in *inode) bool {
	return in.format == formatDev || in.format == formatExtents && in.extents == 0
}

// complete tells whether the extents in a record's fork are as many, and have as
// many blocks, as its core says.
func (l *logReader) complete(in *inode) bool {
	if in.format != formatExtents {
		return in.format != formatLocal || l.localFits(in)
	}
	var blocks uint64
	last := int64(-1)
	m := mapper{g: l.g}
	for i := range int(in.extents) {
		e, ok := m.extent(unpackRun(in.fork[i*recordLen:]))
		if !ok || e.Logical < last {
			return false
		}
		last = e.Logical + e.Len
		blocks += uint64(e.Len / l.g.block)
	}
	return blocks <= in.blocks
}

func (l *logReader) localFits(in *inode) bool {
	if in.fileType() != fsys.Directory {
		return true
	}
	_, ok := parseShort(in.fork[:in.size], in.version == 3 || l.g.ftype, l.g)
	return ok
}

// packRoot makes the root of a map as it stands in an inode out of the one as it
// stands in memory, which looks like a block and has its pointers elsewhere.
func (l *logReader) packRoot(b []byte, room int, version byte) []byte {
	head := mapHeadOld
	if version == 3 {
		head = mapHeadNew
	}
	if len(b) < head+recordLen || room < 4+recordLen {
		return nil
	}
	n, most, packed := int(be.Uint16(b[6:])), (len(b)-head)/recordLen, (room-4)/recordLen
	if n < 1 || n > most || n > packed {
		return nil
	}
	out := make([]byte, 4+packed*recordLen)
	copy(out, b[4:8])
	copy(out[4:], b[head:head+n*8])
	copy(out[4+packed*8:], b[head+most*8:head+most*8+n*8])
	return out
}

// forkInPlace takes the fork from where the inode itself stands: an item of the
// core alone was logged when the fork was already there. at is where the item
// tells the number.
func (l *logReader) forkInPlace(it *item, in *inode, at int) (bool, error) {
	desc := it.regions[0]
	block := int64(it.order.Uint64(desc[at+24:]))
	boff := int64(int32(it.order.Uint32(desc[at+36:])))
	if block < 0 || block > maxBytes/512 || boff < 0 || boff > maxBlock {
		return false, nil
	}
	off := l.g.base + block*512 + boff
	b := make([]byte, len(in.raw))
	if _, err := l.f.v.ReadAt(b, off); err != nil {
		return false, l.f.readError(off, err)
	}
	there, ok := parseInode(b)
	if !ok || there.version != in.version || there.version == 3 && there.number != in.number ||
		there.gen != in.gen && !there.freed() || !there.freed() && there.format != in.format {
		return false, nil
	}
	copy(in.fork, there.wholeFork)
	if in.format == formatTree && there.freed() {
		return false, nil
	}
	return l.complete(in), nil
}

// buffer puts the block of names or the leaf of a map that an item brings.
func (l *logReader) buffer(it *item) error {
	b, _ := it.block()
	if len(b) < minBlock {
		return nil
	}
	t := fsys.Trace{Off: it.off, Origin: fsys.Log, Seq: it.lsn}
	if h, ok := parseDirHead(b); ok {
		t.Kind, t.Number = fsys.Names, h.owner
		return l.put(t)
	}
	if mb, ok := parseMapBlock(b); ok && mb.level == 0 && be.Uint64(mb.body[8:]) != 0 {
		t.Kind, t.Number = fsys.Map, mb.owner
		return l.put(t)
	}
	return nil
}
