package chunk

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"sync"
)

// hashBlock is how much is hashed at a time: small enough that the second
// hash finds it in the nearest cache.
const hashBlock = 16 << 10

const hashBuffer = 2*hashBlock + len("\r\n")

// WireSums gives the identity of stored bytes: SHA-256, SHA-1 and size of
// their wire form, without building the wire form in memory.
func WireSums(stored []byte) (id ID, sum SHA1, size int64) {
	h := hashers.Get().(*WireHasher)
	defer hashers.Put(h)
	h.Reset()
	h.write(stored)
	return h.Sums()
}

var hashers = sync.Pool{New: func() any { return NewWireHasher() }}

// WireHasher is an io.Writer that takes stored bytes, in pieces of any size,
// and gives the identity of their wire form. It is not for concurrent use.
type WireHasher struct {
	sha256, sha1 hash.Hash
	size         int64
	buf          []byte // wire form not yet hashed
	cr           bool   // the last byte taken was a CR
	noSHA1       bool
}

// NewWireHasher makes one that has taken nothing yet.
func NewWireHasher() *WireHasher {
	return &WireHasher{sha256: sha256.New(), sha1: sha1.New(), buf: make([]byte, 0, hashBuffer)}
}

// Reset forgets what was written.
func (h *WireHasher) Reset() {
	h.sha256.Reset()
	h.sha1.Reset()
	h.size, h.buf, h.cr, h.noSHA1 = 0, h.buf[:0], false, false
}

// Write takes the next stored bytes. It never fails.
func (h *WireHasher) Write(stored []byte) (int, error) {
	h.write(stored)
	return len(stored), nil
}

// Sums gives what WireSums gives for everything written so far.
func (h *WireHasher) Sums() (id ID, sum SHA1, size int64) {
	h.flush()
	h.sha256.Sum(id[:0])
	h.sha1.Sum(sum[:0])
	return id, sum, h.size
}

func (h *WireHasher) write(stored []byte) {
	for len(stored) > 0 {
		i := bytes.IndexByte(stored, '\n')
		if i < 0 {
			h.add(stored)
			h.cr = stored[len(stored)-1] == '\r'
			return
		}
		if i > 0 {
			h.cr = stored[i-1] == '\r'
		}
		h.addLine(stored[:i], !h.cr)
		h.cr = false
		stored = stored[i+1:]
	}
}

// addLine takes a line of the wire form without its LF, and without the CR
// before it when that is to be added.
func (h *WireHasher) addLine(line []byte, cr bool) {
	if len(line) > hashBlock {
		h.add(line)
		line = nil
	}
	h.buf = append(h.buf, line...)
	if cr {
		h.buf = append(h.buf, '\r')
	}
	h.buf = append(h.buf, '\n')
	h.flushFull()
}

// add takes bytes of the wire form.
func (h *WireHasher) add(wire []byte) {
	for len(wire) > 0 {
		n := min(hashBlock, len(wire))
		h.buf = append(h.buf, wire[:n]...)
		wire = wire[n:]
		h.flushFull()
	}
}

// flushFull keeps less than a block in the buffer, so that a block and a line
// end always have place.
func (h *WireHasher) flushFull() {
	if len(h.buf) >= hashBlock {
		h.flush()
	}
}

func (h *WireHasher) flush() {
	h.size += int64(len(h.buf))
	h.sha256.Write(h.buf)
	if !h.noSHA1 {
		h.sha1.Write(h.buf)
	}
	h.buf = h.buf[:0]
}

// writeWire takes bytes that are their own wire form, without copying them.
func (h *WireHasher) writeWire(wire []byte) {
	h.flush()
	h.size += int64(len(wire))
	for len(wire) > 0 {
		block := wire[:min(hashBlock, len(wire))]
		h.sha256.Write(block)
		h.sha1.Write(block)
		wire = wire[len(block):]
	}
}

// wireID is the SHA-256 of the wire form of an LF form. A WireHasher's Write
// would be wrong here: a CR before an LF of the LF form is one of its own.
func wireID(lf []byte) (id ID) {
	h := hashers.Get().(*WireHasher)
	defer hashers.Put(h)
	h.Reset()
	h.noSHA1 = true
	for {
		i := bytes.IndexByte(lf, '\n')
		if i < 0 {
			break
		}
		h.addLine(lf[:i], true)
		lf = lf[i+1:]
	}
	h.add(lf)
	h.flush()
	h.sha256.Sum(id[:0])
	return id
}
