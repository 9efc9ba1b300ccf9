package carve

import (
	"bytes"
	"strings"
)

// Bounds on what is believed of one message.
const (
	maxLevels   = 64
	maxBoundary = 256
	maxField    = 8 << 10
	// maxBadLines is how many lines in a row of a header may be no fields before it
	// counts as a body that lacks its empty line.
	maxBadLines = 3
)

// structure follows the parts of a MIME message (RFC 2046).
type structure struct {
	levels   []level
	inHeader bool
	epilogue bool // the outermost multipart has been closed
	closed   int64
	opened   bool   // there was a multipart
	sloppy   bool   // an inner one was closed by an outer one's boundary
	deep     bool   // more levels than are followed
	nested   bool   // the header is that of a message within
	once     uint16 // fields of the present header that stand in one only once
	fields   int    // of the first header
	score    int
	bad      int
	header   int64 // where the first header ends; 0: not yet
	noHeader bool
	index    bool   // the first header is a copy in an index
	ragged   bool   // lines of the first header are no fields
	field    []byte // the present field, where it matters
	kind     partKind
	part     part
	parts    int
	dashes   int64 // a line that looks like a boundary
	alien    int64 // behind one that closes, in a message without parts; -1: one that opens
	stray    int64 // one that closes, behind the message's last; 0: none
	from     bool  // the first header has a From
	opener   bool  // the first field is one with which messages begin
	blobs    int   // lines of base64 in a row, in a text
	blobFrom int64 // the line before them
	armour   bool  // that line announces a signature or the like
}

type level struct {
	boundary []byte
	digest   bool
	at       int64
}

// partKind is what the header of a part says so far.
type partKind struct {
	media, boundary, encoding string
	attached                  bool
}

// part is a leaf that is being read.
type part struct {
	at       int64
	attached bool // not text, or said to be an attachment
	eight    bool // a byte of eight bits has come
	encoding string
	base64   base64State
	soft     int64 // the longest line of quoted-printable that goes on in the next
}

func (s *structure) begin() { s.inHeader, s.kind, s.once = true, partKind{}, 0 }

// inAttachment tells whether what comes belongs to an attachment's content.
func (s *structure) inAttachment() bool {
	return !s.inHeader && !s.epilogue && s.part.attached && s.part.at > 0
}

// open tells whether a boundary has to come still.
func (s *structure) open() bool { return len(s.levels) > 0 }

func (s *structure) line(r *reading, l *line) {
	if l.torn {
		s.torn(r, l)
		return
	}
	if len(l.text) > 2 && l.text[0] == '-' && l.text[1] == '-' && len(s.levels) > 0 {
		if s.delimiter(r, l) {
			r.vouch(l, l.inside)
			return
		}
	}
	switch {
	case s.inHeader:
		r.vouch(l, false)
		s.headerLine(r, l)
	case s.part.encoding == "base64" && s.part.at > 0:
		s.part.base64.line(r, l)
	default:
		s.textLine(r, l)
	}
}

// torn takes a line of which the beginning is unknown.
func (s *structure) torn(r *reading, l *line) {
	if !s.inHeader && s.part.encoding == "base64" {
		s.part.base64.torn(r, l)
		return
	}
	if s.inHeader && s.header == 0 {
		r.gaps.text = true
	}
}

// textLine takes a line of a part's content, or of what is around parts.
func (s *structure) textLine(r *reading, l *line) {
	p := &s.part
	strong := false
	s.strange(r, l)
	s.blob(r, l)
	if p.encoding == "quoted-printable" && p.at > 0 {
		strong = p.softly(l, l.text)
	}
	if l.bits&isEight != 0 && !p.eight {
		if l.joint >= 0 && p.encoding == "quoted-printable" && count(l.text, isEight) > 3 && l.at > p.at+r.align {
			r.doubtAt(l.joint, "quoted-printable holds 8-bit characters from here on")
		}
		p.eight = true
	}
	r.vouch(l, strong)
}

// softly takes a line of quoted-printable. strong: it goes on in the next line, and
// is as long as such lines are.
func (p *part) softly(l *line, text []byte) (strong bool) {
	n := int64(len(text))
	if n <= 40 || n >= maxKept || text[n-1] != '=' {
		return false
	}
	strong = l.inside && n == p.soft
	p.soft = max(p.soft, n)
	return strong
}

// strange notices a boundary that is none of the message's: a line of dashes and
// one word, and a part's header behind it; or one that closes, in a message without
// parts, which then may stand in another.
func (s *structure) strange(r *reading, l *line) {
	const why = "a boundary stands here that is none of the message's"
	dashed := len(l.text) > 8 && l.text[0] == '-' && l.text[1] == '-' && l.text[2] != ' ' && bytes.IndexByte(l.text, ' ') < 0
	switch {
	case !dashed && (s.dashes == 0 || r.last != s.dashes):
	case dashed:
		s.dashes = l.at
		closes := bytes.HasSuffix(l.text, []byte("--")) && len(bytes.Trim(l.text, "-=_")) > 6
		if closes && !s.opened {
			s.alien = r.off
		}
		if closes && s.epilogue && s.stray == 0 {
			s.stray = l.at
		}
	case len(l.text) > 8 && strings.EqualFold(string(l.text[:8]), "content-"):
		if s.alien = -1; len(s.levels) > 0 {
			r.doubtAt(s.dashes, why)
		}
	}
}

const (
	// blobLines is how many lines of base64 in a row are no text.
	blobLines = 8
	// minBlob is how long they are at least.
	minBlob = 60
)

// blob notices base64 that begins in a text where a block does.
func (s *structure) blob(r *reading, l *line) {
	if l.len < minBlob || l.bits&(isNoBase64|isNUL) != 0 || bytes.IndexByte(l.text, ' ') >= 0 {
		s.blobs, s.armour = 0, bytes.HasPrefix(l.text, []byte("-----"))
		return
	}
	if s.blobs == 0 {
		if s.blobFrom = r.last; s.armour || r.blank {
			s.blobs = -1 << 40 // signatures and certificates
		}
	}
	if s.blobs++; s.blobs == blobLines {
		first := l.at - l.at%r.align
		for first > s.blobFrom && first-r.align >= s.blobFrom {
			first -= r.align
		}
		if first > r.base && first >= s.blobFrom && first <= s.blobFrom+2*maxBlobLine {
			r.doubtAt(first, "base64 begins in a text where a block does")
		}
	}
}

// maxBlobLine bounds the line in which text passes into base64.
const maxBlobLine = 80

// headerLine takes a line of a header.
func (s *structure) headerLine(r *reading, l *line) {
	if len(l.text) == 0 {
		s.endHeader(r)
		return
	}
	if l.bits&isNUL != 0 && s.header == 0 && ofIndex(l.text) {
		s.index = s.index || l.at-r.base < r.align
		r.note(l.at, "here are headers that an index has copied")
	}
	if l.text[0] == ' ' || l.text[0] == '\t' {
		if s.field != nil && len(s.field)+len(l.text) < maxField {
			s.field = append(s.field, l.text...)
		}
		return
	}
	n := fieldName(l.text)
	if l.bits&isControl != 0 && l.len < maxKept && pointsOf(l.text[:n]) <= 0 {
		n = 0 // in a field that is known, people write what they like
	}
	first := s.header == 0
	if n == 0 {
		if (first && s.fields == 0 || s.nested && s.once == 0) && isQuotable(l.text) {
			return
		}
		if first && s.fields == 0 {
			s.noHeader = true
		}
		s.ragged = s.ragged || first
		if s.bad++; s.bad > maxBadLines || !first && !s.nested {
			s.endHeader(r)
		}
		return
	}
	s.bad = 0
	s.endField()
	s.once |= onceBit(l.text[:n])
	if first {
		if s.fields++; s.fields == 1 {
			rest := l.text[n:]
			s.opener = opens(l.text[:n]) && (len(rest) == 1 || rest[1] == ' ' || rest[1] == '\t' || rest[0] != ':')
		}
		if s.fields <= longestScore {
			s.score += pointsOf(l.text[:n])
		}
	}
	if name := l.text[:n]; len(name) > 11 && len(name) < 26 && (name[0]|0x20) == 'c' {
		s.field = append([]byte{}, l.text...)
	}
}

// ofIndex tells whether something like a cyrus.cache stands in a line: a length in
// four bytes, the uppermost of them zeros, and a header that it has copied.
func ofIndex(text []byte) bool {
	for {
		_, rest, ok := bytes.Cut(text, []byte("\x00\x00"))
		if !ok {
			return false
		}
		text = bytes.TrimLeft(rest, "\x00")
		for skip := 1; skip <= 2 && skip < len(text); skip++ {
			if n := fieldName(text[skip:]); n > 0 && pointsOf(text[skip:skip+n]) > 0 {
				return true
			}
		}
	}
}

// endField reads the field that has come to its end.
func (s *structure) endField() {
	if s.field == nil {
		return
	}
	name, value, _ := bytes.Cut(s.field, []byte(":"))
	s.field = nil
	low := lower(strings.TrimSpace(string(value)))
	switch lower(string(bytes.TrimSpace(name))) {
	case "content-type":
		s.kind.media, _, _ = strings.Cut(low, ";")
		s.kind.media = strings.TrimSpace(s.kind.media)
		s.kind.boundary = parameter(string(value), "boundary")
	case "content-transfer-encoding":
		s.kind.encoding, _, _ = strings.Cut(low, ";")
		s.kind.encoding, _, _ = strings.Cut(strings.TrimSpace(s.kind.encoding), " ")
	case "content-disposition":
		s.kind.attached = strings.HasPrefix(low, "attachment")
	}
}

// endHeader begins what the header announces.
func (s *structure) endHeader(r *reading) {
	s.endField()
	k := s.kind
	if s.header == 0 {
		s.header, s.from = r.off, s.once&onceBit([]byte("from")) != 0
	}
	s.inHeader, s.nested, s.bad, s.kind = false, false, 0, partKind{}
	s.part = part{at: r.off, encoding: k.encoding}
	s.parts++
	if k.media == "" && len(s.levels) > 0 && s.levels[len(s.levels)-1].digest {
		k.media = "message/rfc822"
	}
	plain := k.encoding != "base64" && k.encoding != "quoted-printable"
	switch {
	case strings.HasPrefix(k.media, "multipart/") && k.boundary != "":
		s.part.at, s.part.encoding = 0, ""
		if len(s.levels) == maxLevels {
			s.deep = true
			return
		}
		s.opened = true
		s.levels = append(s.levels, level{boundary: []byte(k.boundary), digest: k.media == "multipart/digest", at: r.off})
	case plain && (k.media == "message/rfc822" || k.media == "message/global" || k.media == "message/news"):
		s.inHeader, s.nested, s.once = true, true, 0
	default:
		s.part.attached = k.attached || k.media != "" && !strings.HasPrefix(k.media, "text") && !strings.HasPrefix(k.media, "message/")
	}
}

// delimiter takes a line that begins with "--"; ok is false where it is none of
// the message's boundaries.
func (s *structure) delimiter(r *reading, l *line) bool {
	rest := bytes.TrimRight(l.text[2:], " \t")
	for i := len(s.levels) - 1; i >= 0; i-- {
		b := s.levels[i].boundary
		if !bytes.HasPrefix(rest, b) {
			continue
		}
		tail := rest[len(b):]
		end := string(tail) == "--"
		if len(tail) > 0 && !end {
			continue
		}
		s.endPart(r, l)
		r.gaps.boundary(i == len(s.levels)-1)
		s.sloppy = s.sloppy || i < len(s.levels)-1
		s.levels = s.levels[:i+1]
		s.part = part{}
		if !end {
			s.begin()
			return true
		}
		s.levels = s.levels[:i]
		if i == 0 {
			s.epilogue, s.closed = true, r.off
		}
		return true
	}
	return false
}

// endPart closes the leaf or the header that a boundary ends.
func (s *structure) endPart(r *reading, l *line) {
	s.endField()
	if s.inHeader && s.header == 0 {
		s.header = l.at
	}
	if s.part.encoding == "base64" && s.part.at > 0 {
		s.part.base64.finish(r, l.at)
	}
	s.inHeader, s.nested, s.kind = false, false, partKind{}
}

// finish is called at the end of the message.
func (s *structure) finish(r *reading) {
	s.endField()
	if s.header == 0 {
		s.header = r.off
	}
	if s.part.encoding == "base64" && s.part.at > 0 && !s.open() {
		s.part.base64.finish(r, r.off)
	}
}

// parameter gives a parameter of a Content-Type field, "" where it has none. It
// takes what mailers write, quoted or not.
func parameter(value, name string) string {
	low := lower(value)
	for at := 0; ; {
		i := strings.Index(low[at:], name)
		if i < 0 {
			return ""
		}
		at += i + len(name)
		before := strings.TrimRight(low[:at-len(name)], " \t")
		rest, ok := strings.CutPrefix(strings.TrimLeft(value[at:], " \t"), "=")
		if !ok || before == "" || !strings.HasSuffix(before, ";") {
			continue
		}
		rest = strings.TrimLeft(rest, " \t")
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			rest, _, _ = strings.Cut(quoted, `"`)
		} else {
			rest, _, _ = strings.Cut(rest, ";")
			rest, _, _ = strings.Cut(rest, " ")
		}
		if rest = strings.TrimRight(rest, " \t"); len(rest) > maxBoundary {
			return ""
		}
		return rest
	}
}

// lower makes ASCII letters small, and leaves all other bytes as they are: the
// length stays.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
