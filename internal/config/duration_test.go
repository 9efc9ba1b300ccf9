package config

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "168h": week, "7d": week, "1w": week, "1w2d12h": 9*day + 12*time.Hour, " 3d ": 3 * day,
		"1.5d": 36 * time.Hour, "90m": 90 * time.Minute, "1h30m": 90 * time.Minute, "100ms": 100 * time.Millisecond,
		"2µs": 2 * time.Microsecond, ".5h": 30 * time.Minute,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", " ", "3", "d", "3x", "-3d", "+3d", "3d4", "3 d", "1e3d", "1..2d", "300000w", "99999999999999999999h", "NaNd", "infd"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		} else if !strings.Contains(err.Error(), "3d") {
			t.Errorf("%q: no example in %v", s, err)
		}
	}
}

func TestFormatDurationIsReadBack(t *testing.T) {
	for d, want := range map[time.Duration]string{
		week: "7d", 36 * time.Hour: "36h", 90 * time.Minute: "1h30m", 0: "0s", time.Second: "1s", 10 * time.Minute: "10m", day: "1d",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v: got %q, want %q", int64(d), got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		// Above 2^53 ns (104 days) a fraction in floating point may round.
		d := time.Duration(rapid.Int64Range(0, 1<<52).Draw(t, "d"))
		got, err := ParseDuration(FormatDuration(d))
		if err != nil || got != d {
			t.Fatalf("%v became %q and %v, %v", d, FormatDuration(d), got, err)
		}
	})
}

func TestParseTime(t *testing.T) {
	berlin := time.FixedZone("CEST", 2*3600)
	now := time.Date(2006, 10, 26, 18, 30, 45, 123, berlin)
	at := func(y int, m time.Month, d, h, min, s int) time.Time { return time.Date(y, m, d, h, min, s, 0, berlin) }
	for s, want := range map[string]time.Time{
		"now":                       now,
		"today":                     at(2006, 10, 26, 0, 0, 0),
		"Yesterday":                 at(2006, 10, 25, 0, 0, 0),
		"2006-10-26":                at(2006, 10, 26, 0, 0, 0),
		"2006-10-26 18:30":          at(2006, 10, 26, 18, 30, 0),
		"2006-10-26T18:30":          at(2006, 10, 26, 18, 30, 0),
		"2006-10-26 18:30:07":       at(2006, 10, 26, 18, 30, 7),
		"2006-10-26T18:30:00Z":      at(2006, 10, 26, 20, 30, 0),
		"2006-10-26T18:30:00-07:00": at(2006, 10, 27, 3, 30, 0),
		"3d":                        now.Add(-3 * day),
		"36h":                       now.Add(-36 * time.Hour),
		" 1w ":                      now.Add(-week),
	} {
		if got, err := ParseTime(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "tomorrow", "2006-13-01", "2006-10-26 25:00", "26.10.2006", "-3d", "1161880245"} {
		if got, err := ParseTime(s, now); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

// The first moment of a day is right on the days when clocks change.
func TestParseTimeAcrossClockChange(t *testing.T) {
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		// No zone files on this machine: the rule is the same, the test is not.
		loc = time.UTC
	}
	got, err := ParseTime("yesterday", time.Date(2006, 10, 30, 1, 0, 0, 0, loc))
	if err != nil || got.Day() != 29 || got.Hour() != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}
