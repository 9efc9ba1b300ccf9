package carve

import (
	"bytes"
	"strings"
)

// Points that a field's name gives to the guess that a header of mail begins.
// What only mail has gives two, what other texts have as well one, and what HTTP
// has and mail has not takes some away.
var points = map[string]int{
	"return-path": 2, "received": 2, "delivered-to": 2, "message-id": 2, "dkim-signature": 2, "mime-version": 2,
	"authentication-results": 2, "received-spf": 2, "domainkey-signature": 2, "in-reply-to": 2, "references": 2,
	"envelope-to": 2, "reply-to": 2, "errors-to": 2, "thread-topic": 2, "thread-index": 2, "mailing-list": 2,
	"delivery-date": 2, "autocrypt": 2, "disposition-notification-to": 2, "apparently-to": 2,
	"resent-from": 2, "resent-to": 2, "resent-date": 2, "resent-message-id": 2, "return-receipt-to": 2,
	"from": 1, "to": 1, "cc": 1, "bcc": 1, "subject": 1, "date": 1, "sender": 1, "importance": 1, "precedence": 1,
	"user-agent": 1, "organization": 1, "priority": 1, "lines": 1, "newsgroups": 1, "comments": 1, "keywords": 1, "fcc": 1,
	"server": -3, "cache-control": -3, "etag": -3, "set-cookie": -3, "host": -3, "accept": -3, "accept-encoding": -3,
	"last-modified": -3, "transfer-encoding": -3, "location": -3, "accept-ranges": -3, "connection": -3,
}

// families are beginnings of names that give points, too.
var families = []struct {
	prefix string
	points int
}{{"x-", 1}, {"list-", 2}, {"arc-", 2}, {"resent-", 2}, {"original-", 1}}

const (
	maxName = 76 // bytes of a field's name
	// longestScore is how many names are counted with their points.
	longestScore = 40
)

// pointsOf gives the points of a field's name.
func pointsOf(name []byte) int {
	if len(name) > maxName {
		return 0
	}
	var low [maxName]byte
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	if n, ok := points[string(low[:len(name)])]; ok {
		return n
	}
	for _, f := range families {
		if bytes.HasPrefix(low[:len(name)], []byte(f.prefix)) {
			return f.points
		}
	}
	return 0
}

// openers are fields with which messages begin, besides those of tracing.
var openers = map[string]bool{"return-path": true, "received": true, "delivered-to": true, "dkim-signature": true, "authentication-results": true,
	"received-spf": true, "domainkey-signature": true, "envelope-to": true, "from": true, "to": true, "subject": true, "date": true,
	"message-id": true, "mime-version": true, "content-type": true, "bcc": true, "in-reply-to": true, "user-agent": true}

// opens tells whether messages begin with a field. Of one that is not among these
// the beginning may be missing: the end of another message's header looks so.
func opens(name []byte) bool {
	low := lower(string(name))
	return openers[low] || strings.HasPrefix(low, "x-") || strings.HasPrefix(low, "arc-") || strings.HasPrefix(low, "resent-")
}

// once are fields that a header has only once.
var once = map[string]uint16{"from": 1, "date": 2, "message-id": 4, "subject": 8, "to": 16, "mime-version": 32, "return-path": 64, "in-reply-to": 128, "references": 256, "cc": 512}

// onceBit gives the bit of a field's name, 0 for those that may be repeated.
func onceBit(name []byte) uint16 {
	if len(name) > 12 {
		return 0
	}
	var low [12]byte
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	return once[string(low[:len(name)])]
}

// onceBits gives those of all whole lines of a header at the beginning of b.
func onceBits(b []byte) (bits uint16) {
	for len(b) > 0 && b[0] != '\n' && b[0] != '\r' && b[0] != 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		if n := fieldName(line); n > 0 {
			bits |= onceBit(line[:n])
		}
		b = rest
	}
	return bits
}

// Classes of bytes, as bits.
const (
	isNUL      = 1 << iota
	isControl  // that text does not have
	isEight    // not ASCII
	isNoBase64 // outside of the alphabet, padding and white space
	isNoName   // cannot stand in a field's name
)

var class = func() (t [256]byte) {
	for i := range t {
		c := byte(i)
		switch {
		case c == 0:
			t[i] = isNUL | isControl
		case c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != '\v' && c != '\b' && c != 0x1b || c == 0x7f:
			t[i] = isControl
		case c >= 0x80:
			t[i] = isEight
		}
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !letter && c != '+' && c != '/' && c != '=' && c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			t[i] |= isNoBase64
		}
		if c <= ' ' || c >= 0x7f || c == ':' {
			t[i] |= isNoName
		}
	}
	return t
}()

// classes gives all classes that the bytes of b have.
func classes(b []byte) (bits byte) {
	for len(b) >= 4 {
		bits |= class[b[0]] | class[b[1]] | class[b[2]] | class[b[3]]
		b = b[4:]
	}
	for _, c := range b {
		bits |= class[c]
	}
	return bits
}

// count gives how many bytes of b have one of the classes.
func count(b []byte, bits byte) (n int) {
	for _, c := range b {
		if class[c]&bits != 0 {
			n++
		}
	}
	return n
}

// fieldName gives the length of the name with which a line begins as a field of a
// header does; 0 where it does not. White space before the colon is an obsolete
// form that is still in use (RFC 5322, section 4.5).
func fieldName(line []byte) int {
	line = line[:min(len(line), maxName+5)]
	if bytes.IndexByte(line, ':') < 0 {
		return 0
	}
	n := 0
	for n < len(line) && n <= maxName && class[line[n]]&isNoName == 0 {
		n++
	}
	if n == 0 || n > maxName {
		return 0
	}
	for i := n; i < len(line) && i <= n+4; i++ {
		switch line[i] {
		case ':':
			return n
		case ' ', '\t':
		default:
			return 0
		}
	}
	return 0
}
