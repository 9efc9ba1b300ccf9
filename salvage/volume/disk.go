package volume

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// mostBad is how many bad places are remembered apart from each other (1 MiB of
	// memory). If there are more, the good bytes between the nearest of them are
	// given up.
	mostBad = 64 << 10
	// stretch is how many bad bytes in a row make a bad stretch. Behind it, a piece is
	// only searched for good sectors if its first or its last one is good: else a dead
	// head, at seconds for each try, would hold us for weeks. Good bytes between bad ones
	// are surely found in it if they are two pieces or more.
	stretch   = 1 << 20
	piecemeal = 64 << 10
	// patience is how many tries may fail in a row before the disk has to show that
	// it is still there, and probes the places at which it may do so.
	patience = 256
	probes   = 32
)

// A disk is a file, a device, or whatever can be read, with its bad places.
type disk struct {
	name    string
	source  io.ReaderAt
	again   io.ReaderAt // for what source could not read at once
	real    int64       // bytes that can be asked for
	size    int64       // with those that were cut off
	sector  int64
	missing Ranges // unknown beforehand: by the map, or cut off
	remarks []string

	file   *os.File // nil: source is none
	device bool

	failed atomic.Int64 // tries in a row
	mu     sync.RWMutex
	bad    Ranges // sectors that could not be read
	gone   error  // the disk is
}

func (d *disk) Name() string { return d.name }

func (d *disk) Size() int64 { return d.size }

func (d *disk) sectorSize() int64 {
	if d.device {
		return d.sector
	}
	return 0 // an image does not know what it is of
}

func (d *disk) notes() []string { return d.remarks }

func (d *disk) Close() error {
	var errs []error
	if c, ok := d.source.(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	if c, ok := d.again.(*directReader); ok {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (d *disk) ReadAt(p []byte, off int64) ([]Range, error) {
	inside, unknown := split(off, len(p), d.size)
	unknown = unknown.Add(d.missing.Within(inside))
	bad, err := d.known(inside)
	if err != nil {
		return nil, err
	}
	unknown = unknown.Add(bad)
	wanted := [1]Range{inside} // mostly all of it
	todo := Ranges(wanted[:min(1, inside.Len)])
	if len(unknown) > 0 {
		todo = todo.Subtract(unknown)
	}
	for _, r := range todo {
		bad, err := d.try(d.source, p[r.Off-off:r.End()-off], r.Off)
		if err != nil {
			return nil, fmt.Errorf("read %s at %d: %w", d.name, r.Off, err)
		}
		unknown = unknown.Add(bad)
	}
	blank(p, off, unknown)
	return unknown, nil
}

// known gives the bad places that were met in r before.
func (d *disk) known(r Range) (Ranges, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.bad.Within(r), d.gone
}

// halve reads a piece that could not be read as it is, half by half.
func (d *disk) halve(p []byte, off int64) (Ranges, error) {
	end := off + int64(len(p))
	if len(p) <= piecemeal && d.inStretch(off) {
		// Most likely all of it is bad; the ends of it tell.
		first := off&^(d.sector-1) + d.sector
		last := (end - 1) &^ (d.sector - 1)
		bad, err := d.retry(p[:first-off], off)
		if err == nil && len(bad) > 0 {
			bad, err = d.retry(p[last-off:], last)
		}
		if err != nil {
			return nil, err
		}
		if len(bad) > 0 {
			return d.remember(off, end), nil
		}
	}
	middle := (off + (end-off)/2) &^ (d.sector - 1)
	if middle <= off {
		middle += d.sector
	}
	left, err := d.retry(p[:middle-off], off)
	if err != nil {
		return nil, err
	}
	right, err := d.retry(p[middle-off:], middle)
	return left.Add(right), err
}

// retry reads a piece of one that could not be read, but for what is known to be
// bad by now.
func (d *disk) retry(p []byte, off int64) (Ranges, error) {
	piece := Range{off, int64(len(p))}
	bad, err := d.known(piece)
	for _, r := range (Ranges{piece}).Subtract(bad) {
		if err != nil {
			break
		}
		var more Ranges
		more, err = d.try(d.again, p[r.Off-off:r.End()-off], r.Off)
		bad = bad.Add(more)
	}
	return bad, err
}

// try reads one piece, and what it can of it.
func (d *disk) try(from io.ReaderAt, p []byte, off int64) (Ranges, error) {
	n, cause := from.ReadAt(p, off)
	end := off + int64(len(p))
	if n == len(p) {
		d.failed.Store(0)
		return nil, nil
	}
	if err := d.failure(cause); err != nil {
		return nil, err
	}
	if whole := (off + int64(max(0, n))) &^ (d.sector - 1); whole > off {
		d.failed.Store(0)
		p, off = p[whole-off:], whole
	}
	if end <= off&^(d.sector-1)+d.sector {
		return d.remember(off, end), nil
	}
	return d.halve(p, off)
}

// inStretch tells whether enough in a row is bad before off.
func (d *disk) inStretch(off int64) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	i := d.bad.search(off - 1)
	return i < len(d.bad) && off-d.bad[i].Off >= stretch
}

// remember notes that the sectors of [off, end) are bad, and gives back these bytes.
func (d *disk) remember(off, end int64) Ranges {
	from := off &^ (d.sector - 1)
	to := min((end+d.sector-1)&^(d.sector-1), d.real)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bad = d.bad.insert(Range{from, to - from}); len(d.bad) > mostBad {
		d.bad = d.bad.coarsen(mostBad / 2)
	}
	return Ranges{{off, end - off}}
}

// failure judges one failed try: a bad sector costs nothing but itself, a disk
// that is gone ends everything.
func (d *disk) failure(cause error) error {
	if errors.Is(cause, os.ErrClosed) {
		return cause
	}
	if cause == nil {
		cause = io.ErrUnexpectedEOF
	}
	if d.failed.Add(1)%patience != 0 && !errors.Is(cause, unix.ENODEV) && !errors.Is(cause, unix.ENOMEDIUM) {
		return nil
	}
	if d.alive() {
		d.failed.Store(0)
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = fmt.Errorf("the disk does not answer any more, anywhere: look at its cable, power and the kernel's log: %w", cause)
	return d.gone
}

// alive tells whether the disk can still be read at any of some places all over it.
func (d *disk) alive() bool {
	if d.device {
		// A device that was removed has no size any more.
		if size, err := d.file.Seek(0, io.SeekEnd); err != nil || size == 0 {
			return false
		}
	}
	p := make([]byte, d.sector)
	last := (d.real - 1) &^ (d.sector - 1)
	for i := range int64(probes) {
		at := d.missing.After(last / (probes - 1) * i &^ (d.sector - 1))
		at = min(last, (at+d.sector-1)&^(d.sector-1))
		if i == probes-1 {
			at = last
		}
		if n, _ := d.again.ReadAt(p[:min(d.sector, d.real-at)], at); n > 0 {
			return true
		}
	}
	return false
}

// NextData asks the file system that holds an image for its holes. What is unknown
// is not skipped: ddrescue leaves holes where it could not read.
func (d *disk) NextData(off int64) int64 {
	off = max(0, off)
	if d.file == nil || d.device || off >= d.real {
		return min(off, d.size)
	}
	data, err := d.file.Seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		data = d.real
	case err != nil:
		return off
	}
	for _, r := range d.missing[d.missing.search(off):] {
		return max(off, min(data, r.Off))
	}
	return min(data, d.size)
}

func (d *disk) NextKnown(off int64) int64 {
	return min(d.size, d.missing.After(max(0, off)))
}

// Forget lets the kernel drop pages of a device: it may be a dying machine's, and
// its memory is wanted for better.
func (d *disk) Forget(r Range) {
	if d.device {
		control(d.file, func(fd int) { _ = unix.Fadvise(fd, r.Off, r.Len, unix.FADV_DONTNEED) })
	}
}
