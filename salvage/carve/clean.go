package carve

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes text from a disk fit to be shown: at most n bytes of valid UTF-8
// without control characters.
func clean(s string, n int) string {
	s = strings.ToValidUTF8(s[:min(len(s), 4*n)], "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) > n {
		for s = s[:n]; s != ""; s = s[:len(s)-1] {
			if r, k := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || k > 1 {
				break
			}
		}
	}
	return s
}
