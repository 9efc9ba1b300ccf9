// Package volume gives random access to the bytes of disks that may be damaged:
// images, block devices, partitions, arrays. It never writes to them.
//
// A byte that cannot be read is unknown, which is something else than zero: every
// read says which of its bytes are. What a ddrescue map does not call finished,
// what the kernel answers with an I/O error, what lies past the end of a
// truncated image: all of it is unknown.
//
// The package knows nothing about file systems or mail. Package raid makes one
// volume of the members of an array; packages ext4 and xfs read volumes.
package volume

// Range is the bytes from Off up to, but not including, Off+Len.
type Range struct {
	Off int64 `json:"off"`
	Len int64 `json:"len"`
}

// End is the first byte behind the range.
func (r Range) End() int64 { return r.Off + r.Len }

// A Volume is random access to bytes that may be unknown. Its methods may be
// called from several goroutines at once.
type Volume interface {
	// Name is what people call it: a path, a path and a partition, the members of
	// an array.
	Name() string
	// Size is how many bytes it has, or had before it was cut off.
	Size() int64
	// ReadAt fills p with the bytes from off on. It returns the ranges of the
	// volume within [off, off+len(p)) that are unknown, sorted, apart from each
	// other, none of them empty; p is zero there. What lies past Size is unknown
	// too. A bad sector is no error; an error means that nothing can be read any
	// more.
	ReadAt(p []byte, off int64) (unknown []Range, err error)
	Close() error
}

// A Sparse volume knows where it holds nothing but zeros.
type Sparse interface {
	// NextData is the first offset at or behind off at which there may be something
	// else than zeros; Size where there is none.
	NextData(off int64) int64
}

// A Window is a stretch of a volume as a sweep hands it on. Off and len(Data) are
// multiples of WindowAlign, but for a volume's last one.
type Window struct {
	Off     int64
	Data    []byte  // valid during the call only
	Unknown []Range // of the volume, within the window; Data is zero there
}

// WindowAlign is the largest block of a file system that can be relied on not to
// lie across two windows, in bytes.
const WindowAlign = 64 << 10
