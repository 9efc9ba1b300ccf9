package maildir

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxKeywords is how many keywords a Maildir file name can hold: a to z.
const maxKeywords = 26

// maxSideFile bounds the small files beside the messages.
const maxSideFile = 4 << 20

// keywords is a folder's dovecot-keywords: lines "0 work-todo", the number
// standing for the letter of the file name (0 for a).
type keywords [maxKeywords]string

// readKeywords reads a dovecot-keywords; lines that make no sense, or speak of
// more than z, are left out.
func readKeywords(r io.Reader) (*keywords, error) {
	var k keywords
	in := bufio.NewScanner(io.LimitReader(r, maxSideFile))
	in.Buffer(nil, maxUIDLine)
	for in.Scan() {
		num, name, ok := strings.Cut(in.Text(), " ")
		n, err := strconv.ParseUint(num, 10, 8)
		if ok && err == nil && n < maxKeywords && validKeyword(name) {
			k[n] = name
		}
	}
	return &k, in.Err()
}

// name is the keyword of a letter, "" for what is no letter. A letter that the
// folder has no keyword for gets the name that Dovecot gives it.
func (k *keywords) name(letter byte) string {
	n := int(letter) - 'a'
	switch {
	case n < 0 || n >= maxKeywords:
		return ""
	case k == nil || k[n] == "":
		return "unknown-" + strconv.Itoa(n)
	}
	return k[n]
}

// validKeyword tells whether a text may be a keyword. RFC 9051 wants an atom
// (section 9, flag-keyword); servers allow more, so only what cannot be written
// in a line of text is refused.
func validKeyword(s string) bool {
	return s != "" && len(s) <= 255 && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < 0x20 || r == 0x7f || r == ' ' || r == '\\'
	})
}
