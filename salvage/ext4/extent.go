package ext4

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"salvor/salvage/fsys"
)

// Bounds of one file's map. A file of 2^18 pieces is worse than any that was ever
// seen; each piece costs 40 bytes.
const (
	maxExtents = 1 << 18
	maxNodes   = 1 << 12
)

// A header begins each node of an extent tree.
type header []byte

func (h header) magic() uint16   { return binary.LittleEndian.Uint16(h) }
func (h header) entries() uint16 { return binary.LittleEndian.Uint16(h[2:]) }
func (h header) max() uint16     { return binary.LittleEndian.Uint16(h[4:]) }
func (h header) depth() uint16   { return binary.LittleEndian.Uint16(h[6:]) }

// entry is one of a node's entries; nil where there is no room for it.
func (h header) entry(i int) []byte {
	if at := extentSize * (i + 1); at+extentSize <= len(h) {
		return h[at:][:extentSize]
	}
	return nil
}

// likeNode tells whether a block looks like a node of an extent tree. How many
// entries it has room for follows from its size.
func (f *FS) likeNode(p []byte) bool {
	h := header(p)
	if h.magic() != extentMagic || int(h.max()) != (len(p)-extentSize)/extentSize ||
		h.entries() == 0 || h.entries() > h.max() || h.depth() >= maxDepth {
		return false
	}
	last := int64(-1)
	for i := range int(h.entries()) {
		e := h.entry(i)
		logical, _, place, _ := piece(e)
		if h.depth() > 0 {
			place = child(e)
		}
		if logical <= last || place == 0 || place >= uint64(f.limit/f.bs) {
			return false
		}
		last = logical
	}
	return true
}

// piece reads a leaf's entry, in blocks.
func piece(e []byte) (logical, length int64, place uint64, unwritten bool) {
	logical = int64(binary.LittleEndian.Uint32(e))
	length = int64(binary.LittleEndian.Uint16(e[4:]))
	if length > 1<<15 {
		length, unwritten = length-1<<15, true
	}
	return logical, length, uint64(binary.LittleEndian.Uint16(e[6:]))<<32 | uint64(binary.LittleEndian.Uint32(e[8:])), unwritten
}

// child reads an index entry's block.
func child(e []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(e[4:])) | uint64(binary.LittleEndian.Uint16(e[8:]))<<32
}

// A mapper gathers the extents of one file.
type mapper struct {
	f       *FS
	ctx     context.Context
	extents []fsys.Extent
	lost    int
	nodes   int
	seen    map[uint64]bool // blocks of the map that were read, against cycles
	key     *uint32         // of the file, where it is known: its blocks' checksums prove them its own
}

// add takes a piece of the file, in blocks, if it can be one.
func (m *mapper) add(logical, length int64, place uint64, unwritten bool) {
	bs := m.f.bs
	if length <= 0 || place == 0 || place+uint64(length) > uint64(m.f.limit/bs) || len(m.extents) >= maxExtents {
		m.lost++
		return
	}
	e := fsys.Extent{Logical: logical * bs, Off: int64(place) * bs, Len: length * bs, Unwritten: unwritten}
	if n := len(m.extents); n > 0 {
		last := &m.extents[n-1]
		if last.Logical+last.Len == e.Logical && last.Off+last.Len == e.Off && last.Unwritten == e.Unwritten {
			last.Len += e.Len
			return
		}
	}
	m.extents = append(m.extents, e)
}

// read reads a block of the map, once. It answers nil for what makes no sense or
// cannot be read.
func (m *mapper) read(place uint64) ([]byte, error) {
	if err := m.ctx.Err(); err != nil {
		return nil, err
	}
	if m.nodes >= maxNodes || m.seen[place] {
		m.lost++
		return nil, nil
	}
	if m.seen == nil {
		m.seen = map[uint64]bool{}
	}
	m.seen[place] = true
	m.nodes++
	p, err := m.f.block(place)
	if p == nil {
		m.lost++
	}
	return p, err
}

// tree gathers what a node of an extent tree holds. The depth says how many more
// levels there may be: a child must be less deep than its parent.
func (m *mapper) tree(h header, depth int) error {
	if h.magic() != extentMagic || int(h.depth()) > depth {
		m.lost++
		return nil
	}
	for i := range int(h.entries()) {
		e := h.entry(i)
		if e == nil {
			m.lost++ // more entries than there is room for
			return nil
		}
		if h.depth() == 0 {
			m.add(piece(e))
			continue
		}
		p, err := m.read(child(e))
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		if !m.owns(p, e) {
			m.lost++
			continue
		}
		if err := m.tree(p, int(h.depth())-1); err != nil {
			return err
		}
	}
	return nil
}

// owns tells whether a block may be the node that an index entry names. The block
// of a removed file may have become another file's.
func (m *mapper) owns(p, index []byte) bool {
	h := header(p)
	if first := h.entry(0); h.magic() != extentMagic || h.entries() > 0 && binary.LittleEndian.Uint32(first) < binary.LittleEndian.Uint32(index) {
		return false
	}
	if m.key == nil {
		return true
	}
	sum, covers, ok := blockSum(p)
	return ok && crc(*m.key, p[:covers]) == sum
}

// sorted orders the extents by place in the file, and cuts off what two of them
// claim: which of them is right nobody knows.
func (m *mapper) sorted() []fsys.Extent {
	all := m.extents
	slices.SortStableFunc(all, func(a, b fsys.Extent) int { return cmp.Compare(a.Logical, b.Logical) })
	kept := all[:0]
	for _, e := range all {
		if n := len(kept); n > 0 {
			if over := kept[n-1].Logical + kept[n-1].Len - e.Logical; over > 0 {
				m.lost++
				if over >= e.Len {
					continue
				}
				e.Logical, e.Off, e.Len = e.Logical+over, e.Off+over, e.Len-over
			}
		}
		kept = append(kept, e)
	}
	return kept
}
