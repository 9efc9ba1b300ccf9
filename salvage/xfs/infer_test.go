package xfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salvor/salvage/fsys"
)

// large fills an image with files of which each is several MiB in one piece, in as
// many directories as groups, or in one.
func large(t *testing.T, options string, dirs int) *before {
	t.Helper()
	return fromShelf(t, fmt.Sprint("large", dirs, options), func() *before {
		body := text(1, 3<<20)
		path := mkfs(t, 64, strings.Fields(options)...)
		var all map[string]real
		mounted(t, path, func(dir string) {
			for i := range 14 {
				to := filepath.Join(dir, fmt.Sprintf("user%d", i%dirs))
				must(t, os.MkdirAll(to, 0o700))
				must(t, os.WriteFile(filepath.Join(to, fmt.Sprintf("%d.", i)), slices.Concat(text(i, 200), body), 0o600))
				for k := range 40 { // names for a block of their own, inodes in the midst of the rest
					must(t, os.WriteFile(filepath.Join(to, fmt.Sprintf("%d-%d.", i, k)), text(i*1000+k, 900), 0o600))
				}
			}
			all = truth(t, dir)
		})
		return remember(t, path, all)
	})
}

// Groups that are taken for half as large as they are lose the extents that lie across
// the false border; groups taken for twice as large lose what is in the second one.
func TestExtentsWithoutSuperblocks(t *testing.T) {
	for _, c := range []struct {
		options string
		dirs    int
		sectors int64 // of each group that are gone: 4 are its heads, 40 its trees too
	}{
		{"", 4, 4}, {"", 4, 40},
		{"-d agcount=3", 4, 4}, {"-d agcount=3", 4, 40},
		{"-b size=1024", 4, 4}, {"-b size=1024", 4, 20},
		{"", 1, 4},
		{"", 1, 40}, // nothing but what mkfs.xfs usually does
	} {
		t.Run(fmt.Sprintf("%q %d %d", c.options, c.dirs, c.sectors), func(t *testing.T) {
			b := large(t, c.options, c.dirs)
			half, across := b.g.agBlocks*b.g.block/2, 0
			for _, f := range b.where {
				for _, e := range f.Extents {
					if at := e.Off % (2 * half); at < half && at+e.Len > half {
						across++
					}
				}
			}
			if across == 0 {
				t.Fatal("no file lies across the middle of a group")
			}
			v := openImage(t, b.path)
			v.supers(t, b.g, 0, c.sectors)
			s := sweep(t, v)
			if g := s.f.main(); c.sectors == 4 && !g.same(b.g) {
				t.Errorf("geometry %+v, not %+v", g, b.g)
			}
			if got, named, of := s.recall(t, b.all, true); got != of || named != of {
				t.Errorf("of %d files %d found, %d named; %s", of, got, named, s.f.Doubt())
			}
		})
	}
}

// What Open gets wrong is put right when the sweep has seen the whole volume.
func TestLearn(t *testing.T) {
	b := large(t, "-d agcount=3", 4)
	v := openImage(t, b.path)
	v.supers(t, b.g, 0, 40)
	f, err := Open(t.Context(), v)
	must(t, err)
	wrong := *f.main()
	wrong.agBlocks, wrong.groups, wrong.root = 1<<16, 1, 0
	f.geos.Store(&[]*geometry{&wrong})
	f.seen = evidence{}
	s := sweepWith(t, f, v)
	if !f.main().same(b.g) || f.Root() != b.g.root {
		t.Fatalf("geometry %+v, not %+v", f.main(), b.g)
	}
	if got, named, of := s.recall(t, b.all, true); got != of || named != of {
		t.Errorf("of %d files %d found, %d named", of, got, named)
	}
	for p, r := range b.all {
		// It was noted as found anywhere, and stands where it belongs.
		if !slices.ContainsFunc(s.files[r.inode], func(f *fsys.File) bool { return f.Trace.Origin == fsys.Table && f.Sure }) {
			t.Errorf("%s: no record in a table", p)
		}
	}
}
