package ext4

import "encoding/binary"

const directBlocks = 12

// blockMap gathers what the 15 pointers of ext2 and ext3 lead to: twelve blocks,
// and trees of one, two and three levels. Pieces behind the file's end are left
// out, as far as it is known.
func (m *mapper) blockMap(p []byte) error {
	at := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(p[4*i:])) }
	for i := range directBlocks {
		if at(i) != 0 {
			m.add(int64(i), 1, at(i), false)
		}
	}
	logical, span := int64(directBlocks), m.f.bs/4
	for level := 1; level <= 3; level++ {
		if block := at(directBlocks + level - 1); block != 0 {
			if err := m.indirect(block, level, logical, span); err != nil {
				return err
			}
		}
		logical += span
		span *= m.f.bs / 4
	}
	return nil
}

// indirect gathers a tree of some levels that maps span blocks from logical on.
func (m *mapper) indirect(block uint64, level int, logical, span int64) error {
	p, err := m.read(block)
	if p == nil || err != nil {
		return err
	}
	per := span / (m.f.bs / 4)
	for ; len(p) >= 4; p = p[4:] {
		next := uint64(binary.LittleEndian.Uint32(p))
		switch {
		case next == 0: // a hole
		case level == 1:
			m.add(logical, 1, next, false)
		default:
			if err := m.indirect(next, level-1, logical, per); err != nil {
				return err
			}
		}
		logical += per
	}
	return nil
}
