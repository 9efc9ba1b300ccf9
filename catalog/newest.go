package catalog

import (
	"context"
	"slices"
	"strings"
	"time"
)

// inbox is the folder that every user has (RFC 9051, section 5.1).
const inbox = "INBOX"

// ages are the bounds of the blocks that NewestFirst lists one after the other,
// before the user's newest message.
var ages = []time.Duration{14 * 24 * time.Hour, 90 * 24 * time.Hour, 365 * 24 * time.Hour}

// entriesByAge lists user by user, INBOX first and then the folders by their
// newest message, and each of them in blocks of age. Inside a block the order is
// that of the packs: see Order.
func (c *conn) entriesByAge(ctx context.Context, f *filter, yield func(*Entry) error) error {
	return c.users(ctx, f.User, func(u *User) error {
		var boxes []box
		var newest time.Time
		err := c.mailboxes(ctx, u.Name, func(m *Mailbox) error {
			if !f.folder(m.Name) {
				return nil
			}
			var l Load
			err := c.locked(func() error { return c.load(m.ID, &l) })
			boxes = append(boxes, box{m.ID, m.Name == inbox, l.Newest})
			if l.Newest.After(newest) {
				newest = l.Newest
			}
			return err
		})
		if err != nil {
			return err
		}
		slices.SortStableFunc(boxes, func(a, b box) int {
			if a.inbox != b.inbox {
				if a.inbox {
					return -1
				}
				return 1
			}
			return b.newest.Compare(a.newest)
		})
		for _, b := range boxes {
			if err := c.boxByAge(ctx, b.id, newest, f, yield); err != nil {
				return err
			}
		}
		return nil
	})
}

// A box is a mailbox to be put in order.
type box struct {
	id     int64
	inbox  bool
	newest time.Time
}

// boxByAge sorts only numbers, as entriesByLocation does.
func (c *conn) boxByAge(ctx context.Context, mailbox int64, newest time.Time, f *filter, yield func(*Entry) error) error {
	query := "SELECT r.id FROM record r INDEXED BY record_mailbox CROSS JOIN chunk k ON k.id = r.content CROSS JOIN frame f ON f.id = k.frame" +
		" CROSS JOIN pack p ON p.id = f.pack WHERE r.mailbox = ? AND " + f.where +
		" ORDER BY" + strings.Repeat(" coalesce(r.internal_date, 0) < ?,", len(ages)) + " p.number, p.hash, f.offset, k.offset, r.id"
	bind := func(st *stmt) {
		f.bind(st.int(mailbox))
		for _, age := range ages {
			st.int(newest.Add(-age).UnixNano())
		}
	}
	return stream(ctx, c, query, bind, func(r row) int64 { return r.int(0) },
		func(id int64) error { return c.entry(id, f, yield) })
}
