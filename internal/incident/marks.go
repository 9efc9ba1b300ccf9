package incident

import (
	"context"

	"salvor/catalog"
)

// ClaimMarks count what claims say beyond their states.
type ClaimMarks struct {
	// InFlight are owed, and may have been sent: whoever sent them finds out when
	// he goes on. InDoubt are owed, and nobody can tell whether they arrived.
	InFlight int64 `json:"in_flight"`
	InDoubt  int64 `json:"in_doubt"`
	// TakenOut are those whose entry was taken out of the server's index.
	TakenOut int64 `json:"taken_out"`
}

// CountMarks counts the marks of a ledger. It reads what was ever owed, not all of it.
func CountMarks(ctx context.Context, ledger interface {
	Claims(ctx context.Context, w catalog.ClaimQuery, yield func(*catalog.Claim) error) error
}, name string) (*ClaimMarks, error) {
	m := &ClaimMarks{}
	for _, state := range []catalog.ClaimState{catalog.ClaimOwed, catalog.ClaimRedelivered, catalog.ClaimLost} {
		err := ledger.Claims(ctx, catalog.ClaimQuery{Incident: name, State: state}, func(c *catalog.Claim) error {
			if !c.TakenAt.IsZero() {
				m.TakenOut++
			}
			switch {
			case c.State != catalog.ClaimOwed:
			case c.Doubt:
				m.InDoubt++
			case c.InFlight():
				m.InFlight++
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// GateCounts are how far an incident's users may come in.
type GateCounts struct {
	Down int64 `json:"down"`
	Web  int64 `json:"web"`
	IMAP int64 `json:"imap"`
	// Dangling is how many messages their servers listed without having them.
	Dangling int64 `json:"dangling"`
}

// CountGateStates counts the gates that were computed; users of whom nobody has
// computed one are in none.
func CountGateStates(ctx context.Context, c interface {
	Gates(ctx context.Context, incident string, yield func(*catalog.Gate) error) error
}, name string) (*GateCounts, error) {
	g := &GateCounts{}
	err := c.Gates(ctx, name, func(gate *catalog.Gate) error {
		switch gate.State {
		case catalog.GateDown:
			g.Down++
		case catalog.GateWeb:
			g.Web++
		case catalog.GateIMAP:
			g.IMAP++
		}
		g.Dangling += gate.Dangling
		return nil
	})
	return g, err
}
