package catalog

import (
	"context"
	"slices"
	"time"
)

// GateState is how far a user of an incident may come in.
type GateState string

// The states of a Gate.
const (
	GateDown GateState = "down" // mail that the vault has is not back yet
	GateWeb  GateState = "web"  // what there is is back, but something dangles, or nobody has looked
	GateIMAP GateState = "imap" // nothing dangles
)

// GateStates are all states, the narrowest first.
var GateStates = []GateState{GateDown, GateWeb, GateIMAP}

// Gate says how far a user of an incident may come in, and what that rests on.
// Key: Incident and User. The incident must be there.
type Gate struct {
	Incident string    `json:"incident"`
	User     string    `json:"user"`
	State    GateState `json:"state"`
	Reason   string    `json:"reason,omitempty"` // one line
	// Store is the server that was looked at, CheckedAt when, and Dangling how many
	// messages it listed there without giving their content.
	Store     string    `json:"store,omitempty"`
	Dangling  int64     `json:"dangling,omitempty"`
	CheckedAt time.Time `json:"checked_at,omitzero"` // zero: nobody has looked
	// Told is the last state that the operator's hook took.
	Told GateState `json:"told,omitempty"`
}

func (Gate) rowName() string { return "gate" }

func (r Gate) normal() (Row, error) {
	var c checks
	c.that(r.Incident != "", "no incident")
	c.that(r.User != "", "no user")
	c.that(slices.Contains(GateStates, r.State), "unknown state")
	c.that(r.Told == "" || slices.Contains(GateStates, r.Told), "unknown state was told")
	c.counts(r.Dangling)
	r.Reason, r.CheckedAt = clip(r.Reason, MaxHeader), utc(r.CheckedAt)
	return c.row(r)
}

func (r Gate) appendKey(b []byte) []byte {
	o := newObject(b)
	o.text("incident", r.Incident)
	o.text("user", r.User)
	return o.close()
}

func (r Gate) appendRow(b []byte) []byte {
	o := newObject(b)
	o.text("incident", r.Incident)
	o.text("user", r.User)
	o.text("state", string(r.State))
	o.textz("reason", r.Reason)
	o.textz("store", r.Store)
	o.intz("dangling", r.Dangling)
	o.timez("checked_at", r.CheckedAt)
	o.textz("told", string(r.Told))
	return o.close()
}

func (r Gate) put(t *Tx) error {
	incident, err := t.incidentOf(r, r.Incident)
	if err != nil {
		return err
	}
	return t.w.prep("INSERT OR REPLACE INTO gate VALUES (?, ?, ?, ?, ?, ?, ?, ?)").int(incident).text(r.User).text(string(r.State)).text(r.Reason).
		text(r.Store).int(r.Dangling).time(r.CheckedAt).text(string(r.Told)).run()
}

func (r Gate) remove(t *Tx) error {
	id, found, err := t.w.incidentID(r.Incident)
	if err != nil || !found {
		return err
	}
	return t.w.prep("DELETE FROM gate WHERE incident = ? AND user = ?").int(id).text(r.User).run()
}

const gateColumns = "i.name, g.user, g.state, g.reason, g.store, g.dangling, g.checked_at, g.told"

func scanGate(r row) *Gate {
	return &Gate{Incident: r.text(0), User: r.text(1), State: GateState(r.text(2)), Reason: r.text(3), Store: r.text(4), Dangling: r.int(5),
		CheckedAt: r.time(6), Told: GateState(r.text(7))}
}

// Gate gives a user's gate; ok is false when none was written yet.
func (q queries) Gate(incident, user string) (g Gate, ok bool, err error) {
	err = q.look("read gate from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + gateColumns + " FROM incident i CROSS JOIN gate g ON g.incident = i.id WHERE i.name = ? AND g.user = ?").
			text(incident).text(user).one(func(r row) { g = *scanGate(r) })
		return err
	})
	return g, ok, err
}

// Gates lists an incident's gates by user.
func (q queries) Gates(ctx context.Context, incident string, yield func(*Gate) error) error {
	return q.list("list gates of an incident", func(c *conn) error { return c.gates(ctx, incident, yield) })
}

func (c *conn) gates(ctx context.Context, incident string, yield func(*Gate) error) error {
	return stream(ctx, c, "SELECT "+gateColumns+" FROM incident i CROSS JOIN gate g ON g.incident = i.id WHERE i.name = ? ORDER BY g.user",
		func(st *stmt) { st.text(incident) }, scanGate, yield)
}
