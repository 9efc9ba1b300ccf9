package imap

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"salvor/internal/mailstore/imap/wire"
)

// maxEnvelope is how long an envelope may be that is kept, in bytes.
const maxEnvelope = 16 << 10

// maxMessageID is the longest Message-ID that is kept: a header line has at most
// 998 bytes (RFC 5322, section 2.1.1).
const maxMessageID = 998

// fieldsOfEnvelope is how many there are; the last one is the Message-ID (RFC
// 9051, section 7.5.2).
const fieldsOfEnvelope = 10

// envelope writes an envelope as IMAP does, and gives the Message-ID in it; "" for
// what is no envelope. Of one that is too long, the longest fields become NIL.
func envelope(v wire.Value) (text, messageID string) {
	if v.Kind != wire.List || len(v.Items) != fieldsOfEnvelope {
		return "", ""
	}
	var fields [fieldsOfEnvelope][]byte
	total := fieldsOfEnvelope + 1
	for i, item := range v.Items {
		if fields[i] = writeValue(nil, item); len(fields[i]) > maxEnvelope {
			fields[i] = []byte("NIL")
		}
		total += len(fields[i])
	}
	for total > maxEnvelope {
		longest := 0
		for i := range fields {
			if len(fields[i]) > len(fields[longest]) {
				longest = i
			}
		}
		total -= len(fields[longest]) - 3
		fields[longest] = []byte("NIL")
	}
	id := strings.Join(strings.Fields(v.Items[fieldsOfEnvelope-1].Text()), " ")
	if len(id) <= maxMessageID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl) {
		messageID = id
	}
	return "(" + string(bytes.Join(fields[:], []byte(" "))) + ")", messageID
}

// writeValue writes a value as IMAP does. It stops a little beyond what is kept.
func writeValue(dst []byte, v wire.Value) []byte {
	switch {
	case len(dst) > maxEnvelope:
		return dst
	case v.Kind == wire.List:
		dst = append(dst, '(')
		for i, item := range v.Items {
			if i > 0 && item.Kind != wire.List { // addresses stand without a blank
				dst = append(dst, ' ')
			}
			if dst = writeValue(dst, item); len(dst) > maxEnvelope {
				break
			}
		}
		return append(dst, ')')
	case v.Kind == wire.String && bytes.ContainsAny(v.Bytes, "\r\n\x00"):
		dst = append(dst, '{')
		dst = strconv.AppendInt(dst, int64(len(v.Bytes)), 10)
		return append(append(dst, "}\r\n"...), v.Bytes...)
	case v.Kind == wire.String:
		dst = append(dst, '"')
		for _, b := range v.Bytes {
			if b == '"' || b == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, b)
		}
		return append(dst, '"')
	case v.Kind == wire.Atom:
		return append(dst, v.Bytes...)
	}
	return append(dst, "NIL"...)
}
