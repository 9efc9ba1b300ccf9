package fsys

import (
	"errors"
	"io"
	"slices"

	"salvor/salvage/volume"
)

// ErrUnlikely is the error of a file whose record cannot be true: it claims more
// bytes than a caller takes, or has no bytes at all.
var ErrUnlikely = errors.New("its record makes no sense")

// A Content reads a file's bytes from its volume, in order. Bytes that nobody
// knows come as zeros and are told by Missing: unreadable ones, and those for
// which the block map names no place. Mail servers write messages from end to
// end, so a gap in the map of one is a loss and no sparse file.
type Content struct {
	v       volume.Volume
	f       *File
	size    int64
	at      int64 // next byte of the file
	next    int   // extent at or behind at
	missing []volume.Range
}

// OpenContent reads a file of at most limit bytes. Where the file's size is not
// known, it is what its extents reach.
func OpenContent(v volume.Volume, f *File, limit int64) (*Content, error) {
	c := &Content{v: v, f: f, size: f.Size}
	mapped := int64(len(f.Inline))
	for _, e := range f.Extents {
		if e.Len <= 0 || e.Off < 0 || e.Logical < 0 || e.Logical > limit {
			break
		}
		mapped = e.Logical + min(e.Len, limit)
	}
	if c.size < 0 {
		c.size = mapped
	}
	if c.size == 0 || mapped == 0 || c.size > limit {
		return nil, ErrUnlikely
	}
	return c, nil
}

// Size is how many bytes there are to read.
func (c *Content) Size() int64 { return c.size }

// Missing is what is unknown of what was read so far, in bytes of the file,
// sorted, apart from each other.
func (c *Content) Missing() []volume.Range { return c.missing }

// Read reads on. An error other than io.EOF means that the volume is gone.
func (c *Content) Read(p []byte) (int, error) {
	if c.at >= c.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.size-c.at)]
	if len(c.f.Inline) > 0 {
		return c.inline(p), nil
	}
	for c.next < len(c.f.Extents) && c.f.Extents[c.next].Logical+c.f.Extents[c.next].Len <= c.at {
		c.next++
	}
	if c.next == len(c.f.Extents) {
		return c.lack(p), nil
	}
	e := c.f.Extents[c.next]
	if e.Logical > c.at {
		return c.lack(p[:min(int64(len(p)), e.Logical-c.at)]), nil
	}
	from := c.at - e.Logical
	p = p[:min(int64(len(p)), e.Len-from)]
	if e.Unwritten {
		return c.lack(p), nil
	}
	unknown, err := c.v.ReadAt(p, e.Off+from)
	if err != nil {
		return 0, err
	}
	for _, u := range unknown {
		c.lost(volume.Range{Off: c.at + u.Off - (e.Off + from), Len: u.Len})
	}
	c.at += int64(len(p))
	return len(p), nil
}

func (c *Content) inline(p []byte) int {
	n := 0
	if c.at < int64(len(c.f.Inline)) {
		n = copy(p, c.f.Inline[c.at:])
		c.at += int64(n)
		return n
	}
	return c.lack(p)
}

func (c *Content) lack(p []byte) int {
	clear(p)
	c.lost(volume.Range{Off: c.at, Len: int64(len(p))})
	c.at += int64(len(p))
	return len(p)
}

func (c *Content) lost(r volume.Range) {
	if last := len(c.missing) - 1; last >= 0 && c.missing[last].End() == r.Off {
		c.missing[last].Len += r.Len
		return
	}
	c.missing = append(c.missing, r)
}

// Pieces gives the extents that hold the first size bytes, joined where they
// touch, without what was never written.
func Pieces(extents []Extent, size int64) (out []Extent) {
	for _, e := range extents {
		if e.Unwritten || e.Logical >= size {
			continue
		}
		e.Len = min(e.Len, size-e.Logical)
		if last := len(out) - 1; last >= 0 && out[last].Logical+out[last].Len == e.Logical && out[last].Off+out[last].Len == e.Off {
			out[last].Len += e.Len
			continue
		}
		out = append(out, e)
	}
	return slices.Clip(out)
}
