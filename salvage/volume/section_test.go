package volume

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestSection(t *testing.T) {
	data := random(1, 64<<10)
	disk := memory(t, "disk", data, Range{8192, 512}, Range{20 << 10, 1024})
	s := Section(disk, 8000, 60<<10, "disk partition 1")
	if s.Name() != "disk partition 1" || s.Size() != 60<<10 {
		t.Errorf("%s of %d bytes", s.Name(), s.Size())
	}
	got, unknown := readAll(t, s, 0, 64<<10)
	want := Ranges{{192, 512}, {20<<10 - 8000, 1024}, {64<<10 - 8000, 8000}}
	if !same(unknown, want) {
		t.Errorf("unknown %v, not %v", unknown, want)
	}
	for _, r := range (Ranges{{0, 64<<10 - 8000}}).Subtract(want) {
		if !bytes.Equal(got[r.Off:r.End()], data[8000+r.Off:8000+r.End()]) {
			t.Errorf("wrong bytes in %v", r)
		}
	}
	if _, unknown := readAll(t, s, -100, 200); !same(unknown, Ranges{{-100, 100}}) {
		t.Errorf("before the beginning: %v; what stands before a partition is not its", unknown)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	readAll(t, disk, 0, 512)
}

func TestSectionsOfNonsense(t *testing.T) {
	disk := memory(t, "disk", random(1, 4096))
	for _, r := range []Range{{-5, 100}, {0, -5}, {1 << 62, 1<<63 - 1}, {1<<63 - 1, 1<<63 - 1}, {4096, 0}} {
		s := Section(disk, r.Off, r.Len, "nonsense")
		_, unknown := readAll(t, s, 0, 256)
		if s.Size() < 0 || unknown.Total() < 256-max(0, min(s.Size(), 100)) {
			t.Errorf("%v: size %d, unknown %v", r, s.Size(), unknown)
		}
		if at := NextData(s, 10); at < 0 || at > s.Size() {
			t.Errorf("%v: data at %d", r, at)
		}
		if at := NextKnown(s, 10); at < 0 || at > s.Size() {
			t.Errorf("%v: known at %d", r, at)
		}
	}
}

func TestPrecede(t *testing.T) {
	data := random(1, 4096)
	v := Precede(memory(t, "disk", data), 1000, "disk behind 1000 missing bytes")
	got, unknown := readAll(t, v, 0, 5096)
	if v.Size() != 5096 || !same(unknown, Ranges{{0, 1000}}) || !bytes.Equal(got[1000:], data) {
		t.Errorf("%d bytes, unknown %v", v.Size(), unknown)
	}
	if at := NextKnown(v, 0); at != 1000 {
		t.Errorf("known from %d", at)
	}
	if v := Precede(memory(t, "disk", data), 1<<63-1, "nonsense"); v.Size() != 1<<63-1 {
		t.Errorf("%d bytes", v.Size())
	}
}

func TestExtend(t *testing.T) {
	disk := memory(t, "disk", random(1, 4096))
	if same := Extend(disk, 4096); same != disk {
		t.Error("a volume that is large enough was changed")
	}
	v := Extend(disk, 10000)
	if _, unknown := readAll(t, v, 4000, 8000); v.Name() != "disk" || !same(unknown, Ranges{{4096, 7904}}) {
		t.Errorf("%s: unknown %v", v.Name(), unknown)
	}
	if at := NextKnown(v, 4096); at != 10000 {
		t.Errorf("known at %d", at)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// A joined volume answers like one that was copied together.
func TestJoined(t *testing.T) {
	const size = 4096
	one, two := random(1, size), random(2, size)
	rapid.Check(t, func(rt *rapid.T) {
		holes := Range{rapid.Int64Range(0, 6).Draw(rt, "bad") * 512, 512}
		disks := []Volume{memory(t, "one", one, holes), memory(t, "two", two), nil}
		v := &joined{name: "joined"}
		var want []byte
		var known []bool
		add := func(b byte, ok bool) { want, known = append(want, b), append(known, ok) }
		for range rapid.IntRange(1, 6).Draw(rt, "pieces") {
			for range rapid.IntRange(0, 2).Draw(rt, "gap") * 300 {
				add(0, false)
			}
			i := rapid.IntRange(0, 2).Draw(rt, "disk")
			off, n := rapid.Int64Range(0, size).Draw(rt, "off"), rapid.Int64Range(1, 1500).Draw(rt, "size")
			v.pieces = append(v.pieces, piece{int64(len(want)), n, disks[i], off})
			for at := off; at < off+n; at++ {
				if i == 2 || at >= size || i == 0 && at >= holes.Off && at < holes.End() {
					add(0, false)
				} else {
					add([][]byte{one, two}[i][at], true)
				}
			}
		}
		v.size = int64(len(want))
		off := rapid.Int64Range(-100, v.size+100).Draw(rt, "from")
		p := make([]byte, rapid.IntRange(0, 5000).Draw(rt, "len"))
		unknown, err := v.ReadAt(p, off)
		if err != nil || !same(Normalise(unknown), unknown) {
			rt.Fatalf("unknown %v, error %v", unknown, err)
		}
		for i := range p {
			at := off + int64(i)
			ok := at >= 0 && at < v.size && known[at]
			if in := len(Ranges(unknown).Within(Range{at, 1})) == 0; in != ok || ok && p[i] != want[at] || !ok && p[i] != 0 {
				rt.Fatalf("byte %d: known %v, not %v, or wrong", at, in, ok)
			}
		}
		if from := NextKnown(v, max(0, off)); from < v.size {
			off = from
		}
		for at := max(0, off); at < NextKnown(v, max(0, off)); at++ {
			if known[at] {
				rt.Fatalf("byte %d is known, and NextKnown skips it", at)
			}
		}
	})
}

// What stands in a sparse image is never skipped, however it is looked at.
func TestHolesThroughOthers(t *testing.T) {
	const size = 4 << 20
	path := sparse(t, "image", size)
	full := Ranges{{512 << 10, 4096}, {1 << 20, 200 << 10}, {3<<20 + 8192, 4096}}
	for _, r := range full {
		put(t, path, r.Off, random(1, int(r.Len)))
	}
	lost := Range{2 << 20, 4096}
	disk := open(t, path, Options{Map: write(t, "map", fmt.Appendf(nil, "0 + 1\n0 %d +\n%d %d -\n", size, lost.Off, lost.Len))})
	rapid.Check(t, func(t *rapid.T) {
		off, n := rapid.Int64Range(0, size-1).Draw(t, "off"), rapid.Int64Range(1, 2*size).Draw(t, "len")
		gap := rapid.Int64Range(0, 4096).Draw(t, "gap")
		from := rapid.Int64Range(0, n+gap+10).Draw(t, "from")
		for _, v := range []Volume{Section(disk, off, n, "section"), Extend(Section(disk, off, n, "section"), n+1),
			&joined{name: "joined", size: n + gap + 1, pieces: []piece{{gap, n, disk, off}}}} {
			begin, end := -off, size-off
			if v.Name() == "joined" {
				begin, end = gap-off, size-off+gap
			}
			something := full.Add(Ranges{lost}).shift(begin).Add(Ranges{{end, 3 * size}})
			if v.Name() == "joined" {
				something = something.Subtract(Ranges{{-size, size + gap}}).Add(Normalise([]Range{{0, gap}, {gap + n, 3 * size}}))
			}
			next := NextData(v, from)
			if next < min(from, v.Size()) || next > v.Size() {
				t.Fatalf("%s of %d bytes: data from %d on at %d", v.Name(), v.Size(), from, next)
			}
			if skipped := something.Within(Range{from, next - from}); len(skipped) > 0 {
				t.Fatalf("%s: from %d to %d is not all zeros: %v", v.Name(), from, next, skipped)
			}
		}
	})
	if at := NextData(Section(disk, 600<<10, 3<<20, "section"), 0); at != 424<<10 {
		t.Errorf("data at %d", at)
	}
}
