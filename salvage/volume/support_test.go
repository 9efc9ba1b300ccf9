package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// random gives bytes that are the same for the same seed, and never zero.
func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64()|0x0101010101010101)
	}
	return b[:n]
}

// A flaky reader fails like a disk with bad sectors.
type flaky struct {
	data  []byte
	bad   Ranges
	cause error
	calls atomic.Int64
	short bool // failing reads give what stands before the bad place
	seen  func(Range)
}

func (f *flaky) ReadAt(p []byte, off int64) (int, error) {
	f.calls.Add(1)
	r := Range{off, int64(len(p))}
	if f.seen != nil {
		f.seen(r)
	}
	if hit := f.bad.Within(r); len(hit) > 0 {
		n := 0
		if f.short {
			n = copy(p, f.data[off:hit[0].Off])
		}
		return n, f.cause
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

// memory makes a volume of bytes, of which some are unknown.
func memory(t testing.TB, name string, data []byte, unknown ...Range) Volume {
	t.Helper()
	v, err := New(name, &flaky{data: data, bad: Normalise(unknown), cause: unix.EIO}, int64(len(data)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readAll reads bytes and checks what every ReadAt promises.
func readAll(t testing.TB, v Volume, off int64, n int) ([]byte, Ranges) {
	t.Helper()
	p := bytes.Repeat([]byte{0xEE}, n)
	unknown, err := v.ReadAt(p, off)
	if err != nil {
		t.Fatalf("read %d bytes of %s at %d: %v", n, v.Name(), off, err)
	}
	whole := Range{off, int64(n)}
	if got := Normalise(unknown).Within(whole); !same(got, unknown) {
		t.Fatalf("read %d bytes of %s at %d: unknown %v is not in order, or lies outside", n, v.Name(), off, unknown)
	}
	for _, r := range unknown {
		if bytes.Count(p[r.Off-off:r.End()-off], []byte{0}) != int(r.Len) {
			t.Fatalf("read %d bytes of %s at %d: %v is unknown and not zero", n, v.Name(), off, r)
		}
	}
	return p, unknown
}

func same(a, b []Range) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// write makes a file in a directory of the test's own.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sparse makes a file of holes.
func sparse(t testing.TB, name string, size int64) string {
	t.Helper()
	path := write(t, name, nil)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// put writes bytes into a file that is there.
func put(t testing.TB, path string, off int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(data, off)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run starts a program and gives what it says.
func run(t testing.TB, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, errs.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// loop makes a block device of a file.
func loop(t testing.TB, path string, args ...string) string {
	t.Helper()
	device := run(t, "", "losetup", append(args, "--find", "--show", path)...)
	t.Cleanup(func() { run(t, "", "losetup", "--detach", device) })
	return device
}

func open(t testing.TB, path string, o Options) Volume {
	t.Helper()
	v, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

var _ io.ReaderAt = (*flaky)(nil)

// mincore asks which pages of a mapping are in memory.
func mincore(b, pages []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
