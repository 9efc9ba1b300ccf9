package maildir

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"salvor/internal/mailstore/atrest"
	"salvor/internal/mailstore/deliver"
)

// maxBase leaves room in a file name for ":2," and all flags.
const maxBase = 255 - 3 - 6 - maxKeywords

// newBase makes up a base name that nobody else makes up:
// https://cr.yp.to/proto/maildir.html
func newBase(now time.Time) string {
	return fmt.Sprintf("%d.M%dP%dQ%d.%s", now.Unix(), now.Nanosecond()/1000, os.Getpid(), deliver.Next(), deliver.Host)
}

// baseFor is the base name for a message. The source's own is kept where it can
// be: Dovecot's identity of the message hangs on it. Sizes in a name are those of
// the mail, which nobody knows of a file that is encrypted.
func baseFor(key string, stored []byte, used map[string]bool) string {
	size, wire := int64(len(stored)), wireSize(stored)
	opaque := atrest.Detect(stored).Opaque()
	base, _, _ := strings.Cut(key, inodeMark)
	if s := promised(base); s >= 0 && s != size && !opaque {
		base, _, _ = strings.Cut(base, ",")
	}
	if !safeBase(base) || used[base] {
		base = newBase(time.Now())
	}
	if promised(base) < 0 && !strings.Contains(base, ",") && base != key && !opaque {
		base += fmt.Sprintf(",S=%d,W=%d", size, wire)
	}
	return base
}

// safeBase tells whether a name may be a Maildir base name: one that every
// program reads as it was meant.
func safeBase(base string) bool {
	if base == "" || len(base) > maxBase || base[0] == '.' {
		return false
	}
	for i := range len(base) {
		if c := base[i]; c <= 0x20 || c >= 0x7f || c == '/' || c == ':' {
			return false
		}
	}
	return true
}

// infoFor gives the part of a file name that follows the base.
func infoFor(letters []byte) string {
	sort.Slice(letters, func(i, j int) bool { return letters[i] < letters[j] })
	return ":2," + string(compactBytes(letters))
}

func compactBytes(s []byte) []byte {
	out := s[:0]
	for i, c := range s {
		if i == 0 || c != s[i-1] {
			out = append(out, c)
		}
	}
	return out
}
