package diskimage

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
)

// xfs reads what mkfs.xfs makes today (version 5). The layout is that of the "XFS
// Algorithms & Data Structures" book.
type xfs struct {
	f                             *os.File
	block, sector, inodeSize      int64
	blocks, agBlocks, ags         int64
	dirBlock                      int64
	inodeLog, agLog               uint
	top                           uint64
	headerLeaf, headerDir, record int
}

func newXFS(f *os.File, sb []byte) *xfs {
	be := binary.BigEndian
	x := &xfs{f: f, block: int64(be.Uint32(sb[4:])), sector: int64(be.Uint16(sb[102:])), inodeSize: int64(be.Uint16(sb[104:])),
		blocks: int64(be.Uint64(sb[8:])), agBlocks: int64(be.Uint32(sb[84:])), ags: int64(be.Uint32(sb[88:])),
		inodeLog: uint(sb[123]), agLog: uint(sb[124]), top: be.Uint64(sb[56:]), headerLeaf: 72, headerDir: 64, record: 176}
	x.dirBlock = x.block << sb[192]
	return x
}

func (x *xfs) root() uint64 { return x.top }

// place turns a file system block's number, made of an allocation group's and one
// within it, into bytes.
func (x *xfs) place(block uint64) int64 {
	return (int64(block>>x.agLog)*x.agBlocks + int64(block&(1<<x.agLog-1))) * x.block
}

func (x *xfs) at(number uint64) int64 {
	return x.place(number>>x.inodeLog) + int64(number&(1<<x.inodeLog-1))*x.inodeSize
}

func (x *xfs) node(number uint64) (*node, error) {
	be := binary.BigEndian
	n := &node{number: number, at: x.at(number)}
	b := make([]byte, x.inodeSize)
	if _, err := x.f.ReadAt(b, n.at); err != nil {
		return nil, err
	}
	if string(b[:2]) != "IN" || b[4] < 3 {
		return nil, fmt.Errorf("no inode %d", number)
	}
	n.mode, n.size = be.Uint16(b[2:]), int64(be.Uint64(b[56:]))
	fork := b[x.record:]
	if b[82] != 0 {
		fork = fork[:int(b[82])*8]
	}
	switch b[5] {
	case 1:
		n.inline = fork[:min(n.size, int64(len(fork)))]
	case 2:
		x.records(n, fork, int(be.Uint32(b[76:])))
	case 3:
		// The pointers stand behind room for as many keys as fit.
		most := (len(fork) - 4) / 16
		for i := range int(be.Uint16(fork[2:])) {
			if err := x.tree(n, be.Uint64(fork[4+8*most+8*i:])); err != nil {
				return nil, err
			}
		}
	}
	n.extents = join(n.extents)
	return n, nil
}

// records are packed: a flag, 54 bits of offset, 52 of block, 21 of length.
func (x *xfs) records(n *node, b []byte, count int) {
	be := binary.BigEndian
	for i := range count {
		hi, lo := be.Uint64(b[16*i:]), be.Uint64(b[16*i+8:])
		n.extents = append(n.extents, Extent{int64(hi>>9&(1<<54-1)) * x.block, x.place(hi&0x1ff<<43 | lo>>21), int64(lo&(1<<21-1)) * x.block})
	}
}

func (x *xfs) tree(n *node, block uint64) error {
	be := binary.BigEndian
	at := x.place(block)
	n.blocks = append(n.blocks, at)
	b := make([]byte, x.block)
	if _, err := x.f.ReadAt(b, at); err != nil {
		return err
	}
	level, count := be.Uint16(b[4:]), int(be.Uint16(b[6:]))
	if level == 0 {
		x.records(n, b[x.headerLeaf:], count)
		return nil
	}
	most := (len(b) - x.headerLeaf) / 16
	for i := range count {
		if err := x.tree(n, be.Uint64(b[x.headerLeaf+8*most+8*i:])); err != nil {
			return err
		}
	}
	return nil
}

// leaves begin at this logical place of a directory: no names from there on.
const xfsLeaves = 32 << 30

func (x *xfs) children(n *node) (all []child, err error) {
	if n.inline != nil {
		return inlineChildren(n.inline), nil
	}
	be := binary.BigEndian
	for _, e := range n.extents {
		if e.Logical >= xfsLeaves {
			continue
		}
		b := make([]byte, e.Len)
		if _, err := x.f.ReadAt(b, e.Off); err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[x.dirBlock:] {
			block := b[:x.dirBlock]
			switch magic := string(block[:4]); magic {
			case "XDD3":
			case "XDB3": // leaf entries and their count stand at its end
				block = block[:len(block)-8-8*int(be.Uint32(block[len(block)-8:]))]
			default:
				return nil, fmt.Errorf("directory %d: a block that begins with %q", n.number, magic)
			}
			for rest := block[x.headerDir:]; len(rest) >= 16; {
				if be.Uint16(rest) == 0xffff { // free room
					rest = rest[be.Uint16(rest[2:]):]
					continue
				}
				number, length := be.Uint64(rest), int(rest[8])
				if name := string(rest[9 : 9+length]); name != "." && name != ".." {
					all = append(all, child{name, number})
				}
				rest = rest[(9+length+1+2+7)/8*8:] // with the type of the file, and a tag
			}
		}
	}
	return all, nil
}

// inlineChildren are of a directory that fits into its inode.
func inlineChildren(b []byte) (all []child) {
	be := binary.BigEndian
	count, wide := int(b[0]), 4
	if b[1] > 0 { // so many do not fit into 32 bits
		wide = 8
	}
	b = b[2+wide:]
	for range count {
		length := int(b[0])
		c := child{name: string(b[3 : 3+length])}
		number := b[3+length+1:]
		if wide == 8 {
			c.number = be.Uint64(number)
		} else {
			c.number = uint64(be.Uint32(number))
		}
		all = append(all, c)
		b = number[wide:]
	}
	return all
}

// headers are the four sectors at the beginning of each allocation group.
func (x *xfs) headers() (first, all []Extent) {
	for g := range x.ags {
		all = append(all, Extent{Off: g * x.agBlocks * x.block, Len: 4 * x.sector})
	}
	return all[:1], all
}

// chunkInodes is how many inodes are allocated together.
const chunkInodes = 64

// tables leaves out what is no inode: a chunk may be sparse, and mail stand in the
// rest of it.
func (x *xfs) tables(nodes []uint64) (all []Extent, err error) {
	seen := map[int64]bool{}
	for _, n := range nodes {
		at := x.at(n &^ (chunkInodes - 1))
		for end := at + chunkInodes*x.inodeSize; at < end; at += x.block {
			if seen[at] {
				continue
			}
			seen[at] = true
			var b [5]byte
			if _, err := x.f.ReadAt(b[:], at); err != nil {
				return nil, err
			}
			if string(b[:2]) == "IN" && b[4] == 3 {
				all = append(all, Extent{Off: at, Len: x.block})
			}
		}
	}
	slices.SortFunc(all, func(a, b Extent) int { return cmp.Compare(a.Off, b.Off) })
	return together(all), nil
}

// together makes one piece of blocks that follow each other, up to a chunk.
func together(all []Extent) (pieces []Extent) {
	for _, e := range all {
		if n := len(pieces); n > 0 && pieces[n-1].Off+pieces[n-1].Len == e.Off && e.Off%(8*blockSize) != 0 {
			pieces[n-1].Len += e.Len
			continue
		}
		pieces = append(pieces, e)
	}
	return pieces
}
