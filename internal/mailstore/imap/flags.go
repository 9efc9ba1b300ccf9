package imap

import (
	"strings"
	"time"
)

// systemFlags are those of RFC 9051 that may be set, by their small letters.
var systemFlags = map[string]string{
	`\seen`: `\Seen`, `\answered`: `\Answered`, `\flagged`: `\Flagged`, `\deleted`: `\Deleted`, `\draft`: `\Draft`,
}

// maxKeyword is the longest keyword that is sent, in bytes.
const maxKeyword = 200

// cleanFlags gives the flags that may be sent: none twice, \Recent never. odd
// are those that no server would take.
func cleanFlags(flags []string) (system, keywords, odd []string) {
	seen := map[string]bool{}
	for _, f := range flags {
		low := strings.ToLower(f)
		switch known := systemFlags[low]; {
		case seen[low] || low == `\recent` || f == "":
		case known != "":
			system = append(system, known)
		case f[0] == '\\' || !isKeyword(f):
			odd = append(odd, f)
		default:
			keywords = append(keywords, f)
		}
		seen[low] = true
	}
	return system, keywords, odd
}

// isKeyword tells whether a text is an atom (RFC 9051, section 9).
func isKeyword(f string) bool {
	for i := range len(f) {
		if c := f[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return len(f) > 0 && len(f) <= maxKeyword && !strings.EqualFold(f, "NIL")
}

// A flagBook knows which keywords a mailbox takes.
type flagBook struct {
	proven, refused map[string]bool // by small letters
}

func (k *flagBook) mark(into *map[string]bool, keywords []string) {
	if *into == nil {
		*into = map[string]bool{}
	}
	for _, w := range keywords {
		(*into)[strings.ToLower(w)] = true
	}
}

// sort gives the keywords that are known to be taken, and those that were never
// tried. Those that were refused before are left out.
func (k *flagBook) sort(keywords []string) (proven, untried, refused []string) {
	for _, w := range keywords {
		switch low := strings.ToLower(w); {
		case k.proven[low]:
			proven = append(proven, w)
		case k.refused[low]:
			refused = append(refused, w)
		default:
			untried = append(untried, w)
		}
	}
	return proven, untried, refused
}

// Cyrus keeps dates as seconds since 1970 in 32 bits, and takes the very first
// one for none.
const (
	firstDate = 1
	lastDate  = 1<<32 - 1
)

const datesNote = "Cyrus keeps no dates before 1970 or after 2106: some messages got the nearest that it keeps"

// clampDate gives the nearest date between the first and lastDate.
func clampDate(t time.Time, first int64) (at time.Time, same bool) {
	s := t.Unix()
	near := min(max(s, first), lastDate)
	return time.Unix(near, 0).UTC(), near == s
}
