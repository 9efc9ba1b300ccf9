package maildir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"salvor/internal/mailstore"
)

// Bounds on what is believed of a uidlist.
const (
	maxUIDList = 512 << 20 // bytes
	maxUIDLine = 8 << 10
)

// uidHeader is the first line of a dovecot-uidlist.
//
//	3 V1195330421 N25 G3085f01b7f11094c501100008c4a11c1
//	1 1195330421 25
type uidHeader struct {
	validity, next uint32
	guid           string // 32 hex digits, "" in version 1
}

// parseUIDHeader reads either version; fields it does not know are left alone.
func parseUIDHeader(line string) (uidHeader, error) {
	var h uidHeader
	f := strings.Fields(line)
	if len(f) < 2 || (f[0] != "1" && f[0] != "3") {
		return h, fmt.Errorf("header %q is of no known version", clip(line))
	}
	if f[0] == "1" && len(f) >= 3 {
		f = []string{f[0], "V" + f[1], "N" + f[2]}
	}
	for _, s := range f[1:] {
		switch s[0] {
		case 'V':
			h.validity = parseUID(s[1:])
		case 'N':
			h.next = parseUID(s[1:])
		case 'G':
			if isHex(s[1:], 32) {
				h.guid = s[1:]
			}
		}
	}
	if h.validity == 0 {
		return h, fmt.Errorf("header %q has no UIDVALIDITY", clip(line))
	}
	return h, nil
}

// uidLine is one message of a uidlist: "28 W824 S798 G... :1195330421.M8P1.vm".
type uidLine struct {
	uid  mailstore.UID
	size int64  // S: bytes on disk, -1 for none
	base []byte // part of the line
	rest []byte // all that follows the UID, part of the line
}

// parseUIDLine reads a line of either version (in version 1 no colon stands
// before the name). The base is part of line.
func parseUIDLine(line []byte) (uidLine, bool) {
	l := uidLine{size: -1}
	num, rest, ok := bytes.Cut(line, []byte(" "))
	l.uid = mailstore.UID(parseUID(string(num)))
	if l.rest = rest; !ok || l.uid == 0 {
		return l, false
	}
	for len(rest) > 0 && rest[0] != ':' {
		ext, after, more := bytes.Cut(rest, []byte(" "))
		if !more { // version 1
			l.base = baseOf(rest)
			return l, len(l.base) > 0
		}
		if len(ext) > 1 && ext[0] == 'S' {
			if n, err := strconv.ParseInt(string(ext[1:]), 10, 64); err == nil && n >= 0 {
				l.size = n
			}
		}
		rest = after
	}
	if len(rest) == 0 {
		return l, false
	}
	l.base = baseOf(rest[1:])
	return l, len(l.base) > 0
}

// textV3 is what follows the UID in version 3.
func (l uidLine) textV3() string {
	if bytes.IndexByte(l.rest, ':') < 0 || bytes.HasPrefix(l.rest, l.base) {
		return ":" + string(l.base)
	}
	return string(l.rest)
}

// uidSummary is what a whole uidlist says beside its lines.
type uidSummary struct {
	uidHeader
	last uint32 // the highest UID
	bad  string // what is wrong with it, "" for nothing
	torn bool   // the last line has no end
}

// uidNext is the UID that the next message will have. N may be stale: Dovecot
// appends lines without rewriting the header.
func (s *uidSummary) uidNext() uint32 {
	if s.last == ^uint32(0) {
		return s.last
	}
	return max(s.next, s.last+1)
}

// errNoUIDList says that the first line cannot be used.
var errNoUIDList = errors.New("dovecot-uidlist is damaged")

// readUIDList reads a uidlist line by line. UIDs must rise; lines that break
// this, or are no lines, are left out and make the list bad. A last line that
// is being written is left out, too.
func readUIDList(r io.Reader, yield func(uidLine)) (uidSummary, error) {
	var s uidSummary
	in := bufio.NewReaderSize(io.LimitReader(r, maxUIDList), maxUIDLine)
	first, err := in.ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return s, err
	}
	if s.uidHeader, err = parseUIDHeader(strings.TrimSuffix(string(first), "\n")); err != nil {
		return s, fmt.Errorf("%w: %w", errNoUIDList, err)
	}
	for n := 2; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			s.torn = len(line) > 0
			return s, nil
		case errors.Is(err, bufio.ErrBufferFull):
			s.markBad(n, "is too long")
			if err := skipLine(in); err != nil {
				return s, ignoreEOF(err)
			}
			continue
		case err != nil:
			return s, err
		}
		l, ok := parseUIDLine(line[:len(line)-1])
		switch {
		case !ok:
			s.markBad(n, "cannot be read")
		case uint32(l.uid) <= s.last:
			s.markBad(n, "does not go on with a higher UID")
		default:
			s.last = uint32(l.uid)
			yield(l)
		}
	}
}

func (s *uidSummary) markBad(line int, what string) {
	if s.bad == "" {
		s.bad = fmt.Sprintf("dovecot-uidlist is damaged: line %d %s", line, what)
	}
}

func skipLine(in *bufio.Reader) error {
	for {
		if _, err := in.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// peekUIDList reads the header and the last UID only: what a night costs where
// nothing has changed.
func peekUIDList(f io.ReaderAt, size int64) (uidSummary, error) {
	var s uidSummary
	buf := make([]byte, 1024)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return s, err
	}
	head := buf[:n]
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	if s.uidHeader, err = parseUIDHeader(string(line)); err != nil {
		return s, fmt.Errorf("%w: %w", errNoUIDList, err)
	}
	tail := rest
	if size > int64(n) {
		buf = make([]byte, 2*1024)
		n, err := f.ReadAt(buf, max(0, size-int64(len(buf))))
		if err != nil && !errors.Is(err, io.EOF) {
			return s, err
		}
		_, tail, _ = bytes.Cut(buf[:n], []byte("\n"))
	}
	for len(tail) > 0 {
		line, after, whole := bytes.Cut(tail, []byte("\n"))
		if l, ok := parseUIDLine(line); ok && whole {
			s.last = max(s.last, uint32(l.uid))
		}
		tail = after
	}
	return s, nil
}

// parseUID reads a UID or UIDVALIDITY: 1 to 2^32-1, else 0.
func parseUID(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func isHex(s string, digits int) bool {
	if len(s) != digits {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// clip shortens what is shown of a file.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
