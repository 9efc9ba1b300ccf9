package catalog

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// fold makes texts comparable that differ only in case or in how their
// accents are composed.
func fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(s)))
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// contains tells whether folded stands in s, whatever the case of s.
func contains(s, folded string) bool {
	if len(folded) > 0 && isASCII(s) {
		return containsASCII(s, folded)
	}
	return strings.Contains(fold(s), folded)
}

// containsASCII is contains for the common case, without making a folded copy.
func containsASCII(s, folded string) bool {
	for i := 0; i+len(folded) <= len(s); i++ {
		j := 0
		for j < len(folded) && lower(s[i+j]) == folded[j] {
			j++
		}
		if j == len(folded) {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
