package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"time"
)

// separatorLine is "From ", a sender (which may be missing or hold spaces) and
// a date as ctime(3) writes it, with or without seconds and time zones.
var separatorLine = regexp.MustCompile(
	`^From (.*?) ?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d{1,2}) +(\d{1,2}:\d{2}(?::\d{2})?)(?: +[A-Z]{1,5}(?: DST)?| +[+-]\d{4})? +(\d{4})(?: +([+-]\d{4}))?(?: remote from .*)?[ \t]*\r?\n?$`)

var fromPrefix = []byte("From ")

// maxSeparator bounds a separator line.
const maxSeparator = 1024

// separator is what a separator line says.
type separator struct {
	sender string
	date   time.Time
}

// parseSeparator reads a separator line. Dates without a zone are in UTC.
func parseSeparator(line []byte) (s separator, ok bool) {
	if !bytes.HasPrefix(line, fromPrefix) || len(line) > maxSeparator {
		return s, false
	}
	m := separatorLine.FindSubmatch(line)
	if m == nil {
		return s, false
	}
	layout, text := "Jan 2 15:04 2006", string(m[2])+" "+string(m[3])+" "+string(m[4])+" "+string(m[5])
	if bytes.Count(m[4], []byte(":")) == 2 {
		layout = "Jan 2 15:04:05 2006"
	}
	if len(m[6]) > 0 {
		layout, text = layout+" -0700", text+" "+string(m[6])
	}
	when, err := time.Parse(layout, text)
	if err != nil {
		return s, false
	}
	return separator{sender: string(m[1]), date: when.UTC()}, true
}

// A visitor gets the messages of a file in order.
type visitor interface {
	// begin is called with a separator and the offset of the message's first
	// byte.
	begin(s separator, offset int64) error
	// line is called for each line or part of one, with its line end.
	line(b []byte) error
	// end is called with the offset after the message's last byte. What line
	// got beyond it does not belong to the message.
	end(offset int64) error
}

// errNotMbox says that a file does not begin like an mbox.
var errNotMbox = errors.New("it does not begin with a From_ line, so it is no mbox")

// lineBuffer is the longest part of a line that is handed on at once.
const lineBuffer = 64 << 10

// split finds the messages. Empty lines before the first separator are left
// out; a file that is otherwise empty holds no messages.
func split(r io.Reader, v visitor) error {
	in := bufio.NewReaderSize(r, lineBuffer)
	p := splitter{v: v}
	for whole := true; ; {
		b, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if len(b) > 0 {
			if err := p.take(b, whole); err != nil {
				return err
			}
		}
		whole = err == nil
		if errors.Is(err, io.EOF) {
			return p.finish()
		}
	}
}

// splitter keeps track of what stands before a separator.
type splitter struct {
	v       visitor
	offset  int64
	begun   bool
	crlf    bool // the file has CRLF line ends
	lastEnd int  // length of the line end before offset: 0, 1 or 2
	blank   bool // the line before offset is empty
	empty   bool // nothing of the message has come yet
}

// take handles a line, or a part of one; whole tells that it begins a line.
func (p *splitter) take(b []byte, whole bool) error {
	if whole {
		if s, ok := parseSeparator(b); ok {
			return p.separate(s, b)
		}
	}
	if !p.begun {
		if len(bytes.TrimSpace(b)) > 0 || p.offset > lineBuffer {
			return errNotMbox
		}
		p.offset += int64(len(b))
		return nil
	}
	p.offset += int64(len(b))
	n := lineEnd(b)
	p.blank = whole && n == len(b)
	p.lastEnd, p.empty = n, false
	return p.v.line(b)
}

func (p *splitter) separate(s separator, line []byte) error {
	if p.begun {
		if err := p.v.end(p.offset - int64(p.strip())); err != nil {
			return err
		}
	} else {
		p.crlf = bytes.HasSuffix(line, []byte("\r\n"))
	}
	p.offset += int64(len(line))
	p.begun, p.empty, p.lastEnd, p.blank = true, true, 0, false
	return p.v.begin(s, p.offset)
}

// strip is how much of the line end before a separator belongs to it.
func (p *splitter) strip() int {
	if p.empty {
		return 0
	}
	if p.lastEnd == 2 && !p.crlf {
		return 1
	}
	return p.lastEnd
}

// finish ends the last message. A file that does not end in an empty line lacks
// the last separator's part, and its last line end belongs to the message.
func (p *splitter) finish() error {
	if !p.begun {
		return nil
	}
	n := 0
	if p.blank {
		n = p.strip()
	}
	return p.v.end(p.offset - int64(n))
}

// lineEnd is the length of a line's end.
func lineEnd(b []byte) int {
	switch {
	case bytes.HasSuffix(b, []byte("\r\n")):
		return 2
	case bytes.HasSuffix(b, []byte("\n")):
		return 1
	}
	return 0
}

// quotedSender is the sender of separator lines before messages that were
// quoted as in mboxrd when salvor wrote them.
const quotedSender = "mboxrd@salvor.invalid"

// quote puts ">" before lines that begin with any number of ">" and "From ".
func quote(dst, lf []byte) []byte {
	for len(lf) > 0 {
		line := lf
		if i := bytes.IndexByte(lf, '\n'); i >= 0 {
			line = lf[:i+1]
		}
		if isQuotable(line) {
			dst = append(dst, '>')
		}
		dst = append(dst, line...)
		lf = lf[len(line):]
	}
	return dst
}

// needsQuote tells whether a line begins with "From ".
func needsQuote(lf []byte) bool {
	return bytes.HasPrefix(lf, fromPrefix) || bytes.Contains(lf, []byte("\nFrom "))
}

func isQuotable(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, ">"), fromPrefix)
}

// unquoter undoes quote in a stream.
type unquoter struct {
	r     *bufio.Reader
	rest  []byte
	whole bool // rest is empty and a line begins
	err   error
}

func newUnquoter(r io.Reader) *unquoter {
	return &unquoter{r: bufio.NewReaderSize(r, lineBuffer), whole: true}
}

// Read reads on, without the ">" of quoted lines.
func (u *unquoter) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		line, err := u.r.ReadSlice('\n')
		u.rest = line
		if u.whole && len(line) > 0 && line[0] == '>' && isQuotable(line) {
			u.rest = line[1:]
		}
		u.whole = err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			u.err = err
		}
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}
