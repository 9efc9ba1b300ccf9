package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Every byte is handed on once, in order, in windows that are aligned, unless it is
// skipped rightly.
func TestSweep(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(1, 512<<10).Draw(rt, "size")
		if rapid.Bool().Draw(rt, "large") {
			size += 512 << 10
		}
		data := random(7, int(size))
		var bad Ranges
		for range rapid.IntRange(0, 4).Draw(rt, "bad") {
			if size < 512<<10 {
				break // it could be all of the disk
			}
			at := rapid.Int64Range(0, size-1).Draw(rt, "at") &^ 511
			bad = bad.insert(Range{at, min(rapid.Int64Range(1, 150).Draw(rt, "sectors")*512, size-at)})
		}
		v, err := New("disk", &flaky{data: data, bad: bad, cause: unix.EIO}, size, Options{Size: size + rapid.Int64Range(0, 1<<20).Draw(rt, "lost")})
		if err != nil {
			rt.Fatal(err)
		}
		missing := bad.Add(Normalise([]Range{{size, v.Size() - size}}))
		window := rapid.SampledFrom([]int{1, WindowAlign, 100 << 10, 0}).Draw(rt, "window")
		from := rapid.Int64Range(0, v.Size()).Draw(rt, "from")
		begin := from &^ (WindowAlign - 1)
		var last Progress
		next := begin
		seen := Ranges{}
		o := SweepOptions{From: from, Window: window, Progress: func(p Progress) {
			if p.Done <= last.Done && last.Done > begin {
				rt.Fatalf("progress goes from %d to %d", last.Done, p.Done)
			}
			last = p
		}}
		err = Sweep(t.Context(), v, o, func(w Window) error {
			end := w.Off + int64(len(w.Data))
			if w.Off < next || w.Off%WindowAlign != 0 || end%WindowAlign != 0 && end != v.Size() {
				rt.Fatalf("window at %d of %d bytes, after %d", w.Off, len(w.Data), next)
			}
			next = end
			this := Range{w.Off, int64(len(w.Data))}
			if !same(w.Unknown, missing.Within(this)) || Ranges(w.Unknown).Total() == this.Len {
				rt.Fatalf("window %v: unknown is %v", this, w.Unknown)
			}
			for _, r := range (Ranges{this}).Subtract(missing) {
				if !bytes.Equal(w.Data[r.Off-w.Off:r.End()-w.Off], data[r.Off:r.End()]) {
					rt.Fatalf("wrong bytes in %v", r)
				}
				seen = seen.insert(r)
			}
			return nil
		})
		all := Normalise([]Range{{begin, v.Size() - begin}})
		if err != nil || !same(seen, all.Subtract(missing)) {
			rt.Fatalf("handed on was %v, error %v", seen, err)
		}
		want := Progress{Done: v.Size(), Looked: seen.Total(), Unknown: missing.Intersect(all).Total()}
		if len(all) > 0 && last != want {
			rt.Fatalf("progress is %+v, not %+v", last, want)
		}
	})
}

// A 1 TB image with a message at each end and one in the middle takes no time, and no
// memory either.
func TestSweepOfSparseTerabyte(t *testing.T) {
	const size = 1 << 40
	path := sparse(t, "image", size)
	places := []int64{0, size/2 + 12345, size - 4096}
	for _, at := range places {
		put(t, path, at, []byte("Return-Path: <a@example.org>\r\n"))
	}
	v := open(t, path, Options{})
	var found []int64
	var last Progress
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	err := Sweep(t.Context(), v, SweepOptions{Progress: func(p Progress) { last = p }}, func(w Window) error {
		if i := bytes.Index(w.Data, []byte("Return-Path")); i >= 0 {
			found = append(found, w.Off+int64(i))
		}
		return nil
	})
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	if err != nil || fmt.Sprint(found) != fmt.Sprint(places) {
		t.Errorf("found at %v, not %v; error %v", found, places, err)
	}
	if last.Done != size || last.Holes+last.Looked != size || last.Looked > 16<<20 {
		t.Errorf("%+v", last)
	}
	if took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
		t.Errorf("it took %d bytes of memory", used)
	}
}

// ddrescue leaves holes where it could not read: they are no zeros.
func TestHolesThatAreUnknown(t *testing.T) {
	const size = 64 << 20
	path := sparse(t, "image", size)
	put(t, path, 40<<20, random(1, 1<<20))
	text := fmt.Sprintf("0 + 1\n0 %d +\n%d 512 -\n%d %d +\n", 20<<20, 20<<20, 20<<20+512, size-20<<20-512)
	v := open(t, path, Options{Map: write(t, "map", []byte(text))})
	if at := NextData(v, 0); at != 20<<20 {
		t.Errorf("something else than zeros at %d, not at the unknown sector", at)
	}
	var unknown Ranges
	var last Progress
	err := Sweep(t.Context(), v, SweepOptions{Progress: func(p Progress) { last = p }}, func(w Window) error {
		unknown = unknown.Add(w.Unknown)
		return nil
	})
	if err != nil || !same(unknown, Ranges{{20 << 20, 512}}) || last.Unknown != 512 || last.Holes < 30<<20 {
		t.Errorf("unknown %v, %+v, error %v", unknown, last, err)
	}
}

// Claims of a disk that is mostly not there cost nothing.
func TestSweepOfTheUnknown(t *testing.T) {
	disk := memory(t, "disk", random(1, 1<<20))
	inner := &joined{name: "lv", size: 1 << 59, pieces: []piece{{at: 1 << 58, size: 1 << 57}, {at: 3 << 57, size: 1 << 20, from: disk}}}
	for _, v := range []Volume{Extend(disk, 1<<59), Section(disk, 0, 1<<59, "part"), Section(Extend(disk, 1<<58), 0, 1<<59, "part"), inner} {
		var last Progress
		err := Sweep(t.Context(), v, SweepOptions{Progress: func(p Progress) { last = p }}, func(Window) error { return nil })
		if err != nil || last.Looked != 1<<20 || last.Unknown != 1<<59-1<<20 {
			t.Errorf("%s: %+v, error %v", v.Name(), last, err)
		}
	}
}

func TestSweepEnds(t *testing.T) {
	data := random(1, 32<<20)
	disk := func() Volume { return memory(t, "disk", data) }
	stop := errors.New("enough")
	t.Run("with the error of each", func(t *testing.T) {
		calls := 0
		err := Sweep(t.Context(), disk(), SweepOptions{}, func(Window) error { calls++; return stop })
		if err != stop || calls != 1 {
			t.Errorf("%v after %d windows", err, calls)
		}
	})
	t.Run("with the error of pace", func(t *testing.T) {
		asked := int64(0)
		err := Sweep(t.Context(), disk(), SweepOptions{Pace: func(_ context.Context, n int64) error {
			if asked += n; asked > 8<<20 {
				return stop
			}
			return nil
		}}, func(Window) error { return nil })
		if err != stop {
			t.Error(err)
		}
	})
	t.Run("with a disk that is gone", func(t *testing.T) {
		f := &flaky{data: data, cause: unix.ENODEV}
		v, err := New("disk", f, 32<<20, Options{})
		if err != nil {
			t.Fatal(err)
		}
		f.seen = func(r Range) {
			if r.Off >= 16<<20 {
				f.bad = Ranges{{0, 32 << 20}}
			}
		}
		looked := int64(0)
		err = Sweep(t.Context(), v, SweepOptions{}, func(w Window) error { looked += int64(len(w.Data)); return nil })
		if !errors.Is(err, unix.ENODEV) || !strings.HasPrefix(err.Error(), "sweep disk: read disk at 16777216: the disk does not answer") || looked != 16<<20 {
			t.Errorf("%v after %d bytes", err, looked)
		}
	})
	t.Run("when told so", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var last Progress
		calls := 0
		err := Sweep(ctx, disk(), SweepOptions{Progress: func(p Progress) { last = p }}, func(Window) error {
			if calls++; calls == 3 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || calls != 3 || last.Done != 12<<20 {
			t.Errorf("%v after %d windows, done %d", err, calls, last.Done)
		}
	})
	t.Run("before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Sweep(ctx, disk(), SweepOptions{}, func(Window) error { return stop }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("during a read that hangs", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		hang := make(chan bool)
		defer close(hang)
		f := &flaky{data: make([]byte, 1<<20), seen: func(Range) { <-hang }}
		v, err := New("disk", f, 1<<20, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Sweep(ctx, v, SweepOptions{}, func(Window) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// The next windows are read while one is looked at.
func TestSweepReadsAhead(t *testing.T) {
	read := make(chan int64, 100)
	f := &flaky{data: random(1, 16<<20), seen: func(r Range) { read <- r.Off }}
	v, err := New("disk", f, 16<<20, Options{})
	if err != nil {
		t.Fatal(err)
	}
	buffers := map[*byte]bool{}
	err = Sweep(t.Context(), v, SweepOptions{}, func(w Window) error {
		buffers[&w.Data[0]] = true
		if w.Off > 0 {
			return nil
		}
		for want := int64(0); want < 12<<20; want += 4 << 20 {
			select {
			case at := <-read:
				if at != want {
					t.Errorf("read at %d, not at %d", at, want)
				}
			case <-time.After(10 * time.Second):
				return errors.New("nothing is read ahead")
			}
		}
		return nil
	})
	if err != nil || len(buffers) > 3 {
		t.Errorf("%d buffers, error %v", len(buffers), err)
	}
}

// What was looked at on a device leaves the page cache.
func TestSweepForgetsDevices(t *testing.T) {
	v := open(t, loop(t, write(t, "disk", random(1, 32<<20))), Options{})
	if err := Sweep(t.Context(), v, SweepOptions{}, func(Window) error { return nil }); err != nil {
		t.Fatal(err)
	}
	f := v.(*disk).file
	b, err := unix.Mmap(int(f.Fd()), 0, 32<<20, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	if n := resident(t, b); n > 4<<20 {
		t.Errorf("%d bytes of the device are in memory", n)
	}
}

// resident asks the kernel how many bytes of a mapping are in memory.
func resident(t *testing.T, b []byte) (bytes int) {
	t.Helper()
	pages := make([]byte, (len(b)+4095)/4096)
	if err := mincore(b, pages); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		bytes += int(p&1) * 4096
	}
	return bytes
}

const benchSize = 512 << 20

// benchImage is a file that is in the page cache.
func benchImage(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "image")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	part := random(1, 1<<20)
	for range benchSize >> 20 {
		if _, err := f.Write(part); err != nil {
			b.Fatal(err)
		}
	}
	return path
}

// BenchmarkSweep is to be held against BenchmarkDd, which reads the same file.
func BenchmarkSweep(b *testing.B) {
	path := benchImage(b)
	v, err := Open(path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	b.SetBytes(benchSize)
	for b.Loop() {
		if err := Sweep(b.Context(), v, SweepOptions{}, func(Window) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSweepLooking looks at each byte, as a search for NULs does.
func BenchmarkSweepLooking(b *testing.B) {
	v, err := Open(benchImage(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	b.SetBytes(benchSize)
	for b.Loop() {
		if err := Sweep(b.Context(), v, SweepOptions{}, func(w Window) error {
			if bytes.IndexByte(w.Data, 0) >= 0 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadBlock reads single blocks, as readers of file systems do.
func BenchmarkReadBlock(b *testing.B) {
	v, err := Open(benchImage(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	part := Section(v, 1<<20, benchSize-1<<20, "part")
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		if _, err := part.ReadAt(p, off); err != nil {
			b.Fatal(err)
		}
		off = (off + 12345<<12) % (benchSize - 2<<20)
	}
}

func BenchmarkDd(b *testing.B) {
	path := benchImage(b)
	b.SetBytes(benchSize)
	for b.Loop() {
		run(b, "", "dd", "if="+path, "of=/dev/null", "bs=4M", "status=none")
	}
}

// BenchmarkSweepDevice reads a loop device, with and without leaving the page cache
// to others.
func BenchmarkSweepDevice(b *testing.B) {
	device := loop(b, benchImage(b), "--read-only")
	for _, forget := range []bool{true, false} {
		b.Run(fmt.Sprintf("forget=%v", forget), func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				b.StopTimer()
				v, err := Open(device, Options{})
				if err != nil {
					b.Fatal(err)
				}
				v.(*disk).Forget(Range{0, benchSize})
				v.(*disk).device = forget
				b.StartTimer()
				if err := Sweep(b.Context(), v, SweepOptions{}, func(Window) error { return nil }); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				v.Close()
				b.StartTimer()
			}
		})
	}
}
