package incident

import (
	"context"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// newerBy is how much later than the loss a message's date may be: clocks go
// wrong, and clients give dates of their own.
const newerBy = 48 * time.Hour

// A doubt collects what speaks against the index being that of the lost server.
type doubt struct {
	paired, renumbered int // folders that are in both, and of these with another UIDVALIDITY
	live, newer        int // messages that the index names, and of these from after the loss
}

func (d *doubt) folder(p pair) {
	if p.row.ID == 0 || p.row.UIDValidity == 0 || p.box.UIDValidity == 0 {
		return
	}
	d.paired++
	if p.row.UIDValidity != p.box.UIDValidity {
		d.renumbered++
	}
}

func (d *doubt) message(m mailstore.Message, loss time.Time) {
	d.live++
	if m.InternalDate.After(loss.Add(newerBy)) {
		d.newer++
	}
}

// verdict refuses an index by what has been seen of its folders and messages.
func (d *doubt) verdict(c *comparison) error {
	switch {
	case c.o.AcceptIndex:
	case d.renumbered*2 > d.paired:
		return fmt.Errorf("%w: %d of %d folders have another UIDVALIDITY than in the backup", ErrIndex, d.renumbered, d.paired)
	case d.newer*100 > d.live:
		return fmt.Errorf("%w: %d of %d messages came more than two days after %s", ErrIndex, d.newer, d.live, c.o.At.Format(time.RFC3339))
	}
	return nil
}

// recognise refuses, before anything is compared, an index of other users.
func (c *comparison) recognise(ctx context.Context, src mailstore.Source) error {
	if c.o.AcceptIndex {
		return nil
	}
	backedUp := map[string]bool{}
	err := c.tx.Users(ctx, func(u *catalog.User) error {
		if u.Source == c.o.Source && u.GoneRun == 0 {
			backedUp[u.Name] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	users, shared := 0, 0
	err = src.Users(ctx, func(u mailstore.User) error {
		users++
		if backedUp[u.Name] {
			shared++
		}
		return nil
	})
	var quiet Report // what is wrong with the list is said when it is compared
	whole, err := (&comparison{report: &quiet}).damage(err)
	switch {
	case err != nil:
		return err
	case users > 0 && shared == 0 && len(backedUp) > 0, whole == "" && shared*2 < len(backedUp):
		return fmt.Errorf("%w: it has %d users, %d of the %d in the backup of %s", ErrIndex, users, shared, len(backedUp), c.o.Source)
	}
	return nil
}
