package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// units are those of time.ParseDuration and the two that retention needs. A
// day is 24 hours and a week 168, whatever the time zone does meanwhile.
var units = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond,
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": day, "w": week,
}

// ParseDuration reads a duration that is not negative: Go's units and d (24
// hours) and w (7 days), as in "168h", "3d", "1w2d12h", "1.5d"; "0" is zero.
func ParseDuration(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	if rest == "0" {
		return 0, nil
	}
	var total float64
	for ok := rest != ""; ok; ok = rest != "" {
		number, unit, tail := splitDuration(rest)
		n, err := strconv.ParseFloat(number, 64)
		u, known := units[unit]
		if err != nil || !known {
			return 0, badDuration(s)
		}
		total += n * float64(u)
		rest = tail
	}
	// float64(MaxInt64) rounds up, so the bound itself is out of range too.
	if total >= math.MaxInt64 || strings.TrimSpace(s) == "" {
		return 0, badDuration(s)
	}
	return time.Duration(math.Round(total)), nil
}

func badDuration(s string) error {
	return fmt.Errorf("%q is no duration (examples: 168h, 3d, 2w, 1d12h)", s)
}

// splitDuration takes the first number and unit off.
func splitDuration(s string) (number, unit, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i < 0 {
		return s, "", ""
	}
	number, s = s[:i], s[i:]
	j := strings.IndexAny(s, "0123456789.")
	if j < 0 {
		return number, s, ""
	}
	return number, s[:j], s[j:]
}

// FormatDuration writes a duration as ParseDuration reads it, in weeks only
// where it is whole weeks and longer than one: "7d", "36h", "90d", "1h30m".
func FormatDuration(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// layouts are tried in order; those without a zone mean now's zone.
var layouts = []string{
	time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly,
}

// ParseTime reads a moment: RFC 3339, "2006-10-26 18:30", "2006-10-26" (its
// first moment), "now", "today" and "yesterday" (their first moment), or a
// duration, which means that long ago: "3d", "36h". Where no zone is said, it
// is now's.
func ParseTime(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "now":
		return now, nil
	case "today":
		return midnight(now, 0), nil
	case "yesterday":
		return midnight(now, -1), nil
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if ago, err := ParseDuration(s); err == nil {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf(
		"%q is no time (examples: %s, \"2006-10-26 18:30\", 2006-10-26, yesterday, 3d for three days ago)", s, "2006-10-26T18:30:00Z")
}

// midnight is the first moment of now's day, or of another day counted from it.
func midnight(now time.Time, days int) time.Time {
	y, m, d := now.Date()
	return time.Date(y, m, d+days, 0, 0, 0, 0, now.Location())
}
