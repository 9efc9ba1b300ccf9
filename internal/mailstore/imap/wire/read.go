package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
)

// What one answer may hold unless its command says otherwise.
const (
	defaultText    = 1 << 20 // bytes outside of literals
	defaultLiteral = 1 << 20 // bytes in one literal
	maxParts       = 1 << 14 // literals of one answer
)

// A Part is a piece of an answer: text, then a literal that the text's end
// announces. The last one has none.
type Part struct {
	Text    []byte // with the announcement ("{5}"), without line ends
	Literal []byte // nil: none
}

// A Response is one answer of the server: "* 12 FETCH (…)", "a1 OK done".
type Response struct {
	Tag   string // "*", "+", or a command's tag
	Num   uint32 // the number before the name, 0 for none
	Name  string // in capitals: "FETCH", "OK"; "" for "+"
	Parts []Part
	rest  int // where in the first part the name ends
}

// limits are those of the answer that is read.
type limits struct{ text, literal int64 }

// readResponse reads one answer: a line, and the literals and lines that it
// announces.
func (c *Conn) readResponse() (*Response, error) {
	c.timed.begun(-1)
	if _, err := c.br.Peek(1); err != nil {
		return nil, ended(err)
	}
	r := &Response{}
	var text int64
	for {
		lim := c.limits()
		c.timed.begun(0)
		line, err := readLine(c.br, lim.text-text)
		if err != nil {
			return nil, err
		}
		text += int64(len(line))
		r.Parts = append(r.Parts, Part{Text: line})
		if len(r.Parts) == 1 {
			if err := r.readHead(); err != nil {
				return nil, err
			}
		}
		size, ok := announced(line)
		if !ok || r.isText() {
			c.timed.begun(-1)
			return r, nil
		}
		if size > lim.literal {
			return nil, &TooLarge{"literal", size, lim.literal}
		}
		if len(r.Parts) >= maxParts {
			return nil, &TooLarge{"number of literals", int64(len(r.Parts)), maxParts}
		}
		c.timed.begun(size)
		body, err := readLiteral(c.br, size)
		if err != nil {
			return nil, fmt.Errorf("%w in the middle of a literal of %d bytes", ended(err), size)
		}
		r.Parts[len(r.Parts)-1].Literal = body
	}
}

// ended calls the ends of connections by one name.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return errHungUp
	}
	return err
}

// readLine reads up to a line's end, which it takes off.
func readLine(br *bufio.Reader, limit int64) ([]byte, error) {
	var line []byte
	for {
		piece, err := br.ReadSlice('\n')
		if int64(len(line)+len(piece)) > limit {
			return nil, &TooLarge{"line", int64(len(line) + len(piece)), limit}
		}
		line = append(line, piece...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return nil, ended(err)
		}
		return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
	}
}

// readLiteral reads n bytes. It trusts n only as far as bytes come.
func readLiteral(br *bufio.Reader, n int64) ([]byte, error) {
	const trusted = 4 << 20
	buf := make([]byte, min(n, trusted))
	if _, err := io.ReadFull(br, buf); err != nil {
		return nil, err
	}
	for int64(len(buf)) < n {
		old := len(buf)
		grown := make([]byte, min(n, 4*int64(old)))
		copy(grown, buf)
		buf = grown
		if _, err := io.ReadFull(br, buf[old:]); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// announced tells whether a line ends in the announcement of a literal: {n},
// {n+}, ~{n}, and what Cyrus' replication adds, %{partition guid n}.
func announced(line []byte) (int64, bool) {
	if len(line) < 3 || line[len(line)-1] != '}' {
		return 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return 0, false
	}
	inner := line[open+1 : len(line)-1]
	if i := bytes.LastIndexByte(inner, ' '); i >= 0 {
		if open == 0 || line[open-1] != '%' {
			return 0, false
		}
		inner = inner[i+1:]
	}
	inner = bytes.TrimSuffix(inner, []byte{'+'})
	if len(inner) == 0 || len(inner) > 19 || inner[0] < '0' || inner[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(inner), 10, 64)
	return n, err == nil
}

// readHead reads tag, number and name from the first line.
func (r *Response) readHead() error {
	line := r.Parts[0].Text
	tag, rest, _ := bytes.Cut(line, []byte{' '})
	if len(tag) == 0 || len(tag) > 32 || !isWord(tag) {
		return &Garbled{"no tag", string(line[:min(len(line), 80)])}
	}
	r.Tag = string(tag)
	if r.Tag == "+" {
		r.rest = len(line) - len(rest)
		return nil
	}
	word, after, _ := bytes.Cut(rest, []byte{' '})
	if len(word) > 0 && word[0] >= '0' && word[0] <= '9' {
		n, err := strconv.ParseUint(string(word), 10, 32)
		if err != nil {
			return &Garbled{"a number that is none", string(line[:min(len(line), 80)])}
		}
		r.Num = uint32(n)
		word, after, _ = bytes.Cut(after, []byte{' '})
	}
	if len(word) == 0 || len(word) > 64 || !isWord(word) {
		return &Garbled{"no name", string(line[:min(len(line), 80)])}
	}
	r.Name = strings.ToUpper(string(word))
	r.rest = len(line) - len(after)
	return nil
}

func isWord(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '(' || c == '"' || c == '{' {
			return false
		}
	}
	return true
}

// isText tells whether the answer is words for people after a possible code,
// in which nothing announces a literal.
func (r *Response) isText() bool {
	switch {
	case r.Tag != "*":
		return true
	case r.Num != 0:
		return false
	}
	switch r.Name {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	}
	return false
}

// head is the beginning of the answer, for errors.
func (r *Response) head() string {
	return string(r.Parts[0].Text[:min(len(r.Parts[0].Text), 80)])
}

// Code gives the response code of a status answer in capitals, and what
// follows it within the brackets.
func (r *Response) Code() (code, args string) {
	code, args, _ = r.status()
	return code, args
}

// Text gives the words for people of a status answer, fit for one line.
func (r *Response) Text() string {
	_, _, text := r.status()
	return clean(text)
}

func (r *Response) status() (code, args, text string) {
	rest := string(r.Parts[0].Text[r.rest:])
	if !strings.HasPrefix(rest, "[") {
		return "", "", rest
	}
	inner, text, ok := cutCode(rest[1:])
	if !ok {
		return "", "", rest
	}
	code, args, _ = strings.Cut(inner, " ")
	return strings.ToUpper(code), args, text
}

// cutCode finds the bracket that ends a response code; one in a quoted string
// does not.
func cutCode(s string) (inner, after string, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ']' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return strings.Cut(s, "]")
}
