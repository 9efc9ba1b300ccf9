package incident

import (
	"context"

	"salvor/catalog"
)

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
