package salvage_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"salvor/salvage"
	"salvor/salvage/found"
	"salvor/salvage/volume"
)

// stages salvages, and tells which stages there were to go through.
func (d *dig) stages(t *testing.T) (string, *result) {
	t.Helper()
	s := &stopper{stop: func() {}}
	d.progress = s
	defer func() { d.progress = nil }()
	r := d.run(t)
	return strings.Join(s.stages, "\n"), r
}

// A blinking volume does not read what is asked for in blocks of 4 KiB behind its
// first MiB, which is how it is compared with what it was.
type blinking struct{ volume.Volume }

func (b blinking) ReadAt(p []byte, off int64) ([]volume.Range, error) {
	if len(p) == 4096 && off > 1<<20 {
		clear(p)
		return []volume.Range{{Off: off, Len: int64(len(p))}}, nil
	}
	return b.Volume.ReadAt(p, off)
}

// TestImageChanged salvages an image once more that is not the one that it was, or is
// and seems to be another: only what reads differently is read again unasked, and
// what may have changed is told.
func TestImageChanged(t *testing.T) {
	two := letter("two", 9000)
	const path = "vmail/user/alice/5."
	for _, test := range []struct {
		name string
		do   func(t *testing.T, d *disk, g *dig)
		read bool   // it is read again
		note string // "": none
	}{
		{name: "nothing", do: func(*testing.T, *disk, *dig) {}},
		{name: "its time", do: touch, note: "was written to"},
		{name: "its time, and it is to be read again", do: func(t *testing.T, d *disk, g *dig) {
			touch(t, d, g)
			g.anew = true
		}, read: true},
		{name: "a copy in its place", do: func(t *testing.T, d *disk, _ *dig) {
			b, err := os.ReadFile(d.path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, d.path+".new", string(b))
			if err := os.Rename(d.path+".new", d.path); err != nil {
				t.Fatal(err)
			}
		}, note: "was replaced by another file"},
		{name: "its first block", do: func(t *testing.T, d *disk, _ *dig) { d.patch(t, 0, []byte("boot")) }, read: true},
		{name: "a stretch in its middle", do: func(t *testing.T, d *disk, _ *dig) {
			d.patch(t, smallDisk/2, []byte(strings.Repeat("x", 64<<10)))
		}, read: true},
		{name: "sectors that cannot be read this time", do: func(_ *testing.T, _ *disk, g *dig) {
			g.volume = func(v volume.Volume) volume.Volume { return blinking{v} }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := makeDisk(t, smallDisk, map[string]string{path: string(two)})
			g := newDig(t, d.path)
			if all, r := g.stages(t); !strings.Contains(all, ": reading") || len(r.report.Notes) > 0 {
				t.Fatalf("stages %q, notes %q", all, r.report.Notes)
			}
			test.do(t, d, g)
			all, r := g.stages(t)
			notes := strings.Join(r.report.Notes, "\n")
			if read := strings.Contains(all, ": reading"); read != test.read || !read && all != "" {
				t.Errorf("it went through %q", all)
			}
			if !strings.Contains(notes, test.note) || (test.note == "") != (notes == "") || strings.Count(notes, "\n") > 0 {
				t.Errorf("notes %q", notes)
			}
			if f := r.finds[two.stored()]; f.Class != found.Unknown {
				t.Errorf("%+v", f)
			}
			g.anew = false
			if all, r := g.stages(t); all != "" || test.read && len(r.report.Notes) > 0 || strings.Join(r.report.Notes, "\n") != notes {
				t.Errorf("and then it went through %q, and says %q", all, r.report.Notes)
			}
		})
	}
}

func touch(t *testing.T, d *disk, _ *dig) {
	t.Helper()
	at := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	if err := os.Chtimes(d.path, at, at); err != nil {
		t.Fatal(err)
	}
}

// TestStampsOfArrays knows the files of an array's members.
func TestStampsOfArrays(t *testing.T) {
	s := newShelf(t)
	sources, err := salvage.Open(t.Context(), salvage.Spec{Sources: s.members(t, "labelled", "1.2")})
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	if all := volume.Stamps(sources.Volumes[0]); len(all) != 4 || all[0].Path != s.dir+"/labelled0.img" || all[0].Inode == all[1].Inode || all[0].Modified == 0 {
		t.Errorf("%+v", all)
	}
}
