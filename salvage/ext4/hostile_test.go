package ext4

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand"
	"os"
	"slices"
	"testing"

	"salvor/salvage/fsys"
)

// newRecord makes an inode of a regular file with blocks of 1 KiB.
func newRecord(size uint64, blockMap ...uint32) record {
	r := make(record, 256)
	binary.LittleEndian.PutUint16(r, modeRegular|0o600)
	binary.LittleEndian.PutUint32(r[4:], uint32(size))
	binary.LittleEndian.PutUint32(r[0x6C:], uint32(size>>32))
	r[0x1A] = 1
	binary.LittleEndian.PutUint32(r[0x20:], flagExtents)
	for i, n := range blockMap {
		binary.LittleEndian.PutUint32(r[mapOff+4*i:], n)
	}
	return r
}

func (r record) with(at int, value uint32) record {
	binary.LittleEndian.PutUint32(r[at:], value)
	return r
}

const (
	head4    = extentMagic // and the number of entries in the upper half
	leafOf   = 4           // depth 0, room for 4
	indexOf1 = 4 | 1<<16
)

func TestHostileFiles(t *testing.T) {
	const k = 1024
	p := make([]byte, 64*k)
	node := func(block int, words ...uint32) {
		for i, w := range words {
			binary.LittleEndian.PutUint32(p[block*k+4*i:], w)
		}
	}
	node(2, head4|1<<16, 84|1<<16, 0, 0, 2)         // leads to itself
	node(3, head4|2<<16, 84, 0, 0, 1, 10, 1, 1, 11) // a leaf
	node(4, 5, 6, 0, 7)                             // an indirect block
	node(5, 4, 5)                                   // one that leads to itself
	ext := func(logical, off, length int64) fsys.Extent {
		return fsys.Extent{Logical: logical * k, Off: off * k, Len: length * k}
	}
	unwritten := ext(0, 10, 3)
	unwritten.Unwritten = true
	for _, c := range []struct {
		name    string
		r       record
		extents []fsys.Extent
		lost    int
		size    int64
		err     error
	}{
		{name: "one extent", r: newRecord(1500, head4|1<<16, leafOf, 0, 0, 2, 10), extents: []fsys.Extent{ext(0, 10, 2)}, size: 1500},
		{name: "unwritten", r: newRecord(1500, head4|1<<16, leafOf, 0, 0, 32768+3, 10), extents: []fsys.Extent{unwritten}, size: 1500},
		{name: "not in order", r: newRecord(4000, head4|2<<16, leafOf, 0, 2, 2, 20, 0, 2, 10), extents: []fsys.Extent{ext(0, 10, 2), ext(2, 20, 2)}, size: 4000},
		{name: "over each other", r: newRecord(4000, head4|2<<16, leafOf, 0, 0, 3, 10, 1, 3, 20), extents: []fsys.Extent{ext(0, 10, 3), ext(3, 22, 1)}, lost: 1, size: 4000},
		{name: "behind the volume", r: newRecord(100, head4|2<<16, leafOf, 0, 0, 1, 10, 1, 2, 63), extents: []fsys.Extent{ext(0, 10, 1)}, lost: 1, size: 100},
		{name: "empty extent", r: newRecord(100, head4|1<<16, leafOf, 0, 0, 0, 10), lost: 1, size: 100},
		{name: "more entries than room", r: newRecord(100, head4|9<<16, leafOf, 0, 0, 1, 10, 1, 1, 11, 2, 1, 12, 3, 1, 13), extents: []fsys.Extent{ext(0, 10, 4)}, lost: 1, size: 100},
		{name: "no header", r: newRecord(100, 0, leafOf, 0, 0, 1, 10), lost: 1, size: 100},
		{name: "too deep", r: newRecord(100, head4|1<<16, 4|9<<16, 0, 0, 3), lost: 1, size: 100},
		{name: "a tree", r: newRecord(2000, head4|1<<16, indexOf1, 0, 0, 3), extents: []fsys.Extent{ext(0, 10, 2)}, size: 2000},
		{name: "a child twice", r: newRecord(2000, head4|2<<16, indexOf1, 0, 0, 3, 0, 0, 3), extents: []fsys.Extent{ext(0, 10, 2)}, lost: 1, size: 2000},
		{name: "a circle", r: newRecord(2000, head4|1<<16, 4|3<<16, 0, 0, 2), lost: 1, size: 2000},
		{name: "a block map", r: newRecord(13*k, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 4).with(0x20, 0),
			extents: []fsys.Extent{ext(0, 10, 2), ext(11, 12, 1), ext(12, 5, 2), ext(15, 7, 1)}, size: 13 * k},
		{name: "a block map in a circle", r: newRecord(100, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 5).with(0x20, 0),
			extents: []fsys.Extent{ext(0, 10, 1), ext(268, 5, 2), ext(271, 7, 1)}, lost: 2, size: 100},
		{name: "sparse beyond reason", r: newRecord(1<<40, head4|1<<16, leafOf, 0, 0, 2, 10), err: ErrNonsense},
		{name: "2^63 bytes", r: newRecord(1<<63, head4|1<<16, leafOf, 0, 0, 2, 10), err: ErrNonsense},
		{name: "text", r: record(bytes.Repeat([]byte("mail from "), 26)[:256]), err: ErrNonsense},
		{name: "removed", r: newRecord(0, head4, leafOf).with(0x18, 0).with(0x14, 1188600000), err: ErrEmpty},
		{name: "removed with its map", r: newRecord(0, head4|1<<16, leafOf, 0, 0, 2, 10).with(0x18, 0), extents: []fsys.Extent{ext(0, 10, 2)}, size: -1},
		{name: "encrypted", r: newRecord(100, head4|1<<16, leafOf, 0, 0, 1, 10).with(0x20, flagExtents|flagEncrypted), err: ErrEncrypted},
		{name: "compressed", r: newRecord(100, 10).with(0x20, flagCompressed), err: ErrCompressed},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Guess(memory(p), k)
			file, err := f.File(context.Background(), fsys.Trace{Kind: fsys.Inode, Off: 8 * k, Raw: c.r})
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("%+v, %v, want %v", file, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(file.Extents, c.extents) || file.Lost != c.lost || file.Size != c.size {
				t.Errorf("%d bytes, %d lost, %+v\nwant %d, %d, %+v", file.Size, file.Lost, file.Extents, c.size, c.lost, c.extents)
			}
		})
	}
}

// Small images of each kind, in which numbers were replaced by others that a
// program stumbles over, are read without harm.
func TestHandDamaged(t *testing.T) {
	odd := []uint32{0, 1, 2, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, 0x10000, 0xF30A, 0x0004F30A, superMagic, 8192, 0x80000000}
	for name, args := range map[string][]string{
		"ext4":    {"-t", "ext4", "-b", "1024", "-N", "64"},
		"ext3":    {"-t", "ext3", "-b", "1024", "-N", "64"},
		"meta_bg": {"-t", "ext4", "-b", "1024", "-N", "64", "-O", "meta_bg,^resize_inode,inline_data"},
	} {
		image := newImage(t, 4, append([]string{"-d", "testdata"}, args...)...)
		whole, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range int64(12) {
			r := rand.New(rand.NewSource(seed))
			p := bytes.Clone(whole)
			for range 300 { // where the metadata is
				binary.LittleEndian.PutUint32(p[superSize+4*r.Intn(300<<10/4):], odd[r.Intn(len(odd))])
			}
			if seed%2 == 0 { // else hardly any superblock would be left to follow
				copy(p[superSize:2*superSize], whole[superSize:])
				binary.LittleEndian.PutUint32(p[superSize+4*r.Intn(100):], odd[r.Intn(len(odd))])
			}
			f, err := Open(context.Background(), memory(p))
			if errors.Is(err, ErrNoSuper) {
				f = Guess(memory(p), 1024)
			} else if err != nil {
				t.Fatalf("%s, seed %d: %v", name, seed, err)
			}
			exercise(t, f)
			if t.Failed() {
				t.Fatalf("%s, seed %d", name, seed)
			}
		}
	}
}
