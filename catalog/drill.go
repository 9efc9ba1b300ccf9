package catalog

import (
	"context"
	"time"
)

// Drill is a restore that was made for practice, and compared. Key: At.
type Drill struct {
	At       time.Time `json:"at,omitzero"` // when it began
	Seconds  float64   `json:"seconds"`     // how long restoring took
	Users    int64     `json:"users,omitempty"`
	Messages int64     `json:"messages,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"`
	Failed   int64     `json:"failed,omitempty"` // messages that did not come back, or not the same
	// DataAt is when the oldest of the users' last good backups was made.
	DataAt   time.Time `json:"data_at,omitzero"`
	Store    string    `json:"store,omitempty"`    // where to
	Problems []string  `json:"problems,omitempty"` // no names of users
}

func (Drill) rowName() string { return "drill" }

func (r Drill) normal() (Row, error) {
	var c checks
	c.that(!r.At.IsZero(), "no time")
	c.that(r.Seconds >= 0 && r.Seconds < 1e12, "seconds out of range")
	c.counts(r.Users, r.Messages, r.Bytes, r.Failed)
	r.At, r.DataAt = utc(r.At), utc(r.DataAt)
	return c.row(r)
}

func (r Drill) appendKey(b []byte) []byte {
	o := newObject(b)
	o.timez("at", r.At)
	return o.close()
}

func (r Drill) appendRow(b []byte) []byte {
	o := newObject(b)
	o.timez("at", r.At)
	o.float("seconds", r.Seconds)
	o.intz("users", r.Users)
	o.intz("messages", r.Messages)
	o.intz("bytes", r.Bytes)
	o.intz("failed", r.Failed)
	o.timez("data_at", r.DataAt)
	o.textz("store", r.Store)
	o.textsz("problems", r.Problems)
	return o.close()
}

func (r Drill) put(t *Tx) error {
	return t.w.prep("INSERT OR REPLACE INTO drill VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)").time(r.At).float(r.Seconds).int(r.Users).int(r.Messages).
		int(r.Bytes).int(r.Failed).time(r.DataAt).text(r.Store).blob(packTexts(r.Problems)).run()
}

func (r Drill) remove(t *Tx) error {
	return t.w.prep("DELETE FROM drill WHERE at = ?").time(r.At).run()
}

func scanDrill(r row) *Drill {
	return &Drill{At: r.time(0), Seconds: r.float(1), Users: r.int(2), Messages: r.int(3), Bytes: r.int(4), Failed: r.int(5), DataAt: r.time(6),
		Store: r.text(7), Problems: unpackTexts(r.blob(8))}
}

// Drills lists the restores made for practice, the last one first.
func (q queries) Drills(ctx context.Context, yield func(*Drill) error) error {
	return q.list("list drills of catalog", func(c *conn) error { return c.drills(ctx, "DESC", yield) })
}

func (c *conn) drills(ctx context.Context, order string, yield func(*Drill) error) error {
	return stream(ctx, c, "SELECT at, seconds, users, messages, bytes, failed, data_at, store, problems FROM drill ORDER BY at "+order,
		noBind, scanDrill, yield)
}
