package chunk

import "bytes"

// header is what cutting needs to know of an entity's header.
type header struct {
	body      int    // where the body begins: behind the empty line
	ended     bool   // an empty line was there
	boundary  []byte // of a multipart; nil when it is none
	digest    bool   // multipart/digest: its parts are messages unless they say otherwise
	message   bool   // the body is a message
	base64    bool
	described bool // there was a Content-Type
}

const (
	// maxHeader is how long a header is believed in. What is longer is a body
	// without one.
	maxHeader = 256 << 10
	// maxField is how much of one field is looked at.
	maxField = 8 << 10
	// maxBoundary is generous: RFC 2046, section 5.1.1, allows 70.
	maxBoundary = 256
)

// parseHeader reads the header at the start of b. Nothing is demanded of its
// lines; it ends behind the first empty one, at the line for which stop says
// so, or where b does.
func parseHeader(b []byte, stop func(line []byte) bool) header {
	var h header
	for h.body < len(b) && h.body < maxHeader {
		line, next := cutLine(b, h.body)
		if len(line) == 0 || len(line) == 1 && line[0] == '\r' {
			h.body, h.ended = next, true
			return h
		}
		if line[0] == '-' && stop(line) {
			return h
		}
		if line[0]|0x20 == 'c' {
			h.field(b, h.body)
		}
		h.body = next
	}
	return h
}

// cutLine gives the line at pos without its end, and where the next one begins.
func cutLine(b []byte, pos int) (line []byte, next int) {
	i := bytes.IndexByte(b[pos:], '\n')
	if i < 0 {
		return b[pos:], len(b)
	}
	return b[pos : pos+i], pos + i + 1
}

func (h *header) field(b []byte, pos int) {
	if v, ok := fieldValue(b, pos, "content-type"); ok && !h.described {
		h.described = true
		h.contentType(v)
	} else if v, ok := fieldValue(b, pos, "content-transfer-encoding"); ok {
		l := lexer{rest: v}
		h.base64 = asciiEqual(l.word(), "base64")
	}
}

// fieldValue gives the value, with its continuation lines, of the field at
// pos when it has that name (in lower case).
func fieldValue(b []byte, pos int, name string) ([]byte, bool) {
	if len(b)-pos <= len(name) || !asciiEqual(b[pos:pos+len(name)], name) {
		return nil, false
	}
	start := pos + len(name)
	for start < len(b) && (b[start] == ' ' || b[start] == '\t') {
		start++
	}
	if start == len(b) || b[start] != ':' {
		return nil, false
	}
	start++
	_, end := cutLine(b, start)
	for end < len(b) && end-start < maxField && (b[end] == ' ' || b[end] == '\t') {
		_, end = cutLine(b, end)
	}
	return b[start:min(end, start+maxField)], true
}

func (h *header) contentType(value []byte) {
	l := lexer{rest: value}
	media := l.word()
	multipart := len(media) > 10 && asciiEqual(media[:10], "multipart/")
	h.digest = asciiEqual(media, "multipart/digest")
	h.message = asciiEqual(media, "message/rfc822") || asciiEqual(media, "message/global")
	for multipart && h.boundary == nil && l.skipTo(';') {
		if !asciiEqual(l.word(), "boundary") || !l.skipTo('=') {
			continue
		}
		if v := bytes.TrimRight(l.value(), " \t\r\n"); len(v) > 0 && len(v) <= maxBoundary {
			h.boundary = v
		}
	}
}

// lexer reads the words of a structured field (RFC 2045, section 5.1), and
// puts up with nearly everything.
type lexer struct{ rest []byte }

// blank skips white space and comments.
func (l *lexer) blank() {
	depth := 0
	for i, c := range l.rest {
		switch {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0 && c != ' ' && c != '\t' && c != '\n' && c != '\r':
			l.rest = l.rest[i:]
			return
		}
	}
	l.rest = nil
}

// word takes a quoted string or everything up to a blank or one of ;=(". It
// is empty when neither is there.
func (l *lexer) word() []byte { return l.upTo(" \t\r\n;=(\"") }

// value is a word that may hold what only a quoted string should: many
// programs forget the quotes around a boundary with "=" in it.
func (l *lexer) value() []byte { return l.upTo(" \t\r\n;") }

func (l *lexer) upTo(stops string) []byte {
	l.blank()
	if len(l.rest) > 0 && l.rest[0] == '"' {
		return l.quoted()
	}
	n := bytes.IndexAny(l.rest, stops)
	if n < 0 {
		n = len(l.rest)
	}
	w := l.rest[:n]
	l.rest = l.rest[n:]
	return w
}

func (l *lexer) quoted() []byte {
	s := l.rest[1:]
	end := bytes.IndexAny(s, "\"\\")
	if end < 0 || s[end] == '"' {
		if end < 0 {
			end = len(s)
		}
		l.rest = s[min(end+1, len(s)):]
		return s[:end]
	}
	var w []byte // only for the rare string with backslashes
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			l.rest = s[i+1:]
			return w
		}
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		w = append(w, s[i])
	}
	l.rest = nil
	return w
}

// skipTo moves behind the next c, over words and strings.
func (l *lexer) skipTo(c byte) bool {
	for {
		l.blank()
		if len(l.rest) == 0 {
			return false
		}
		if l.rest[0] == c {
			l.rest = l.rest[1:]
			return true
		}
		if l.rest[0] == ';' {
			return false
		}
		before := len(l.rest)
		if l.word(); len(l.rest) == before {
			l.rest = l.rest[1:]
		}
	}
}

// asciiEqual compares without regard to case; lower is in lower case.
func asciiEqual(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
