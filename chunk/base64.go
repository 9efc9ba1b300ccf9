package chunk

import (
	"bytes"
	"slices"

	"github.com/segmentio/asm/base64"
)

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// badDigit marks, in base64Values, what is not in the alphabet.
const badDigit = 1 << 31

// base64Values has a digit's six bits, by its place in a group of four:
// already shifted to where they belong in the group's 24 bits.
var base64Values [4][256]uint32

func init() {
	for place := range base64Values {
		for i := range base64Values[place] {
			base64Values[place][i] = badDigit
		}
		for i := range len(base64Alphabet) {
			base64Values[place][base64Alphabet[i]] = uint32(i) << (18 - 6*place)
		}
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
	dst = slices.Grow(dst, len(digits)/4*3)
	out := dst[len(dst):cap(dst)]
	// The library is fast where all is well, which is nearly everywhere, and
	// laxer than we are. Padding can stand in the last group only.
	i := max(0, len(digits)/4-1) * 4
	j, err := base64.StdEncoding.Decode(out, digits[:i])
	if err != nil || j != i/4*3 {
		i, j = 0, 0
	}
	for len(digits)-i >= 4 {
		n := decodeGroup(out[j:j+3], digits[i:i+4])
		i, j = i+4, j+n
		if n < 3 {
			break
		}
	}
	return dst[:len(dst)+j]
}

// groupValue gives the 24 bits of four digits, badDigit set when one is none.
func groupValue(d []byte) uint32 {
	_ = d[3]
	return base64Values[0][d[0]] | base64Values[1][d[1]] | base64Values[2][d[2]] | base64Values[3][d[3]]
}

// decodeGroup decodes four digits and says how many bytes they were: 3, or 1
// or 2 with padding, or 0 when no encoder would have written them.
func decodeGroup(out, d []byte) int {
	size := 3
	var full [4]byte
	copy(full[:], d)
	for ; size > 1 && full[size] == '='; size-- {
		full[size] = 'A'
	}
	v := groupValue(full[:])
	unused := uint32(1)<<(24-8*size) - 1
	if v&badDigit != 0 || size < 3 && v&unused != 0 {
		return 0
	}
	out[0], out[1], out[2] = byte(v>>16), byte(v>>8), byte(v)
	return size
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
	digits := c.digits[:base64.StdEncoding.EncodedLen(len(data))]
	base64.StdEncoding.Encode(digits, data)
	return digits
}
