package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/width"

	"salvor/internal/pace"
)

// clean makes text from mail, names and errors fit for a terminal: control
// characters, overrides of the text direction and bytes that are no UTF-8 are
// shown as escapes, so that no mail can move the cursor or hide a name.
func clean(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, hostile) < 0 {
		return s
	}
	return cleanExcept(s, "")
}

// cleanText is clean for texts of many lines.
func cleanText(s string) string { return cleanExcept(s, "\n\t") }

// sentence is fmt.Sprintf for people. Line ends come from the format alone: a name
// or an error that has some must not look like lines of salvor's own.
func sentence(format string, args []any) string {
	safe := make([]any, len(args))
	for i, arg := range args {
		switch x := arg.(type) {
		case string:
			safe[i] = clean(x)
		case error:
			safe[i] = oneLine(x.Error())
		default:
			safe[i] = arg
		}
	}
	return cleanText(fmt.Sprintf(format, safe...))
}

// cleanJSON writes what clean would change as JSON's escapes: the value is the
// same, and a terminal does not obey it. Outside of strings there is none.
func cleanJSON(b []byte) []byte {
	if bytes.IndexFunc(b, hidden) < 0 {
		return b
	}
	var out bytes.Buffer
	for _, r := range string(b) {
		if !hidden(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	return out.Bytes()
}

// hidden is hostile but for line ends, which end a JSON text.
func hidden(r rune) bool { return r != '\n' && hostile(r) }

func cleanExcept(s, keep string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case strings.ContainsRune(keep, r) || !hostile(r):
			b.WriteString(s[i : i+n])
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

func hostile(r rune) bool {
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || r == 0x2028 || r == 0x2029
}

// columns is how many columns a clean text takes on a terminal.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch k := width.LookupRune(r).Kind(); {
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
		case k == width.EastAsianWide || k == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// cut shortens a clean text to at most n columns.
func cut(s string, n int) string {
	if n <= 0 || columns(s) <= n {
		return s
	}
	at := 0
	for i, r := range s {
		if at += columns(string(r)); at > n-1 {
			return s[:i] + "…"
		}
	}
	return s
}

func size(n int64) string { return pace.FormatBytes(n) }

// moment writes a time for people, in the local zone; "-" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func momentOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return moment(*t)
}

// counted is "1 message", "3 messages".
func counted[N int | int64 | uint64](n N, what string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, what)
	}
	if strings.HasSuffix(what, "x") {
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// seconds is a duration for people.
func seconds(s float64) string {
	if s < 60 {
		return fmt.Sprintf("%.1f s", s)
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// flagLetters writes flags as one letter each: Seen, Answered, Flagged, Draft,
// deleted (T), and k for any keyword.
func flagLetters(flags []string) string {
	letters := []byte("-----")
	keywords := 0
	for _, f := range flags {
		switch strings.ToLower(f) {
		case `\seen`:
			letters[0] = 'S'
		case `\answered`:
			letters[1] = 'A'
		case `\flagged`:
			letters[2] = 'F'
		case `\draft`:
			letters[3] = 'D'
		case `\deleted`:
			letters[4] = 'T'
		default:
			keywords++
		}
	}
	if keywords > 0 {
		return string(letters) + "k"
	}
	return string(letters)
}

// nearest gives the name that a mistyped one most likely meant, "" for none.
func nearest(word string, names []string) string {
	best, least := "", len(word)/3+1
	for _, n := range names {
		if strings.HasPrefix(n, word) && len(word) >= 3 {
			return n
		}
		if d := distance(word, n); d <= least && (d < least || best == "") {
			best, least = n, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or change (Levenshtein).
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// counted64 writes a number for a table's column.
func counted64[N int | int64 | uint64 | uint32](n N) string { return fmt.Sprintf("%d", n) }

// sender shortens the From field for a column: the name where there is one.
func sender(from string) string {
	name, _, found := strings.Cut(clean(from), " <")
	if name = strings.Trim(name, `"`); !found || name == "" {
		name = clean(from)
	}
	return cut(name, 30)
}
