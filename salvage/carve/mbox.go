package carve

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lineBuffer is the longest part of a line that is looked at at once.
const lineBuffer = 64 << 10

// A splitter takes an mbox apart while it is read. A message is what stands
// between its separator line and the last line end before the next one, or the
// end of the file: an empty line stands there. A From_ line separates where it has
// a date and something follows with which a message can begin.
type splitter struct {
	in      *bufio.Reader
	off     int64
	crlf    bool       // separator lines end in CRLF
	begun   bool       // a message
	ahead   *separator // which was read already
	held    lineEnd    // of the line before, which may belong to a separator
	blank   bool       // that line is empty
	whole   bool       // a line begins
	unquote bool
	buf     []byte
	out     []byte // of buf, what was not given yet
	err     error
}

func newSplitter(r io.Reader) *splitter {
	return &splitter{in: bufio.NewReaderSize(r, lineBuffer), whole: true}
}

// next goes to the next message, past what is left of the present one.
func (s *splitter) next() (sep separator, at int64, ok bool, err error) {
	for s.ahead == nil && s.err == nil {
		s.step()
	}
	if s.ahead == nil {
		if errors.Is(s.err, io.EOF) {
			return sep, 0, false, nil
		}
		return sep, 0, false, s.err
	}
	sep, s.ahead = *s.ahead, nil
	s.held, s.blank, s.out, s.begun = noEnd, false, nil, true
	return sep, s.off, true, nil
}

// body gives the present message.
func (s *splitter) body(quoted bool) io.Reader {
	s.unquote = quoted
	return message{s}
}

type message struct{ *splitter }

func (m message) Read(p []byte) (int, error) {
	s := m.splitter
	for len(s.out) == 0 {
		if s.ahead != nil {
			return 0, io.EOF
		}
		if s.err != nil {
			return 0, s.err
		}
		s.step()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// step reads a line, or a part of one, and makes it the next to be given, but for
// its end.
func (s *splitter) step() {
	s.buf = s.buf[:0]
	b, err := s.in.ReadSlice('\n')
	s.off += int64(len(b))
	if s.whole && len(b) < maxSeparator && bytes.HasPrefix(b, []byte("From ")) {
		b = bytes.Clone(b) // Peek moves what was read
		if s.separates(b) {
			s.whole = true
			return
		}
	}
	if len(b) > 0 {
		s.take(b)
	}
	s.whole = err == nil
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		s.finish(err)
	}
	s.out = s.buf
}

// separates ends the present message where a line is a separator.
func (s *splitter) separates(b []byte) bool {
	sep, ok := parseSeparator(b)
	if !ok {
		return false
	}
	if next, _ := s.in.Peek(maxName + 6); !opensMessage(next) {
		return false
	}
	s.ahead = &sep
	if !s.begun {
		s.crlf = bytes.HasSuffix(b, []byte("\r\n"))
	}
	s.strip()
	s.out = s.buf
	return true
}

// strip gives what of the last line's end is not the separator's.
func (s *splitter) strip() {
	if s.held == crlf && !s.crlf {
		s.buf = append(s.buf, '\r')
	}
	s.held = noEnd
}

// take gives the end of the line before, and a line without its own.
func (s *splitter) take(b []byte) {
	s.flush()
	text, end := cutEnd(b)
	s.blank, s.held = s.whole && len(text) == 0, end
	if s.unquote && s.whole && len(text) > 0 && text[0] == '>' && isQuotable(text) {
		text = text[1:]
	}
	s.buf = append(s.buf, text...)
}

func (s *splitter) flush() {
	s.buf = append(s.buf, [...]string{noEnd: "", lf: "\n", crlf: "\r\n"}[s.held]...)
	s.held = noEnd
}

// finish ends the last message: the end of an empty last line is the separator's.
func (s *splitter) finish(err error) {
	s.err = err
	if s.blank && errors.Is(err, io.EOF) {
		s.strip()
	}
	s.flush()
}
