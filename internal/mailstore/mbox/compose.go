package mbox

import (
	"bytes"
	"strings"
	"time"
)

// defaultSender stands in separator lines when nobody is known to have sent.
const defaultSender = "MAILER-DAEMON"

// compose appends a message with its separator line and, where it ends in a line
// end, the empty line behind it. A message without one gets the line end of the
// next joint, so that it is read back without.
func compose(dst, body []byte, date time.Time) []byte {
	sender := senderOf(body)
	if needsQuote(body) {
		sender = quotedSender
	}
	if date.IsZero() {
		date = time.Now()
	}
	dst = append(dst, "From "+sender+" "+date.UTC().Format(time.ANSIC)+"\n"...)
	if sender == quotedSender {
		dst = quote(dst, body)
	} else {
		dst = append(dst, body...)
	}
	if len(body) == 0 || body[len(body)-1] == '\n' {
		dst = append(dst, '\n')
	}
	return dst
}

// joint is what has to stand between the end of a file and a separator, so that
// the last message stays what it is.
func joint(tail []byte) string {
	if len(tail) == 0 {
		return ""
	}
	if bytes.HasSuffix(tail, []byte("\n\n")) || bytes.HasSuffix(tail, []byte("\n\r\n")) || onlySeparator(tail) {
		return ""
	}
	return "\n"
}

// onlySeparator tells whether a file ends in a separator line, so that its last
// message is empty.
func onlySeparator(tail []byte) bool {
	line := tail[bytes.LastIndexByte(bytes.TrimRight(tail, "\n"), '\n')+1:]
	_, ok := parseSeparator(line)
	return ok
}

// senderOf is the sender in a message's Return-Path, where there is one.
func senderOf(lf []byte) string {
	for len(lf) > 0 {
		line, rest, _ := bytes.Cut(lf, []byte("\n"))
		if len(line) == 0 {
			break
		}
		if len(line) > 12 && strings.EqualFold(string(line[:12]), "Return-Path:") {
			s := strings.Trim(strings.TrimSpace(string(line[12:])), "<>")
			if s != "" && len(s) < 256 && s != quotedSender && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				return s
			}
			break
		}
		lf = rest
	}
	return defaultSender
}
