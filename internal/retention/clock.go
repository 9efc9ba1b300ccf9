package retention

import (
	"fmt"
	"time"
)

const (
	// maxSkew is how far two honest clocks may be apart.
	maxSkew = 10 * time.Minute
	// maxStep is the longest pause between runs that is believed at once.
	maxStep = 31 * 24 * time.Hour
	// settle is how much later a second reading has to confirm a longer step.
	settle = 6 * time.Hour
)

// Reading is what the clocks say when a run begins.
type Reading struct {
	Host  time.Time
	Store time.Time // zero where the store has no clock
}

// Past is the clock reading of an earlier run.
type Past struct {
	Time    time.Time
	Trusted bool
}

// Clock is the verdict over a reading.
type Clock struct {
	// Now is the time to work with: the lower of the two clocks when they are
	// trusted, else the latest time that is beyond doubt.
	Now time.Time
	// Doubt says why the clocks are not trusted; "" when they are. In doubt no
	// week begins, nothing expires and nothing is erased.
	Doubt string
}

// Trusted tells whether weeks may begin and end by this clock.
func (c Clock) Trusted() bool { return c.Doubt == "" }

// JudgeClock compares a reading with the earlier runs' (oldest first).
// Retention counts in days, so one night with a wrong clock (a host that woke
// up in 2036) must neither expire a message nor start a week in the future: a
// step back, a difference to the store's clock, or a step of more than a month
// that no second run has confirmed puts the clock in doubt.
func JudgeClock(r Reading, past []Past) Clock {
	now := r.Host
	if !r.Store.IsZero() && r.Store.Before(now) {
		now = r.Store
	}
	if doubt := doubtClock(r, now, past); doubt != "" {
		return Clock{Now: beyondDoubt(now, past), Doubt: doubt}
	}
	return Clock{Now: now}
}

func doubtClock(r Reading, now time.Time, past []Past) string {
	if !r.Store.IsZero() {
		if d := r.Host.Sub(r.Store).Abs(); d > maxSkew {
			return fmt.Sprintf("this host's clock and the store's differ by %s (%s and %s)",
				d.Round(time.Second), stamp(r.Host), stamp(r.Store))
		}
	}
	if len(past) == 0 {
		return ""
	}
	if last := past[len(past)-1].Time; now.Before(last.Add(-maxSkew)) {
		return fmt.Sprintf("time runs backwards: it is %s, the last run was at %s", stamp(now), stamp(last))
	}
	base, ok := lastTrusted(past)
	if ok && now.Sub(base) > maxStep && !confirmed(now, past) {
		return fmt.Sprintf("it is %s, more than %d days after the last trusted run (%s); a run at least %d hours later will settle it",
			stamp(now), int(maxStep.Hours()/24), stamp(base), int(settle.Hours()))
	}
	return ""
}

// confirmed tells whether a run after the last trusted one, some hours ago,
// already read a time close to now.
func confirmed(now time.Time, past []Past) bool {
	for i := len(past) - 1; i >= 0 && !past[i].Trusted; i-- {
		if ago := now.Sub(past[i].Time); ago >= settle && ago <= maxStep {
			return true
		}
	}
	return false
}

// beyondDoubt is now where it follows the last trusted reading in a believable
// step, else that reading.
func beyondDoubt(now time.Time, past []Past) time.Time {
	base, ok := lastTrusted(past)
	if !ok || (!now.Before(base) && now.Sub(base) <= maxStep) {
		return now
	}
	return base
}

func lastTrusted(past []Past) (time.Time, bool) {
	for i := len(past) - 1; i >= 0; i-- {
		if past[i].Trusted {
			return past[i].Time, true
		}
	}
	return time.Time{}, false
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
