package catalog

import (
	"context"
	"math"

	"salvor/chunk"
)

func (c *conn) users(ctx context.Context, name string, yield func(*User) error) error {
	query, bind := "SELECT "+userColumns+" FROM user u", noBind
	if name != "" {
		query += " WHERE u.name = ?"
		bind = func(st *stmt) { st.text(name) }
	}
	return stream(ctx, c, query+" ORDER BY u.name", bind, scanUser, yield)
}

// CountQuery says what Counts counts. The zero value counts everything.
type CountQuery struct {
	User string // of this user only
	// GoneSince counts as gone what this run or a later one found gone.
	GoneSince uint64
}

// MailboxCount is how many messages a mailbox has and has lost.
type MailboxCount struct {
	Mailbox
	Partition string // of the user
	Live      int64
	Gone      int64 // gone, not expired, since CountQuery.GoneSince
	Moved     int64 // how many of Gone are only moved
	Held      int64 // how many of Gone a hold keeps
}

// Counts counts each mailbox's records, by user and folder. Mailboxes that are
// gone or excluded are counted too.
func (q queries) Counts(ctx context.Context, w CountQuery, yield func(*MailboxCount) error) error {
	return q.walk("count records of catalog", func(c *conn) error {
		return c.users(ctx, w.User, func(u *User) error {
			return c.mailboxes(ctx, u.Name, func(m *Mailbox) error {
				n := &MailboxCount{Mailbox: *m, Partition: u.Partition}
				if err := c.locked(func() error { return c.count(m.ID, w.GoneSince, n) }); err != nil {
					return err
				}
				return yield(n)
			})
		})
	})
}

// count reads index entries only, and the rows of what is gone.
func (c *conn) count(mailbox int64, since uint64, n *MailboxCount) error {
	var all, gone int64
	_, err := c.prep(`SELECT (SELECT count(*) FROM record INDEXED BY record_mailbox WHERE mailbox = ?1),
		(SELECT count(*) FROM record INDEXED BY record_gone WHERE mailbox = ?1 AND gone_run <> 0)`).
		int(mailbox).one(func(r row) { all, gone = r.int(0), r.int(1) })
	if n.Live = all - gone; err != nil || gone == 0 {
		return err
	}
	_, err = c.prep(`SELECT count(*), count(*) FILTER (WHERE moved_to <> 0), count(*) FILTER (WHERE hold <> 0 AND gone_at IS NULL)
		FROM record INDEXED BY record_gone WHERE mailbox = ? AND gone_run <> 0 AND gone_run >= ?`).
		int(mailbox).int(int64(min(since, math.MaxInt64))).one(func(r row) { n.Gone, n.Moved, n.Held = r.int(0), r.int(1), r.int(2) })
	return err
}

// Orphans lists the contents that no record and no finding has any more. It reads all contents.
func (q queries) Orphans(ctx context.Context, yield func(chunk.ID) error) error {
	return q.walk("list contents without records", func(c *conn) error {
		return stream(ctx, c, `SELECT k.head, k.tail FROM content c CROSS JOIN chunk k ON k.id = c.id
			WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.content = c.id)
			AND NOT EXISTS (SELECT 1 FROM finding f WHERE f.content = c.id) ORDER BY c.id`, noBind,
			func(r row) chunk.ID { return joinID(r.int(0), r, 1) }, yield)
	})
}
