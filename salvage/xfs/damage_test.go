package xfs

import (
	"errors"
	"os"
	"testing"
)

// wipe zeroes a range.
func (v *image) wipe(t testing.TB, off, n int64) {
	t.Helper()
	_, err := v.WriteAt(make([]byte, n), off)
	must(t, err)
}

// supers wipes sectors of every group from one on: 1 is the superblock alone, 4 all
// heads.
func (v *image) supers(t testing.TB, g *geometry, from, sectors int64) {
	t.Helper()
	for ag := from; ag < g.groups; ag++ {
		v.wipe(t, g.base+ag*g.agBlocks*g.block, sectors*512)
	}
}

// geometryOf reads an undamaged image's.
func geometryOf(t testing.TB, v *image) *geometry {
	t.Helper()
	f, err := Open(t.Context(), v)
	must(t, err)
	if f.Doubt() != "" {
		t.Fatal(f.Doubt())
	}
	return f.main()
}

func TestHeadsGone(t *testing.T) {
	damages := []struct {
		name    string
		from    int64
		sectors int64
		certain bool
	}{
		{"first superblock", 0, 1, true},
		{"all superblocks", 0, 1, false},
		{"all heads", 0, 4, false},
	}
	for _, options := range []string{"", "-b size=1024 -d agcount=5", "-m crc=0,finobt=0,reflink=0,bigtime=0 -i sparse=0"} {
		for _, d := range damages {
			t.Run(d.name+" "+options, func(t *testing.T) {
				path, all := filled(t, options)
				v := openImage(t, path)
				g := geometryOf(t, v)
				if d.certain {
					v.wipe(t, 0, 512)
				} else {
					v.supers(t, g, d.from, d.sectors)
				}
				if g.version == 4 && d.sectors > 1 {
					if _, err := Open(t.Context(), v); !errors.Is(err, ErrNone) {
						t.Fatalf("%v", err)
					}
					return // nothing tells the geometry
				}
				s := sweep(t, v)
				if got := s.f.main(); !got.same(g) || d.certain != (s.f.Doubt() == "") {
					t.Fatalf("geometry %+v, not %+v; %q", got, g, s.f.Doubt())
				}
				if got, named, of := s.recall(t, all, true); got != of || named != of {
					t.Errorf("of %d files %d found, %d named", of, got, named)
				}
			})
		}
	}
}

// A disk whose partition table is gone begins with something else.
func TestElsewhere(t *testing.T) {
	for _, first := range []int64{0, 1} { // wiped superblocks
		path, all := filled(t, "")
		whole, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, append(make([]byte, 1<<20), whole...), 0o600))
		v := openImage(t, path)
		v.wipe(t, 1<<20, 512*first)
		s := sweep(t, v)
		if s.f.Base() != 1<<20 {
			t.Fatalf("base %d", s.f.Base())
		}
		if got, named, of := s.recall(t, all, true); got != of || named != of {
			t.Errorf("of %d files %d found, %d named", of, got, named)
		}
	}
}
