package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Whatever is bad, and whatever is asked for: what is bad is unknown, and nothing
// else is.
func TestGoodNeighboursComeThrough(t *testing.T) {
	data := random(1, 256<<10)
	rapid.Check(t, func(t *rapid.T) {
		sector := rapid.SampledFrom([]int64{512, 4096}).Draw(t, "sector")
		var bad Ranges
		for range rapid.IntRange(0, 20).Draw(t, "count") {
			at := rapid.Int64Range(0, int64(len(data))/sector-1).Draw(t, "at")
			n := rapid.Int64Range(1, 8).Draw(t, "sectors")
			bad = bad.insert(Range{at * sector, min(n*sector, int64(len(data))-at*sector)})
		}
		f := &flaky{data: data, bad: bad, cause: unix.EIO, short: rapid.Bool().Draw(t, "short")}
		d, err := newDisk("flaky", f, int64(len(data)), Options{Sector: int(sector)})
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 5).Draw(t, "reads") {
			off := rapid.Int64Range(0, int64(len(data))+100).Draw(t, "off")
			p := make([]byte, rapid.IntRange(0, 100<<10).Draw(t, "len"))
			unknown, err := d.ReadAt(p, off)
			if err != nil {
				t.Fatal(err)
			}
			want := Normalise([]Range{{off, int64(len(p))}})
			missing := bad.Add(Ranges{{int64(len(data)), 1 << 40}}).Intersect(want)
			if !same(unknown, missing) {
				t.Fatalf("unknown is %v, not %v", unknown, missing)
			}
			for _, r := range want.Subtract(missing) {
				if !bytes.Equal(p[r.Off-off:r.End()-off], data[r.Off:r.End()]) {
					t.Fatalf("wrong bytes in %v", r)
				}
			}
		}
	})
}

func TestBadSectorsAreNotReadAgain(t *testing.T) {
	f := &flaky{data: random(1, 1<<20), bad: Ranges{{5120, 512}, {300 << 10, 1024}}, cause: unix.EIO}
	d, err := newDisk("flaky", f, 1<<20, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, first := readAll(t, d, 0, 1<<20)
	f.seen = func(r Range) {
		if len(f.bad.Within(r)) > 0 {
			t.Errorf("%v was read again", r)
		}
	}
	if _, again := readAll(t, d, 0, 1<<20); !same(first, f.bad) || !same(again, f.bad) {
		t.Errorf("unknown was %v and is %v", first, again)
	}
}

// A large bad place costs few tries, and its neighbours are all there, as are good
// islands in it that are not too small.
func TestBadStretchIsNotTriedSectorBySector(t *testing.T) {
	const size = 40 << 20
	island := Ranges{{20<<20 + 5*512, 128 << 10}}
	bad := Ranges{{1<<20 + 512, 32<<20 + 1536}, {36 << 20, 512}}.Subtract(island)
	f := &flaky{data: random(1, size), bad: bad, cause: unix.EIO}
	d, err := newDisk("flaky", f, size, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, unknown := readAll(t, d, 0, size)
	if !same(unknown, bad) {
		t.Errorf("unknown is %v, not %v", unknown, bad)
	}
	for _, r := range (Ranges{{0, size}}).Subtract(bad) {
		if !bytes.Equal(got[r.Off:r.End()], f.data[r.Off:r.End()]) {
			t.Errorf("wrong bytes in %v", r)
		}
	}
	// Twice a megabyte sector by sector, then three tries for each 64 KiB.
	if n := f.calls.Load(); n > 12000 {
		t.Errorf("%d tries for %d bad sectors", n, bad.Total()/512)
	}
}

func TestMemoryOfBadSectorsIsBounded(t *testing.T) {
	d, err := newDisk("flaky", &flaky{}, 1<<40, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(mostBad + 10) {
		d.remember(i*8192, i*8192+512)
	}
	if len(d.bad) > mostBad {
		t.Fatalf("%d places are remembered", len(d.bad))
	}
	for i := range int64(mostBad + 10) {
		if bad, _ := d.known(Range{i * 8192, 512}); bad.Total() != 512 {
			t.Fatalf("bad sector %d is forgotten", i)
		}
	}
}

func TestDiskThatIsGone(t *testing.T) {
	data := random(1, 8<<20)
	for _, c := range []struct {
		name  string
		bad   Ranges
		cause error
		gone  bool
		most  int64 // calls
	}{
		{"no device", Ranges{{0, 8 << 20}}, unix.ENODEV, true, 100},
		{"every read fails", Ranges{{0, 8 << 20}}, unix.EIO, true, 1000},
		{"no such address anywhere", Ranges{{0, 8 << 20}}, unix.ENXIO, true, 1000},
		{"one end is still there", Ranges{{64 << 10, 8 << 20}}, unix.EIO, false, 6000},
		{"one sector claims it", Ranges{{1 << 20, 512}}, unix.ENODEV, false, 100},
		{"end of file", Ranges{{4 << 20, 4 << 20}}, io.EOF, false, 6000},
		{"nothing said", Ranges{{1 << 20, 512}}, nil, false, 100},
	} {
		f := &flaky{data: data, bad: c.bad, cause: c.cause}
		v, err := New("disk", f, 8<<20, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 8<<20)
		unknown, err := v.ReadAt(p, 0)
		if c.gone && (!errors.Is(err, c.cause) || !strings.Contains(err.Error(), "read disk at 0: the disk does not answer any more")) {
			t.Errorf("%s: the error is %v", c.name, err)
		}
		if !c.gone && (err != nil || !same(unknown, c.bad.Within(Range{0, 8 << 20}))) {
			t.Errorf("%s: unknown %v, error %v", c.name, unknown, err)
		}
		calls := f.calls.Load()
		if calls > c.most {
			t.Errorf("%s: %d tries", c.name, calls)
		}
		if _, err := v.ReadAt(p, 0); c.gone && (err == nil || f.calls.Load() != calls) {
			t.Errorf("%s: and then: %v after %d tries", c.name, err, f.calls.Load()-calls)
		}
	}
}

func TestClosedDiskIsNotUnknown(t *testing.T) {
	v, err := Open(write(t, "image", random(1, 4096)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.ReadAt(make([]byte, 512), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

func TestManyReadersAtOnce(t *testing.T) {
	bad := Ranges{{4096, 512}, {100 << 10, 8192}, {200 << 10, 40 << 10}}
	data := random(1, 512<<10)
	v := memory(t, "disk", data, bad...)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := make([]byte, 96<<10)
			for off := int64(i) * 4096; off < 512<<10; off += 32 << 10 {
				unknown, err := v.ReadAt(p, off)
				if want := bad.Add(Ranges{{512 << 10, 1 << 20}}).Within(Range{off, int64(len(p))}); err != nil || !same(unknown, want) {
					t.Error(fmt.Errorf("at %d: unknown %v, not %v; error %w", off, unknown, want, err))
				}
			}
		})
	}
	wg.Wait()
}
