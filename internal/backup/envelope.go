package backup

import (
	"bytes"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"

	"salvor/catalog"
)

// Envelope is what a backup does to find a content by its header, for others who
// store some.
func Envelope(c *catalog.Content, header []byte) { envelope(c, header) }

// envelope fills in what operators search by, decoded (RFC 2047) from the
// message's top header. Broken headers give what can be read of them.
func envelope(c *catalog.Content, header []byte) {
	var to []string
	fields(header, func(name, value []byte) {
		v := func() string { return decodeHeader(value) }
		switch {
		case is(name, "from") && c.From == "":
			c.From = v()
		case is(name, "to"), is(name, "cc"):
			to = append(to, v())
		case is(name, "subject") && c.Subject == "":
			c.Subject = v()
		case is(name, "message-id") && c.MessageID == "":
			c.MessageID = v()
		case is(name, "date") && c.Date == nil:
			if t, err := parseDate(string(bytes.TrimSpace(value))); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
				t = t.UTC()
				c.Date = &t
			}
		}
	})
	c.To = strings.Join(to, ", ")
}

// parseDate tries first what nearly all dates look like: net/mail tries dozens
// of forms.
func parseDate(s string) (time.Time, error) {
	if t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", s); err == nil {
		return t, nil
	}
	return mail.ParseDate(s)
}

func is(name []byte, want string) bool { return strings.EqualFold(string(name), want) }

// fields calls yield for each header field, unfolded lazily: value may still
// hold line ends. The header is in LF form.
func fields(header []byte, yield func(name, value []byte)) {
	for len(header) > 0 {
		end := fieldEnd(header)
		field := header[:end]
		header = header[end:]
		if colon := bytes.IndexByte(field, ':'); colon > 0 && colon < 80 {
			yield(bytes.TrimRight(field[:colon], " \t"), field[colon+1:])
		}
	}
}

// fieldEnd is where the first field ends, continuation lines included.
func fieldEnd(b []byte) int {
	end := 0
	for {
		nl := bytes.IndexByte(b[end:], '\n')
		if nl < 0 {
			return len(b)
		}
		end += nl + 1
		if end == len(b) || (b[end] != ' ' && b[end] != '\t') {
			return end
		}
	}
}

var unfold = strings.NewReplacer("\r\n", "", "\n", "", "\t", " ")

var words = mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return enc.NewDecoder().Reader(r), nil
}}

// decodeHeader unfolds and decodes a field's value into valid UTF-8.
func decodeHeader(value []byte) string {
	s := strings.TrimSpace(unfold.Replace(string(value)))
	if strings.Contains(s, "=?") {
		if d, err := words.DecodeHeader(s); err == nil {
			s = d
		}
	}
	if !utf8.ValidString(s) {
		if d, err := charmap.Windows1252.NewDecoder().String(s); err == nil {
			return d
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
