package carve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"salvor/salvage/volume"
)

// Odd is a range of a message that does not fit, in bytes from its beginning. It
// reaches to the end of a unit in which foreign bytes can stand.
type Odd struct {
	volume.Range
	Why  string
	Sure bool // real mail does not do that
}

// A Shape is what a message looks like.
type Shape struct {
	Verdict Verdict
	Why     string // of anything but Whole, one line
	Size    int64  // bytes that were read
	Header  int64  // length of the header with its empty line, 0: there is none
	Parts   int    // headers of parts and messages within, and the first
	// CRLF: most lines end so. Mixed: some end otherwise.
	CRLF, Mixed bool
	// Zeros are the sectors of nothing but zeros: holes that a file system check
	// leaves, since mail holds none. NULs counts single ones.
	Zeros []volume.Range
	NULs  int64
	Odd   []Odd
	// Closed: every multipart was closed, or there was none.
	Closed bool
}

// checkAlign is how far apart places are at which foreign bytes can begin in a
// file of which the block size is not known.
const checkAlign = sector

// Check judges size bytes that claim to be a whole message; size is below zero
// where nobody knows it. An error is one of reading.
func Check(r io.Reader, size int64) (Shape, error) {
	d := newReading(checkAlign, 0, false)
	s := Shape{}
	kept := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(kept)
	buf := kept[:]
	for {
		n, err := io.ReadFull(r, buf)
		if size >= 0 && d.off+int64(n) > size {
			n, err = int(size-d.off), io.EOF
		}
		d.check(buf[:n])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return s, err
		}
	}
	d.finish()
	d.judge(&s)
	if size >= 0 && d.off < size {
		s.Verdict, s.Why = Broken, fmt.Sprintf("it has %d of its %d bytes", d.off, size)
	}
	return s, nil
}

const bufferSize = 64 << 10

// buffers are used again: most mail is far shorter than they are.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

var zeros [sector]byte

// check feeds whole sectors, those of zeros as gaps.
func (r *reading) check(b []byte) {
	for len(b) > 0 {
		if n := ordinary(b); n > 0 && r.off > 0 {
			r.feed(b[:n])
			b = b[n:]
			continue
		}
		n := min(len(b), sector)
		if bytes.Equal(b[:n], zeros[:n]) && (n == sector || len(r.gaps.all) > 0 || n >= 16) {
			r.gap(int64(n))
		} else {
			if r.off > 0 && r.begins(b) {
				r.doubtAt(r.off, "another message seems to begin here")
			}
			r.feed(b[:n])
		}
		b = b[n:]
	}
}

// ordinary is the length of the sectors with which b begins that are neither of
// zeros nor look like the beginning of a message.
func ordinary(b []byte) (n int) {
	for n < len(b) {
		k := min(len(b)-n, sector)
		if b[n] == 0 && bytes.Equal(b[n:n+k], zeros[:k]) {
			break
		}
		if s, ok := Head(b[n:]); ok && s.Kind == Header && s.Score >= sure {
			break
		}
		n += k
	}
	return n
}

// judge fills in a shape at the end of the message.
func (r *reading) judge(s *Shape) {
	m := &r.mime
	s.Size, s.Header, s.Parts = r.off, m.header, m.parts
	s.CRLF = r.ends[crlf] > r.ends[lf]
	s.Mixed = min(r.ends[crlf], r.ends[lf]) > 0
	s.Zeros, s.NULs, s.Odd, s.Closed = r.gaps.all, r.nuls, r.odd, !m.open() && !m.deep
	if m.fields == 0 || m.score < 1 || m.noHeader {
		s.Header = 0
	}
	s.Verdict, s.Why = r.verdict()
}

func (r *reading) verdict() (Verdict, string) {
	m := &r.mime
	switch {
	case m.fields == 0 || m.noHeader:
		return NotMail, "it does not begin with a header"
	case len(r.gaps.all) > 0:
		if g := &r.gaps; !g.text && g.doubtful() < 0 && !m.open() && !r.wrong {
			return Partial, fmt.Sprintf("zeros stand in an attachment from byte %d on", g.all[0].Off)
		}
		return Broken, fmt.Sprintf("zeros stand from byte %d on", r.gaps.all[0].Off)
	case m.open():
		return Broken, fmt.Sprintf("the parts that begin at byte %d are never closed", m.levels[0].at)
	case r.wrong:
		i := slices.IndexFunc(r.odd, func(o Odd) bool { return o.Sure })
		return Broken, fmt.Sprintf("at byte %d: %s", r.odd[i].Off, r.odd[i].Why)
	}
	if why := r.doubt(); why != "" {
		return Plausible, why
	}
	return Whole, ""
}

// doubt says why a message of which nothing is known to be wrong is no more than
// plausible.
func (r *reading) doubt() string {
	m := &r.mime
	switch {
	case m.score < 1:
		return "no field of its header is known"
	case m.ragged:
		return "lines of its header are no fields"
	case m.deep:
		return "its parts lie too deep to be followed"
	case m.sloppy:
		return "a part within is not closed"
	case len(r.odd) > 0:
		return fmt.Sprintf("at byte %d: %s", r.odd[0].Off, r.odd[0].Why)
	case r.nuls > 0:
		return "it holds NULs"
	case r.strange > 0:
		return fmt.Sprintf("base64 is irregular at byte %d", r.strange)
	case m.epilogue && r.off-m.closed > 2 && r.off%sector == 0:
		return "it ends where a block ends, within what follows its last boundary"
	case m.opened || m.part.encoding == "base64" && m.part.base64.complete():
		return ""
	case r.off%sector == 0:
		return "it ends where a block ends, and nothing shows that its text does"
	case r.ended == noEnd:
		return "its last line has no end"
	}
	return ""
}
