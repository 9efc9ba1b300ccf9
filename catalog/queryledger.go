package catalog

import (
	"context"

	"salvor/chunk"
)

const incidentColumns = `i.name, i.source, i.origin, i.at, i.opened_at, i.opened_by, i.closed_at, i.closed_by, i.head, i.head_hash, i.run,
	i.kept, i.kept_sum, i.claims, i.problems`

func scanIncident(r row) *Incident {
	return &Incident{Name: r.text(0), Source: r.text(1), Index: r.text(2), At: r.time(3), OpenedAt: r.time(4), OpenedBy: r.text(5),
		ClosedAt: r.time(6), ClosedBy: r.text(7), Head: uint64(r.int(8)), HeadHash: r.id(9), Run: uint64(r.int(10)),
		Kept: r.text(11), KeptSum: r.id(12), Claims: r.int(13), Problems: unpackTexts(r.blob(14))}
}

// Incident gives the incident of this name; ok is false when there is none.
func (q queries) Incident(name string) (i Incident, ok bool, err error) {
	err = q.look("read incident from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + incidentColumns + " FROM incident i WHERE i.name = ?").text(name).
			one(func(r row) { i = *scanIncident(r) })
		return err
	})
	return i, ok, err
}

// Incidents lists all incidents by name, closed ones too.
func (q queries) Incidents(ctx context.Context, yield func(*Incident) error) error {
	return q.list("list incidents of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+incidentColumns+" FROM incident i ORDER BY i.name", noBind, scanIncident, yield)
	})
}

const claimColumns = `i.name, c.id, c.user, c.folder, c.uid_validity, c.uid, c.state, c.reason, c.content, c.sha1, c.size, c.flags,
	c.internal_date, c.message_id, c.record`

func scanClaim(r row) *Claim {
	c := &Claim{Incident: r.text(0), ID: r.int(1), User: r.text(2), Folder: r.text(3), UIDValidity: uint32(r.int(4)), UID: uint32(r.int(5)),
		State: ClaimState(r.text(6)), Reason: r.text(7), Content: r.id(8), Size: r.int(10), Flags: unpackTexts(r.blob(11)),
		InternalDate: r.time(12), MessageID: r.text(13), Record: r.int(14)}
	r.s.ColumnBytes(9, c.SHA1[:])
	return c
}

// ClaimQuery chooses claims of one incident. The zero fields choose all.
type ClaimQuery struct {
	Incident string
	User     string
	State    ClaimState
}

// Claims lists an incident's claims by id: the order in which they were found,
// by user and folder as the index has them.
func (q queries) Claims(ctx context.Context, w ClaimQuery, yield func(*Claim) error) error {
	return q.list("list claims of an incident", func(c *conn) error { return c.claims(ctx, w, yield) })
}

func (c *conn) claims(ctx context.Context, w ClaimQuery, yield func(*Claim) error) error {
	index, where := "NOT INDEXED", "" // by the key
	switch {
	case w.User != "":
		index = "INDEXED BY claim_user"
	case w.State != "":
		index = "INDEXED BY claim_state"
	}
	if w.User != "" {
		where += " AND c.user = ?"
	}
	if w.State != "" {
		where += " AND c.state = ?"
	}
	return stream(ctx, c, "SELECT "+claimColumns+" FROM incident i CROSS JOIN claim c "+index+" ON c.incident = i.id WHERE i.name = ?"+where+
		" ORDER BY c.id", func(st *stmt) {
		st.text(w.Incident)
		for _, s := range []string{w.User, string(w.State)} {
			if s != "" {
				st.text(s)
			}
		}
	}, scanClaim, yield)
}

// ClaimCounts counts an incident's claims by their states. It reads entries of
// an index only.
func (q queries) ClaimCounts(ctx context.Context, incident string) (map[ClaimState]int64, error) {
	type count struct {
		state ClaimState
		n     int64
	}
	counts := map[ClaimState]int64{}
	err := q.list("count claims of an incident", func(c *conn) error {
		return stream(ctx, c, `SELECT c.state, count(*) FROM incident i CROSS JOIN claim c INDEXED BY claim_state ON c.incident = i.id
			WHERE i.name = ? GROUP BY c.state`, func(st *stmt) { st.text(incident) },
			func(r row) count { return count{ClaimState(r.text(0)), r.int(1)} },
			func(n count) error {
				counts[n.state] = n.n
				return nil
			})
	})
	return counts, err
}

// OpenIncidentOf gives the name of an open incident that a user's mail is part
// of: the user is of its source, or has claims in it. "" is none.
func (q queries) OpenIncidentOf(user string) (name string, err error) {
	err = q.look("look for a user's open incident", func(c *conn) error {
		_, err := c.prep(`SELECT i.name FROM incident i WHERE i.closed_at IS NULL AND (i.source = (SELECT source FROM user WHERE name = ?1)
			OR EXISTS (SELECT 1 FROM claim c WHERE c.incident = i.id AND c.user = ?1)) ORDER BY i.name LIMIT 1`).
			text(user).one(func(r row) { name = r.text(0) })
		return err
	})
	return name, err
}

// Claimed gives the name of an open incident in which a message without a
// record of its own relies on this content. "" is none.
func (q queries) Claimed(content chunk.ID) (name string, err error) {
	err = q.look("look for claims to a content", func(c *conn) error {
		_, err := c.prep(`SELECT i.name FROM claim c INDEXED BY claim_content CROSS JOIN incident i ON i.id = c.incident
			WHERE c.content = ? AND c.content IS NOT NULL AND c.record = 0 AND i.closed_at IS NULL LIMIT 1`).
			blob(content[:]).one(func(r row) { name = r.text(0) })
		return err
	})
	return name, err
}
