package folder

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// mailbox64 is the alphabet of RFC 3501, section 5.1.3: "," for "/", no padding.
var mailbox64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// EncodeUTF7 writes a name in modified UTF-7 (RFC 3501, section 5.1.3). Bytes
// that are no UTF-8 become U+FFFD.
func EncodeUTF7(name string) string {
	if plain(name) {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		n := strings.IndexFunc(name, func(r rune) bool { return !direct(r) })
		if n < 0 {
			n = len(name)
		}
		b.WriteString(strings.ReplaceAll(name[:n], "&", "&-"))
		name = name[n:]
		n = strings.IndexFunc(name, direct)
		if n < 0 {
			n = len(name)
		}
		if n > 0 {
			writeShifted(&b, name[:n])
		}
		name = name[n:]
	}
	return b.String()
}

// writeShifted writes text as one base64 run of UTF-16.
func writeShifted(b *strings.Builder, text string) {
	units := utf16.Encode([]rune(text))
	raw := make([]byte, 0, 2*len(units))
	for _, u := range units {
		raw = append(raw, byte(u>>8), byte(u))
	}
	b.WriteByte('&')
	b.WriteString(mailbox64.EncodeToString(raw))
	b.WriteByte('-')
}

// DecodeUTF7 reads modified UTF-7. It accepts only what EncodeUTF7 writes, so
// that no two encoded names give the same text.
func DecodeUTF7(enc string) (string, bool) {
	if plain(enc) {
		return enc, true
	}
	var b strings.Builder
	for rest := enc; rest != ""; {
		text, run, shifted := strings.Cut(rest, "&")
		b.WriteString(text)
		if !shifted {
			break
		}
		code, after, closed := strings.Cut(run, "-")
		if !closed || !readShifted(&b, code) {
			return "", false
		}
		rest = after
	}
	name := b.String()
	return name, utf8.ValidString(name) && EncodeUTF7(name) == enc
}

// readShifted decodes what stands between "&" and "-".
func readShifted(b *strings.Builder, code string) bool {
	if code == "" {
		b.WriteByte('&')
		return true
	}
	raw, err := mailbox64.DecodeString(code)
	if err != nil || len(raw)%2 != 0 {
		return false
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	b.WriteString(string(utf16.Decode(units)))
	return true
}

// direct tells whether a character stands for itself ("&" does, doubled).
func direct(r rune) bool { return r >= 0x20 && r <= 0x7e }

// plain tells whether a name is the same in modified UTF-7.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c > 0x7e || c == '&' {
			return false
		}
	}
	return true
}
