package maildir

import (
	"bytes"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A message's file name is BASE:2,FLAGS: the base stays, the flags change. As in
// Dovecot the base goes up to the first colon, or is the whole name without
// one, and the flags stand after the last. Flags are D F P R S T and, in Dovecot, a to z for the keywords of the
// folder's dovecot-keywords. (https://cr.yp.to/proto/maildir.html)

// baseOf gives the part of a name that stays.
func baseOf(name []byte) []byte {
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		return name[:i]
	}
	return name
}

// baseName is baseOf for strings.
func baseName(name string) string {
	base, _, _ := strings.Cut(name, ":")
	return base
}

// promised is the size that a base name promises in its field S=, else -1.
func promised(base string) int64 {
	_, fields, _ := strings.Cut(base, ",")
	for _, f := range strings.Split(fields, ",") {
		if v, ok := strings.CutPrefix(f, "S="); ok {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
				return n
			}
		}
	}
	return -1
}

// systemFlags are Maildir's letters for flags. P (passed) is what IMAP clients
// call $Forwarded.
var systemFlags = []struct {
	letter byte
	flag   string
}{
	{'D', `\Draft`}, {'F', `\Flagged`}, {'P', forwarded}, {'R', `\Answered`}, {'S', `\Seen`}, {'T', `\Deleted`},
}

const forwarded = "$Forwarded"

// flagsOf gives the flags and keywords of a file name, sorted, each once.
func flagsOf(name string, keywords *keywords) []string {
	info := name[strings.LastIndexByte(name, ':')+1:]
	letters, ok := strings.CutPrefix(info, "2,")
	if !ok {
		return nil
	}
	letters, _, _ = strings.Cut(letters, ",")
	if letters == "" {
		return nil
	}
	out := make([]string, 0, len(letters))
	for _, f := range systemFlags {
		if strings.IndexByte(letters, f.letter) >= 0 {
			out = append(out, f.flag)
		}
	}
	for i := range len(letters) {
		if k := keywords.name(letters[i]); k != "" {
			out = append(out, k)
		}
	}
	sort.Strings(out)
	return compact(out)
}

// compact drops repetitions from a sorted list.
func compact(s []string) []string {
	out := s[:0]
	for i, v := range s {
		if i == 0 || v != s[i-1] {
			out = append(out, v)
		}
	}
	return out
}

// deliveredAt is the time with which a base name begins, the zero time for none:
// that of the delivery, which an APPEND may have given another date.
func deliveredAt(base string) time.Time {
	seconds, _, _ := strings.Cut(base, ".")
	n, err := strconv.ParseUint(seconds, 10, 33)
	if err != nil || n == 0 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
}
