package upkeep

import (
	"context"
	"time"

	"salvor/catalog"
)

// drillDue is how old the last drill may be: a weekly one may fail to run a few
// times.
const drillDue = 35 * 24 * time.Hour

// DrillStatus is what a restore for practice came to, and what it says of a real
// one.
type DrillStatus struct {
	At       time.Time `json:"at"`
	Seconds  float64   `json:"seconds"` // how long restoring took
	Users    int64     `json:"users"`
	Messages int64     `json:"messages"`
	Bytes    int64     `json:"bytes"`
	Failed   int64     `json:"failed"` // messages that did not come back, or not the same
	Store    string    `json:"store"`
	Problems []string  `json:"problems"` // what was different, without names
	// Whole is how long restoring everybody would take at this rate (RTO); nil
	// where nothing was restored to tell it by.
	Whole *Estimate `json:"whole_vault_seconds"`
	// DataAt is when the oldest of the users' last good backups was made, DataAge
	// how many seconds before the drill that was (RPO); nil where there was none.
	DataAt  *time.Time `json:"data_at"`
	DataAge *float64   `json:"data_age_seconds"`
}

// statusOfDrill reads a record; so many messages and bytes are in the vault.
func statusOfDrill(d *catalog.Drill, messages, bytes int64) *DrillStatus {
	s := &DrillStatus{At: d.At, Seconds: d.Seconds, Users: d.Users, Messages: d.Messages, Bytes: d.Bytes, Failed: d.Failed, Store: d.Store,
		Problems: append([]string{}, d.Problems...), Whole: wholeVault(d, messages, bytes)}
	if at := d.DataAt; !at.IsZero() {
		age := d.At.Sub(at).Seconds()
		s.DataAt, s.DataAge = &at, &age
	}
	return s
}

// drills looks at the last drill. That there was none is no attention: not
// everybody gives the identity to a timer.
func (s *Status) drills(ctx context.Context, c *catalog.Catalog, o StatusOptions) error {
	err := c.Drills(ctx, func(d *catalog.Drill) error {
		s.Drill = statusOfDrill(d, s.Messages.Live, s.Bytes.Content)
		return catalog.ErrStop
	})
	if err != nil || s.Drill == nil {
		return err
	}
	day := s.Drill.At.UTC().Format(time.DateOnly)
	if len(s.Drill.Problems) > 0 || s.Drill.Failed > 0 {
		s.attend("the restore drill of %s did not bring back what the backup has (%s): salvor restore --drill, and salvor check --read-data", day,
			first(s.Drill.Problems))
	}
	if o.Now.Sub(s.Drill.At) > drillDue {
		s.attend("the last restore drill was on %s: salvor restore --drill", day)
	}
	return nil
}
