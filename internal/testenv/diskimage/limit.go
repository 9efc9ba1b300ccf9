package diskimage

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
)

// A Limit is what can still be on a damaged disk: the messages each block of which
// stands somewhere on it. A message that stands in several places counts once.
type Limit struct {
	Targets     int   // messages to find, by content
	TargetBytes int64 // of them, in the form of the wire
	Messages    int   // of these, that are there
	Bytes       int64

	whole map[string]bool // by SHA-1
}

// Has tells whether all blocks of a message are there, by its SHA-1.
func (l *Limit) Has(sha1 string) bool { return l.whole[sha1] }

// String gives the shares that are there.
func (l *Limit) String() string {
	return fmt.Sprintf("%d of %d messages are there (%.2f %%, %.2f %% of bytes)", l.Messages, l.Targets,
		percent(int64(l.Messages), int64(l.Targets)), percent(l.Bytes, l.TargetBytes))
}

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}

// Limit finds out what is there: it looks at every block of the disk. It needs
// the undamaged image.
func (d *Damaged) Limit() (*Limit, error) {
	base, err := os.Open(d.Base.Path)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	there := io.ReaderAt(&punched{base, d.Unreadable})
	if d.Array == nil {
		f, err := os.Open(d.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		there = f
	}
	seed := maphash.MakeSeed()
	blocks, err := blocksOf(there, d.Base.Options.Size, seed)
	if err != nil {
		return nil, err
	}
	l := &Limit{whole: map[string]bool{}}
	counted := map[string]bool{}
	for _, m := range d.Targets {
		if !counted[m.SHA1] {
			counted[m.SHA1] = true
			l.Targets++
			l.TargetBytes += m.WireSize
		}
		if l.whole[m.SHA1] {
			continue
		}
		whole, err := isThere(base, there, blocks, seed, m)
		if err != nil {
			return nil, err
		}
		if whole {
			l.whole[m.SHA1] = true
			l.Messages++
			l.Bytes += m.WireSize
		}
	}
	return l, nil
}

// blocksOf gives the hashes of all blocks of a disk.
func blocksOf(r io.ReaderAt, size int64, seed maphash.Seed) (map[uint64]bool, error) {
	all := make(map[uint64]bool, size/blockSize)
	b := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(b)) {
		n, err := r.ReadAt(b[:min(int64(len(b)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for i := 0; i+blockSize <= n; i += blockSize {
			all[maphash.Bytes(seed, b[i:i+blockSize])] = true
		}
		if n < len(b) {
			break
		}
	}
	return all, nil
}

// isThere tells whether each block of a message is anywhere. The last one is
// compared in its place too, as far as the message reaches.
func isThere(base, there io.ReaderAt, blocks map[uint64]bool, seed maphash.Seed, m Message) (bool, error) {
	content, err := readExtents(base, m.Extents, m.Size)
	if err != nil {
		return false, err
	}
	padded := append(content, make([]byte, -len(content)&(blockSize-1))...)
	for _, e := range m.Extents {
		for at := e.Logical; at < min(e.Logical+e.Len, m.Size); at += blockSize {
			if blocks[maphash.Bytes(seed, padded[at:at+blockSize])] {
				continue
			}
			place := make([]byte, min(blockSize, m.Size-at))
			if _, err := there.ReadAt(place, e.Off+at-e.Logical); err != nil || !bytes.Equal(place, content[at:at+int64(len(place))]) {
				return false, nil
			}
		}
	}
	return true, nil
}

// punched is a disk with zeros where nothing can be read.
type punched struct {
	io.ReaderAt
	holes []Extent // by Off
}

func (p *punched) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, off)
	for _, h := range p.holes {
		if from, to := max(h.Off, off), min(h.Off+h.Len, off+int64(n)); from < to {
			clear(b[from-off : to-off])
		}
	}
	return n, err
}
