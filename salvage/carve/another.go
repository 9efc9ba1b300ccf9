package carve

import (
	"bytes"
	"math/bits"
)

// begins tells whether a message begins with a sector within another. Mail that
// quotes headers has few of them begin just there.
func (r *reading) begins(b []byte) bool {
	s, ok := Head(b)
	if !ok || s.Kind != Header || s.Score < sure {
		return false
	}
	if r.mime.inHeader {
		return r.anotherHeader(b, s.Score)
	}
	n := fieldName(b)
	return pointsOf(b[:n]) > 0 && (r.length == 0 || bytes.HasPrefix(b[n:], []byte(": ")))
}

// anotherHeader tells whether what looks like a header is not the rest of the one
// that is being read.
func (r *reading) anotherHeader(b []byte, score int) bool {
	m := &r.mime
	if r.torn { // behind a hole
		return score >= sure
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	name := line[:fieldName(line)]
	if onceBit(name) == onceBit([]byte("return-path")) && !(m.nested && m.once == 0) {
		return true
	}
	atLine := r.length == 0
	again := onceBits(rest)
	if atLine {
		again |= onceBit(name)
	}
	again &= m.once
	if bits.OnesCount16(again) > 1 || again != 0 && pointsOf(name) > 0 {
		return true
	}
	if atLine {
		return m.header > 0 && !m.nested && score >= sure && pointsOf(name) > 1 // a part's header
	}
	// Within a line: a value does not go on with a field that is known.
	inValue := bytes.IndexByte(r.kept, ':') >= 0 || bytes.HasPrefix(r.kept, []byte(" ")) || bytes.HasPrefix(r.kept, []byte("\t"))
	return inValue && pointsOf(name) > 0 && bytes.HasPrefix(line[len(name):], []byte(": "))
}
