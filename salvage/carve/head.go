package carve

import "bytes"

// A Sign says what Head has recognised.
type Sign struct {
	Kind Kind
	// Score is how much speaks for it: 1 is a single field, 4 and more leave little
	// doubt, 100 is a magic number and what it promises.
	Score int
}

// sure is the score from which a head is hardly a chance.
const sure = 4

// Head tells whether a block that begins with b looks like the beginning of mail.
// It wants the block's first 512 bytes at least, and uses up to 4 KiB.
func Head(b []byte) (Sign, bool) {
	if len(b) < 8 {
		return Sign{}, false
	}
	b = b[:min(len(b), 4096)]
	switch c := b[0]; {
	case c|0x20 >= 'a' && c|0x20 <= 'z' || c == '>':
		return textHead(b)
	case c == '1' || c == '2' || c == 1:
		return dboxHead(b)
	case c == 0x1f || c == 0x28:
		return packedHead(b)
	}
	return Sign{}, false
}

func textHead(b []byte) (Sign, bool) {
	if b[0] == 'B' && b[1] == 'Z' && b[2] == 'h' {
		return packedHead(b)
	}
	kind := Header
	if from := bytes.TrimPrefix(b, []byte(">")); bytes.HasPrefix(from, []byte("From ")) {
		line, rest, ok := bytes.Cut(from, []byte("\n"))
		if !ok || len(line) > maxSeparator {
			return Sign{}, false
		}
		if _, dated := parseSeparator(line); dated && b[0] == 'F' {
			kind = Mbox
		}
		b = rest
	} else if fieldName(b[:min(len(b), maxName+6)]) == 0 {
		return Sign{}, false
	}
	s := scoreHeader(b)
	if kind == Mbox && s > 0 {
		s += sure
	}
	return Sign{Kind: kind, Score: s}, s > 0
}

// scoreHeader gives the points of the header at the beginning of b, 0 where it is
// none. A single point counts only where the header is seen to end, or goes on
// over many lines.
func scoreHeader(b []byte) int {
	if fieldName(b) == 0 && !isQuotable(b) {
		return 0 // most blocks of text
	}
	ended := len(b) < sector
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b, ended = b[:i], true
	}
	score, names, folds := 0, 0, 0
	for len(b) > 0 && names < longestScore {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		b = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			ended = true
			break
		}
		if names > 0 && (line[0] == ' ' || line[0] == '\t' || bytes.HasPrefix(line, []byte(">From "))) {
			folds++
			continue
		}
		n := fieldName(line)
		switch {
		case n > 0 && (classes(line)&isControl == 0 || pointsOf(line[:n]) > 0):
			score += pointsOf(line[:n])
			names++
		case !whole && names > 0: // the rest of the line is in the next block
		case names < 3:
			return 0
		default: // a line that a mailer has broken, or no header at all
			score -= 2
			names++
		}
	}
	if score < 2 && !ended && folds < 3 {
		return 0
	}
	return max(score, 0)
}

// dboxHead recognises the first line of a dbox file with a message behind it, and
// a message's record.
func dboxHead(b []byte) (Sign, bool) {
	s := Sign{Kind: Dbox, Score: 100}
	if b[0] == 1 {
		_, ok := parseRecord(b, minRecord)
		return s, ok
	}
	first, record, ok := parseDboxHead(b)
	if !ok || int64(len(b)) < first+record {
		return Sign{}, false
	}
	_, ok = parseRecord(b[first:], record)
	return s, ok
}
