package pace

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Rate is how much may pass in a second; 0 limits nothing.
type Rate struct {
	Messages float64 // messages a second
	Bytes    float64 // bytes a second
}

// byteUnits are decimal as on disks' and networks' labels, or binary when
// written with an i.
var byteUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

var perUnits = map[string]float64{"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}

// ParseRate reads a limit: messages, bytes, or both with a comma between them,
// as in "200msg/s", "20MB/s", "200msg/s,20MB/s", "1000msg/min", "5GiB/h".
// "", "unlimited" and "none" limit nothing.
func ParseRate(s string) (Rate, error) {
	var r Rate
	if t := strings.TrimSpace(s); t == "" || strings.EqualFold(t, "unlimited") || strings.EqualFold(t, "none") {
		return r, nil
	}
	for _, part := range strings.Split(s, ",") {
		field, value, err := parsePart(strings.TrimSpace(part))
		if err != nil {
			return Rate{}, err
		}
		target := &r.Bytes
		if field == "msg" {
			target = &r.Messages
		}
		if *target != 0 {
			return Rate{}, fmt.Errorf("%q limits the same thing twice", s)
		}
		*target = value
	}
	return r, nil
}

// parsePart reads one limit and says whether it counts "msg" or "byte".
func parsePart(s string) (field string, perSecond float64, err error) {
	bad := fmt.Errorf("%q is no rate (examples: 200msg/s, 20MB/s, 200msg/s,20MB/s)", s)
	amount, per, ok := strings.Cut(s, "/")
	if !ok {
		return "", 0, bad
	}
	seconds, ok := perUnits[strings.ToLower(strings.TrimSpace(per))]
	number, unit, err := splitNumber(amount)
	if err != nil || !ok || number <= 0 {
		return "", 0, bad
	}
	switch unit {
	case "msg", "msgs", "message", "messages":
		return "msg", number / seconds, nil
	case "":
		return "", 0, bad // "20/s" could mean either
	}
	factor, ok := byteUnits[unit]
	if !ok {
		return "", 0, bad
	}
	return "byte", number * factor / seconds, nil
}

// splitNumber parts "20 MB" into 20 and "mb".
func splitNumber(s string) (float64, string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i < 0 {
		i = len(s)
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	return n, strings.TrimSpace(s[i:]), err
}

// ParseBytes reads a size: "500MB", "2GiB", "1048576".
func ParseBytes(s string) (int64, error) {
	n, unit, err := splitNumber(s)
	factor, ok := byteUnits[unit]
	if size := n * factor; err == nil && ok && size < math.MaxInt64 {
		return int64(size), nil
	}
	return 0, fmt.Errorf("%q is no size (examples: 500MB, 2GiB)", s)
}

// FormatBytes writes a size for people, in decimal units with three digits.
func FormatBytes(n int64) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if math.Abs(f) < 999.5 {
			break
		}
		f, unit = f/1000, next
	}
	switch {
	case unit == "B" || math.Abs(f) >= 99.95:
		return fmt.Sprintf("%.0f %s", f, unit)
	default:
		return fmt.Sprintf("%.1f %s", f, unit)
	}
}

// String writes the rate as ParseRate reads it.
func (r Rate) String() string {
	var parts []string
	if r.Messages > 0 {
		n, per := inTime(r.Messages)
		parts = append(parts, number(n)+"msg/"+per)
	}
	if r.Bytes > 0 {
		parts = append(parts, byteNumber(r.Bytes)+"/s")
	}
	if len(parts) == 0 {
		return "unlimited"
	}
	return strings.Join(parts, ",")
}

// inTime gives a rate by the second, or by the minute or hour where it was meant
// so: three decimals are enough there, and it is the same number again by the
// second.
func inTime(f float64) (n float64, per string) {
	for _, per := range []string{"s", "min", "h"} {
		n := math.Round(f*perUnits[per]*1000) / 1000
		if n > 0 && n/perUnits[per] == f {
			return n, per
		}
	}
	return f, "s"
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// byteNumber takes the largest unit that needs at most three decimals.
func byteNumber(f float64) string {
	for _, u := range []struct {
		name   string
		factor float64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if x := f / u.factor; x >= 1 && math.Round(x*1000) == x*1000 {
			return number(x) + u.name
		}
	}
	return number(f) + "B"
}
