package chunk

import (
	"bytes"
	"encoding/binary"
)

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// badDigit marks, in base64Values, what is not in the alphabet.
const badDigit = 0xff

var (
	base64Values [256]byte    // a digit's six bits
	base64Pairs  [4096]uint16 // twelve bits' two digits, the first one in the high byte
)

func init() {
	for i := range base64Values {
		base64Values[i] = badDigit
	}
	for i := range len(base64Alphabet) {
		base64Values[base64Alphabet[i]] = byte(i)
	}
	for i := range base64Pairs {
		base64Pairs[i] = uint16(base64Alphabet[i>>6])<<8 | uint16(base64Alphabet[i&63])
	}
}

// base64Run is the part of a body that is base64 exactly as base64Lines
// writes it.
type base64Run struct {
	start, end int    // offsets in the body; the last line's end is not in it
	width      int    // digits a line, 0 = one line
	data       []byte // decoded
}

// base64Block is how many digits are looked at together, line ends removed;
// a multiple of 4.
const base64Block = 12 << 10

// base64Coder holds the buffers of decoding and encoding.
type base64Coder struct {
	digits [base64Block]byte
	lines  []byte
}

// decode finds the longest run at the start of body (behind empty lines) which
// decodes to bytes that encode to the same run again: lines of one width, the
// last one not longer, whole groups of four digits, padding only at the end
// and with its unused bits zero. The decoded bytes are appended to dst.
func (c *base64Coder) decode(dst, body []byte) base64Run {
	run := base64Run{}
	for run.start < len(body) && body[run.start] == '\n' {
		run.start++
	}
	rest := body[run.start:]
	width := bytes.IndexByte(rest, '\n')
	if width < 0 {
		width = len(rest)
	}
	first, digits := len(dst), 0
	for more := width > 0; more; {
		var block []byte
		block, rest = c.compact(rest, width, digits)
		before := len(dst)
		dst = appendDecoded(dst, block)
		// A short group decodes only at the padding, where the run ends.
		digits += (len(dst) - before + 2) / 3 * 4
		more = len(block) == base64Block && (len(dst)-before) == base64Block/4*3
	}
	run.data = dst[first:]
	run.end = run.start
	if digits > 0 {
		run.end += digits + (digits-1)/width
	}
	if digits > width {
		run.width = width
	}
	return run
}

// compact gives up to a block of digits from the start of rest, which comes
// after so many digits of the run, without the line ends. It stops where a
// line is not width long.
func (c *base64Coder) compact(rest []byte, width, before int) (block, left []byte) {
	n := 0
	for column := before % width; n < base64Block && len(rest) > 0; {
		if column == 0 && before+n > 0 {
			if rest[0] != '\n' {
				break
			}
			rest = rest[1:]
		}
		m := min(width-column, base64Block-n, len(rest))
		copy(c.digits[n:], rest[:m])
		n, rest, column = n+m, rest[m:], (column+m)%width
	}
	return c.digits[:n], rest
}

// appendDecoded decodes whole groups of four digits up to the first that is
// none, or up to and with the first padded one.
func appendDecoded(dst, digits []byte) []byte {
	n := len(dst)
	// Eight digits give six bytes, written as eight.
	dst = append(dst, make([]byte, len(digits)/4*3+2)...)
	out := dst[n:]
	i, j := 0, 0
	for ; len(digits)-i >= 8; i, j = i+8, j+6 {
		d, o := digits[i:i+8], out[j:j+8]
		a, b, c, e := base64Values[d[0]], base64Values[d[1]], base64Values[d[2]], base64Values[d[3]]
		f, g, h, k := base64Values[d[4]], base64Values[d[5]], base64Values[d[6]], base64Values[d[7]]
		if (a|b|c|e|f|g|h|k)&0x80 != 0 {
			break
		}
		hi := uint64(a)<<18 | uint64(b)<<12 | uint64(c)<<6 | uint64(e)
		lo := uint64(f)<<18 | uint64(g)<<12 | uint64(h)<<6 | uint64(k)
		binary.BigEndian.PutUint64(o, hi<<40|lo<<16)
	}
	for len(digits)-i >= 4 {
		m := decodeGroup(out[j:], digits[i:i+4])
		i, j = i+4, j+m
		if m < 3 {
			break
		}
	}
	return dst[:n+j]
}

// decodeGroup decodes four digits and says how many bytes they were: 3, or 1
// or 2 with padding, or 0 when no encoder would have written them.
func decodeGroup(out, d []byte) int {
	a, b, c, e := base64Values[d[0]], base64Values[d[1]], base64Values[d[2]], base64Values[d[3]]
	switch {
	case (a|b)&0x80 != 0:
		return 0
	case d[2] == '=' && d[3] == '=' && b&15 == 0:
		out[0] = a<<2 | b>>4
		return 1
	case c&0x80 != 0:
		return 0
	case d[3] == '=' && c&3 == 0:
		out[0], out[1] = a<<2|b>>4, b<<4|c>>2
		return 2
	case e&0x80 != 0:
		return 0
	}
	out[0], out[1], out[2] = a<<2|b>>4, b<<4|c>>2, c<<6|e
	return 3
}

// base64Size is how long base64Lines makes n bytes, in lines of width digits.
func base64Size(n, width int64) int64 {
	digits := (n + 2) / 3 * 4
	if width == 0 || digits == 0 {
		return digits
	}
	return digits + (digits-1)/width
}

// encode gives data as padded base64 in lines of width digits (0: one line),
// block by block, until yield says stop, and tells whether it did not. No line
// end follows the last digit. A block is valid during its yield.
func (c *base64Coder) encode(data []byte, width int, yield func(block []byte) bool) bool {
	column := 0
	for len(data) > 0 {
		n := min(len(data), base64Block/4*3)
		digits := c.encodeBlock(data[:n])
		data = data[n:]
		if width > 0 {
			c.lines, column = appendLines(c.lines[:0], digits, width, column)
			digits = c.lines
		}
		if !yield(digits) {
			return false
		}
	}
	return true
}

// appendLines puts digits into lines. The column is where the last line stood
// and stands; a full line gets its end when another digit follows.
func appendLines(dst, digits []byte, width, column int) ([]byte, int) {
	for len(digits) > 0 {
		if column == width {
			dst = append(dst, '\n')
			column = 0
		}
		n := min(width-column, len(digits))
		dst = append(dst, digits[:n]...)
		digits, column = digits[n:], column+n
	}
	return dst, column
}

// encodeBlock encodes at most 3/4 of a block, with padding when that is not a
// multiple of 3 bytes.
func (c *base64Coder) encodeBlock(data []byte) []byte {
	i, j := 0, 0
	for ; len(data)-i >= 8; i, j = i+6, j+8 {
		v := binary.BigEndian.Uint64(data[i : i+8])
		w := uint64(base64Pairs[v>>52])<<48 | uint64(base64Pairs[v>>40&0xfff])<<32 |
			uint64(base64Pairs[v>>28&0xfff])<<16 | uint64(base64Pairs[v>>16&0xfff])
		binary.BigEndian.PutUint64(c.digits[j:j+8], w)
	}
	for ; len(data)-i >= 3; i, j = i+3, j+4 {
		encodeGroup(c.digits[j:j+4], data[i], data[i+1], data[i+2])
	}
	switch len(data) - i {
	case 1:
		encodeGroup(c.digits[j:j+4], data[i], 0, 0)
		c.digits[j+2], c.digits[j+3] = '=', '='
		j += 4
	case 2:
		encodeGroup(c.digits[j:j+4], data[i], data[i+1], 0)
		c.digits[j+3] = '='
		j += 4
	}
	return c.digits[:j]
}

func encodeGroup(out []byte, a, b, c byte) {
	out[0] = base64Alphabet[a>>2]
	out[1] = base64Alphabet[a&3<<4|b>>4]
	out[2] = base64Alphabet[b&15<<2|c>>6]
	out[3] = base64Alphabet[c&63]
}
