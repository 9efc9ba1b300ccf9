package incident

import (
	"context"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// userKeys are the records of one user by their keys, 0 for a key that several
// have.
type userKeys struct {
	user  string
	byKey map[string]int64
}

// namesake looks for a message that the index names in a folder where the backup
// did not see it: it may have been moved there since. Where a message keeps its
// key when it moves, a record of the same user, key and size is that message; it tells the date, which does not change either.
func (c *comparison) namesake(r *reading, m mailstore.Message, claim *catalog.Claim, otherwise string) (content *catalog.Content, reason string, err error) {
	if err := c.loadKeys(r.ctx, r.box.User); err != nil {
		return nil, "", err
	}
	id := c.keys.byKey[m.Key]
	if id == 0 {
		return nil, otherwise, nil
	}
	rec, err := c.record(id)
	if err != nil {
		return nil, "", err
	}
	found, ok, err := c.tx.Content(rec.Content)
	if err != nil || !ok || !same(m, rec, &found) {
		return nil, otherwise, err
	}
	whole, err := c.tx.HasContent(found.ID)
	if err != nil {
		return nil, "", err
	}
	if !whole {
		return nil, damagedCopy, nil
	}
	if !rec.InternalDate.IsZero() {
		claim.InternalDate = rec.InternalDate
	}
	if m.NoFlags {
		claim.Flags = rec.Flags
	}
	return &found, "", nil
}

// loadKeys reads a user's records, unless they are those at hand.
func (c *comparison) loadKeys(ctx context.Context, user string) error {
	if c.keys.byKey != nil && c.keys.user == user {
		return nil
	}
	rows, err := c.rows(ctx, user)
	if err != nil {
		return err
	}
	c.keys = userKeys{user: user, byKey: map[string]int64{}}
	for _, row := range rows {
		err := c.tx.Records(ctx, row.ID, func(rec *catalog.Record) error {
			if _, twice := c.keys.byKey[rec.Key]; twice {
				c.keys.byKey[rec.Key] = 0
			} else {
				c.keys.byKey[rec.Key] = rec.ID
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
