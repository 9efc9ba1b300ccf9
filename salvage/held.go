package salvage

import (
	"bytes"
	"io"
	"sync"

	"salvor/salvage/found"
	"salvor/salvage/volume"
)

// What is read of an object is held in memory: its beginning tells whether it may be
// mail, and most of mail is small enough to be judged and kept without being read
// again.
const (
	headBytes = 4096     // tell whether it may be mail
	firstRead = 64 << 10 // most messages are shorter
	heldBytes = 1 << 20  // longer ones are read as often as they are needed
)

// held is what is in memory of an object: its first bytes, or all of them.
type held struct {
	r       io.Reader // the rest of it
	missing func() []volume.Range
	b       []byte
	buffer  *[]byte // the one of buffers that b began in
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, firstRead)
	return &b
}}

// head gives the first bytes of an object, as many as tell whether it may be mail.
func (o *object) head() ([]byte, error) {
	if err := o.hold(firstRead); err != nil {
		return nil, err
	}
	return o.kept.b[:min(headBytes, len(o.kept.b))], nil
}

// hold reads the first n bytes into memory, as far as there are any.
func (o *object) hold(n int64) (err error) {
	h := &o.kept
	if h.r == nil {
		if h.r, h.missing, err = o.from(); err != nil {
			return err
		}
		h.buffer = buffers.Get().(*[]byte)
		h.b = (*h.buffer)[:0]
	}
	n = min(n, o.size)
	have := int64(len(h.b))
	if have >= n {
		return nil
	}
	if int64(cap(h.b)) < n {
		h.b = append(make([]byte, 0, n), h.b...)
	}
	got, err := readFull(h.r, h.b[have:n])
	h.b = h.b[:have+int64(got)]
	return err
}

// open reads an object from its beginning; missing tells afterwards what was unknown
// of what was read.
func (o *object) open() (r io.Reader, missing func() []volume.Range, err error) {
	if o.size > heldBytes {
		return o.from()
	}
	if err := o.hold(o.size); err != nil {
		return nil, nil, err
	}
	return found.Hashed{Reader: bytes.NewReader(o.kept.b)}, o.kept.missing, nil
}

// top is the beginning of an object that is all in memory; nil: it is not.
func (o *object) top() []byte {
	if o.size > heldBytes {
		return nil
	}
	return o.kept.b[:min(prefixBytes, len(o.kept.b))]
}

// drop gives up what is in memory of an object, and everything that was opened of
// it.
func (o *object) drop() {
	if o.kept.buffer != nil {
		buffers.Put(o.kept.buffer)
	}
	o.kept = held{}
}

// copyTo copies all of r, by way of a buffer that is used again.
func copyTo(w io.Writer, r io.Reader) (int64, error) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	return io.CopyBuffer(w, r, *b)
}
