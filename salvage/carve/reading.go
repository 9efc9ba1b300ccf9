package carve

import (
	"bytes"

	"salvor/salvage/volume"
)

// maxKept is how much of a line is looked at; its length is counted in full.
const maxKept = 4 << 10

// End of a line.
type lineEnd byte

const (
	noEnd lineEnd = iota
	lf
	crlf
)

// A reading is the state of reading a message from its first byte on, in pieces
// of any size: where it stands in the MIME structure, and what did not fit.
type reading struct {
	// align is the unit in which foreign bytes can begin, counted from the
	// message's first byte.
	align int64
	mbox  bool  // From_ lines separate messages, and this one goes on behind them
	base  int64 // of the first byte; joints are counted from 0

	off    int64  // of the next byte
	start  int64  // where the present line begins
	last   int64  // where the line before began
	kept   []byte // the present line as far as it was fed
	length int64  // of the present line
	torn   bool   // the present line's beginning is missing
	ended  lineEnd
	blank  bool // the line before was empty

	mime    structure
	ends    [3]int64 // lines by the way they end
	run     lineRun
	nuls    int64
	odd     []Odd
	wrong   bool  // one of odd is sure
	strange int64 // where base64 is irregular within a block; 0: nowhere
	weak    int64 // the first joint that nothing vouches for; -1: none
	// doubted is the first such joint behind the last that something vouches for.
	doubted int64
	gaps    gaps
	came    int // From_ lines in an mbox, but the first
}

// maxOdd bounds what is noted of one message.
const maxOdd = 64

// newReading begins a message at an offset.
func newReading(align, base int64, mbox bool) *reading {
	r := &reading{align: align, mbox: mbox, base: base, off: base, start: base, weak: -1, doubted: -1, kept: make([]byte, 0, 256)}
	r.mime.begin()
	return r
}

// feed reads on.
func (r *reading) feed(b []byte) {
	for len(b) > 0 {
		if r.length == 0 {
			if n := r.skim(b); n > 0 {
				b = b[n:]
				continue
			}
		}
		i := bytes.IndexByte(b, '\n')
		part := b
		if i >= 0 {
			part = b[:i+1]
		}
		b = b[len(part):]
		r.off += int64(len(part))
		if i >= 0 && r.length == 0 && len(part) <= maxKept {
			r.length = int64(len(part))
			r.line(part)
			continue
		}
		r.length += int64(len(part))
		r.kept = append(r.kept, part[:min(len(part), maxKept-len(r.kept))]...)
		if i >= 0 {
			if len(r.kept) == maxKept {
				r.kept[maxKept-1] = '\n'
			}
			r.line(r.kept)
		}
	}
}

// finish ends a line that the end of the message has cut off.
func (r *reading) finish() {
	if r.length > 0 {
		r.line(r.kept)
	}
	r.mime.finish(r)
}

// line takes a line with its end; of a long one the beginning.
func (r *reading) line(b []byte) {
	l := line{text: b, at: r.start, len: r.length, bits: classes(b), torn: r.torn}
	l.text, l.end = cutEnd(b)
	l.len -= int64(len(b) - len(l.text))
	r.joint(&l)
	if l.bits&isNUL != 0 {
		r.nuls += int64(count(b, isNUL))
	}
	r.ends[l.end]++
	r.lineEnds(&l)
	switch {
	case r.mbox && !l.torn && r.separates(l.text):
		r.came++
		r.mime = structure{}
		r.mime.begin()
	default:
		r.mime.line(r, &l)
	}
	r.blank, r.ended = len(l.text) == 0, l.end
	r.last, r.start = r.start, r.off
	r.length, r.kept, r.torn = 0, r.kept[:0], false
}

// line is a line of a message.
type line struct {
	text []byte // without its end, at most maxKept
	at   int64
	len  int64 // of the whole line, without its end
	end  lineEnd
	bits byte // classes of its bytes
	torn bool
	// Of the joint that lies in it or at its beginning; -1: there is none.
	joint int64
	// inside: the joint has bytes of the line before it.
	inside bool
}

func cutEnd(b []byte) ([]byte, lineEnd) {
	n := len(b)
	switch {
	case n > 1 && b[n-1] == '\n' && b[n-2] == '\r':
		return b[:n-2], crlf
	case n > 0 && b[n-1] == '\n':
		return b[:n-1], lf
	}
	return b, noEnd
}

func (r *reading) separates(text []byte) bool {
	if len(text) < 5 || text[0] != 'F' {
		return false
	}
	_, ok := parseSeparator(text)
	return ok
}

// joint finds the place at which one block follows another in a line. A joint
// counts as weak until the structure vouches for it.
func (r *reading) joint(l *line) {
	l.joint = -1
	if l.at == r.base {
		return
	}
	if at := r.nextJoint(l.at); at < r.off {
		l.joint, l.inside = at, at > l.at
	}
}

// vouch notes whether the structure vouches for a joint.
func (r *reading) vouch(l *line, strong bool) {
	switch {
	case l.joint < 0:
	case strong:
		r.doubted = -1
		r.gaps.proved(l)
	default:
		if r.weak < 0 {
			r.weak = l.joint
		}
		if r.doubted < 0 {
			r.doubted = l.joint
		}
	}
}

// note keeps something that does not fit. It reaches to the next joint.
func (r *reading) note(at int64, why string) { r.noteOdd(at, why, true) }

// doubtAt keeps what real mail does, too, if rarely.
func (r *reading) doubtAt(at int64, why string) { r.noteOdd(at, why, false) }

func (r *reading) noteOdd(at int64, why string, sure bool) {
	r.wrong = r.wrong || sure
	o := Odd{Range: volume.Range{Off: at / r.align * r.align, Len: r.align}, Why: why, Sure: sure}
	switch n := len(r.odd); {
	case n > 0 && (r.odd[n-1].Off == o.Off || n == maxOdd):
		if sure && !r.odd[n-1].Sure {
			r.odd[n-1] = o
		}
	case n < maxOdd:
		r.odd = append(r.odd, o)
	}
}

// lineRun is a run of lines that end unlike those at the message's beginning.
type lineRun struct {
	main  lineEnd
	lines int
	at    int64 // where it begins
	known bool
}

// changed is how many lines in a row have to end otherwise to be foreign: single
// ones are often written so by mailers.
const changed = 8

// lineEnds notices a change of the way in which lines end, where a block begins.
func (r *reading) lineEnds(l *line) {
	if l.end == noEnd || l.torn {
		return
	}
	s := &r.run
	if !s.known {
		if s.main != l.end {
			s.main, s.lines = l.end, 0
		}
		if s.lines++; s.lines >= 3 {
			s.known, s.lines = true, 0
		}
		return
	}
	if l.end == s.main {
		s.lines = 0
		return
	}
	if s.lines == 0 {
		s.at = r.last
	}
	if s.lines++; s.lines == changed && s.at/r.align != l.at/r.align {
		r.doubtAt((s.at+r.align-1)/r.align*r.align, "lines end otherwise from here on")
	}
}

// gap passes over n bytes that are unknown or zero.
func (r *reading) gap(n int64) {
	r.gaps.open(r, n)
	r.off += n
	r.length += n
	r.torn = true
}
