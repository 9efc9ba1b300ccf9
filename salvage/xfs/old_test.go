package xfs

import (
	"encoding/binary"
	"testing"

	"salvor/salvage/fsys"
)

const oldOptions = "-m crc=0,finobt=0,reflink=0,bigtime=0 -i sparse=0"

// oldImage is an image of version 4, one of its files' record in a table and where
// its bytes are.
func oldImage(t *testing.T) (*image, *FS, fsys.Trace, *fsys.File) {
	t.Helper()
	path, _ := filled(t, oldOptions)
	v := openImage(t, path)
	s := sweep(t, v)
	for _, tr := range s.traces {
		if tr.Kind != fsys.Inode {
			continue
		}
		f, err := s.f.File(t.Context(), tr)
		must(t, err)
		if f.Type == fsys.Regular && len(f.Extents) == 1 && f.Size > 2*4096 {
			if f.Sure || f.Inode != tr.Number || f.Inode == 0 {
				t.Fatalf("%+v", f)
			}
			return v, s.f, tr, f
		}
	}
	t.Fatal("no file")
	return nil, nil, fsys.Trace{}, nil
}

// Version 4 frees an inode as version 5 does: type, size and counts become zero,
// its extent records stay. No kernel is needed to do that.
func TestOldFreed(t *testing.T) {
	_, f, tr, was := oldImage(t)
	for _, n := range [][2]int{{2, 4}, {16, 20}, {56, 64}, {64, 72}, {76, 80}, {82, 83}} {
		clear(tr.Raw[n[0]:n[1]])
	}
	is, err := f.File(t.Context(), tr)
	must(t, err)
	if !is.Deleted || is.Size != -1 || is.Type != fsys.Regular || is.Inode != was.Inode || len(is.Extents) != 1 || is.Extents[0].Off != was.Extents[0].Off {
		t.Errorf("%+v", is)
	}
}

// A map of two levels, in blocks of version 4, made by hand after the format's
// description: the inode's root leads to a node, the node to two leaves.
func TestOldTree(t *testing.T) {
	v, f, tr, was := oldImage(t)
	g := f.main()
	first := uint64((was.Extents[0].Off) / g.block)
	ag := first / uint64(g.agBlocks)
	fsblock := func(n uint64) uint64 { return ag<<g.groupBits() + n - ag*uint64(g.agBlocks) }
	last := (ag+1)*uint64(g.agBlocks) - 8 // blocks that nobody uses
	block := func(level, n int) []byte {
		b := make([]byte, g.block)
		be.PutUint32(b, magicMapOld)
		be.PutUint16(b[4:], uint16(level))
		be.PutUint16(b[6:], uint16(n))
		return b
	}
	write := func(b []byte, at uint64) {
		_, err := v.WriteAt(b, int64(at)*g.block)
		must(t, err)
	}
	room := (int(g.block) - mapHeadOld) / 16
	node := block(1, 2)
	for i := range uint64(2) {
		leaf := block(0, 1)
		start, count := fsblock(first+i), uint64(1)
		if i == 1 {
			count = 5 // longer than the file
		}
		be.PutUint64(leaf[mapHeadOld:], i<<9|start>>43)
		be.PutUint64(leaf[mapHeadOld+8:], start<<21|count)
		write(leaf, last+1+i)
		be.PutUint64(node[mapHeadOld+8*int(i):], i)
		be.PutUint64(node[mapHeadOld+8*room+8*int(i):], fsblock(last+1+i))
	}
	write(node, last)
	raw := tr.Raw
	raw[5], raw[82] = formatTree, 0
	be.PutUint32(raw[76:], 2)
	fork := raw[coreOld:]
	clear(fork)
	be.PutUint16(fork, 2)
	be.PutUint16(fork[2:], 1)
	be.PutUint64(fork[4+8*((len(fork)-4)/16):], fsblock(last))

	is, err := f.File(t.Context(), tr)
	must(t, err)
	want := []fsys.Extent{
		{Logical: 0, Off: was.Extents[0].Off, Len: 4096},
		{Logical: 4096, Off: was.Extents[0].Off + 4096, Len: was.Size - 4096},
	}
	if is.Lost != 0 || len(is.Extents) != 2 || is.Extents[0] != want[0] || is.Extents[1] != want[1] {
		t.Errorf("%+v", is)
	}
	be.PutUint64(node[mapHeadOld+8*room+8:], fsblock(last)) // leads back to itself
	write(node, last)
	if is, err = f.File(t.Context(), tr); err != nil || is.Lost != 1 || len(is.Extents) != 1 {
		t.Errorf("%+v, %v", is, err)
	}
	leaf := fsys.Trace{Kind: fsys.Map, Off: int64(last+1) * g.block}
	if is, err = f.File(t.Context(), leaf); err != nil || is.Size != -1 || len(is.Extents) != 1 || is.Inode != 0 {
		t.Errorf("%+v, %v", is, err)
	}
}

// What is known of another geometry is learned again after a sweep was resumed.
func TestResumed(t *testing.T) {
	b := aged(t, "")
	command(t, "mkfs.xfs", "-q", "-f", "-K", "--unsupported", "-d", "agcount=5", b.path)
	v := openImage(t, b.path)
	s := sweep(t, v)
	f, err := Open(t.Context(), v)
	must(t, err)
	wrong := 0
	for _, tr := range s.traces {
		if tr.Kind != fsys.Inode {
			continue
		}
		then, err := s.f.File(t.Context(), tr)
		must(t, err)
		now, err := f.File(t.Context(), tr)
		must(t, err)
		if len(then.Extents) != len(now.Extents) || len(now.Extents) > 0 && now.Extents[0] != then.Extents[0] {
			wrong++
		}
	}
	if len(f.geometries()) != 2 || !f.geometries()[1].same(b.g) || wrong > len(s.traces)/5 {
		t.Errorf("%d geometries, %d of %d inodes wrong", len(f.geometries()), wrong, len(s.traces))
	}
}

// An item's description may be split between two records anywhere, even in its
// first bytes.
func TestSplitDescription(t *testing.T) {
	desc := make([]byte, 56)
	binary.LittleEndian.PutUint16(desc, itemInode)
	binary.LittleEndian.PutUint16(desc[2:], 2)
	core := make([]byte, coreNew)
	op := func(flags byte, data []byte) []byte {
		head := make([]byte, opLen)
		be.PutUint32(head, 7)
		be.PutUint32(head[4:], uint32(len(data)))
		head[8], head[9] = opTransaction, flags
		return append(head, data...)
	}
	for cut := range len(desc) + 1 {
		var a assembler
		got := 0
		for _, body := range [][]byte{
			op(opContinue, desc[:cut]),
			append(op(opContinued, desc[cut:]), op(0, core)...),
		} {
			r := &logRecord{body: body, order: binary.LittleEndian, heads: 1}
			must(t, a.feed(r, func(it *item) error {
				if it.kind == itemInode && len(it.regions) == 2 && len(it.regions[0]) == 56 {
					got++
				}
				return nil
			}))
		}
		if got != 1 {
			t.Errorf("cut after %d bytes: %d items", cut, got)
		}
	}
}
