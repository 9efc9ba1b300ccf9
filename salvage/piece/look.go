package piece

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"
)

// largestBlock is the largest block size that a look can describe.
const largestBlock = 64 << 10

// Marks of a look.
const (
	hasCRLF   = 1 << iota // lines end in CRLF
	hasLF                 // lines end in LF alone
	firstLF               // the first byte is an LF: what stands before decides whether it is alone
	lastCR                // the last byte is a CR
	headLike              // it begins as a message does
	closes64              // the line that it finishes can be the last one of a base64 body
	opens64               // behind an empty line: the unfinished line can be the first of a base64 body
	start64               // it begins within base64
	end64                 // it ends within base64
	startsOff             // it begins with an empty line or with a MIME boundary
)

// A look is what joints are judged by: how a block begins and how it ends. All
// lengths are in bytes.
type look struct {
	text    uint32 // where its text ends: the block's size, less the NULs at its end
	bare    uint32 // how many LFs lack their CR, but for one at the very beginning
	closing uint32 // hash of a closing boundary in its last lines, else 0
	first   uint16 // bytes before its first LF
	last    uint16 // bytes behind its last LF
	firstIs uint16 // length of the base64 lines that it begins with, without line ends; 0: unknown
	lastIs  uint16 // of those that it ends with
	marks   uint16
}

func (l *look) is(mark uint16) bool { return l.marks&mark != 0 }

// ended tells whether the block holds the end of a file.
func (l *look) ended(blockSize int64) bool { return int64(l.text) < blockSize }

// textEnd is where a block's NULs begin that reach its end.
func textEnd(b []byte) int {
	n := len(b)
	for n >= 8 && binary.LittleEndian.Uint64(b[n-8:n]) == 0 {
		n -= 8
	}
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}

func isZero(b []byte) bool { return b[0] == 0 && textEnd(b) == 0 }

// Classes of bytes.
const (
	control = 1 << iota // no text has it
	digit64             // of base64, or its padding
)

var classes = func() (c [256]byte) {
	for i := range 32 {
		c[i] = control
	}
	// ISO-2022 mail has ESC in it.
	for _, b := range "\t\n\v\f\r\b\x1b" {
		c[b] = 0
	}
	c[127] = control
	for _, b := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=" {
		c[b] = digit64
	}
	return c
}()

// foreign tells whether a block cannot be of a message: 3 % of its bytes are
// control characters. Of random bytes 11 % are.
func foreign(b []byte) bool {
	b = b[:textEnd(b)]
	step := max(1, len(b)/512)
	bad, seen := 0, 0
	for i := 0; i < len(b); i += step {
		bad += int(classes[b[i]] & control)
		seen++
	}
	return bad*32 > seen
}

// in64 tells whether a piece of a line can be of base64. A CR may stand at its end.
func in64(b []byte) bool {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	for _, c := range b {
		if classes[c]&digit64 == 0 {
			return false
		}
	}
	return true
}

// shortest64 is the shortest line that is taken for base64 by its looks.
const shortest64 = 40

// line64 is the length of a base64 line, without its CR; 0: it is none.
func line64(b []byte) uint16 {
	if !in64(b) {
		return 0
	}
	n := len(bytes.TrimSuffix(b, []byte("\r")))
	if n < shortest64 || n%4 != 0 {
		return 0
	}
	return uint16(n)
}

// lookAt describes a block. What is no text at all has no text in the look either.
func lookAt(b []byte) (l look) {
	text := textEnd(b)
	if text == 0 || foreign(b) {
		return l
	}
	l.text = uint32(text)
	b = b[:text]
	firsts, lasts := l.scan(b)
	l.first = uint16(min(firsts[0], largestBlock-1))
	l.last = uint16(min(text-1-lasts[0], largestBlock-1))
	l.lookStart(b, firsts)
	l.lookEnd(b, lasts)
	if b[0] == '\n' {
		l.marks |= firstLF
	}
	if b[text-1] == '\r' {
		l.marks |= lastCR
	}
	l.closing = closing(b)
	return l
}

// scan counts line ends, and gives where the first and, backwards, the last three
// are: len(b), or -1, for those that are missing.
func (l *look) scan(b []byte) (firsts, lasts [3]int) {
	firsts, lasts = [3]int{len(b), len(b), len(b)}, [3]int{-1, -1, -1}
	found := 0
	for i := 0; i < len(b); i++ {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			break
		}
		i += j
		if found < 3 {
			firsts[found] = i
		}
		found++
		lasts[2], lasts[1], lasts[0] = lasts[1], lasts[0], i
		switch {
		case i == 0:
		case b[i-1] == '\r':
			l.marks |= hasCRLF
		default:
			l.marks |= hasLF
			l.bare++
		}
	}
	return firsts, lasts
}

// lookStart judges the first lines.
func (l *look) lookStart(b []byte, lf [3]int) {
	line := b[:lf[0]]
	second, third := between(b, lf[0], lf[1]), between(b, lf[1], lf[2])
	if startsMessage(line, second, third) {
		l.marks |= headLike
	}
	if empty(line) && lf[0] < len(b) || bytes.HasPrefix(line, []byte("--")) {
		l.marks |= startsOff
	}
	if !in64(line) {
		return
	}
	whole := lf[1] < len(b)
	switch n := line64(second); {
	case lf[0] == len(b):
		l.marks |= start64 // not a single line end
	case lf[0]+1 == len(b):
		l.marks |= start64 | closes64
	case empty(second) || bytes.HasPrefix(second, []byte("--")):
		l.marks |= closes64
	case !whole && in64(second):
		l.marks |= start64
	case n != 0 && (lf[2] == len(b) && in64(third) || line64(third) == n):
		l.marks |= start64
		l.firstIs = n
	case in64(second) && (in64(third) || bytes.HasPrefix(third, []byte("--"))):
		l.marks |= start64 // near the end of a body
		l.firstIs = n * bit(in64(third) && !empty(third) && len(third) <= len(second))
	}
}

func bit(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

// lookEnd judges the last lines.
func (l *look) lookEnd(b []byte, lf [3]int) {
	part := b[lf[0]+1:]
	if !in64(part) {
		return
	}
	if lf[0] < 0 {
		l.marks |= end64
		return
	}
	last, before := between(b, lf[1], lf[0]), between(b, lf[2], lf[1])
	n := line64(last)
	switch {
	case empty(last):
		l.marks |= opens64
	case n == 0 || len(part) > int(n)+1:
	case lf[1] < 0, lf[2] < 0 && in64(before), line64(before) == n, empty(before):
		l.marks |= end64
		l.lastIs = n
	}
}

// between gives the bytes behind an LF at i and before the one at j.
func between(b []byte, i, j int) []byte {
	if i+1 > j || i+1 > len(b) {
		return nil
	}
	return b[i+1 : min(j, len(b))]
}

func empty(line []byte) bool { return len(line) == 0 || len(line) == 1 && line[0] == '\r' }

// headers are what messages begin with; X- and List- stand for all such names.
var headers = []string{"return-path:", "received:", "delivered-to:", "x-", "list-", "arc-", "dkim-signature:", "domainkey-signature:",
	"authentication-results:", "received-spf:", "envelope-to:", "message-id:", "date:", "from:", "to:", "cc:", "subject:", "sender:",
	"reply-to:", "mime-version:", "content-type:", "user-agent:", "in-reply-to:", "references:", "importance:", "bcc:", "organization:"}

// startsMessage tells whether three lines look as the beginning of a message: a
// field that messages begin with, then another one.
func startsMessage(first, second, third []byte) bool {
	known := slices.ContainsFunc(headers, func(h string) bool {
		return len(first) >= len(h) && strings.EqualFold(string(first[:len(h)]), h)
	})
	if !known || !field(first) {
		return false
	}
	folded := len(second) > 0 && (second[0] == ' ' || second[0] == '\t')
	return field(second) || folded && (field(third) || len(third) > 0 && (third[0] == ' ' || third[0] == '\t'))
}

// field tells whether a line is the first one of a header's field.
func field(line []byte) bool {
	for i, c := range line {
		switch {
		case c == ':':
			return i > 1
		case c < '!' || c > '~' || i > 60:
			return false
		}
	}
	return false
}

// lastLines is within how many bytes from the end of its text a message's closing
// boundary is looked for: footers of mailing lists stand behind it.
const lastLines = 1024

// closing is the hash of the last line of the form --boundary--, else 0.
func closing(b []byte) uint32 {
	for rest := b[max(0, len(b)-lastLines):]; len(rest) > 0; {
		i := bytes.LastIndexByte(rest, '\n')
		line := bytes.TrimRight(rest[i+1:], " \t\r")
		inner, ok := bytes.CutPrefix(line, []byte("--"))
		inner, closes := bytes.CutSuffix(inner, []byte("--"))
		// A rule of dashes is none.
		if ok && closes && len(bytes.Trim(inner, "-")) > 0 {
			if i >= 0 || len(rest) == len(b) {
				return boundaryHash(inner)
			}
		}
		rest = rest[:max(i, 0)]
	}
	return 0
}

// boundaryHash is never 0.
func boundaryHash(boundary []byte) uint32 {
	h := fnv.New32a()
	h.Write(boundary)
	return h.Sum32() | 1
}

// Fits, from none to sure.
const (
	misfit = iota
	maybe  // nothing speaks against it
	likely
	fits // the line comes out to the byte
)

// fit tells how well b continues a.
func fit(a, b *look, blockSize int64) int {
	if a.ended(blockSize) || b.text == 0 || b.is(headLike) {
		return misfit
	}
	const ends = hasCRLF | hasLF
	if x, y := a.marks&ends, b.marks&ends; x != ends && y != ends && x|y == ends {
		return misfit
	}
	if a.is(lastCR) && !b.is(firstLF) || !a.is(lastCR) && b.is(firstLF) && a.is(hasCRLF) {
		return misfit // half of a CRLF
	}
	switch {
	case a.is(end64) && a.lastIs != 0:
		return fitLine(a, b)
	case a.is(end64):
		return choose(b.is(start64) && b.firstIs == 0, likely, choose(b.is(closes64), maybe, misfit))
	case b.is(start64) && b.firstIs != 0:
		whole := int(b.firstIs) + 1 + int(bit(b.is(hasCRLF)))
		return choose(a.is(opens64) && int(a.last)+int(b.first)+1 == whole, fits, misfit)
	}
	return maybe
}

func choose(cond bool, yes, no int) int {
	if cond {
		return yes
	}
	return no
}

// fitLine judges a joint behind base64 lines of known length.
func fitLine(a, b *look) int {
	line := int(a.last) + int(b.first) + 1
	whole := int(a.lastIs) + 1 + int(bit(a.is(hasCRLF)))
	switch {
	case a.last == 0 && b.is(startsOff):
		return likely
	case b.is(start64) && line == whole:
		if b.firstIs == 0 {
			return likely
		}
		return choose(b.firstIs == a.lastIs, fits, misfit)
	case b.is(closes64) && line <= whole && (whole-line)%4 == 0:
		return likely
	}
	return misfit
}

// joined is how many bytes of the wire form a block adds behind another one that
// its own look does not count.
func joined(before, b *look) int64 {
	return choose64(b.is(firstLF) && !before.is(lastCR), 1, 0)
}

func choose64(cond bool, yes, no int64) int64 {
	if cond {
		return yes
	}
	return no
}
