package report

import (
	"fmt"

	"salvor/catalog"
	"salvor/internal/incident"
)

// Numbers count messages by what became of them. Present to Uncertain make
// Total; Back is how many of these are there again; Deleted and Junk are counted
// apart.
type Numbers struct {
	Total                int64 `json:"total"`
	Back                 int64 `json:"back"`
	Present              int64 `json:"present"`
	Restored             int64 `json:"restored"`
	RestoredMaybeDeleted int64 `json:"restored_maybe_deleted"`
	Redelivered          int64 `json:"redelivered"`
	Owed                 int64 `json:"owed"`
	InDoubt              int64 `json:"in_doubt"` // of Owed: they may have arrived
	Lost                 int64 `json:"lost"`
	Held                 int64 `json:"held"`
	Uncertain            int64 `json:"uncertain"`
	Deleted              int64 `json:"deleted"`
	Junk                 int64 `json:"junk"`
}

// count counts messages of a state; it is false for a state that nobody knows.
func (n *Numbers) count(s catalog.ClaimState, messages int64) bool {
	into := map[catalog.ClaimState]*int64{
		catalog.ClaimPresent: &n.Present, catalog.ClaimRestored: &n.Restored, catalog.ClaimRestoredMaybe: &n.RestoredMaybeDeleted,
		catalog.ClaimRedelivered: &n.Redelivered, catalog.ClaimOwed: &n.Owed, catalog.ClaimLost: &n.Lost, catalog.ClaimHeld: &n.Held,
		catalog.ClaimUncertain: &n.Uncertain, catalog.ClaimDeleted: &n.Deleted, catalog.ClaimJunk: &n.Junk}[s]
	if into == nil {
		return false
	}
	*into += messages
	if s.Counts() {
		n.Total += messages
	}
	if back(s) {
		n.Back += messages
	}
	return true
}

// back tells whether messages of a state are there again.
func back(s catalog.ClaimState) bool {
	switch s {
	case catalog.ClaimPresent, catalog.ClaimRestored, catalog.ClaimRestoredMaybe, catalog.ClaimRedelivered:
		return true
	}
	return false
}

func numbersOf(counts map[catalog.ClaimState]int64) (n Numbers, err error) {
	for state, messages := range counts {
		if !n.count(state, messages) {
			err = fmt.Errorf("%w: %d messages are %q", incident.ErrSums, messages, state)
		}
	}
	return n, err
}

func numbersOfTotals(t *incident.Totals) Numbers {
	return Numbers{Total: t.Total, Back: t.Present + t.Restored + t.RestoredMaybeDeleted + t.Redelivered, Present: t.Present, Restored: t.Restored,
		RestoredMaybeDeleted: t.RestoredMaybeDeleted, Redelivered: t.Redelivered, Owed: t.Owed, Lost: t.Lost, Held: t.Held,
		Uncertain: t.Uncertain, Deleted: t.Deleted, Junk: t.Junk}
}

func (n *Numbers) add(m Numbers) {
	n.Total += m.Total
	n.Back += m.Back
	n.Present += m.Present
	n.Restored += m.Restored
	n.RestoredMaybeDeleted += m.RestoredMaybeDeleted
	n.Redelivered += m.Redelivered
	n.Owed += m.Owed
	n.InDoubt += m.InDoubt
	n.Lost += m.Lost
	n.Held += m.Held
	n.Uncertain += m.Uncertain
	n.Deleted += m.Deleted
	n.Junk += m.Junk
}

// all is how many messages there are, whatever their state.
func (n *Numbers) all() int64 { return n.Total + n.Deleted + n.Junk }
