package ext4

import (
	"context"
	"errors"
	"os"
	"testing"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// errEnough ends a sweep over an image that is all traces.
var errEnough = errors.New("enough")

// exercise does everything that can be done with a volume, and checks what must
// hold of whatever comes out.
func exercise(t testing.TB, f *FS) {
	ctx := context.Background()
	var traces []fsys.Trace
	put := func(tr fsys.Trace) error {
		if tr.Off < 0 || tr.Off >= f.limit || len(tr.Raw) > 4096 {
			t.Errorf("a trace at %d, with %d bytes", tr.Off, len(tr.Raw))
		}
		tr.Raw = append([]byte(nil), tr.Raw...)
		if traces = append(traces, tr); len(traces) > 2000 {
			return errEnough
		}
		return nil
	}
	all := func() {
		if err := f.Known(ctx, put); err != nil && err != errEnough {
			t.Error(err)
		}
	}
	all()
	p := make([]byte, min(f.v.Size(), 4<<20))
	for off := int64(0); off < f.v.Size() && len(traces) < 2000; off += int64(len(p)) {
		n := min(int64(len(p)), f.v.Size()-off)
		unknown, err := f.v.ReadAt(p[:n], off)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Look(volume.Window{Off: off, Data: p[:n], Unknown: unknown}, put); err != nil && err != errEnough {
			t.Error(err)
		}
	}
	for _, tr := range traces {
		if err := f.Learn(ctx, tr); err != nil {
			t.Error(err)
		}
	}
	if len(traces) < 2000 {
		all()
	}
	for _, tr := range traces {
		checkTrace(t, f, tr)
	}
}

func checkTrace(t testing.TB, f *FS, tr fsys.Trace) {
	ctx := context.Background()
	names := 0
	_ = f.Entries(ctx, tr, func(e fsys.Entry) error { // what it answers to nonsense is its own affair
		if e.Name == "" || e.Name == "." || e.Name == ".." || e.Child == 0 || len(e.Name) > 255 {
			t.Errorf("an entry %q of inode %d", e.Name, e.Child)
		}
		if names++; names > 10000 {
			return errEnough
		}
		return nil
	})
	_, _ = f.Owner(tr)
	file, err := f.File(ctx, tr)
	if err != nil {
		return
	}
	end := int64(0)
	for _, e := range file.Extents {
		if e.Logical < end || e.Len <= 0 || e.Off < 0 || e.Off+e.Len > f.limit {
			t.Errorf("extents %+v", file.Extents)
			break
		}
		end = e.Logical + e.Len
	}
	if file.Size < -1 || len(file.Extents) > maxExtents {
		t.Errorf("a file of %d bytes in %d extents", file.Size, len(file.Extents))
	}
}

// sample is a part of a real image.
func sample(f *testing.F, off, length int64, args ...string) []byte {
	image := newImage(f, 4, append([]string{"-d", "testdata"}, args...)...)
	p, err := os.ReadFile(image)
	if err != nil {
		f.Fatal(err)
	}
	return p[off:][:length]
}

func FuzzVolume(f *testing.F) {
	f.Add([]byte{}, uint16(0), uint32(0))
	f.Add(sample(f, 0, 256<<10, "-t", "ext4", "-b", "1024", "-N", "64", "-O", "^has_journal"), uint16(1060), uint32(1<<31))
	f.Add(sample(f, 0, 256<<10, "-t", "ext2", "-b", "1024", "-N", "64"), uint16(2060), uint32(7))
	f.Fuzz(func(t *testing.T, p []byte, at uint16, value uint32) {
		if len(p) > 1<<20 {
			return
		}
		p = append([]byte(nil), p...)
		if int(at)+4 <= len(p) {
			p[at], p[at+1], p[at+2], p[at+3] = byte(value), byte(value>>8), byte(value>>16), byte(value>>24)
		}
		v := memory(p)
		fs, err := Open(context.Background(), v)
		if err != nil {
			fs = Guess(v, 1024)
		}
		exercise(t, fs)
	})
}

func FuzzSuper(f *testing.F) {
	f.Add(sample(f, superSize, superSize, "-t", "ext4"))
	f.Add(sample(f, superSize, superSize, "-t", "ext2"))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := parseSuper(p, superSize)
		if err != nil {
			return
		}
		if s.groups() == 0 || s.BlockSize < minBlock || s.BlockSize > maxBlock || s.InodeSize < oldInode {
			t.Errorf("%+v", s)
		}
		if _, err := OpenAt(context.Background(), memory(make([]byte, 1<<16)), *s); err != nil {
			t.Error(err)
		}
	})
}

// An inode, an extent block and a directory's block, of a file system in which all
// of them lead to each other.
func FuzzRecords(f *testing.F) {
	names := dirBlock(1024, written{12, 12, "."}, written{2, 12, ".."}, written{13, 1000, "a"})
	leaf := append([]byte{0x0A, 0xF3, 2, 0, 84, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 1012)...)
	copy(leaf[12:], []byte{0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 128, 0, 0, 4})
	inode := make([]byte, 256)
	copy(inode, []byte{0x80, 0x41, 0, 0, 0, 4})
	copy(inode[0x1A:], []byte{2, 0, 2, 0, 0, 0, 0, 0, 8, 0})
	copy(inode[mapOff:], []byte{0x0A, 0xF3, 1, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0})
	f.Add(inode, leaf, names)
	plain := append([]byte(nil), inode...)
	copy(plain[0x20:], make([]byte, 200))
	copy(plain[mapOff:], []byte{3, 0, 0, 0, 2, 0, 0, 0})
	plain[mapOff+12*4] = 2
	f.Add(plain, leaf, names)
	inline := append([]byte(nil), plain...)
	inline[0x23], inline[oldInode] = 0x10, 32
	copy(inline[oldInode+32:], []byte{0, 0, 2, 0xEA, 4, 7, 60, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 'd', 'a', 't', 'a'})
	f.Add(inline, leaf, names)
	f.Fuzz(func(t *testing.T, inode, leaf, names []byte) {
		if len(inode) > 4096 || len(leaf) > 1024 || len(names) > 4096 {
			return
		}
		p := make([]byte, 8192)
		copy(p[1024:2048], inode)
		copy(p[2048:3072], leaf)
		copy(p[3072:], names)
		fs := Guess(memory(p), 1024)
		for _, n := range []uint64{0, 12} {
			checkTrace(t, fs, fsys.Trace{Kind: fsys.Inode, Off: 1024, Raw: inode, Number: n})
		}
		checkTrace(t, fs, fsys.Trace{Kind: fsys.Map, Off: 2048})
		checkTrace(t, fs, fsys.Trace{Kind: fsys.Names, Off: 3072})
		exercise(t, fs)
	})
}

func FuzzJournal(f *testing.F) {
	super := make([]byte, 1024)
	copy(super, []byte{0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 1})
	descriptor := make([]byte, 1024)
	copy(descriptor, []byte{0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 10})
	f.Add(super, descriptor, uint8(0))
	f.Add(super, descriptor, uint8(0x12))
	f.Fuzz(func(t *testing.T, super, blocks []byte, features uint8) {
		if len(blocks) > 1<<16 {
			return
		}
		p := make([]byte, 2048<<10)
		copy(p[1024:2048], super)
		p[1024+0x2B] = features
		copy(p[2048:], blocks)
		exercise(t, Guess(memory(p), 1024))
	})
}
