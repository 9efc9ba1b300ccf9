package progress

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"salvor/internal/pace"
)

// counts is "81 of 200 users, 12,345 of 40,000 messages, 1.2 GB of 3.1 GB, 5,000
// there already".
func (v view) counts() string {
	var parts []string
	if v.all > 1 {
		parts = append(parts, of(thousands(v.users), thousands(v.all), v.all)+" users")
	}
	if v.done.messages > 0 || v.total.messages > 0 {
		parts = append(parts, of(thousands(v.done.messages), thousands(v.total.messages), v.total.messages)+" messages")
	}
	if v.done.bytes > 0 || v.total.bytes > 0 {
		parts = append(parts, of(pace.FormatBytes(v.done.bytes), pace.FormatBytes(v.total.bytes), v.total.bytes))
	}
	if v.skipped.messages > 0 {
		parts = append(parts, thousands(v.skipped.messages)+" there already")
	}
	return strings.Join(parts, ", ")
}

func of(done, total string, known int64) string {
	if known <= 0 {
		return done
	}
	return done + " of " + total
}

// rate is "45 MB/s", of messages where no bytes are counted.
func (v view) rate() string {
	switch {
	case v.bytes > 0:
		return pace.FormatBytes(int64(v.bytes)) + "/s"
	case v.messages >= 10:
		return thousands(int64(v.messages)) + " msg/s"
	case v.messages > 0:
		return fmt.Sprintf("%.1f msg/s", v.messages)
	}
	return "-"
}

// eta is "2h10m-2h40m", "-" when it is not known.
func (v view) eta() string {
	if v.left.low < 0 {
		return "-"
	}
	low, high := v.left.rounded()
	from, to := wholeTime(low), wholeTime(high)
	if from == to {
		return to
	}
	return from + "-" + to
}

// wholeTime is formatTime for guesses: tenths of seconds would claim too much.
func wholeTime(d time.Duration) string { return strings.Replace(formatTime(d), ".0s", "s", 1) }

// rounded gives the range as precisely as it makes sense: in steps of about a
// twentieth.
func (g guess) rounded() (low, high time.Duration) {
	unit := time.Second
	for _, u := range []time.Duration{5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
		10 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour} {
		if u <= g.high/20 {
			unit = u
		}
	}
	return g.low.Round(unit), g.high.Round(unit)
}

// formatTime writes a time to the precision that matters.
func formatTime(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 100*time.Hour:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", d.Round(24*time.Hour)/(24*time.Hour))
}

// thousands is 1,234,567.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	first := len(s) % 3
	if first == 0 {
		first = 3
	}
	if n < 0 {
		return "-" + thousands(-n)
	}
	var b strings.Builder
	b.WriteString(s[:first])
	for i := first; i < len(s); i += 3 {
		b.WriteByte(',')
		b.WriteString(s[i : i+3])
	}
	return b.String()
}
