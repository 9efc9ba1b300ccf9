package incident

import (
	"context"
	"fmt"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore/folder"
)

// Beyond what people delete in a night: more than so many of a user's messages
// and more than so many percent of them; or all, if they are at least so many.
const (
	mostAbsent        = 20
	mostAbsentPercent = 30
	leastAll          = 5
)

// absences are the messages of one user that the backup has and a whole index does
// not name. They count as deleted when all of them are known: a server that ran
// over an empty volume has forgotten its messages in just the same way.
type absences struct {
	known   int // messages of the user that the backup has, Trash left out
	list    []absence
	arrived map[chunk.ID]int // contents that the index names in places where the backup has not seen them
}

// An absence is one such message.
type absence struct {
	record int64
	at     place
	trash  bool
}

// settle makes the claims of a user's absent messages.
func (a *absences) settle(ctx context.Context, c *comparison) error {
	gone := 0
	for _, m := range a.list { // counted first, without keeping the claims
		rec, err := c.record(m.record)
		if err != nil {
			return err
		}
		if !m.trash && a.arrived[rec.Content] == 0 {
			gone++
		}
	}
	lost := gone > mostAbsent && gone*100 > a.known*mostAbsentPercent || gone >= leastAll && gone == a.known
	reason := fmt.Sprintf("the index does not name it, nor %d others of the user's %d messages: that is more than people delete in a night", gone-1, a.known)
	for _, m := range a.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, err := c.record(m.record)
		if err != nil {
			return err
		}
		claim, err := c.claimOf(rec, m.at)
		if err != nil {
			return err
		}
		if lost && !m.trash && a.arrived[rec.Content] == 0 {
			err = c.doubtful(&claim, reason)
		} else {
			claim.State, claim.Reason = catalog.ClaimDeleted, "the index does not name it any more"
		}
		if err == nil {
			err = c.put(claim)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inTrash tells whether a folder is one that people empty.
func inTrash(row catalog.Mailbox) bool { return folder.IsTrash(row.Name, row.SpecialUse) }
