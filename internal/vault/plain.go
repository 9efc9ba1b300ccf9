package vault

import "salvor/internal/buffers"

// A plainFrame is a decoded frame in a Reader's memory, which is used again for
// another frame once nobody can see it. Reader.mu guards all but the bytes.
type plainFrame struct {
	bytes  []byte
	room   []byte // what the bytes lie in
	users  int    // calls that copy from it
	shared bool   // a caller got the bytes themselves, and may look at them for ever
	gone   bool   // the cache has dropped it
}

func (f *plainFrame) drop() {
	f.gone = true
	f.recycle()
}

func (f *plainFrame) recycle() {
	if f.gone && f.users == 0 && !f.shared {
		buffers.Put(f.room)
		f.bytes, f.room = nil, nil
	}
}

// chunkOf gives a chunk of the frame, a copy in room where that is long enough,
// and ends a use of the frame.
func (r *Reader) chunkOf(f *plainFrame, l Location, room []byte) []byte {
	b := f.bytes[l.Offset : l.Offset+l.Size : l.Offset+l.Size]
	copied := room != nil && int64(cap(room)) >= l.Size
	if copied {
		b = append(room[:0], b...)
	}
	r.release(f, !copied)
	return b
}

// release ends a use of a frame.
func (r *Reader) release(f *plainFrame, shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.users--
	f.shared = f.shared || shared
	f.recycle()
}
