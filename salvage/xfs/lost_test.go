package xfs

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// A before is an image as it was: what was on it, and where.
type before struct {
	path  string
	all   map[string]real
	where map[string]*fsys.File
	g     *geometry
}

func remember(t testing.TB, path string, all map[string]real) *before {
	t.Helper()
	s := sweep(t, openImage(t, path))
	b := &before{path: path, all: all, where: map[string]*fsys.File{}, g: s.f.main()}
	for p, r := range all {
		for _, f := range s.files[r.inode] {
			if f.Trace.Origin == fsys.Table && f.Trace.Kind == fsys.Inode && f.Size == r.size &&
				sha256.Sum256(s.content(t, f, r.size)) == r.sum {
				b.where[p] = f
			}
		}
		if !r.dir && b.where[p] == nil {
			t.Fatalf("%s is not on the image before anything happened to it", p)
		}
	}
	return b
}

// A score counts files.
type score struct {
	of     int // were there
	intact int // their bytes are still where they were
	found  int
	sized  int // found, with their size
	named  int // by their whole path
	called int // by their name in their directory
}

// compare sweeps the image as it is now. want, if not nil, says which files are
// counted.
func (b *before) compare(t testing.TB, v *image, want func(real) bool) score {
	t.Helper()
	s := sweep(t, v)
	var sc score
	for p, r := range b.all {
		if r.dir || r.size == 0 || want != nil && !want(r) {
			continue
		}
		sc.of++
		intact := sha256.Sum256(s.content(t, b.where[p], r.size)) == r.sum
		found := s.has(t, r, false)
		if intact {
			sc.intact++
		}
		if found {
			sc.found++
		}
		if s.has(t, r, true) {
			sc.sized++
		}
		if s.named(r) {
			sc.named++
		}
		if s.called(r, b.all[filepath.Dir(p)]) {
			sc.called++
		}
		if intact && !found && testing.Verbose() {
			t.Logf("missed: %s, inode %d, %d bytes in %d pieces", p, r.inode, r.size, len(b.where[p].Extents))
		}
	}
	t.Logf("%+v", sc)
	return sc
}

// aged gives an image on which things were removed and added again.
func aged(t testing.TB, options string) *before {
	t.Helper()
	return fromShelf(t, "aged "+options, func() *before { return age(t, options) })
}

func age(t testing.TB, options string) *before {
	t.Helper()
	path, all := filled(t, options)
	mounted(t, path, func(dir string) {
		for r := range all {
			if sum := sha256.Sum256([]byte(r)); filepath.Dir(r) == "user2/cur" && sum[0] < 80 {
				must(t, os.Remove(filepath.Join(dir, r)))
			}
		}
		for i := range 150 {
			seed := 50000 + i
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("user%d/cur/aged%d", i%4, i)), text(seed, 500+seed*91%20000), 0o600))
		}
		all = truth(t, dir)
	})
	return remember(t, path, all)
}

// empty removes everything on an image.
func empty(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		must(t, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
}

func TestRemoved(t *testing.T) {
	for _, options := range []string{"", "-b size=1024 -n size=8192 -i nrext64=1"} {
		b := aged(t, options)
		mounted(t, b.path, func(dir string) { empty(t, dir) })
		if sc := b.compare(t, openImage(t, b.path), nil); sc.intact != sc.of || sc.found != sc.of || sc.named != sc.of {
			t.Errorf("%q: %+v", options, sc)
		}
		mounted(t, b.path, func(dir string) {
			for i := range 60 {
				must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("new%d", i)), text(i, 3000), 0o600))
			}
		})
		if sc := b.compare(t, openImage(t, b.path), nil); sc.found < sc.intact {
			t.Errorf("%q, and new files: %+v", options, sc)
		}
	}
}

// Without the log there are the freed inodes alone.
func TestRemovedAndLogGone(t *testing.T) {
	b := aged(t, "")
	mounted(t, b.path, func(dir string) { empty(t, dir) })
	v := openImage(t, b.path)
	a, ok := b.g.area()
	if !ok {
		t.Fatal("no log")
	}
	v.wipe(t, a.start, a.size)
	sc := b.compare(t, v, nil)
	if sc.found < sc.of*99/100 || sc.named < sc.of*95/100 {
		t.Errorf("%+v", sc)
	}
}

// inodesOf are the places of the inodes that a sweep finds in tables.
func inodesOf(t testing.TB, v *image) []int64 {
	t.Helper()
	var at []int64
	for _, tr := range sweep(t, v).traces {
		if tr.Kind == fsys.Inode && tr.Origin == fsys.Table {
			at = append(at, tr.Off)
		}
	}
	return at
}

func TestInodesGone(t *testing.T) {
	b := aged(t, "")
	v := openImage(t, b.path)
	for _, off := range inodesOf(t, v) {
		v.wipe(t, off, b.g.inode)
	}
	s := sweep(t, v)
	for _, tr := range s.traces {
		if tr.Kind == fsys.Inode && tr.Origin != fsys.Log {
			t.Fatalf("an inode at %d is left", tr.Off)
		}
		if tr.Kind != fsys.Inode {
			continue
		}
		if f, err := s.f.File(t.Context(), tr); err != nil || !f.Sure {
			t.Fatalf("%+v, %v", f, err)
		}
	}
	// The log of a small image holds all that ever happened.
	if sc := b.compare(t, v, nil); sc.sized < sc.of || sc.named < sc.of*95/100 {
		t.Errorf("%+v", sc)
	}
}

func TestDirectoriesGone(t *testing.T) {
	b := aged(t, "")
	v := openImage(t, b.path)
	s := sweep(t, v)
	gone := 0
	for _, tr := range s.traces {
		if tr.Kind == fsys.Names && tr.Origin == fsys.Table {
			v.wipe(t, tr.Off, b.g.dirBlock)
			gone++
		}
	}
	if gone < 3 {
		t.Fatal(gone)
	}
	if sc := b.compare(t, v, nil); sc.sized < sc.of || sc.named < sc.of*9/10 {
		t.Errorf("%+v", sc)
	}
}

// Unless told to keep them, mkfs.xfs discards the blocks of what was there.
func TestMadeOver(t *testing.T) {
	for _, options := range [][]string{nil, {"-d", "agcount=5"}} {
		b := aged(t, "")
		command(t, "mkfs.xfs", append([]string{"-q", "-f", "-K", "--unsupported", b.path}, options...)...)
		sc := b.compare(t, openImage(t, b.path), nil)
		if sc.found < sc.intact*99/100 || sc.sized < sc.intact*99/100 || sc.intact < sc.of/2 || sc.called < sc.of*99/100 {
			t.Errorf("%q: %+v", options, sc)
		}
	}
}

func TestCutOff(t *testing.T) {
	b := aged(t, "")
	const size = 60 << 20
	must(t, os.Truncate(b.path, size))
	v := openImage(t, b.path)
	sc := b.compare(t, v, nil)
	if sc.found < sc.intact || sc.intact == sc.of || sc.intact == 0 {
		t.Errorf("%+v", sc)
	}
	f, err := Open(t.Context(), v)
	must(t, err)
	if f.ClaimedSize() != 96<<20 {
		t.Error(f.ClaimedSize())
	}
}

// Blocks that cannot be read cost what stands in them.
func TestHoles(t *testing.T) {
	b := aged(t, "")
	v := openImage(t, b.path)
	for off := int64(0); off < v.size; off += 4096 {
		if sum := sha256.Sum256([]byte(fmt.Sprint(off))); sum[0] < 13 { // 5 %
			v.unknown = append(v.unknown, volume.Range{Off: off, Len: 4096})
		}
	}
	readable := func(r real) bool {
		unknown, err := v.ReadAt(make([]byte, 512), b.where[r.path].Trace.Off)
		return err == nil && len(unknown) == 0
	}
	if sc := b.compare(t, v, readable); sc.found < sc.intact*99/100 || sc.intact < sc.of*8/10 {
		t.Errorf("%+v", sc)
	}
}

// A log that nobody knows where it is is read where it turns up.
func TestLooseLog(t *testing.T) {
	b := aged(t, "")
	v := openImage(t, b.path)
	for _, off := range inodesOf(t, v) {
		v.wipe(t, off, b.g.inode)
	}
	f, err := Open(t.Context(), v)
	must(t, err)
	g := *f.main()
	g.logStart = 0
	f.geos.Store(&[]*geometry{&g})
	s := sweepWith(t, f, v)
	n := 0
	for _, tr := range s.traces {
		if tr.Origin == fsys.Log && tr.Kind == fsys.Inode {
			n++
		}
	}
	found := 0
	for _, r := range b.all {
		if !r.dir && s.has(t, r, true) {
			found++
		}
	}
	if found < len(b.all)*8/10 {
		t.Errorf("of %d files %d found", len(b.all), found)
	}
}

// Where the front is cut off, the first superblock that is left is another group's, and
// the file system begins before the volume.
func TestFrontCutOff(t *testing.T) {
	b := aged(t, "")
	v := openImage(t, b.path)
	g := geometryOf(t, v)
	group := g.agBlocks * g.block
	for _, c := range []struct {
		name   string
		cut    int64
		damage func(front *image)
	}{
		{"57 sectors", 57 * 512, func(*image) {}},
		{"the first group", group, func(*image) {}},
		{"a header that lies", 57 * 512, func(front *image) { front.header(t, group-57*512+g.sector, 3) }},
		{"superblocks and headers", 57 * 512, func(front *image) {
			for ag := int64(1); ag < g.groups; ag++ {
				front.wipe(t, ag*group-57*512, 4*512)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "front")
			whole, err := os.ReadFile(b.path)
			must(t, err)
			must(t, os.WriteFile(path, whole[c.cut:], 0o600))
			front := openImage(t, path)
			c.damage(front)
			f, err := Open(t.Context(), front)
			must(t, err)
			if f.Base() != -c.cut || f.main().agBlocks != g.agBlocks {
				t.Fatalf("base %d, not %d; %+v", f.Base(), -c.cut, f.main())
			}
			if want := int64(len(whole)) - c.cut; f.ClaimedSize() > want {
				t.Errorf("claimed size %d, not %d", f.ClaimedSize(), want)
			}
			if c.cut > 1<<20 {
				return
			}
			if got, named, of := sweep(t, front).recall(t, b.all, true); got != of || named != of {
				t.Errorf("of %d files %d found, %d named", of, got, named)
			}
		})
	}
}

// header changes the number of the group in the header of its free space.
func (v *image) header(t testing.TB, off int64, number byte) {
	t.Helper()
	_, err := v.WriteAt([]byte{number}, off+11)
	must(t, err)
}
