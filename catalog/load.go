package catalog

import (
	"context"
	"time"
)

// Load is how much live mail a user has.
type Load struct {
	User     string
	Messages int64
	Bytes    int64 // as the source stored them
	// Newest is when the newest of them came: its internal date, or when a backup
	// first saw it if that was earlier, for dates in the future are the sender's
	// invention. Zero: nobody knows.
	Newest time.Time
}

// Loads measures each user's live mail, by name, those without any too. With ""
// it measures all users. It reads all their records and keeps none.
func (q queries) Loads(ctx context.Context, user string, yield func(*Load) error) error {
	return q.walk("measure users of catalog", func(c *conn) error {
		return c.users(ctx, user, func(u *User) error {
			l := &Load{User: u.Name}
			err := c.mailboxes(ctx, u.Name, func(m *Mailbox) error {
				return c.locked(func() error { return c.load(m.ID, l) })
			})
			if err != nil {
				return err
			}
			return yield(l)
		})
	})
}

// load adds what one mailbox holds.
func (c *conn) load(mailbox int64, l *Load) error {
	_, err := c.prep(`SELECT count(*), coalesce(sum(stored_size), 0), max(min(internal_date, coalesce(first_seen, internal_date)))
		FROM record INDEXED BY record_mailbox WHERE mailbox = ? AND gone_run = 0`).int(mailbox).one(func(r row) {
		l.Messages += r.int(0)
		l.Bytes += r.int(1)
		if t := r.time(2); t.After(l.Newest) {
			l.Newest = t
		}
	})
	return err
}
