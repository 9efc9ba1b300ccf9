package backup

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// A pair is a mailbox of the source with its row, new ones with ID 0.
type pair struct {
	src mailstore.Mailbox
	row catalog.Mailbox
	why string    // why it is out of scope; "" in scope
	box *boxState // once it was opened
}

// plan says which mailbox is which.
type plan struct {
	pairs []pair
	gone  []catalog.Mailbox // known before, not listed now
}

// match finds for each listed mailbox the row that it continues: by the name
// and identity, by the identity alone (a renamed mailbox is neither deleted
// nor new), by the name alone (an identity that changed because the server
// rebuilt its index), in this order.
func (r *run) match(ctx context.Context, listed []mailstore.Mailbox, user catalog.User) (plan, error) {
	known, err := r.boxesOf(ctx, user.Name)
	if err != nil {
		return plan{}, err
	}
	p := plan{pairs: make([]pair, len(listed))}
	byName, byID := map[string]catalog.Mailbox{}, map[string]catalog.Mailbox{}
	for _, b := range known {
		byName[b.Name] = b
		if b.ObjectID != "" {
			byID[b.ObjectID] = b
		}
	}
	take := func(i int, row catalog.Mailbox) {
		p.pairs[i].row = row
		delete(byName, row.Name)
		delete(byID, row.ObjectID)
	}
	for i, why := range r.o.Scope.DecideAll(listed) {
		p.pairs[i].why = why
	}
	for i, b := range listed {
		p.pairs[i].src = b
		if row, ok := byName[b.Name]; ok && row.ObjectID == b.ObjectID {
			take(i, row)
		}
	}
	for i, b := range listed {
		row, ok := byID[b.ObjectID]
		if p.pairs[i].row.ID != 0 || !ok || row.Name == "INBOX" || b.Name == "INBOX" {
			continue
		}
		if same, err := r.sameMail(ctx, row, b); err != nil {
			return plan{}, err
		} else if same {
			take(i, row)
		}
	}
	for i, b := range listed {
		if row, ok := byName[b.Name]; ok && p.pairs[i].row.ID == 0 {
			take(i, row)
		}
	}
	for _, name := range sortedKeys(byName) {
		p.gone = append(p.gone, byName[name])
	}
	return p, nil
}

var errFound = errors.New("found")

// sameMail guards against an identity that was used again (a directory's inode
// is): the renamed mailbox must have the old one's UIDVALIDITY or, where the
// store has none, at least one of its messages, or both must be empty.
func (r *run) sameMail(ctx context.Context, row catalog.Mailbox, b mailstore.Mailbox) (bool, error) {
	if row.UIDValidity != 0 && b.UIDValidity != 0 {
		return row.UIDValidity == b.UIDValidity, nil
	}
	keys := map[string]bool{}
	err := r.tx.Records(ctx, row.ID, func(rec *catalog.Record) error {
		if rec.GoneRun == 0 {
			keys[rec.Key] = true
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	listed := 0
	err = r.o.Source.Messages(ctx, b, func(m mailstore.Message) error {
		listed++
		if keys[m.Key] {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return err == nil && listed == 0 && len(keys) == 0, nil
}

// treeTop is the topmost of the removed mailboxes that name lies in.
func treeTop(name string, removed []catalog.Mailbox) string {
	top := name
	for _, b := range removed {
		if strings.HasPrefix(name, b.Name+"/") && len(b.Name) < len(top) {
			top = b.Name
		}
	}
	return top
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
