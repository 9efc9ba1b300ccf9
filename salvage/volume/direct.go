package volume

import (
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A directReader reads a device past the kernel's page cache. The cache reads whole
// pages, and one bad sector makes all of its page unreadable; read directly, the
// sectors beside it come through.
type directReader struct {
	file   *os.File
	sector int64
	mu     sync.Mutex
	buffer []byte // aligned, as O_DIRECT wants it
}

const (
	directPiece = 64 << 10
	directAlign = 4096
)

// openDirect opens the device once more, or gives f where that does not work.
func openDirect(f *os.File, sector int64) io.ReaderAt {
	second, err := os.OpenFile(f.Name(), os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return f
	}
	one, err1 := f.Stat()
	two, err2 := second.Stat()
	if err1 != nil || err2 != nil || !os.SameFile(one, two) {
		second.Close()
		return f
	}
	b := make([]byte, directPiece+directAlign)
	skip := -uintptr(unsafe.Pointer(&b[0])) & (directAlign - 1)
	return &directReader{file: second, sector: sector, buffer: b[skip : skip+directPiece]}
}

// ReadAt reads what it can from off on, up to the first piece that fails.
func (d *directReader) ReadAt(p []byte, off int64) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n < len(p) {
		at := off + int64(n)
		from := at &^ (d.sector - 1)
		to := (off + int64(len(p)) + d.sector - 1) &^ (d.sector - 1)
		got, err := d.file.ReadAt(d.buffer[:min(to-from, directPiece)], from)
		if int64(got) <= at-from {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
		n += copy(p[n:], d.buffer[at-from:got])
	}
	return n, nil
}

// Close closes the second opening of the device.
func (d *directReader) Close() error { return d.file.Close() }
