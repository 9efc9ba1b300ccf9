package incident

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"salvor/catalog"
)

// Totals are how many messages of an incident have which state. Present to
// Uncertain add up to Total; Deleted and Junk are counted apart.
type Totals struct {
	Name                 string `json:"name"`
	Present              int64  `json:"present"`
	Restored             int64  `json:"restored"`
	RestoredMaybeDeleted int64  `json:"restored_maybe_deleted"`
	Redelivered          int64  `json:"redelivered"`
	Owed                 int64  `json:"owed"`
	Lost                 int64  `json:"lost"`
	Held                 int64  `json:"held"`
	Uncertain            int64  `json:"uncertain"`
	Total                int64  `json:"total"`
	Deleted              int64  `json:"deleted"`
	Junk                 int64  `json:"junk"`
}

// Ledgers are the answers of a catalog, or of its transaction, about incidents.
type Ledgers interface {
	Incident(name string) (catalog.Incident, bool, error)
	ClaimCounts(ctx context.Context, incident string) (map[catalog.ClaimState]int64, error)
}

// Count adds up an incident's ledger. ErrUnknown says that there is none;
// ErrSums that its rows are not those that were written.
func Count(ctx context.Context, c Ledgers, name string) (*Totals, error) {
	i, ok, err := c.Incident(name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, ErrUnknown)
	}
	counts, err := c.ClaimCounts(ctx, name)
	if err != nil {
		return nil, err
	}
	t := &Totals{Name: name}
	var all int64
	for state, n := range counts {
		into := t.of(state)
		if into == nil {
			return nil, fmt.Errorf("%w: incident %q has %d claims that are %q", ErrSums, name, n, state)
		}
		*into = n
		all += n
		if state.Counts() {
			t.Total += n
		}
	}
	if all != i.Claims {
		return nil, fmt.Errorf("%w: incident %q was opened with %d messages, and its ledger has %d", ErrSums, name, i.Claims, all)
	}
	return t, nil
}

// of is where a state is counted; nil for one that nobody knows.
func (t *Totals) of(s catalog.ClaimState) *int64 {
	switch s {
	case catalog.ClaimPresent:
		return &t.Present
	case catalog.ClaimRestored:
		return &t.Restored
	case catalog.ClaimRestoredMaybe:
		return &t.RestoredMaybeDeleted
	case catalog.ClaimRedelivered:
		return &t.Redelivered
	case catalog.ClaimOwed:
		return &t.Owed
	case catalog.ClaimLost:
		return &t.Lost
	case catalog.ClaimHeld:
		return &t.Held
	case catalog.ClaimUncertain:
		return &t.Uncertain
	case catalog.ClaimDeleted:
		return &t.Deleted
	case catalog.ClaimJunk:
		return &t.Junk
	}
	return nil
}

// names lists a set for people.
func names(set map[string]bool) string {
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}
