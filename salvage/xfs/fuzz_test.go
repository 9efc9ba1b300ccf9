package xfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// A hall of mirrors is a volume on which the same bytes come again and again: so
// every pointer leads to something that whoever made the bytes wanted to be there.
type hall struct {
	data []byte
	size int64
}

func (v hall) Name() string { return "hall" }
func (v hall) Size() int64  { return v.size }
func (v hall) Close() error { return nil }

func (v hall) ReadAt(p []byte, off int64) ([]volume.Range, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], v.data[(off+int64(n))%int64(len(v.data)):])
	}
	return nil, nil
}

// hallFS is a file system of 96 MiB, as mkfs.xfs makes it, on a hall of mirrors.
func hallFS(data []byte) *FS {
	if len(data) < 4096 {
		data = append(data, make([]byte, 4096-len(data))...)
	}
	f := &FS{v: hall{data, 96 << 20}, certain: true}
	f.geos.Store(&[]*geometry{{
		block: 4096, inode: 512, sector: 512, dirBlock: 4096, blocks: 24576, agBlocks: 6144, groups: 4,
		version: 5, ftype: true, root: 128, logStart: 16390, logBlocks: 64,
	}})
	return f
}

// seed is a piece of a real image.
func seed(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	must(t, err)
	return b
}

// seeds adds the pieces whose names begin so.
func seeds(f *testing.F, prefix string) {
	f.Helper()
	entries, err := os.ReadDir("testdata")
	must(f, err)
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			f.Add(seed(f, e.Name()))
			n++
		}
	}
	if n == 0 {
		f.Fatalf("no seed %s", prefix)
	}
}

// follow does with a trace what can be done with it, and checks what comes.
func follow(t *testing.T, f *FS, tr fsys.Trace) {
	if len(tr.Raw) > 4096 || (tr.Raw != nil) != (tr.Kind == fsys.Inode) {
		t.Fatalf("%+v", tr)
	}
	file, err := f.File(t.Context(), tr)
	if err == nil {
		end := int64(0)
		for _, e := range file.Extents {
			if e.Logical < end || e.Len <= 0 || e.Off < f.Base() || e.Off+e.Len > f.ClaimedSize() {
				t.Fatalf("extent %+v behind %d", e, end)
			}
			end = e.Logical + e.Len
		}
		if file.Size >= 0 && end > file.Size && file.Type != fsys.Directory || file.Size < -1 || len(file.Extents) > maxExtents {
			t.Fatalf("size %d, extents to %d", file.Size, end)
		}
	}
	n := 0
	_ = f.Entries(t.Context(), tr, func(e fsys.Entry) error {
		if e.Name == "" || e.Name == "." || e.Name == ".." || len(e.Name) > 255 || e.Child == 0 || e.Low && e.Child>>32 != 0 {
			t.Fatalf("%+v", e)
		}
		if n++; n > 1<<20 {
			return context.Canceled
		}
		return nil
	})
}

func FuzzSuperblock(f *testing.F) {
	seeds(f, "super")
	f.Fuzz(func(t *testing.T, b []byte) {
		g, _, ok := parseSuper(b)
		if !ok {
			return
		}
		for _, n := range []uint64{0, 1, 128, g.root, 1 << 40, 1<<64 - 1} {
			if off, ok := g.place(n); ok && (off < 0 || off >= g.end() || g.number(off) != n) {
				t.Fatalf("inode %d at %d of %+v", n, off, g)
			}
			if off, ok := g.offset(n, 1); ok && (off < 0 || off+g.block > g.end()) {
				t.Fatalf("block %d at %d of %+v", n, off, g)
			}
		}
		if a, ok := g.area(); ok && (a.start < 0 || a.size <= 0 || a.start+a.size > g.end()) {
			t.Fatalf("%+v", a)
		}
		if fs, err := Open(t.Context(), hall{append(b, make([]byte, 4096)...), 1 << 20}); err == nil {
			fs.Doubt()
		}
	})
}

// look lets a file system look at bytes and follows what it puts.
func look(t *testing.T, b []byte) {
	if len(b) == 0 || len(b) > 64<<10 {
		return
	}
	f := hallFS(b)
	var traces []fsys.Trace
	must(t, f.Look(volume.Window{Data: b}, func(tr fsys.Trace) error {
		traces = append(traces, tr)
		return nil
	}))
	for _, tr := range traces[:min(len(traces), 4)] {
		follow(t, f, tr)
	}
}

func FuzzInode(f *testing.F) {
	seeds(f, "inode")
	f.Fuzz(func(t *testing.T, b []byte) {
		look(t, b)
		fs := hallFS(b)
		for _, n := range []int{256, 512, len(b)} {
			follow(t, fs, fsys.Trace{Kind: fsys.Inode, Raw: b[:min(n, len(b), 4096)]})
		}
	})
}

// FuzzGeometry makes inodes and blocks of groups' trees that claim any number and any
// place, with right checksums, and lets the geometry be inferred from them.
func FuzzGeometry(f *testing.F) {
	claim := func(tree bool, sector uint16, number, place uint64) []byte {
		b := make([]byte, 19)
		if tree {
			b[0] = 1
		}
		binary.BigEndian.PutUint16(b[1:], sector)
		binary.BigEndian.PutUint64(b[3:], number)
		binary.BigEndian.PutUint64(b[11:], place)
		return b
	}
	f.Add(slices.Concat(claim(false, 128, 128, 0), claim(false, 1000, 1<<15|1000, 0)))
	f.Add(slices.Concat(claim(true, 8, 0, 8), claim(true, 1544, 1, 8+8<<10), claim(true, 512, 3, 512)))
	f.Add(slices.Concat(claim(true, 8, 1<<23, 1<<60), claim(false, 64, 1<<63, 0)))
	core, tree := seed(f, "inode-extents"), seed(f, "inode-tree")
	f.Fuzz(func(t *testing.T, b []byte) {
		data := make([]byte, 1<<20)
		for i := 0; len(b) >= 19 && i < 64; b, i = b[19:], i+1 {
			at := data[int(binary.BigEndian.Uint16(b[1:]))%(len(data)/512-8)*512:]
			number, place := b[3:11], b[11:19]
			if b[0]%2 == 1 {
				block := at[:512<<(b[0]>>1%4)]
				binary.BigEndian.PutUint32(block, magicFree)
				copy(block[16:], place)
				copy(block[48:52], number[4:])
				binary.LittleEndian.PutUint32(block[treeCRC:], checksum(block, treeCRC))
				continue
			}
			raw := at[:512]
			if copy(raw, core); b[0]%4 == 2 {
				copy(raw, tree)
			}
			copy(raw[152:], number)
			copy(raw[176+8:], place) // of its first extent, or key
			binary.LittleEndian.PutUint32(raw[inodeCRC:], checksum(raw, inodeCRC))
		}
		v := hall{data, 12 << 20}
		fs, err := Open(t.Context(), v)
		if err != nil {
			return
		}
		var traces []fsys.Trace
		must(t, fs.Look(volume.Window{Data: data}, func(tr fsys.Trace) error {
			tr.Raw = bytes.Clone(tr.Raw)
			traces = append(traces, tr)
			return nil
		}))
		for _, tr := range traces {
			must(t, fs.Learn(t.Context(), tr))
		}
		must(t, fs.Known(t.Context(), func(fsys.Trace) error { return nil }))
		g := fs.main()
		if g.base < 0 || g.end() > v.size || g.block < minBlock || g.agBlocks < 0 {
			t.Fatalf("%+v", g)
		}
		for _, tr := range traces[:min(len(traces), 8)] {
			follow(t, fs, tr)
		}
	})
}

func FuzzMap(f *testing.F) {
	seeds(f, "map")
	root := seed(f, "inode-tree")
	f.Fuzz(func(t *testing.T, b []byte) {
		look(t, b)
		follow(t, hallFS(b), fsys.Trace{Kind: fsys.Inode, Raw: root}) // whose root leads to b
		follow(t, hallFS(b), fsys.Trace{Kind: fsys.Map})
	})
}

func FuzzNames(f *testing.F) {
	seeds(f, "names")
	f.Fuzz(func(t *testing.T, b []byte) {
		look(t, b)
		follow(t, hallFS(b), fsys.Trace{Kind: fsys.Names})
	})
}

func FuzzLog(f *testing.F) {
	seeds(f, "log")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		fs := hallFS(b)
		n := 0
		_ = fs.Known(t.Context(), func(tr fsys.Trace) error {
			follow(t, fs, tr)
			if n++; n == 8 {
				return context.Canceled
			}
			return nil
		})
	})
}

// TestSeeds makes the seeds anew where SALVOR_XFS_SEEDS says so, and else sees
// that they are what their names say.
func TestSeeds(t *testing.T) {
	if os.Getenv("SALVOR_XFS_SEEDS") != "" {
		makeSeeds(t)
	}
	for name, kind := range map[string]fsys.Kind{
		"inode-extents": fsys.Inode, "inode-tree": fsys.Inode, "inode-freed": fsys.Inode, "inode-short": fsys.Inode,
		"names-data": fsys.Names, "names-single": fsys.Names, "map-leaf": fsys.Map,
	} {
		b := seed(t, name)
		n := 0
		must(t, hallFS(b).Look(volume.Window{Data: b}, func(tr fsys.Trace) error {
			if tr.Kind != kind {
				t.Errorf("%s: %s", name, tr.Kind)
			}
			n++
			return nil
		}))
		if n == 0 {
			t.Errorf("%s: no trace", name)
		}
	}
	b := seed(t, "log-record")
	fs, n := hallFS(b), 0
	must(t, fs.looseRecord(0, func(fsys.Trace) error { n++; return nil }))
	if _, _, ok := parseSuper(seed(t, "super-v5")); !ok || n == 0 {
		t.Error(ok, n)
	}
}

func makeSeeds(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll("testdata", 0o755))
	b := aged(t, "")
	v := openImage(t, b.path)
	keep := func(name string, off, n int64) {
		p := make([]byte, n)
		_, err := v.ReadAt(p, off)
		must(t, err)
		must(t, os.WriteFile(filepath.Join("testdata", name), p, 0o644))
	}
	keep("super-v5", 0, 512)
	a, _ := b.g.area()
	for off := a.start; ; off += 512 {
		r, err := (&FS{v: v}).record(a, off)
		must(t, err)
		if r != nil && len(r.body) > 4000 && len(r.body) < 12000 {
			keep("log-record", off, r.next()-off)
			break
		}
	}
	for _, tr := range sweep(t, v).traces {
		if tr.Origin == fsys.Log {
			continue
		}
		switch in, _ := parseInode(tr.Raw); {
		case tr.Kind == fsys.Map:
			keep("map-leaf", tr.Off, 4096)
		case tr.Kind == fsys.Names:
			p := make([]byte, 4)
			_, err := v.ReadAt(p, tr.Off)
			must(t, err)
			keep(map[bool]string{true: "names-single", false: "names-data"}[p[2] == 'B'], tr.Off, 4096)
		case in.freed():
			keep("inode-freed", tr.Off, 512)
		case in.format == formatTree:
			keep("inode-tree", tr.Off, 512)
		case in.format == formatLocal && in.fileType() == fsys.Directory && in.size > 20:
			keep("inode-short", tr.Off, 512)
		case in.format == formatExtents && in.extents > 0:
			keep("inode-extents", tr.Off, 512)
		}
	}
	old, _ := filled(t, "-m crc=0,finobt=0,reflink=0,bigtime=0 -i sparse=0")
	v = openImage(t, old)
	keep("super-v4", 0, 512)
	for _, tr := range sweep(t, v).traces {
		if tr.Kind == fsys.Names {
			keep("names-v4", tr.Off, 4096)
		} else if tr.Kind == fsys.Inode {
			keep("inode-v4", tr.Off, 256)
		}
	}
}
