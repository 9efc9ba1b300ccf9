package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Options say what is known of a disk beside its bytes. The zero value is that of
// a whole image, or of a device.
type Options struct {
	// Map is the path of the map file that GNU ddrescue wrote when the image was
	// made: whatever it does not call finished is unknown.
	Map string
	// Size is how many bytes the disk had, if more than there are: the rest is
	// unknown. A map that tells of more makes the disk larger by itself.
	Size int64
	// Sector is the disk's logical sector in bytes, a power of two: the least that
	// is read, or lost, at once. 0: the device knows it; 512 of an image.
	Sector int
}

// ErrMap begins errors about a disk's map: the disk itself may be all right.
var ErrMap = errors.New("map")

// Open opens an image file or a block device for reading. Its name is its path.
func Open(path string, o Options) (Volume, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	if err := readable(path, info.Mode()); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	v, err := openFile(f, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return v, nil
}

// readable refuses what is no disk. Opening a pipe would wait for its writer.
func readable(path string, mode fs.FileMode) error {
	switch {
	case mode.IsDir():
		return fmt.Errorf("open disk %s: it is a directory; name an image file or a block device", path)
	case !mode.IsRegular() && (mode&fs.ModeDevice == 0 || mode&fs.ModeCharDevice != 0):
		return fmt.Errorf("open disk %s: it is neither a file nor a block device", path)
	}
	return nil
}

func openFile(f *os.File, o Options) (Volume, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	// Of a device, too, the end is its size.
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("find the size of %s: %w", f.Name(), err)
	}
	device := !info.Mode().IsRegular()
	if device && size == 0 {
		return nil, fmt.Errorf("open disk %s: the device has no medium, or is gone; look at the kernel's log", f.Name())
	}
	if device && o.Sector == 0 {
		o.Sector = deviceSector(f)
	}
	d, err := newDisk(f.Name(), f, size, o)
	if err != nil {
		return nil, err
	}
	d.file, d.device = f, device
	if device {
		d.again = openDirect(f, d.sector)
	}
	return d, nil
}

// deviceSector asks a block device for its logical sector; 0: it does not say.
func deviceSector(f *os.File) (bytes int) {
	control(f, func(fd int) { bytes, _ = unix.IoctlGetInt(fd, unix.BLKSSZGET) })
	return bytes
}

// control calls do with the file's descriptor, if the file is still open.
func control(f *os.File, do func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// New makes a volume of anything that can be read, of size bytes: what Open does
// with files. What r answers with an error is unknown; it is closed with the volume
// if it is an io.Closer.
func New(name string, r io.ReaderAt, size int64, o Options) (Volume, error) {
	return newDisk(name, r, size, o)
}

func newDisk(name string, r io.ReaderAt, size int64, o Options) (*disk, error) {
	d := &disk{name: name, source: r, again: r, real: size, size: max(size, o.Size), sector: int64(o.Sector)}
	switch {
	case o.Size != 0 && o.Size < size:
		return nil, fmt.Errorf("open disk %s: it has %d bytes, more than the claimed %d; leave the size out", name, size, o.Size)
	case d.sector == 0:
		d.sector = 512
	case d.sector < 512 || d.sector > WindowAlign || d.sector&(d.sector-1) != 0:
		return nil, fmt.Errorf("open disk %s: sectors of %d bytes; they are 512 or 4096 bytes large", name, o.Sector)
	}
	if o.Map != "" {
		if err := d.useMap(o.Map); err != nil {
			return nil, err
		}
	}
	if d.size == 0 {
		return nil, fmt.Errorf("open disk %s: it is empty; say how large it was if it was cut off", name)
	}
	d.missing = d.missing.Add(Normalise([]Range{{d.real, d.size - d.real}}))
	return d, nil
}

// useMap reads the map and takes from it what is unknown.
func (d *disk) useMap(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w of %s: %w", ErrMap, d.name, err)
	}
	defer f.Close()
	m, err := ParseMap(f)
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrMap, path, err)
	}
	d.size = max(d.size, m.Size)
	if n := m.Finished.Within(Range{d.real, math.MaxInt64 - d.real}).Total(); n > 0 {
		d.remarks = append(d.remarks, fmt.Sprintf("map %s: it calls %d bytes finished that lie past the end of %s; they are unknown: "+
			"look whether the image was copied whole, and whether this is its map", path, n, d.name))
	}
	if m.End < d.real {
		d.remarks = append(d.remarks, fmt.Sprintf("map %s: it ends at %d, and %s at %d; the rest is unknown: "+
			"look whether this is the image's map, and let ddrescue finish", path, m.End, d.name, d.real))
	}
	d.missing = Normalise([]Range{{0, d.size}}).Subtract(m.Finished)
	return nil
}
