package chunk

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// LineEnds says how a message's stored bytes follow from its LF form. It is
// text, so that it goes into JSON and SQL as it is:
//
//	""             every line ends in CRLF (stored bytes = wire form)
//	"lf"           every line ends in LF
//	"mixed:" + B   B is unpadded standard base64 of unsigned varints: how many
//	               lines end in CRLF, how many then in LF, in CRLF, ...
//	"bits:" + B    B is unpadded standard base64 of one bit a line, the lowest
//	               bit of the first byte first; 1 = CRLF. Used where it is
//	               shorter than the runs, so nobody can make it longer than
//	               about a sixth of the message.
type LineEnds string

// The two forms that nearly all messages have.
const (
	EndsCRLF LineEnds = ""
	EndsLF   LineEnds = "lf"
)

const (
	mixedPrefix = "mixed:"
	bitsPrefix  = "bits:"
)

// ToLF gives the LF form of stored bytes, appended to dst, and how to get the
// stored bytes back from it. When the stored bytes are their own LF form (no
// line ends in CRLF), the result is stored itself and dst is not used.
func ToLF(dst, stored []byte) (lf []byte, ends LineEnds) {
	if bytes.IndexByte(stored, '\r') < 0 {
		if bytes.IndexByte(stored, '\n') < 0 {
			return stored, EndsCRLF
		}
		return stored, EndsLF
	}
	var runs runList
	lf = slices.Grow(dst, len(stored))
	for rest := stored; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			lf = append(lf, rest...)
			break
		}
		crlf := i > 0 && rest[i-1] == '\r'
		runs.add(crlf)
		if crlf {
			lf = append(lf, rest[:i-1]...)
		} else {
			lf = append(lf, rest[:i]...)
		}
		lf = append(lf, '\n')
		rest = rest[i+1:]
	}
	if len(lf)-len(dst) == len(stored) {
		lf = stored
	}
	return lf, runs.ends()
}

// runList collects the line ends of one message. It allocates only for mixed
// ones.
type runList struct {
	encoded []byte // finished runs as varints, the first one of CRLF
	run     uint64 // length of the run under way
	lf      bool   // the run under way is one of LF
	lines   uint64
	bits    []byte // one bit a line, kept once there is a second run
}

func (r *runList) add(crlf bool) {
	if crlf == r.lf {
		if r.encoded == nil {
			r.startBits()
		}
		r.encoded = binary.AppendUvarint(r.encoded, r.run)
		r.run, r.lf = 0, !crlf
	}
	if r.encoded != nil {
		r.addBit(crlf)
	}
	r.run++
	r.lines++
}

// startBits writes the bits of the first run, which is one of CRLF.
func (r *runList) startBits() {
	r.bits = bytes.Repeat([]byte{0xff}, int(r.lines/8))
	if rest := r.lines % 8; rest != 0 {
		r.bits = append(r.bits, 1<<rest-1)
	}
}

func (r *runList) addBit(crlf bool) {
	if r.lines%8 == 0 {
		r.bits = append(r.bits, 0)
	}
	if crlf {
		r.bits[r.lines/8] |= 1 << (r.lines % 8)
	}
}

func (r *runList) ends() LineEnds {
	if r.encoded == nil {
		return EndsCRLF
	}
	if r.lf && r.run == r.lines {
		return EndsLF
	}
	runs := binary.AppendUvarint(r.encoded, r.run)
	if len(r.bits) < len(runs) {
		return LineEnds(bitsPrefix + base64.RawStdEncoding.EncodeToString(r.bits))
	}
	return LineEnds(mixedPrefix + base64.RawStdEncoding.EncodeToString(runs))
}

// Restore appends the stored bytes to dst, given their LF form. The error
// says that e is no LineEnds or does not belong to this LF form.
func (e LineEnds) Restore(dst, lf []byte) ([]byte, error) {
	switch {
	case e == EndsCRLF:
		return ToWire(dst, lf), nil
	case e == EndsLF:
		return append(dst, lf...), nil
	case strings.HasPrefix(string(e), mixedPrefix):
		return e.restoreRuns(dst, lf)
	case strings.HasPrefix(string(e), bitsPrefix):
		return e.restoreBits(dst, lf)
	}
	return nil, fmt.Errorf("line ends %.40q: unknown form", string(e))
}

func (e LineEnds) restoreRuns(dst, lf []byte) ([]byte, error) {
	runs, err := base64.RawStdEncoding.Strict().DecodeString(string(e[len(mixedPrefix):]))
	if err != nil {
		return nil, fmt.Errorf("line ends %.40q: %w", string(e), err)
	}
	for crlf := true; len(runs) > 0; crlf = !crlf {
		n, size := binary.Uvarint(runs)
		if size <= 0 {
			return nil, fmt.Errorf("line ends %.40q: broken run length", string(e))
		}
		runs = runs[size:]
		for ; n > 0; n-- {
			i := bytes.IndexByte(lf, '\n')
			if i < 0 {
				return nil, e.misfit("fewer")
			}
			dst = appendLine(dst, lf[:i], crlf)
			lf = lf[i+1:]
		}
	}
	if bytes.IndexByte(lf, '\n') >= 0 {
		return nil, e.misfit("more")
	}
	return append(dst, lf...), nil
}

func (e LineEnds) restoreBits(dst, lf []byte) ([]byte, error) {
	bits, err := base64.RawStdEncoding.Strict().DecodeString(string(e[len(bitsPrefix):]))
	if err != nil {
		return nil, fmt.Errorf("line ends %.40q: %w", string(e), err)
	}
	lines := 0
	for {
		i := bytes.IndexByte(lf, '\n')
		if i < 0 {
			break
		}
		if lines/8 >= len(bits) {
			return nil, e.misfit("more")
		}
		dst = appendLine(dst, lf[:i], bits[lines/8]>>(lines%8)&1 == 1)
		lf = lf[i+1:]
		lines++
	}
	if (lines+7)/8 != len(bits) {
		return nil, e.misfit("fewer")
	}
	return append(dst, lf...), nil
}

func (e LineEnds) misfit(than string) error {
	return fmt.Errorf("line ends %.40q: the message has %s lines", string(e), than)
}

func appendLine(dst, line []byte, crlf bool) []byte {
	dst = append(dst, line...)
	if crlf {
		return append(dst, '\r', '\n')
	}
	return append(dst, '\n')
}

// ToWire appends the wire form of an LF form to dst: every LF becomes CRLF.
// Do not use it on stored bytes, where lines may end in CRLF already.
func ToWire(dst, lf []byte) []byte {
	dst = slices.Grow(dst, len(lf)+bytes.Count(lf, []byte{'\n'}))
	for {
		i := bytes.IndexByte(lf, '\n')
		if i < 0 {
			return append(dst, lf...)
		}
		dst = append(dst, lf[:i]...)
		dst = append(dst, '\r', '\n')
		lf = lf[i+1:]
	}
}
