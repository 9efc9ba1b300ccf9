package folder

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Inbox is the name of every user's first mailbox.
const Inbox = "INBOX"

// An Encoding is the way in which a store writes folder names.
type Encoding int

// The encodings of folder names on disk.
const (
	ModifiedUTF7 Encoding = iota // RFC 3501, section 5.1.3
	UTF8
)

// DecodeLevel gives the name of one level of a folder's name on disk.
func (e Encoding) DecodeLevel(disk string) string {
	if e == UTF8 {
		return escape(disk, "")
	}
	text, ok := DecodeUTF7(disk)
	if !ok || !printable(text) || strings.Contains(text, "/") {
		return escapeBytes(disk)
	}
	return escape(text, "")
}

// EncodeLevel gives the disk name of one level; it is the inverse of
// DecodeLevel. A level that came from elsewhere may give a disk name which
// leads back to another level (see Roundtrip), or one that no file may have.
func (e Encoding) EncodeLevel(level string) string {
	if !strings.Contains(level, `\x`) {
		return e.encodeText(level)
	}
	var b strings.Builder
	for start := 0; ; {
		i := nextEscape(level, start)
		if i < 0 {
			b.WriteString(e.encodeText(level[start:]))
			return b.String()
		}
		b.WriteString(e.encodeText(level[start:i]))
		b.WriteByte(unhex(level[i+2])<<4 | unhex(level[i+3]))
		start = i + 4
	}
}

// Roundtrip tells whether the level has a disk name that a file may have, and
// comes back from it.
func (e Encoding) Roundtrip(level string) bool {
	disk := e.EncodeLevel(level)
	return disk != "" && !strings.ContainsAny(disk, "/\x00") && e.DecodeLevel(disk) == level
}

func (e Encoding) encodeText(s string) string {
	if e == UTF8 {
		return s
	}
	return EncodeUTF7(s)
}

// DecodeDotted gives the name of a Maildir++ folder directory, without its
// leading dot: "Work.2024" is Work/2024. A dot that does not separate two
// levels is escaped, and so is a name which would be taken for INBOX.
func (e Encoding) DecodeDotted(disk string) string {
	var levels []string
	start := 0
	for i := 1; i < len(disk)-1; i++ {
		if disk[i] == '.' && disk[i-1] != '.' && i > start {
			levels = append(levels, e.decodeDottedLevel(disk[start:i]))
			start = i + 1
		}
	}
	levels = append(levels, e.decodeDottedLevel(disk[start:]))
	if len(levels) == 1 {
		return NotInbox(levels[0])
	}
	return strings.Join(levels, "/")
}

func (e Encoding) decodeDottedLevel(disk string) string {
	if strings.Contains(disk, ".") {
		return escapeBytes(disk)
	}
	return e.DecodeLevel(disk)
}

// EncodeDotted is the inverse of DecodeDotted. For names from elsewhere, see
// EncodeLevel.
func (e Encoding) EncodeDotted(name string) string {
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = e.EncodeLevel(l)
	}
	return strings.Join(levels, ".")
}

// NotInbox escapes the first letter of a folder that is called INBOX without
// being it, since IMAP knows only one.
func NotInbox(name string) string {
	if !strings.EqualFold(name, Inbox) {
		return name
	}
	return fmt.Sprintf(`\x%02x%s`, name[0], name[1:])
}

// Clean makes any text fit to be a level of a name or a user's name: control
// characters and bytes that are no UTF-8 are escaped.
func Clean(text string) string { return escape(text, "/") }

// escape leaves printable UTF-8 and escapes the bytes of all else, those in
// also, and any backslash that would be read as an escape.
func escape(s, also string) string {
	if printable(s) && !strings.Contains(s, `\x`) && !strings.ContainsAny(s, also) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		odd := !visible(r) || (r == utf8.RuneError && n == 1) || strings.ContainsRune(also, r)
		if odd || isEscape(s, i) {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// escapeBytes shows a disk name that could not be decoded: printable ASCII
// stays, but for what means something in modified UTF-7 or Maildir++.
func escapeBytes(disk string) string {
	var b strings.Builder
	for i := range len(disk) {
		c := disk[i]
		if c < 0x20 || c > 0x7e || c == '&' || c == '.' || c == '/' || isEscape(disk, i) {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func printable(s string) bool {
	for _, r := range s {
		if !visible(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// visible refuses what could make a listing show something else than it holds:
// controls, line and paragraph separators, and overrides of the text direction.
func visible(r rune) bool {
	return !unicode.Is(unicode.Cc, r) && r != 0x2028 && r != 0x2029 &&
		(r < 0x202a || r > 0x202e) && (r < 0x2066 || r > 0x2069)
}

func nextEscape(s string, from int) int {
	for i := from; i+3 < len(s); i++ {
		if isEscape(s, i) {
			return i
		}
	}
	return -1
}

// isEscape tells whether \xHH, with lower-case digits, stands at s[i:].
func isEscape(s string, i int) bool {
	return i+3 < len(s) && s[i] == '\\' && s[i+1] == 'x' && unhex(s[i+2]) < 16 && unhex(s[i+3]) < 16
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// DecodePath gives the name of a folder whose levels are directories in each
// other. A top level that would be taken for INBOX is escaped.
func (e Encoding) DecodePath(disk string) string {
	levels := strings.Split(disk, "/")
	for i, l := range levels {
		levels[i] = e.DecodeLevel(l)
	}
	if len(levels) == 1 {
		return NotInbox(levels[0])
	}
	return strings.Join(levels, "/")
}

// EncodePath is the inverse of DecodePath. For names from elsewhere, see
// EncodeLevel.
func (e Encoding) EncodePath(name string) string {
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = e.EncodeLevel(l)
	}
	return strings.Join(levels, "/")
}
