package carve

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"
)

// Bounds on what Headers reads and gives.
const (
	maxHeader    = 256 << 10
	maxAddresses = 64
	maxAddress   = 320
	maxShown     = 512
)

// A Recipient is an address that a field names.
type Recipient struct {
	Field   string // canonical, like "Delivered-To"
	Address string // in lower case where it is an address
}

// Facts are what a message's header tells that helps to find its owner. All of
// them are claims of whoever wrote the header: no proof.
type Facts struct {
	// Delivered are addresses to which the message was delivered, as the server that
	// did it says: the best field first, the last delivery first.
	Delivered []Recipient
	// To are the addresses in To, Cc and Bcc.
	To         []Recipient
	ReturnPath string
	From       string // as it is shown to people
	FromAddr   string
	Subject    string // decoded
	MessageID  string // with its angle brackets
	Date       time.Time
	Sieve      string // X-Sieve: what Cyrus writes into what it delivers
	Cyrus      bool   // Cyrus has delivered it
	Draft      bool   // it never went anywhere: there are no traces of transport
}

// delivered are the fields that name the mailbox, best first.
var delivered = []string{"Delivered-To", "X-Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "Original-Recipient", "Received"}

// Headers reads a message's header, up to 256 KiB of it. Nonsense in a field costs
// that field. An error is one of reading; facts that came before it are given.
func Headers(r io.Reader) (Facts, error) {
	var f Facts
	by := map[string][]Recipient{}
	f.Draft = true
	err := fields(r, func(name, value string) { f.field(by, name, value) })
	for _, name := range delivered {
		for _, a := range by[name] {
			if len(f.Delivered) < maxAddresses {
				f.Delivered = append(f.Delivered, a)
			}
		}
	}
	return f, err
}

// fields yields unfolded fields with canonical names.
func fields(r io.Reader, yield func(name, value string)) error {
	in := bufio.NewReaderSize(io.LimitReader(r, maxHeader), 16<<10)
	var field []byte
	flush := func() {
		if n := fieldName(field); n > 0 {
			_, value, _ := bytes.Cut(field, []byte(":"))
			yield(canonical(string(field[:n])), strings.TrimSpace(string(value)))
		}
		field = field[:0]
	}
	defer flush()
	for first := true; ; first = false {
		b, err := in.ReadSlice('\n')
		whole := !errors.Is(err, bufio.ErrBufferFull)
		text, _ := cutEnd(b)
		if len(text) == 0 && whole && (len(b) > 0 || err != nil) {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		folded := text[0] == ' ' || text[0] == '\t'
		if !folded && !(first && isQuotable(text)) {
			flush()
		}
		if len(field)+len(text) <= maxField {
			field = append(field, text...)
		}
		for !whole && err != nil { // the rest of a line that is too long
			_, err = in.ReadSlice('\n')
			whole = !errors.Is(err, bufio.ErrBufferFull)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
	}
}

func canonical(name string) string {
	b := []byte(lower(name))
	for i := range b {
		if (i == 0 || b[i-1] == '-') && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

func (f *Facts) field(by map[string][]Recipient, name, value string) {
	switch name {
	case "Delivered-To", "X-Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "Original-Recipient":
		f.Draft = false
		_, after, typed := strings.Cut(value, ";") // rfc822;bob@example.org
		if typed && name == "Original-Recipient" {
			value = after
		}
		f.add(by, name, value)
	case "Received":
		f.Draft = false
		f.received(by, value)
	case "To", "Cc", "Bcc":
		for _, a := range addresses(value) {
			if len(f.To) < maxAddresses {
				f.To = append(f.To, Recipient{Field: name, Address: a})
			}
		}
	case "Return-Path":
		f.Draft = false
		first(&f.ReturnPath, clean(strings.Trim(value, "<> "), maxAddress))
	case "From":
		first(&f.From, shown(value))
		if a := addresses(value); len(a) > 0 {
			first(&f.FromAddr, a[0])
		}
	case "Subject":
		first(&f.Subject, shown(value))
	case "Message-Id":
		first(&f.MessageID, clean(value, maxShown))
	case "Date":
		if t, err := mail.ParseDate(value); err == nil && f.Date.IsZero() && t.Year() > 1970 && t.Year() < 2200 {
			f.Date = t
		}
	case "X-Sieve":
		first(&f.Sieve, clean(value, 64))
		f.Cyrus = f.Cyrus || strings.Contains(value, "CMU Sieve")
	case "X-Cyrus-Session-Id":
		f.Cyrus = true
	}
}

func first(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// add keeps the address of a field that names one.
func (f *Facts) add(by map[string][]Recipient, field, value string) {
	if len(by[field]) >= maxAddresses {
		return
	}
	if a := addresses(value); len(a) > 0 {
		by[field] = append(by[field], Recipient{Field: field, Address: a[0]})
	} else if a := clean(strings.Trim(value, "<> "), maxAddress); a != "" && !strings.Contains(a, " ") {
		by[field] = append(by[field], Recipient{Field: field, Address: strings.ToLower(a)})
	}
}

// received takes "for <address>" out of a Received field (RFC 5321, section 4.4),
// and notices Cyrus.
func (f *Facts) received(by map[string][]Recipient, value string) {
	words := strings.Fields(value[:min(len(value), 4<<10)])
	for i, w := range words {
		if w == "(Cyrus" {
			f.Cyrus = true
		}
		if w == "for" && i+1 < len(words) && strings.Contains(words[i+1], "@") {
			f.add(by, "Received", strings.TrimRight(words[i+1], ";"))
			return
		}
	}
}

// addresses gives the addresses in a field. Where the field is not well formed,
// it takes the words with an @.
func addresses(value string) (out []string) {
	value = value[:min(len(value), maxField)]
	if list, err := mail.ParseAddressList(value); err == nil {
		for _, a := range list[:min(len(list), maxAddresses)] {
			out = append(out, strings.ToLower(clean(a.Address, maxAddress)))
		}
		return out
	}
	words := strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune("<>,;()\"' \t\r\n:", r) })
	for _, w := range words {
		if at := strings.IndexByte(w, '@'); at > 0 && at < len(w)-1 && len(out) < maxAddresses {
			out = append(out, strings.ToLower(clean(w, maxAddress)))
		}
	}
	return out
}

// words decodes RFC 2047. Charsets that are not known are read as ASCII.
var words = mime.WordDecoder{CharsetReader: func(_ string, in io.Reader) (io.Reader, error) { return in, nil }}

// shown makes a field's text fit to be shown.
func shown(value string) string {
	value = value[:min(len(value), 8*maxShown)]
	if s, err := words.DecodeHeader(value); err == nil {
		value = s
	}
	return clean(value, maxShown)
}
