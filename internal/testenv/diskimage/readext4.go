package diskimage

import (
	"encoding/binary"
	"fmt"
	"os"
)

// ext4 reads what mke2fs makes today: extents or lists of blocks, linear or hashed
// directories (whose index looks like empty entries to who reads them in order),
// as ext2 and ext3 have them too. The layout is that of the kernel's Documentation/filesystems/ext4.
type ext4 struct {
	f                       *os.File
	block                   int64
	first, blocks, perGroup int64
	inodes, inodeSize       int64 // inodes of a group, bytes of one
	groups, descriptor      int64
	reserved                int64 // blocks kept for more descriptors
	table                   []int64
}

func newExt4(f *os.File, sb []byte) (*ext4, error) {
	le := binary.LittleEndian
	e := &ext4{f: f, block: 1024 << le.Uint32(sb[24:]), first: int64(le.Uint32(sb[20:])), blocks: int64(le.Uint32(sb[4:])),
		perGroup: int64(le.Uint32(sb[32:])), inodes: int64(le.Uint32(sb[40:])), inodeSize: int64(le.Uint16(sb[88:])), descriptor: 32}
	if le.Uint32(sb[96:])&0x80 != 0 { // 64bit
		e.descriptor = int64(le.Uint16(sb[254:]))
	}
	e.reserved = int64(le.Uint16(sb[206:]))
	e.groups = (e.blocks - e.first + e.perGroup - 1) / e.perGroup
	all := make([]byte, e.groups*e.descriptor)
	if _, err := f.ReadAt(all, (e.first+1)*e.block); err != nil {
		return nil, err
	}
	for ; len(all) > 0; all = all[e.descriptor:] {
		at := int64(le.Uint32(all[8:]))
		if e.descriptor >= 64 {
			at |= int64(le.Uint32(all[0x28:])) << 32
		}
		e.table = append(e.table, at*e.block)
	}
	return e, nil
}

func (e *ext4) root() uint64 { return 2 }

const extentsFlag = 0x80000

func (e *ext4) node(number uint64) (*node, error) {
	le := binary.LittleEndian
	g, i := int64(number-1)/e.inodes, int64(number-1)%e.inodes
	if number == 0 || g >= e.groups {
		return nil, fmt.Errorf("no inode %d", number)
	}
	n := &node{number: number, at: e.table[g] + i*e.inodeSize}
	b := make([]byte, e.inodeSize)
	if _, err := e.f.ReadAt(b, n.at); err != nil {
		return nil, err
	}
	n.mode = le.Uint16(b)
	n.size = int64(le.Uint32(b[4:])) | int64(le.Uint32(b[0x6c:]))<<32
	var err error
	if le.Uint32(b[0x20:])&extentsFlag != 0 {
		err = e.extents(n, b[0x28:0x28+60])
	} else if n.mode>>12 == 4 || n.mode>>12 == 8 { // devices and short links keep something else there
		err = e.lists(n, b[0x28:0x28+60])
	}
	n.extents = join(n.extents)
	return n, err
}

// lists reads the map of blocks that was there before extents: twelve, and one
// block each that lists blocks, lists of blocks, and lists of those.
func (e *ext4) lists(n *node, b []byte) error {
	at := int64(0)
	var list func(block int64, depth int) error
	list = func(block int64, depth int) error {
		if depth == 0 {
			if block != 0 {
				n.extents = append(n.extents, Extent{at, block * e.block, e.block})
			}
			at += e.block
			return nil
		}
		if at >= n.size {
			return nil
		}
		n.blocks = append(n.blocks, block*e.block)
		b := make([]byte, e.block)
		if _, err := e.f.ReadAt(b, block*e.block); err != nil {
			return err
		}
		for ; len(b) > 0 && at < n.size; b = b[4:] {
			if err := list(int64(binary.LittleEndian.Uint32(b)), depth-1); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range 15 {
		if err := list(int64(binary.LittleEndian.Uint32(b[4*i:])), max(0, i-11)); err != nil {
			return err
		}
	}
	return nil
}

func (e *ext4) extents(n *node, b []byte) error {
	le := binary.LittleEndian
	if le.Uint16(b) != 0xf30a {
		return nil
	}
	entries, depth := int(le.Uint16(b[2:])), le.Uint16(b[6:])
	for i := range entries {
		x := b[12+12*i:]
		if depth == 0 {
			length := int64(le.Uint16(x[4:]))
			if length > 32768 {
				length -= 32768
			}
			at := int64(le.Uint16(x[6:]))<<32 | int64(le.Uint32(x[8:]))
			n.extents = append(n.extents, Extent{int64(le.Uint32(x)) * e.block, at * e.block, length * e.block})
			continue
		}
		at := (int64(le.Uint32(x[4:])) | int64(le.Uint16(x[8:]))<<32) * e.block
		n.blocks = append(n.blocks, at)
		next := make([]byte, e.block)
		if _, err := e.f.ReadAt(next, at); err != nil {
			return err
		}
		if err := e.extents(n, next); err != nil {
			return err
		}
	}
	return nil
}

func (e *ext4) children(n *node) (all []child, err error) {
	le := binary.LittleEndian
	b, err := readExtents(e.f, n.extents, n.size)
	for ; len(b) > 0; b = b[e.block:] {
		for block := b[:e.block]; len(block) >= 12; {
			length := int(le.Uint16(block[4:]))
			if length < 8 || length > len(block) {
				return nil, fmt.Errorf("an entry of %d bytes in directory %d", length, n.number)
			}
			number, name := uint64(le.Uint32(block)), string(block[8:8+min(int(block[6]), length-8)])
			if number != 0 && name != "." && name != ".." {
				all = append(all, child{name, number})
			}
			block = block[length:]
		}
	}
	return all, err
}

// headers: sparse_super keeps copies in the groups 0, 1 and the powers of 3, 5
// and 7.
func (e *ext4) headers() (first, all []Extent) {
	length := (1 + (e.groups*e.descriptor+e.block-1)/e.block + e.reserved) * e.block
	for g := range e.groups {
		if g > 1 && !power(g, 3) && !power(g, 5) && !power(g, 7) {
			continue
		}
		at := (e.first + g*e.perGroup) * e.block
		x := Extent{Off: at, Len: min(length, e.blocks*e.block-at)}
		if g == 0 {
			x.Off, x.Len = 0, x.Off+x.Len
		}
		all = append(all, x)
	}
	return all[:1], all
}

func power(n, base int64) bool {
	for n%base == 0 {
		n /= base
	}
	return n == 1
}

func (e *ext4) tables(nodes []uint64) (all []Extent, err error) {
	used := make([]bool, e.groups)
	for _, n := range nodes {
		used[int64(n-1)/e.inodes] = true
	}
	for g, at := range e.table {
		if used[g] {
			all = append(all, Extent{Off: at, Len: (e.inodes*e.inodeSize + e.block - 1) / e.block * e.block})
		}
	}
	return all, nil
}
