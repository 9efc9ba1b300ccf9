package carve

import (
	"bytes"
	"regexp"
	"time"
)

// separatorLine is a From_ line of an mbox: "From ", a sender (which may be missing
// or hold spaces) and a date as ctime(3) writes it, with or without seconds and
// time zones. Package mbox takes the same lines for separators.
var separatorLine = regexp.MustCompile(
	`^From (.*?) ?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d{1,2}) +(\d{1,2}:\d{2}(?::\d{2})?)(?: +[A-Z]{1,5}(?: DST)?| +[+-]\d{4})? +(\d{4})(?: +([+-]\d{4}))?(?: remote from .*)?[ \t]*\r?\n?$`)

// maxSeparator bounds a separator line.
const maxSeparator = 1024

// quotedSender is the sender of separator lines before messages that salvor itself
// has quoted (package mbox).
const quotedSender = "mboxrd@salvor.invalid"

// separator is what a separator line says; the date is UTC where it names no zone.
type separator struct {
	sender string
	date   time.Time
}

func parseSeparator(line []byte) (s separator, ok bool) {
	if !bytes.HasPrefix(line, []byte("From ")) || len(line) > maxSeparator {
		return s, false
	}
	if bytes.IndexByte(line, ':') < 0 || !bytes.ContainsAny(line, "0123456789") { // most prose
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
	return separator{sender: clean(string(m[1]), 320), date: when.UTC()}, true
}

// isQuotable tells whether mboxrd puts a ">" before a line.
func isQuotable(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From "))
}

// opensMessage tells whether a line may stand right behind a separator: a field,
// a From_ line that was quoted, or nothing (a message without a header).
func opensMessage(b []byte) bool {
	return len(b) == 0 || b[0] == '\n' || b[0] == '\r' || b[0] == 0 || fieldName(b) > 0 || isQuotable(b)
}
