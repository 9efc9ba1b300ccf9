package catalog

import (
	"context"
	"time"

	"salvor/chunk"
)

// GoneQuery chooses among the records that are gone and have not expired. The
// zero value means all.
type GoneQuery struct {
	User     string // of this user
	SinceRun uint64 // found gone by this run or a later one
	Hold     int64  // kept by this hold
	// Before wants records whose week began before this and that no hold
	// keeps: the ones that may expire.
	Before time.Time
}

// Gone is a record that is gone, with what is needed to decide about it.
type Gone struct {
	Record
	In    Mailbox // Mailbox is the record's field
	Owner User
}

// Gone lists gone records by user, folder and run.
func (q queries) Gone(ctx context.Context, g GoneQuery, yield func(*Gone) error) error {
	return q.walk("list gone records of catalog", func(c *conn) error {
		return c.users(ctx, g.User, func(u *User) error {
			return c.mailboxes(ctx, u.Name, func(m *Mailbox) error {
				return c.goneRecords(ctx, m.ID, g, func(r *Record) error { return yield(&Gone{*r, *m, *u}) })
			})
		})
	})
}

func (c *conn) users(ctx context.Context, name string, yield func(*User) error) error {
	query, bind := "SELECT "+userColumns+" FROM user u", noBind
	if name != "" {
		query += " WHERE u.name = ?"
		bind = func(st *stmt) { st.text(name) }
	}
	return stream(ctx, c, query+" ORDER BY u.name", bind, scanUser, yield)
}

func (c *conn) goneRecords(ctx context.Context, mailbox int64, g GoneQuery, yield func(*Record) error) error {
	query := "SELECT " + recordColumns + recordTables + " WHERE r.mailbox = ? AND r.gone_run <> 0 AND r.gone_run >= ?"
	if g.Hold != 0 {
		query += " AND r.hold = ?"
	}
	if !g.Before.IsZero() {
		query += " AND r.hold = 0 AND r.gone_at < ?"
	}
	return stream(ctx, c, query+" ORDER BY r.gone_run, r.id", func(st *stmt) {
		st.int(mailbox).int(int64(g.SinceRun))
		if g.Hold != 0 {
			st.int(g.Hold)
		}
		if !g.Before.IsZero() {
			st.time(utc(g.Before))
		}
	}, scanRecord, yield)
}

// CountQuery says what Counts counts. The zero value counts everything.
type CountQuery struct {
	User string // of this user only
	// Gone counts records found gone by this run or a later one.
	GoneSince uint64
}

// MailboxCount is how many messages a mailbox has and has lost.
type MailboxCount struct {
	Mailbox
	Partition string // of the user
	Live      int64
	Gone      int64 // gone, not expired, since CountQuery.GoneSince
	// Moved is how many of Gone are only moved: the same content has become
	// new for the same user in the run that found it gone or later, and is
	// there. Each new copy makes up for one that is gone.
	Moved int64
	Held  int64 // how many of Gone a hold keeps
}

// Counts counts each mailbox's records, by user and folder. Mailboxes that are
// gone or excluded are counted too.
func (q queries) Counts(ctx context.Context, w CountQuery, yield func(*MailboxCount) error) error {
	return q.walk("count records of catalog", func(c *conn) error {
		return c.users(ctx, w.User, func(u *User) error {
			moves := map[chunk.ID]int64{} // copies that made up for gone ones already
			return c.mailboxes(ctx, u.Name, func(m *Mailbox) error {
				n := &MailboxCount{Mailbox: *m, Partition: u.Partition}
				if err := c.count(m.ID, w.GoneSince, n); err != nil {
					return err
				}
				if n.Gone > 0 {
					if err := c.countMoved(ctx, u.Name, w, n, moves); err != nil {
						return err
					}
				}
				return yield(n)
			})
		})
	})
}

func (c *conn) count(mailbox int64, since uint64, n *MailboxCount) error {
	return c.locked(func() error {
		_, err := c.prep(`SELECT (SELECT count(*) FROM record WHERE mailbox = ?1),
			(SELECT count(*) FROM record WHERE mailbox = ?1 AND gone_run <> 0),
			(SELECT count(*) FROM record WHERE mailbox = ?1 AND gone_run <> 0 AND gone_run >= ?2)`).
			int(mailbox).int(int64(since)).one(func(r row) { n.Live, n.Gone = r.int(0)-r.int(1), r.int(2) })
		return err
	})
}

func (c *conn) countMoved(ctx context.Context, user string, w CountQuery, n *MailboxCount, moves map[chunk.ID]int64) error {
	return c.goneRecords(ctx, n.ID, GoneQuery{SinceRun: w.GoneSince}, func(r *Record) error {
		if r.Hold != 0 {
			n.Held++
		}
		var copies int64
		err := c.locked(func() error {
			_, err := c.prep(`SELECT count(*) FROM record r CROSS JOIN mailbox m ON m.id = r.mailbox CROSS JOIN user u ON u.id = m.user
				WHERE r.content = (SELECT content FROM record WHERE id = ?) AND r.gone_run = 0 AND r.first_run >= ? AND u.name = ?`).
				int(r.ID).int(int64(r.GoneRun)).text(user).one(func(q row) { copies = q.int(0) })
			return err
		})
		if err == nil && copies > moves[r.Content] {
			moves[r.Content]++
			n.Moved++
		}
		return err
	})
}

// Orphans lists the contents that no record has any more. It reads all contents.
func (q queries) Orphans(ctx context.Context, yield func(chunk.ID) error) error {
	return q.walk("list contents without records", func(c *conn) error {
		return stream(ctx, c, `SELECT k.head, k.tail FROM content c CROSS JOIN chunk k ON k.id = c.id
			WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.content = c.id) ORDER BY c.id`, noBind,
			func(r row) chunk.ID { return joinID(r.int(0), r, 1) }, yield)
	})
}
