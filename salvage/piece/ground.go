package piece

import (
	"errors"
	"fmt"

	"salvor/salvage/volume"
)

// A Ground knows which blocks of a volume nothing explains yet. Its method may be
// called from several goroutines at once.
type Ground interface {
	// Next is the first run of unexplained blocks that ends behind off, as far as it
	// lies at or behind off: it begins at off when off is in it. It begins and ends
	// with a block. ok is false where there is none any more.
	Next(off int64) (run volume.Range, ok bool)
}

// errUnread says that a block is unknown, which costs one guess.
var errUnread = errors.New("unreadable")

// An eye looks at single blocks of a surveyed volume, and remembers some looks.
type eye struct {
	*Survey
	batch []byte
	seen  map[int64]look
	free  volume.Range // the run of unexplained blocks that was asked for last
}

const (
	mostLooks  = 1 << 16 // about 4 MiB
	blockBatch = 16
)

// isFree tells whether nothing explains a block.
func (y *eye) isFree(off int64) bool {
	if off >= y.free.Off && off < y.free.End() {
		return true
	}
	run, ok := y.ground.Next(off)
	if !ok {
		return false
	}
	if run.Off <= off {
		y.free = run
	}
	return run.Off <= off
}

// at looks at a block. An unknown one has no text.
func (y *eye) at(off int64) (look, error) {
	if l, ok := y.seen[off]; ok {
		return l, nil
	}
	if len(y.seen) >= mostLooks {
		clear(y.seen)
	}
	if y.batch == nil {
		y.batch = make([]byte, blockBatch*y.blockSize)
	}
	n := min(int64(len(y.batch)), y.v.Size()-off)
	if off < 0 || n < y.blockSize {
		return look{}, nil
	}
	n -= n % y.blockSize
	unknown, err := y.v.ReadAt(y.batch[:n], off)
	if err != nil {
		return look{}, fmt.Errorf("read %s at %d: %w", y.v.Name(), off, err)
	}
	for at := int64(0); at < n; at += y.blockSize {
		l := look{}
		if !overlaps(unknown, off+at, y.blockSize) {
			l = lookAt(y.batch[at : at+y.blockSize])
		}
		y.seen[off+at] = l
	}
	return y.seen[off], nil
}

func overlaps(list []volume.Range, off, size int64) bool {
	for _, r := range list {
		if r.Off < off+size && off < r.End() {
			return true
		}
	}
	return false
}
