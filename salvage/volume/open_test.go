package volume

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenFile(t *testing.T) {
	data := random(1, 10000)
	path := write(t, "image", data)
	v := open(t, path, Options{})
	if v.Name() != path || v.Size() != 10000 {
		t.Errorf("%s of %d bytes", v.Name(), v.Size())
	}
	got, unknown := readAll(t, v, 0, 10000)
	if !bytes.Equal(got, data) || len(unknown) > 0 {
		t.Errorf("unknown %v, or wrong bytes", unknown)
	}
	if _, unknown = readAll(t, v, 9000, 4096); !same(unknown, Ranges{{10000, 3096}}) {
		t.Errorf("past the end: %v", unknown)
	}
	if _, unknown = readAll(t, v, 1<<62, 16); !same(unknown, Ranges{{1 << 62, 16}}) {
		t.Errorf("far past the end: %v", unknown)
	}
	if _, unknown = readAll(t, v, -8, 16); !same(unknown, Ranges{{-8, 8}}) {
		t.Errorf("before the beginning: %v", unknown)
	}
	if _, unknown = readAll(t, v, 0, 0); len(unknown) > 0 {
		t.Errorf("nothing: %v", unknown)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	small := write(t, "small", make([]byte, 1000))
	free := freeLoop(t)
	for _, c := range []struct {
		name, path string
		o          Options
		want       string
	}{
		{"no such file", filepath.Join(dir, "none"), Options{}, "open disk: stat "},
		{"directory", dir, Options{}, "open disk " + dir + ": it is a directory; name an image"},
		{"pipe", pipe, Options{}, "open disk " + pipe + ": it is neither"},
		{"terminal", "/dev/null", Options{}, "open disk /dev/null: it is neither"},
		{"empty", write(t, "empty", nil), Options{}, ": it is empty; say how large it was"},
		{"smaller than it is", small, Options{Size: 999}, ": it has 1000 bytes, more than the claimed 999; leave"},
		{"odd sector", small, Options{Sector: 520}, ": sectors of 520 bytes;"},
		{"no medium", free, Options{}, ": the device has no medium, or is gone; look"},
	} {
		v, err := Open(c.path, c.o)
		if err == nil {
			v.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error is %v, not %q", c.name, err, c.want)
		}
	}
}

// freeLoop finds a loop device that has no file, and will hardly get one: the first
// ones are taken first.
func freeLoop(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob("/sys/block/loop*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Backward(all) {
		if _, err := os.Stat(filepath.Join(dir, "loop")); os.IsNotExist(err) {
			return "/dev/" + filepath.Base(dir)
		}
	}
	t.Fatal("there is no free loop device")
	return ""
}

func TestOpenTruncated(t *testing.T) {
	v := open(t, write(t, "image", random(1, 10000)), Options{Size: 1 << 40})
	if v.Size() != 1<<40 {
		t.Errorf("size %d", v.Size())
	}
	if _, unknown := readAll(t, v, 8192, 4096); !same(unknown, Ranges{{10000, 2288}}) {
		t.Errorf("unknown %v", unknown)
	}
	if at := NextKnown(v, 10000); at != 1<<40 {
		t.Errorf("known at %d", at)
	}
	if at := NextData(v, 20000); at != 20000 {
		t.Errorf("data at %d: the unknown is taken for zeros", at)
	}
}

// An image that becomes shorter while it is read, as when a copy is begun anew.
func TestFileThatShrinks(t *testing.T) {
	path := write(t, "image", random(1, 1<<20))
	v := open(t, path, Options{})
	if err := os.Truncate(path, 512<<10); err != nil {
		t.Fatal(err)
	}
	if _, unknown := readAll(t, v, 0, 1<<20); !same(unknown, Ranges{{512 << 10, 512 << 10}}) {
		t.Errorf("unknown %v", unknown)
	}
}

// A real device with real I/O errors: a loop device whose file was cut off.
func TestDevice(t *testing.T) {
	const size, good = 4 << 20, 1<<20 + 1536
	data := random(1, size)
	backing := write(t, "disk", data)
	device := loop(t, backing)
	v := open(t, device, Options{})
	got, unknown := readAll(t, v, 100, size-100)
	if v.Size() != size || !bytes.Equal(got, data[100:]) || len(unknown) > 0 {
		t.Fatalf("size %d, unknown %v, or wrong bytes", v.Size(), unknown)
	}
	Forget(v, Range{0, size})
	if err := os.Truncate(backing, good); err != nil {
		t.Fatal(err)
	}
	// good is no multiple of a page: only direct reads get its last three sectors.
	second := open(t, device, Options{})
	got, unknown = readAll(t, second, 0, size)
	if !same(unknown, Ranges{{good, size - good}}) {
		t.Errorf("unknown %v, not from %d on", unknown, good)
	}
	if !bytes.Equal(got[:good], data[:good]) {
		t.Error("wrong bytes")
	}
}

// A device that reads nowhere any more is no volume of unknown bytes, but gone.
func TestDeviceThatDies(t *testing.T) {
	backing := write(t, "disk", random(1, 8<<20))
	v := open(t, loop(t, backing), Options{})
	readAll(t, v, 0, 1<<20)
	Forget(v, Range{0, 8 << 20})
	if err := os.Truncate(backing, 0); err != nil {
		t.Fatal(err)
	}
	_, err := v.ReadAt(make([]byte, 4<<20), 4<<20)
	if !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "does not answer any more") {
		t.Errorf("the error is %v", err)
	}
}

func TestDeviceKnowsItsSectors(t *testing.T) {
	for _, size := range []string{"512", "4096"} {
		v := open(t, loop(t, sparse(t, "disk", 1<<20), "--sector-size", size), Options{})
		if got := fmt.Sprint(sectorOf(v)); got != size {
			t.Errorf("sectors of %s bytes, not %s", got, size)
		}
	}
}
