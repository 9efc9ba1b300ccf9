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
	c.internal_date, c.message_id, c.record, c.name, c.envelope, c.settled_at, c.now_store, c.now_folder, c.now_validity, c.now_uid, c.grade,
	c.taken_at, c.sent_at, c.sent_store, c.sent_folder, c.sent_validity, c.sent_next, c.sent_order, c.sent_sum, c.doubt`

func scanClaim(r row) *Claim {
	c := &Claim{Incident: r.text(0), ID: r.int(1), User: r.text(2), Folder: r.text(3), UIDValidity: uint32(r.int(4)), UID: uint32(r.int(5)),
		State: ClaimState(r.text(6)), Reason: r.text(7), Content: r.id(8), Size: r.int(10), Flags: unpackTexts(r.blob(11)),
		InternalDate: r.time(12), MessageID: r.text(13), Record: r.int(14), Name: r.text(15), Envelope: r.text(16), SettledAt: r.time(17),
		NowStore: r.text(18), NowFolder: r.text(19), NowValidity: uint32(r.int(20)), NowUID: uint32(r.int(21)), Grade: Grade(r.text(22)),
		TakenAt: r.time(23), SentAt: r.time(24), SentStore: r.text(25), SentFolder: r.text(26), SentValidity: uint32(r.int(27)),
		SentNext: uint32(r.int(28)), SentOrder: r.int(29), SentSum: r.id(30), Doubt: r.bool(31)}
	r.s.ColumnBytes(9, c.SHA1[:])
	return c
}

// ClaimQuery chooses claims of one incident. The zero fields choose all.
type ClaimQuery struct {
	Incident string
	User     string
	State    ClaimState
	// After: only claims with a higher id, so that a walk can be gone on with.
	After int64
	// What a message that was found can tell; of these one at most is looked up.
	SHA1      chunk.SHA1
	MessageID string
	Name      string
	// OwedSize chooses what is owed and has this size; 0: all.
	OwedSize int64
	// Sent: only what may be on its way (Claim.InFlight).
	Sent bool
}

// lookup gives the index that finds what a query chooses, and its conditions.
func (w ClaimQuery) lookup() (index, where string) {
	index = "NOT INDEXED" // by the key
	switch {
	case !w.SHA1.IsZero():
		index, where = "INDEXED BY claim_sha1", " AND c.sha1 = ?"
	case w.MessageID != "":
		index, where = "INDEXED BY claim_message", " AND c.message_id = ? AND c.message_id <> ''"
	case w.Name != "":
		index, where = "INDEXED BY claim_name", " AND c.name = ? AND c.name <> ''"
	case w.OwedSize != 0:
		index, where = "INDEXED BY claim_size", " AND c.state = 'owed' AND c.size = ?"
	case w.Sent:
		index, where = "INDEXED BY claim_sent", " AND c.sent_at IS NOT NULL"
	case w.User != "" && w.State != "":
		index = "INDEXED BY claim_users"
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
	if w.After != 0 {
		where += " AND c.id > ?"
	}
	return index, where
}

func (w ClaimQuery) bind(st *stmt) {
	st.text(w.Incident)
	switch {
	case !w.SHA1.IsZero():
		st.blob(w.SHA1[:])
	case w.MessageID != "":
		st.text(w.MessageID)
	case w.Name != "":
		st.text(w.Name)
	case w.OwedSize != 0:
		st.int(w.OwedSize)
	}
	for _, s := range []string{w.User, string(w.State)} {
		if s != "" {
			st.text(s)
		}
	}
	if w.After != 0 {
		st.int(w.After)
	}
}

// Claims lists an incident's claims by id: the order in which they were found,
// by user and folder as the index has them.
func (q queries) Claims(ctx context.Context, w ClaimQuery, yield func(*Claim) error) error {
	return q.list("list claims of an incident", func(c *conn) error { return c.claims(ctx, w, yield) })
}

func (c *conn) claims(ctx context.Context, w ClaimQuery, yield func(*Claim) error) error {
	index, where := w.lookup()
	return stream(ctx, c, "SELECT "+claimColumns+" FROM incident i CROSS JOIN claim c "+index+" ON c.incident = i.id WHERE i.name = ?"+where+
		" ORDER BY c.id", w.bind, scanClaim, yield)
}

// Claim gives one claim; ok is false when there is none.
func (q queries) Claim(incident string, id int64) (found Claim, ok bool, err error) {
	err = q.look("read claim from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + claimColumns + " FROM incident i CROSS JOIN claim c ON c.incident = i.id WHERE i.name = ? AND c.id = ?").
			text(incident).int(id).one(func(r row) { found = *scanClaim(r) })
		return err
	})
	return found, ok, err
}

// UserClaims counts the claims of one user by their states.
type UserClaims struct {
	User   string
	Counts map[ClaimState]int64
}

// ClaimUsers lists the users of an incident by name, with their counts.
func (q queries) ClaimUsers(ctx context.Context, incident string, yield func(UserClaims) error) error {
	type count struct {
		user  string
		state ClaimState
		n     int64
	}
	return q.list("list users of an incident", func(c *conn) error {
		var now UserClaims
		err := stream(ctx, c, `SELECT c.user, c.state, count(*) FROM incident i CROSS JOIN claim c INDEXED BY claim_users ON c.incident = i.id
			WHERE i.name = ? GROUP BY c.user, c.state ORDER BY c.user, c.state`, func(st *stmt) { st.text(incident) },
			func(r row) count { return count{r.text(0), ClaimState(r.text(1)), r.int(2)} },
			func(n count) error {
				if n.user != now.User {
					if now.Counts != nil {
						if err := yield(now); err != nil {
							return err
						}
					}
					now = UserClaims{User: n.user, Counts: map[ClaimState]int64{}}
				}
				now.Counts[n.state] = n.n
				return nil
			})
		if err == nil && now.Counts != nil {
			err = yield(now)
		}
		return err
	})
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

// ClaimMarks are what an incident's claims say beyond their states.
type ClaimMarks struct {
	// InFlight are owed, and may have been sent: whoever sent them finds out when
	// he goes on. InDoubt are owed, and nobody can tell whether they arrived.
	InFlight int64 `json:"in_flight"`
	InDoubt  int64 `json:"in_doubt"`
	// TakenOut are those whose entry was taken out of the server's index, whatever
	// became of them.
	TakenOut int64 `json:"taken_out"`
}

// ClaimMarks counts the marks of an incident's claims. It reads all of them.
func (q queries) ClaimMarks(ctx context.Context, incident string) (m ClaimMarks, err error) {
	err = q.list("count marks of an incident", func(c *conn) error {
		return stream(ctx, c, `SELECT count(*) FILTER (WHERE c.state = 'owed' AND c.doubt = 0 AND c.sent_at IS NOT NULL),
			count(*) FILTER (WHERE c.state = 'owed' AND c.doubt <> 0), count(*) FILTER (WHERE c.taken_at IS NOT NULL)
			FROM incident i CROSS JOIN claim c NOT INDEXED ON c.incident = i.id WHERE i.name = ?`, func(st *stmt) { st.text(incident) },
			func(r row) ClaimMarks { return ClaimMarks{InFlight: r.int(0), InDoubt: r.int(1), TakenOut: r.int(2)} },
			func(found ClaimMarks) error {
				m = found
				return nil
			})
	})
	return m, err
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
