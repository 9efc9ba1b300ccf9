package chunk

import "bytes"

const (
	// maxDepth bounds the multiparts that are open at once, and with them the
	// comparisons for one line.
	maxDepth = 32
	// maxEntities bounds the entities that are looked into; what follows is
	// one body.
	maxEntities = 2048
)

// leaf is a body that is not looked into further: text, an attachment, a
// preamble or an epilogue.
type leaf struct {
	start, end int
	base64     bool
}

// scanner finds the leaves of a message. It goes over the lines once, with
// the boundaries of the multiparts that are open on a stack.
type scanner struct {
	lf       []byte
	open     []multipart
	leaves   []leaf
	entities int
	header   int  // where the message's own header ends
	inner    bool // the next entity is what a message/rfc822 holds
}

type multipart struct {
	boundary []byte
	digest   bool
}

// delimiter is a boundary line.
type delimiter struct {
	start, end int // of the line, its end included
	level      int // index of its multipart in open; -1: there is no delimiter, the message ends
	closing    bool
}

// scan finds the leaves of lf, in their order and not overlapping, and leaves
// them in s.leaves.
func (s *scanner) scan(lf []byte) {
	s.lf, s.open, s.leaves, s.entities, s.header, s.inner = lf, s.open[:0], s.leaves[:0], 0, 0, false
	for pos := 0; pos < len(lf); {
		if s.entities++; s.entities > maxEntities {
			s.leaf(pos, len(lf), false)
			return
		}
		pos = s.entity(pos)
	}
}

// entity reads the header at pos and what follows it, up to where the next
// entity begins.
func (s *scanner) entity(pos int) int {
	h := parseHeader(s.lf[pos:], func(line []byte) bool { return s.match(line).level >= 0 })
	body := pos + h.body
	if s.entities == 1 {
		s.header = body
	}
	if !h.ended && h.body >= maxHeader {
		body = pos
	}
	if h.ended && !h.described && !s.inner && len(s.open) > 0 {
		h.message = s.open[len(s.open)-1].digest
	}
	s.inner = h.ended && h.message && !h.base64
	switch {
	case s.inner:
		return body
	case h.ended && h.boundary != nil && len(s.open) < maxDepth:
		s.open = append(s.open, multipart{h.boundary, h.digest})
		h.base64 = false
	}
	return s.rest(body, h.base64)
}

// rest takes a leaf at pos up to the next delimiter, and every epilogue after
// it, until a delimiter opens an entity.
func (s *scanner) rest(pos int, base64 bool) int {
	for {
		d := s.next(pos)
		if d.level < 0 {
			s.leaf(pos, len(s.lf), base64)
			return len(s.lf)
		}
		// The line end before a delimiter belongs to it (RFC 2046, section 5.1.1).
		s.leaf(pos, d.start-1, base64)
		s.open = s.open[:d.level+1]
		if !d.closing {
			return d.end
		}
		s.open = s.open[:d.level]
		pos, base64 = d.end, false
	}
}

func (s *scanner) leaf(start, end int, base64 bool) {
	if start < end {
		s.leaves = append(s.leaves, leaf{start, end, base64})
	}
}

// next finds the first delimiter at or behind pos, the start of a line.
func (s *scanner) next(pos int) delimiter {
	for len(s.open) > 0 && pos < len(s.lf) {
		// Base64 has no dashes: most of an attachment is passed in one leap.
		i := bytes.IndexByte(s.lf[pos:], '-')
		if i < 0 {
			break
		}
		start := pos + i
		line, end := cutLine(s.lf, start)
		pos = end
		if start > 0 && s.lf[start-1] != '\n' {
			continue
		}
		if d := s.match(line); d.level >= 0 {
			d.start, d.end = start, end
			return d
		}
	}
	return delimiter{level: -1}
}

// match compares a line with the boundaries of the open multiparts, the
// innermost first. Blanks at the line's end do not count.
func (s *scanner) match(line []byte) delimiter {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return delimiter{level: -1}
	}
	line = bytes.TrimRight(line[2:], " \t\r")
	for level := len(s.open) - 1; level >= 0; level-- {
		b := s.open[level].boundary
		if !bytes.HasPrefix(line, b) {
			continue
		}
		switch rest := line[len(b):]; {
		case len(rest) == 0:
			return delimiter{level: level}
		case len(rest) == 2 && rest[0] == '-' && rest[1] == '-':
			return delimiter{level: level, closing: true}
		}
	}
	return delimiter{level: -1}
}
