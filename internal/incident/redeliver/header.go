package redeliver

import (
	"bytes"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// fields calls yield for each field of a message's header, as its lines stand
// there, with its name in lower case; a line that is none has the name "". It
// gives what follows the header.
func fields(message []byte, yield func(name string, field []byte)) (body []byte) {
	for len(message) > 0 {
		end := lineLength(message)
		if len(bytes.TrimRight(message[:end], "\r\n")) == 0 {
			return message[end:]
		}
		for end < len(message) && (message[end] == ' ' || message[end] == '\t') {
			end += lineLength(message[end:])
		}
		name := ""
		if i := bytes.IndexByte(message[:end], ':'); i > 0 && i < 80 {
			name = strings.ToLower(string(bytes.TrimRight(message[:i], " \t")))
		}
		yield(name, message[:end])
		message = message[end:]
	}
	return nil
}

func lineLength(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// identity gives a message's Message-ID and Date; "" and zero where it has none.
func identity(message []byte) (id string, date time.Time) {
	fields(message, func(name string, field []byte) {
		_, value, _ := bytes.Cut(field, []byte(":"))
		switch {
		case name == "message-id" && id == "":
			id = strings.Join(strings.Fields(string(value)), " ")
		case name == "date" && date.IsZero():
			if t, err := mail.ParseDate(strings.TrimSpace(string(value))); err == nil {
				date = t
			}
		}
	})
	return id, date
}

// trace are the fields that servers add on the way: two deliveries of one message
// differ in them.
var trace = []string{"return-path", "received", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-sieve", "x-cyrus-session-id",
	"received-spf", "authentication-results", "dkim-signature", "domainkey-signature", "arc-seal", "arc-message-signature", "arc-authentication-results"}

// sameButTrace tells whether two messages are one that was delivered twice: they
// differ in what servers add on the way, or not at all.
func sameButTrace(a, b []byte) bool {
	headerA, bodyA := withoutTrace(a)
	headerB, bodyB := withoutTrace(b)
	return len(headerA) > 0 && bytes.Equal(bodyA, bodyB) && bytes.Equal(headerA, headerB)
}

func withoutTrace(message []byte) (header, body []byte) {
	body = fields(message, func(name string, field []byte) {
		if !slices.Contains(trace, name) {
			header = append(header, field...)
		}
	})
	return header, body
}
