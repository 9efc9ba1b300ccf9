// Package cache reads envelopes out of cyrus.cache, in which Cyrus IMAP keeps
// what clients ask of messages most often, so that it need not open their files.
// A cyrus.index says where in it a message's record lies.
//
// The file begins with the generation that its cyrus.index has too. A record
// is ten items, each a length of 4 bytes (big-endian), as many bytes, and padding
// to a multiple of 4: envelope, bodystructure, body, sections, headers, from, to,
// cc, bcc, subject (Cyrus, imap/mailbox.h). Since version 12 the index holds the
// CRC-32 of all of it.
//
// Nothing in a file is believed: a record that its checksum contradicts, that has
// no end, or that is no envelope, is as good as none. Package cyrus calls it.
package cache

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"salvor/internal/mailstore/cyrus/index"
)

// Bounds of what is believed.
const (
	maxRecord    = 1 << 20 // bytes
	maxMessageID = 998     // a line of a header (RFC 5322, section 2.1.1)
	// MaxEnvelope is how long an envelope may be to be told, in bytes.
	MaxEnvelope = 16 << 10

	items    = 10
	usual    = 4 << 10 // more than most records have
	maxDepth = 8
)

// An Envelope is what a record tells of a message; empty where it tells nothing.
type Envelope struct {
	// Text is the message's ENVELOPE as IMAP writes it (RFC 9051, section 7.5.2),
	// of which bytes that are no UTF-8 have been replaced.
	Text      string
	MessageID string // with its angle brackets
}

// A Reader reads the records of one file. It is for one goroutine.
type Reader struct {
	r   io.ReaderAt
	buf []byte
}

// NewReader gives a Reader of a cyrus.cache that belongs to an index with this
// header; nil when it does not belong to it.
func NewReader(r io.ReaderAt, h *index.Header) *Reader {
	var generation [4]byte
	if _, err := r.ReadAt(generation[:], 0); err != nil || binary.BigEndian.Uint32(generation[:]) != h.Generation {
		return nil
	}
	return &Reader{r: r, buf: make([]byte, usual)}
}

// Envelope reads a message's envelope. checked says that the index is of a
// version that has checksums.
func (r *Reader) Envelope(rec *index.Record, checked bool) Envelope {
	if r == nil || rec.CacheOffset < 4 || rec.CacheOffset > 1<<48 {
		return Envelope{}
	}
	record, envelope := r.record(int64(rec.CacheOffset))
	if record == nil || checked && crc32.ChecksumIEEE(record) != rec.CacheCRC {
		return Envelope{}
	}
	return parse(envelope)
}

// record gives a whole record, and its first item; nil where there is none. They
// are valid until the next call.
func (r *Reader) record(at int64) (record, envelope []byte) {
	have := r.fill(at, usual)
	end := 0
	for i := range items {
		if have = r.atLeast(at, have, end+4); have == nil {
			return nil, nil
		}
		size := int64(binary.BigEndian.Uint32(have[end:]))
		if size > maxRecord {
			return nil, nil
		}
		start := end + 4
		end = start + int(size+3)&^3
		if have = r.atLeast(at, have, end); have == nil {
			return nil, nil
		}
		if i == 0 {
			envelope = have[start : start+int(size)]
		}
	}
	// The buffer may have grown since.
	return have[:end], have[4 : 4+len(envelope)]
}

// atLeast reads on until there are n bytes; nil when there are not that many.
func (r *Reader) atLeast(at int64, have []byte, n int) []byte {
	if n > maxRecord {
		return nil
	}
	if n > len(have) {
		have = r.fill(at, max(n, 2*len(have)))
	}
	if n > len(have) {
		return nil
	}
	return have
}

func (r *Reader) fill(at int64, n int) []byte {
	if n > len(r.buf) {
		r.buf = make([]byte, n)
	}
	n, _ = r.r.ReadAt(r.buf[:n], at) // what cannot be read is not there
	return r.buf[:n]
}

// The fields of an envelope: date, subject, six lists of addresses, in-reply-to,
// message-id.
const (
	fields      = 10
	atMessageID = 9
)

// parse reads an envelope.
func parse(b []byte) Envelope {
	s := scanner{b: b}
	list, ok := s.item(0)
	if !ok || list.kind != '(' || s.at != len(b) || len(list.items) != fields {
		return Envelope{}
	}
	var e Envelope
	if len(b) <= MaxEnvelope {
		e.Text = strings.ToValidUTF8(string(b), "\uFFFD")
	}
	if id := strings.TrimSpace(list.items[atMessageID].text); len(id) <= maxMessageID && utf8.ValidString(id) && !strings.ContainsFunc(id, isControl) {
		e.MessageID = id
	}
	return e
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// A value is one item of an envelope. Only the outermost list has its items.
type value struct {
	kind  byte // '(' a list, '"' a string, 'N' NIL
	text  string
	items []value
}

// A scanner reads items of IMAP's form out of bytes.
type scanner struct {
	b  []byte
	at int
}

// peek gives the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.b) {
		return s.b[s.at]
	}
	return 0
}

func (s *scanner) item(depth int) (v value, ok bool) {
	switch s.peek() {
	case '(':
		return s.list(depth)
	case '"':
		return s.quoted()
	case '{':
		return s.literal()
	}
	if strings.HasPrefix(string(s.b[s.at:min(len(s.b), s.at+3)]), "NIL") {
		s.at += 3
		return value{kind: 'N'}, true
	}
	return v, false
}

func (s *scanner) list(depth int) (v value, ok bool) {
	v.kind = '('
	s.at++
	for depth < maxDepth {
		switch s.peek() {
		case ')':
			s.at++
			return v, true
		case ' ':
			s.at++
			continue
		}
		item, ok := s.item(depth + 1)
		if !ok {
			break
		}
		if depth == 0 {
			if v.items = append(v.items, item); len(v.items) > fields {
				break
			}
		}
	}
	return v, false
}

func (s *scanner) quoted() (v value, ok bool) {
	var text []byte
	for i := s.at + 1; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			s.at = i + 1
			return value{kind: '"', text: string(text)}, true
		case c == '\\' && i+1 < len(s.b):
			i++
			fallthrough
		default:
			text = append(text, s.b[i])
		}
	}
	return v, false
}

// literal reads {n}, a line's end and n bytes.
func (s *scanner) literal() (v value, ok bool) {
	head, _, found := strings.Cut(string(s.b[s.at:min(len(s.b), s.at+16)]), "\r\n")
	digits, closed := strings.CutSuffix(strings.TrimPrefix(head, "{"), "}")
	n, err := strconv.ParseUint(strings.TrimSuffix(digits, "+"), 10, 31)
	start := s.at + len(head) + 2
	if !found || !closed || err != nil || int(n) > len(s.b)-start {
		return v, false
	}
	s.at = start + int(n)
	return value{kind: '"', text: string(s.b[start:s.at])}, true
}
