package catalog

import (
	"context"
	"time"

	"salvor/chunk"
)

// Records that vanished are few among those that are there, so each way to them
// is written down instead of being left to SQLite's planner, which knows no
// numbers here.
const (
	// vanishedTables goes by user and folder to what vanished there.
	vanishedTables = ` FROM user u CROSS JOIN mailbox m ON m.user = u.id
		CROSS JOIN record r INDEXED BY record_gone ON r.mailbox = m.id AND r.gone_run <> 0 CROSS JOIN chunk k ON k.id = r.content`
	vanishedOrder = " ORDER BY u.name, m.name, m.id, r.gone_run, r.id"
	// ofUser finds a record's user.
	ofUser = " CROSS JOIN mailbox m ON m.id = r.mailbox CROSS JOIN user u ON u.id = m.user"
)

// vanished lists vanished records of one user, or of all with "", under a
// further condition.
func (q queries) vanished(ctx context.Context, user, where string, yield func(*Record) error) error {
	query, bind := "SELECT "+recordColumns+vanishedTables+" WHERE "+where, noBind
	if user != "" {
		query += " AND u.name = ?"
		bind = func(st *stmt) { st.text(user) }
	}
	return q.walk("list vanished records of catalog", func(c *conn) error {
		return stream(ctx, c, query+vanishedOrder, bind, scanRecord, yield)
	})
}

// Unsettled lists the vanished records whose week has not begun and that no
// hold keeps: of one user, or of all with "".
func (q queries) Unsettled(ctx context.Context, user string, yield func(*Record) error) error {
	return q.vanished(ctx, user, "r.gone_at IS NULL AND r.hold = 0", yield)
}

// Running lists a user's vanished records whose week has begun and was not
// confirmed by anybody, without those that only moved.
func (q queries) Running(ctx context.Context, user string, yield func(*Record) error) error {
	return q.vanished(ctx, user, "r.gone_at IS NOT NULL AND r.hold = 0 AND r.moved_to = 0", yield)
}

// Held lists the records of a hold, also after its verdict.
func (q queries) Held(ctx context.Context, hold int64, yield func(*Record) error) error {
	return q.walk("list held records of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+recordColumns+vanishedTables+" WHERE r.hold = ?"+vanishedOrder,
			func(st *stmt) { st.int(hold) }, scanRecord, yield)
	})
}

// GoneSince lists the records that vanished in run since or later and are not
// known to have moved, by user and folder, with their users' names.
func (q queries) GoneSince(ctx context.Context, since uint64, yield func(user string, r *Record) error) error {
	type named struct {
		user string
		rec  *Record
	}
	return q.walk("list vanished records of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+recordColumns+", u.name"+vanishedTables+
			" WHERE r.gone_run >= ? AND r.moved_to = 0"+vanishedOrder,
			func(st *stmt) { st.int(int64(since)) },
			func(r row) named { return named{r.text(recordWidth), scanRecord(r)} },
			func(n named) error { return yield(n.user, n.rec) })
	})
}

// Arrivals lists a user's records of a content that are new in run since or
// later and to which no vanished record has been matched.
func (q queries) Arrivals(ctx context.Context, user string, content chunk.ID, since uint64, yield func(*Record) error) error {
	return q.walk("list new records of a content", func(c *conn) error {
		k, found, err := c.chunkLocked(chunk.Ref{Kind: chunk.KindMessage, ID: content})
		if err != nil || !found {
			return err
		}
		return stream(ctx, c, "SELECT "+recordColumns+recordTables+ofUser+` WHERE r.content = ? AND u.name = ? AND r.first_run >= ?
			AND NOT EXISTS (SELECT 1 FROM record x WHERE x.content = r.content AND x.moved_to = r.id) ORDER BY r.id`,
			func(st *stmt) { st.int(k.id).text(user).int(int64(since)) }, scanRecord, yield)
	})
}

// UserHas tells whether a live record of the user has this content.
func (q queries) UserHas(user string, content chunk.ID) (has bool, err error) {
	err = q.lookSettled("look for a user's content", func(c *conn) error {
		k, found, err := c.chunk(chunk.Ref{Kind: chunk.KindMessage, ID: content})
		if err != nil || !found {
			return err
		}
		has, err = c.prep("SELECT 1 FROM record r" + ofUser + " WHERE r.content = ? AND r.gone_run = 0 AND u.name = ? LIMIT 1").
			int(k.id).text(user).one(func(row) {})
		return err
	})
	return has, err
}

// Expiring is a vanished record whose week has begun, with what tells whether
// it was seen gone twice.
type Expiring struct {
	Record
	User             string
	UserLastRun      uint64
	MailboxFailedRun uint64
}

// Expiring lists the vanished records whose week began before until, the
// oldest first.
func (q queries) Expiring(ctx context.Context, until time.Time, yield func(*Expiring) error) error {
	return q.walk("list expiring records of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+recordColumns+`, u.name, u.last_run, m.failed_run
			FROM record r INDEXED BY record_week CROSS JOIN chunk k ON k.id = r.content`+ofUser+
			" WHERE r.gone_at <= ? ORDER BY r.gone_at, r.id",
			func(st *stmt) { st.time(utc(until)) },
			func(r row) *Expiring {
				return &Expiring{Record: *scanRecord(r), User: r.text(recordWidth), UserLastRun: uint64(r.int(recordWidth + 1)), MailboxFailedRun: uint64(r.int(recordWidth + 2))}
			}, yield)
	})
}

// Leftovers lists what nothing refers to any more: removed mailboxes without
// records, users gone without mailboxes, and tombstones that are over. Mailboxes
// come before their users.
func (q queries) Leftovers(ctx context.Context, now time.Time, yield func(Row) error) error {
	return q.walk("list leftovers of catalog", func(c *conn) error {
		err := stream(ctx, c, "SELECT "+mailboxColumns+` FROM mailbox m JOIN user u ON u.id = m.user
			WHERE m.gone_run <> 0 AND NOT EXISTS (SELECT 1 FROM record r WHERE r.mailbox = m.id) ORDER BY m.id`,
			noBind, scanMailbox, func(m *Mailbox) error { return yield(*m) })
		if err != nil {
			return err
		}
		err = stream(ctx, c, "SELECT "+userColumns+` FROM user u WHERE u.gone_run <> 0 AND NOT EXISTS
			(SELECT 1 FROM mailbox m WHERE m.user = u.id AND (m.gone_run = 0 OR EXISTS (SELECT 1 FROM record r WHERE r.mailbox = m.id)))
			ORDER BY u.name`, noBind, scanUser, func(u *User) error { return yield(*u) })
		if err != nil {
			return err
		}
		return stream(ctx, c, "SELECT "+tombstoneColumns+" FROM tombstone WHERE until <= ? ORDER BY user, content",
			func(st *stmt) { st.time(utc(now)) }, scanTombstone, func(t *Tombstone) error { return yield(*t) })
	})
}

// Excluded lists the mailboxes that are left out of the backup, by user and
// name.
func (q queries) Excluded(ctx context.Context, yield func(*Mailbox) error) error {
	return q.list("list excluded mailboxes of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+mailboxColumns+` FROM mailbox m JOIN user u ON u.id = m.user
			WHERE m.excluded <> '' AND m.gone_run = 0 ORDER BY u.name, m.name`, noBind, scanMailbox, yield)
	})
}

// LossQuery asks what users have lost.
type LossQuery struct {
	Source string    // users of this source
	Since  time.Time // weeks that began before do not count
	Run    uint64    // the run that asks: mailboxes removed in earlier ones do not count
	// Ignore leaves a mailbox out of all counts: Trash.
	Ignore func(Mailbox) bool
}

// Loss is one user's live mail and what vanished of it. Records that only
// moved, deletions that an operator confirmed, and messages that came and were
// removed between two runs do not count as lost.
type Loss struct {
	User, Partition string
	Live            int
	Now             int // vanished, and neither its week has begun nor does a hold keep it
	Window          int // Now, what is held, and weeks that began within the time asked for
	UserGone        bool
	UserGoneRun     uint64
}

// Losses counts, for each user of a source.
func (q queries) Losses(ctx context.Context, o LossQuery) ([]Loss, error) {
	var out []Loss
	err := q.walk("count losses in catalog", func(c *conn) error {
		err := stream(ctx, c, "SELECT "+userColumns+" FROM user u WHERE u.source = ? ORDER BY u.name",
			func(st *stmt) { st.text(o.Source) }, scanUser, func(u *User) error {
				out = append(out, Loss{User: u.Name, Partition: u.Partition, UserGone: u.GoneRun != 0, UserGoneRun: u.GoneRun})
				return nil
			})
		for i := 0; err == nil && i < len(out); i++ {
			err = c.loss(ctx, o, &out[i])
		}
		return err
	})
	return out, err
}

func (c *conn) loss(ctx context.Context, o LossQuery, l *Loss) error {
	return c.mailboxes(ctx, l.User, func(m *Mailbox) error {
		if o.Ignore != nil && o.Ignore(*m) {
			return nil
		}
		return c.locked(func() error {
			n := MailboxCount{}
			err := c.count(m.ID, 0, &n)
			l.Live += int(n.Live)
			if err != nil || n.Gone == 0 || (m.GoneRun != 0 && m.GoneRun != o.Run) {
				return err
			}
			_, err = c.prep(`SELECT count(*) FILTER (WHERE gone_at IS NULL AND hold = 0),
				count(*) FILTER (WHERE gone_at IS NULL OR (gone_at >= ? AND hold = 0))
				FROM record INDEXED BY record_gone WHERE mailbox = ? AND gone_run <> 0 AND moved_to = 0
				AND (first_run < gone_run OR expunged IS NULL)`).time(utc(o.Since)).int(m.ID).
				one(func(r row) {
					l.Now += int(r.int(0))
					l.Window += int(r.int(1))
				})
			return err
		})
	})
}
