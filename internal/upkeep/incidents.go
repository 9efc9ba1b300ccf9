package upkeep

import (
	"context"
	"fmt"
	"slices"

	"salvor/catalog"
	"salvor/chunk"
)

// ledgers are the answers of a catalog or its transaction that say what open
// incidents hold on to.
type ledgers interface {
	Incidents(ctx context.Context, yield func(*catalog.Incident) error) error
	OpenIncidentOf(user string) (string, error)
	Claimed(content chunk.ID) (string, error)
}

// A withholder keeps from expiring what open incidents may need: everything of
// their users, and contents that somebody else's message relies on.
type withholder struct {
	from  ledgers
	open  []string        // the open incidents
	users map[string]bool // that were asked about
}

func newWithholder(ctx context.Context, from ledgers) (*withholder, error) {
	w := &withholder{from: from, users: map[string]bool{}}
	err := from.Incidents(ctx, func(i *catalog.Incident) error {
		if i.ClosedAt.IsZero() {
			w.open = append(w.open, i.Name)
		}
		return nil
	})
	return w, err
}

// user tells whether a user is part of an open incident.
func (w *withholder) user(name string) (bool, error) {
	if len(w.open) == 0 {
		return false, nil
	}
	held, known := w.users[name]
	if known {
		return held, nil
	}
	incident, err := w.from.OpenIncidentOf(name)
	w.users[name] = incident != ""
	return incident != "", err
}

// record tells whether a record must not expire.
func (w *withholder) record(user string, content chunk.ID) (bool, error) {
	held, err := w.user(user)
	if held || err != nil || len(w.open) == 0 {
		return held, err
	}
	incident, err := w.from.Claimed(content)
	return incident != "", err
}

// row tells whether a leftover must stay.
func (w *withholder) row(r catalog.Row) (bool, error) {
	switch r := r.(type) {
	case catalog.Mailbox:
		return w.user(r.User)
	case catalog.User:
		return w.user(r.Name)
	case catalog.Tombstone:
		return w.user(r.User)
	}
	return false, nil
}

// incidents says that open incidents keep deleted mail from expiring.
func (s *Status) incidents(ctx context.Context, c *catalog.Catalog, _ StatusOptions) error {
	return c.Incidents(ctx, func(i *catalog.Incident) error {
		if i.ClosedAt.IsZero() {
			s.attend("incident %q is open: nothing of its users expires", i.Name)
		}
		return nil
	})
}

// forgetClaims takes a user out of all ledgers: the rows, and the remarks about
// what could not be read. What is left still adds up.
func forgetClaims(ctx context.Context, tx *catalog.Tx, user string) error {
	var all []catalog.Incident
	err := tx.Incidents(ctx, func(i *catalog.Incident) error {
		all = append(all, *i)
		return nil
	})
	for n := 0; err == nil && n < len(all); n++ {
		err = forgetClaimsIn(ctx, tx, all[n], user)
	}
	return err
}

// forgetFindings removes what was found of a user on disks and is kept for open
// incidents, as far as anybody knows whose it is.
func forgetFindings(ctx context.Context, tx *catalog.Tx, user string) error {
	var open []string
	err := tx.Incidents(ctx, func(i *catalog.Incident) error {
		open = append(open, i.Name)
		return nil
	})
	for n := 0; err == nil && n < len(open); n++ {
		err = tx.DropFindings(ctx, catalog.FindingQuery{Incident: open[n], User: user})
	}
	return err
}

func forgetClaimsIn(ctx context.Context, tx *catalog.Tx, i catalog.Incident, user string) error {
	claims, problems := i.Claims, len(i.Problems)
	for {
		var batch []catalog.Row
		err := tx.Claims(ctx, catalog.ClaimQuery{Incident: i.Name, User: user}, func(c *catalog.Claim) error {
			if batch = append(batch, catalog.Claim{Incident: c.Incident, ID: c.ID}); len(batch) == expireBatch {
				return catalog.ErrStop
			}
			return nil
		})
		if err == nil {
			err = tx.Delete(batch...)
		}
		if err != nil {
			return fmt.Errorf("incident %q: %w", i.Name, err)
		}
		i.Claims -= int64(len(batch))
		if len(batch) < expireBatch {
			break
		}
	}
	if err := tx.Delete(catalog.Gate{Incident: i.Name, User: user}); err != nil {
		return fmt.Errorf("incident %q: %w", i.Name, err)
	}
	i.Problems = slices.DeleteFunc(i.Problems, func(line string) bool { return mentions(line, user) })
	if i.Claims == claims && len(i.Problems) == problems {
		return nil
	}
	return tx.Put(i)
}
