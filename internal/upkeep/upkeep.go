// Package upkeep keeps a vault in order between the nightly runs: Prune lets
// deleted mail expire and erases what nothing holds any more, Check finds
// damage, Decide takes an operator's verdict over deletions that the brake
// holds, Forget erases one user, ReadStatus says how things stand.
//
// Invariants:
//   - Nothing is erased in the run that finds it dead. A signed commit condemns
//     an object; a later prune erases it after a grace longer than any restore.
//   - Expiring and erasing need a trusted clock (internal/retention) and a
//     catalog at the vault's head (internal/history).
//   - Erasing a wholly dead pack needs no key; rewriting a half-dead one needs
//     the operator's identity.
package upkeep

import (
	"time"

	"salvor/internal/retention"
)

// Policy is what prune and status need to know of the configuration.
type Policy struct {
	Retention retention.Policy
	// Erase is the grace between condemning and erasing; 0 means
	// retention.DefaultErase, less than nothing means at once.
	Erase time.Duration
	// Tombstones is how long it is remembered that a user deleted a content;
	// 0 means retention.DefaultTombstones.
	Tombstones time.Duration
}

func (p Policy) erase() time.Duration {
	switch {
	case p.Erase == 0:
		return retention.DefaultErase
	case p.Erase < 0:
		return 0
	}
	return p.Erase
}

func (p Policy) tombstones() time.Duration {
	if p.Tombstones == 0 {
		return retention.DefaultTombstones
	}
	return p.Tombstones
}
