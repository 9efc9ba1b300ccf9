package catalog

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"salvor/chunk"
)

// A line is written by hand: a first backup writes several for each message,
// and reflection takes three times as long. The tests hold it against what
// encoding/json reads.

// appendLine writes a whole line with its newline; verb is "put" or "delete".
func appendLine(b []byte, verb string, r Row) []byte {
	b = append(b, `{"`...)
	b = append(b, verb...)
	b = append(b, `":"`...)
	b = append(b, r.rowName()...)
	b = append(b, `","row":`...)
	if verb == verbPut {
		b = r.appendRow(b)
	} else {
		b = r.appendKey(b)
	}
	return append(b, "}\n"...)
}

// object writes one JSON object. Methods ending in z leave zero values out.
type object struct {
	b    []byte
	more bool
}

func newObject(b []byte) object { return object{b: append(b, '{')} }

func (o *object) close() []byte { return append(o.b, '}') }

func (o *object) name(name string) {
	if o.more {
		o.b = append(o.b, ',')
	}
	o.more = true
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) int(name string, v int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, v, 10)
}

func (o *object) intz(name string, v int64) {
	if v != 0 {
		o.int(name, v)
	}
}

func (o *object) uintz(name string, v uint64) {
	if v != 0 {
		o.name(name)
		o.b = strconv.AppendUint(o.b, v, 10)
	}
}

// float writes a number that reads back as the same one.
func (o *object) float(name string, v float64) {
	o.name(name)
	o.b = strconv.AppendFloat(o.b, v, 'g', -1, 64)
}

func (o *object) truez(name string, v bool) {
	if v {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *object) text(name, s string) {
	o.name(name)
	o.b = appendText(o.b, s)
}

func (o *object) textz(name, s string) {
	if s != "" {
		o.text(name, s)
	}
}

func (o *object) textsz(name string, list []string) {
	if len(list) == 0 {
		return
	}
	o.name(name)
	o.b = appendList(o.b, list, appendText)
}

func (o *object) hash(name string, h []byte) {
	o.name(name)
	o.b = appendHash(o.b, h)
}

func (o *object) hashz(name string, h []byte) {
	if bytes.ContainsFunc(h, func(r rune) bool { return r != 0 }) {
		o.hash(name, h)
	}
}

func (o *object) timez(name string, t time.Time) {
	if !t.IsZero() {
		o.name(name)
		o.b = append(o.b, '"')
		o.b = t.AppendFormat(o.b, time.RFC3339Nano)
		o.b = append(o.b, '"')
	}
}

func (o *object) timepz(name string, t *time.Time) {
	if t != nil {
		o.timez(name, *t)
	}
}

func appendHash(b, h []byte) []byte {
	b = append(b, '"')
	b = hex.AppendEncode(b, h)
	return append(b, '"')
}

func appendID(b []byte, id chunk.ID) []byte { return appendHash(b, id[:]) }

func appendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return append(b, ']')
}

// appendText writes a JSON string that readText turns back into exactly s. A
// string that is not UTF-8, or that begins with U+0000, is written as U+0000
// followed by its bytes in base64.
func appendText(b []byte, s string) []byte {
	if !utf8.ValidString(s) || strings.HasPrefix(s, "\x00") {
		b = append(b, `"\u0000`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(s))
		return append(b, '"')
	}
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == 0x7f {
			b = append(b, s[from:i]...)
			b = appendEscape(b, c)
			from = i + 1
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	if c == '"' || c == '\\' {
		return append(b, '\\', c)
	}
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
}

// readText undoes appendText, after the JSON decoder.
func readText(s *string) error {
	if !strings.HasPrefix(*s, "\x00") {
		return nil
	}
	raw, err := base64.StdEncoding.Strict().DecodeString((*s)[1:])
	if err != nil {
		return err
	}
	*s = string(raw)
	return nil
}
