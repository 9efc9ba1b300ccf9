package piece

import (
	"bytes"
	"crypto/sha1"
	"encoding"
	"fmt"
	"hash"

	"salvor/chunk"
)

// wire hashes the wire form of stored bytes: an LF without a CR before it counts
// as CRLF.
type wire struct {
	sum  hash.Hash
	size int64 // of the wire form
	cr   bool  // the last byte was a CR
	buf  []byte
}

func newWire() *wire { return &wire{sum: sha1.New()} }

func (w *wire) reset() {
	w.sum.Reset()
	w.size, w.cr = 0, false
}

// write takes the next stored bytes.
func (w *wire) write(p []byte) {
	if len(p) == 0 {
		return
	}
	from, buf, cr := 0, w.buf[:0], w.cr
	for i := 0; i < len(p); i++ {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			break
		}
		i += j
		if i > 0 {
			cr = p[i-1] == '\r'
		}
		if !cr {
			buf = append(append(buf, p[from:i]...), '\r', '\n')
			from = i + 1
		}
	}
	w.cr = p[len(p)-1] == '\r'
	if from > 0 {
		w.size += int64(len(buf))
		w.sum.Write(buf)
		w.buf = buf
	}
	w.size += int64(len(p) - from)
	w.sum.Write(p[from:])
}

// now gives the hash of what was written so far; more can follow.
func (w *wire) now() (sum chunk.SHA1) {
	w.sum.Sum(sum[:0])
	return sum
}

// A mark is a state to go back to.
type mark struct {
	state []byte
	size  int64
	cr    bool
}

// mark saves the state, into old's memory if it can.
func (w *wire) mark(old mark) (mark, error) {
	state, err := w.sum.(encoding.BinaryAppender).AppendBinary(old.state[:0])
	if err != nil {
		return mark{}, fmt.Errorf("save the state of a SHA-1: %w", err)
	}
	return mark{state: state, size: w.size, cr: w.cr}, nil
}

// back goes back to a state.
func (w *wire) back(m mark) error {
	if err := w.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(m.state); err != nil {
		return fmt.Errorf("restore the state of a SHA-1: %w", err)
	}
	w.size, w.cr = m.size, m.cr
	return nil
}
