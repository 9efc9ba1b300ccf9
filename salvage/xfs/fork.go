package xfs

import (
	"cmp"
	"context"
	"slices"

	"salvor/salvage/fsys"
)

const recordLen = 16 // of an extent

// bounds of the work for one file
const (
	maxExtents = 1 << 17
	maxNodes   = 4096
	maxLevel   = 8
)

// A run is an extent record taken apart, in blocks.
type run struct {
	at, start, count uint64
	unwritten        bool
}

// unpackRun reads a record: one bit unwritten, 54 at, 52 start, 21 count.
func unpackRun(b []byte) run {
	hi, lo := be.Uint64(b), be.Uint64(b[8:])
	return run{
		unwritten: hi>>63 != 0,
		at:        hi << 1 >> 10,
		start:     hi&0x1ff<<43 | lo>>21,
		count:     lo & (1<<21 - 1),
	}
}

// A mapper gathers the extents of one file.
type mapper struct {
	f     *FS
	g     *geometry
	owner uint64 // 0: anybody
	// stale: the counts in the map have been taken back, so that what follows them
	// is looked at too.
	stale   bool
	extents []fsys.Extent
	lost    int
	nodes   int
}

func (m *mapper) extent(r run) (fsys.Extent, bool) {
	off, ok := m.g.here(r.start, r.count)
	if !ok || r.at > maxBytes/uint64(m.g.block) {
		return fsys.Extent{}, false
	}
	return fsys.Extent{
		Logical: int64(r.at) * m.g.block, Off: off,
		Len: int64(r.count) * m.g.block, Unwritten: r.unwritten,
	}, true
}

// records adds n records that stand one behind another; of a stale map also what
// follows them, as long as it makes sense. It tells how many made sense.
func (m *mapper) records(b []byte, n uint64) int {
	last, good := int64(-1), 0
	m.extents = slices.Grow(m.extents, int(min(n, uint64(len(b)/recordLen))))
	for i := range uint64(len(b) / recordLen) {
		if i >= n && !m.stale || len(m.extents) >= maxExtents {
			break
		}
		e, ok := m.extent(unpackRun(b[i*recordLen:]))
		if ok = ok && e.Logical >= last; !ok && i >= n {
			break
		}
		if !ok {
			m.lost++
			continue
		}
		m.extents = append(m.extents, e)
		last = e.Logical + e.Len
		good++
	}
	if n > uint64(len(b)/recordLen) || len(m.extents) >= maxExtents {
		m.lost++
	}
	return good
}

// A mapBlock is a block of a file's block map (a bmbt block) taken apart.
type mapBlock struct {
	level int
	count int
	owner uint64 // version 5 only
	place uint64 // where it should stand, in 512-byte units; version 5 only
	body  []byte
	new   bool
}

const (
	magicMapOld = 0x424d4150 // "BMAP"
	magicMapNew = 0x424d4133 // "BMA3"
	mapHeadOld  = 24
	mapHeadNew  = 72
)

func parseMapBlock(b []byte) (mb mapBlock, ok bool) {
	if len(b) < minBlock {
		return mb, false
	}
	head := mapHeadOld
	switch be.Uint32(b) {
	case magicMapOld:
	case magicMapNew:
		mb.new = true
		head = mapHeadNew
		mb.place, mb.owner = be.Uint64(b[24:]), be.Uint64(b[56:])
	default:
		return mb, false
	}
	mb.level, mb.count, mb.body = int(be.Uint16(b[4:])), int(be.Uint16(b[6:])), b[head:]
	return mb, mb.level <= maxLevel && mb.count <= len(mb.body)/recordLen
}

// block reads a block of the map and tells whether it is this file's and of this
// level. Levels fall with every step, so that no map leads in a circle.
func (m *mapper) block(start uint64, level int) (mapBlock, bool, error) {
	off, ok := m.g.here(start, 1)
	if !ok || m.nodes >= maxNodes {
		return mapBlock{}, false, nil
	}
	m.nodes++
	b := make([]byte, m.g.block)
	if _, err := m.f.v.ReadAt(b, off); err != nil {
		return mapBlock{}, false, m.f.readError(off, err)
	}
	mb, ok := parseMapBlock(b)
	if ok && mb.new && (m.owner != 0 && mb.owner != m.owner || mb.place != uint64(off-m.g.base)/512) {
		ok = false
	}
	return mb, ok && mb.level == level, nil
}

// node adds what a block of the map leads to. ok: there was such a block.
func (m *mapper) node(ctx context.Context, start uint64, level int) (ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	mb, ok, err := m.block(start, level)
	if err != nil || !ok {
		return false, err
	}
	if level == 0 {
		m.records(mb.body, uint64(mb.count))
		return true, nil
	}
	room := len(mb.body) / recordLen
	return true, m.children(ctx, mb.body[:room*8], mb.body[room*8:room*16], mb.count, level)
}

// children follows pointers; keys say where in the file what they lead to begins.
func (m *mapper) children(ctx context.Context, keys, pointers []byte, n, level int) error {
	last := int64(-1)
	for i := range len(pointers) / 8 {
		if i >= n {
			key := int64(be.Uint64(keys[i*8:]))
			if !m.stale || key <= last {
				break
			}
		}
		last = int64(be.Uint64(keys[i*8:]))
		ok, err := m.node(ctx, be.Uint64(pointers[i*8:]), level-1)
		if err != nil {
			return err
		}
		if !ok && i >= n {
			break
		}
		if !ok {
			m.lost++
		}
	}
	return nil
}

// root follows the root of a map, which stands in the inode; room is the length of
// the data fork, on which the pointers' place depends.
func (m *mapper) root(ctx context.Context, fork []byte, room int) (ok bool, err error) {
	if room > len(fork) || room < 4+recordLen {
		return false, nil
	}
	level, n, most := int(be.Uint16(fork)), int(be.Uint16(fork[2:])), (room-4)/recordLen
	if level < 1 || level > maxLevel || n < 1 || n > most {
		return false, nil
	}
	keys := fork[4 : 4+n*8]
	pointers := fork[4+most*8:]
	return true, m.children(ctx, keys, pointers[:n*8], n, level)
}

// follow reads an inode's data fork.
func (m *mapper) follow(ctx context.Context, in *inode) error {
	switch {
	case !m.g.mapped() || in.realtime:
		m.lost += int(min(in.extents, maxExtents))
		return nil
	case in.freed():
		return m.leftover(ctx, in)
	case in.format == formatExtents:
		m.records(in.fork, in.extents)
	case in.format == formatTree:
		ok, err := m.root(ctx, in.fork, len(in.fork))
		if err != nil {
			return err
		}
		if !ok {
			m.lost++
		}
	}
	m.settle()
	return nil
}

// leftover reads what the fork of a freed inode still holds: extent records, or
// the root of a map. The count of the records has been zeroed, and where the
// attributes began is forgotten.
func (m *mapper) leftover(ctx context.Context, in *inode) error {
	m.stale = true
	if m.records(in.wholeFork, 0) > 0 {
		m.settle()
		return nil
	}
	if be.Uint16(in.wholeFork) == 0 {
		return nil
	}
	for room := len(in.wholeFork) &^ 7; room >= 4+recordLen; room -= 8 {
		if _, err := m.root(ctx, in.wholeFork, room); err != nil {
			return err
		}
		if len(m.extents) > 0 {
			break
		}
		m.lost = 0
	}
	m.settle()
	return nil
}

// settle orders the extents and drops what overlaps.
func (m *mapper) settle() {
	slices.SortStableFunc(m.extents, func(a, b fsys.Extent) int { return cmp.Compare(a.Logical, b.Logical) })
	end, kept := int64(0), m.extents[:0]
	for _, e := range m.extents {
		if e.Logical < end {
			m.lost++
			continue
		}
		end = e.Logical + e.Len
		kept = append(kept, e)
	}
	m.extents = kept
}
