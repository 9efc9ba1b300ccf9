package carve

import (
	"bytes"
	"encoding/binary"
)

// skimWindow is how much of a text is looked at for what has to be read line by
// line; it bounds what a line costs that is.
const skimWindow = 2 << 10

// skim takes whole lines of content at the beginning of b at once, where that
// comes to the same as to take them one by one, and gives their length. It stops
// before every line that is not like most.
func (r *reading) skim(b []byte) int {
	switch m := &r.mime; {
	case m.inHeader || !r.run.known:
		return 0
	case m.part.encoding == "base64" && m.part.at > 0:
		return r.skimBase64(b)
	case m.dashes != 0 && m.dashes == r.last:
		return 0
	}
	return r.skimText(b)
}

// skimBase64 takes lines of base64 that are as long as those before.
func (r *reading) skimBase64(b []byte) int {
	s, end := &r.mime.part.base64, r.run.main
	if s.width < minWidth || s.width > skimWindow || s.loose || s.short > 0 {
		return 0
	}
	width := int(s.width)
	period := width + int(end)
	n := 0
	for len(b)-n >= period && endsAs(b[n+width:], end) && inBase64(b[n:n+width]) {
		n += period
	}
	if n == 0 {
		return 0
	}
	if at := r.nextJoint(r.off); at < r.off+int64(n) {
		r.doubted = -1
	}
	s.lines += n / period
	s.chars += int64(n / period * width)
	r.skimmed(n, n/period, r.off+int64(n-period), false)
	return n
}

// skimText takes lines of text.
func (r *reading) skimText(b []byte) int {
	p := &r.mime.part
	b = b[:min(len(b), skimWindow)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if !p.eight {
		b = b[:inASCII(b)]
	}
	quoted := p.encoding == "quoted-printable" && p.at > 0
	joint := r.nextJoint(r.off)
	n, lines, last, empty := 0, 0, r.last, r.blank
	for {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			break
		}
		text, end := cutEnd(b[n : n+i+1])
		if end != r.run.main || len(text) > 0 && (text[0] == '-' || text[0] == 'F' && r.mbox) || len(text) >= minBlob && !isProse(text) {
			break
		}
		l := line{at: r.off + int64(n), joint: -1}
		n += i + 1
		if after := r.off + int64(n); joint < after {
			l.joint, l.inside = joint, joint > l.at
			joint = r.nextJoint(after)
		}
		strong := false
		if quoted {
			strong = p.softly(&l, text)
		}
		r.vouch(&l, strong)
		last, empty, lines = l.at, len(text) == 0, lines+1
	}
	if lines == 0 {
		return 0
	}
	r.mime.blobs, r.mime.armour = 0, false
	r.skimmed(n, lines, last, empty)
	return n
}

// skimmed moves on over n bytes of lines that end as most do. last is where the
// last of them begins.
func (r *reading) skimmed(n, lines int, last int64, empty bool) {
	r.ends[r.run.main] += int64(lines)
	r.run.lines = 0
	r.blank, r.ended = empty, r.run.main
	r.off += int64(n)
	r.last, r.start = last, r.off
}

// nextJoint is the first place from at on at which one block may follow another.
func (r *reading) nextJoint(at int64) int64 { return (at + r.align - 1) / r.align * r.align }

// endsAs tells whether b begins with a line's end of a kind.
func endsAs(b []byte, end lineEnd) bool {
	return end == lf && b[0] == '\n' || end == crlf && b[0] == '\r' && b[1] == '\n'
}

// isProse tells whether a line has anything that base64 does not have.
func isProse(text []byte) bool {
	for _, c := range text {
		if c == ' ' || class[c]&isNoBase64 != 0 {
			return true
		}
	}
	return false
}

// One byte in each byte of a word, and the uppermost bit of each.
const (
	each  = 0x0101010101010101
	upper = 0x80 * each
)

// inASCII gives how many bytes b begins with that are ASCII, but for some before
// the first that is not.
func inASCII(b []byte) int {
	n := 0
	for ; len(b)-n >= 32; n += 32 {
		w := b[n : n+32]
		if (binary.LittleEndian.Uint64(w)|binary.LittleEndian.Uint64(w[8:])|binary.LittleEndian.Uint64(w[16:])|binary.LittleEndian.Uint64(w[24:]))&upper != 0 {
			break
		}
	}
	for n < len(b) && b[n] < 0x80 {
		n++
	}
	return n
}

// inBase64 tells whether all bytes of b, eight at least, are of base64's 64.
func inBase64(b []byte) bool {
	var other uint64
	for at := b; ; at = at[8:] {
		if len(at) < 8 {
			return (other|notBase64(binary.LittleEndian.Uint64(b[len(b)-8:])))&upper == 0
		}
		other |= notBase64(binary.LittleEndian.Uint64(at))
	}
}

// notBase64 sets the uppermost bit of every byte that is none of base64's 64. As
// long as all bytes are below 0x80, no sum carries over into the next; where one is
// not, the answer is right for that byte or for another, which is enough.
func notBase64(w uint64) uint64 {
	small := w | 0x20*each
	letter := (small + (0x80-'a')*each) &^ (small + (0x7f-'z')*each)
	digit := (w + (0x80-'/')*each) &^ (w + (0x7f-'9')*each) // and the slash
	notPlus := (w ^ '+'*each) + 0x7f*each
	return w | notPlus&^(letter|digit)
}

// isSuspect sets the uppermost bit of every byte that may be a control character
// that text does not have.
func isSuspect(w uint64) uint64 {
	low := w &^ upper
	space := (low + (0x80-'\b')*each) &^ (low + (0x7f-'\r')*each)
	text := low + (0x80-' ')*each
	return ^(text | space | w) | (low+each)&^w
}

// controls counts the control characters that text does not have.
func controls(b []byte) (n int) {
	for ; len(b) >= 32; b = b[32:] {
		if (isSuspect(binary.LittleEndian.Uint64(b))|isSuspect(binary.LittleEndian.Uint64(b[8:]))|
			isSuspect(binary.LittleEndian.Uint64(b[16:]))|isSuspect(binary.LittleEndian.Uint64(b[24:])))&upper != 0 {
			n += count(b[:32], isControl)
		}
	}
	return n + count(b, isControl)
}
