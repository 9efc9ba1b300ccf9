// Package retention decides when a vanished message's week begins, when it
// ends, and what stops it: the clock that cannot be trusted and the brake on
// mass disappearance. It is policy alone: it reads no clock, catalog or store
// (the engines internal/backup and internal/upkeep bring it the facts), so
// that each rule can be tested with figures.
//
// The rules, from the design:
//   - A record's week begins with the first run of a trusted clock that saw it
//     gone, unless the brake holds it; then with an operator's confirmation.
//   - It expires when the week is over and at least two successful runs have
//     seen it gone.
//   - Anything that looks like a broken disk rather than a person holds.
package retention

import "time"

// DefaultKeep is how long a record is kept after its deletion.
const DefaultKeep = 7 * 24 * time.Hour

// DefaultErase is how long a condemned object stays before it is erased:
// longer than any restore runs that may still read it.
const DefaultErase = 24 * time.Hour

// DefaultTombstones is how long it is remembered that a user deleted a content.
const DefaultTombstones = 90 * 24 * time.Hour

// Policy says how long deleted mail is kept. The zero value keeps it for a week.
type Policy struct {
	Keep  time.Duration            // 0: DefaultKeep
	Users map[string]time.Duration // exceptions by user name
}

// For gives the time for which the user's deleted mail is kept.
func (p Policy) For(user string) time.Duration {
	if d, ok := p.Users[user]; ok {
		return d
	}
	if p.Keep == 0 {
		return DefaultKeep
	}
	return p.Keep
}

// Expires is the earliest time at which a record that began its week at
// goneAt may expire.
func (p Policy) Expires(user string, goneAt time.Time) time.Time {
	return goneAt.Add(p.For(user))
}

// Sightings is what is known of a vanished record besides its time.
type Sightings struct {
	GoneRun   uint64 // the run that first saw it gone
	ListedRun uint64 // the last run that went through its user's mail
	FailedRun uint64 // the last run that could not list its mailbox whole
}

// SeenTwice tells whether a later run than the first has seen the record
// gone too: one that listed its mailbox whole, or its user's absence.
func (s Sightings) SeenTwice() bool {
	return s.ListedRun > s.GoneRun && s.FailedRun != s.ListedRun
}

// Expired tells whether a record's time is over at now.
func (p Policy) Expired(user string, goneAt, now time.Time, s Sightings) bool {
	return s.SeenTwice() && !now.Before(p.Expires(user, goneAt))
}
