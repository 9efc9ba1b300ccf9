// Package gate says how far each user of an incident may come in: down (mail that
// the vault has is not back yet), web (what there is is back, but something
// dangles, or nobody has looked), imap (a look at the server after the last change
// found nothing that dangles). It keeps that in the ledger, and tells every change
// to the operator's hook, so that proxies can follow.
//
// The commands about incidents call Update when they have changed something, and
// internal/incident/owe does in between; List is for who only asks.
//
// Invariants:
//   - imap is never said of a user of whom a look found a dangling message, or
//     whom nobody has looked at since mail was brought back or taken out.
//   - A state is in the vault before anybody is told of it, and counts as told
//     only when the hook has taken it.
package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/progress"
)

// Options say whose gates are looked at, and how. The zero value judges all users
// of the incident by the ledger and by what earlier looks saw, and tells nobody.
type Options struct {
	// Users are those that are asked about; none: all of the incident.
	Users []string
	// Server is looked at, if it is not nil; Store is its URL.
	Server mailstore.Server
	Store  string
	// Sights are what the caller has seen himself, by user; these users are not
	// looked at again.
	Sights map[string]Sight
	// Hook is told of changes; nil: nobody is.
	Hook Hook
	// Beside is how many users are looked at at a time; 0: 4.
	Beside int
	Meter  progress.Meter
}

// A Row is a user's gate as it is now.
type Row struct {
	catalog.Gate
	// Before is the state that it had in the ledger; "": none.
	Before catalog.GateState
	// Problem is why the user could not be looked at, or the hook was not told; nil:
	// all is well.
	Problem error
}

const (
	// partSize is how many users are written down, and told of, together.
	partSize = 64
	beside   = 4
	// giveUp is how many failures in a row end the looking, or the telling: it is
	// not the users, then.
	giveUp = 5
)

// errGivenUp is the problem of users whose turn did not come.
var errGivenUp = fmt.Errorf("not tried, after %d failures in a row", giveUp)

// An update is one Update.
type update struct {
	l *incident.Ledger
	o Options
	// How many looks, and tellings, have failed since one went well.
	mu                       sync.Mutex // guards failedLooks
	failedLooks, failedTells int
}

// Update brings the gates of users up to date and tells the hook of changes. What
// went wrong with one user stands in his row; an error is about the ledger. The
// rows are in the order of the users.
func Update(ctx context.Context, l *incident.Ledger, o Options) ([]Row, error) {
	u := &update{l: l, o: o}
	users, err := incident.Users(ctx, l.Catalog(), l.Incident.Name, o.Users)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for part := range slices.Chunk(users, partSize) {
		some, err := u.part(ctx, part)
		rows = append(rows, some...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// List gives the gates of users as the ledger and the last looks have them. It
// changes nothing.
func List(ctx context.Context, c *catalog.Catalog, name string, users []string) ([]Row, error) {
	if _, ok, err := c.Incident(name); err != nil {
		return nil, err
	} else if !ok {
		return nil, fmt.Errorf("%q: %w", name, incident.ErrUnknown)
	}
	users, err := incident.Users(ctx, c, name, users)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, len(users))
	for i, user := range users {
		if rows[i], err = judged(ctx, c, name, user, nil); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// part does some users: it looks at them, writes down what has changed, and tells.
func (u *update) part(ctx context.Context, users []string) ([]Row, error) {
	sights, problems, err := u.look(ctx, users)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, len(users))
	var changed []catalog.Gate
	for i, user := range users {
		if rows[i], err = judged(ctx, u.l.Catalog(), u.l.Incident.Name, user, sights[i]); err != nil {
			return nil, err
		}
		old, had, err := u.l.Catalog().Gate(u.l.Incident.Name, user)
		if err != nil {
			return nil, err
		}
		if !had || old != rows[i].Gate {
			changed = append(changed, rows[i].Gate)
		}
		rows[i].Problem = errors.Join(rows[i].Problem, problems[i])
	}
	if err := u.write(ctx, changed); err != nil {
		return nil, err
	}
	return rows, u.tell(ctx, rows)
}

func (u *update) write(ctx context.Context, gates []catalog.Gate) error {
	if len(gates) == 0 {
		return nil
	}
	return u.l.Change(ctx, func(e *incident.Edit) error {
		for _, g := range gates {
			if err := e.Gate(g); err != nil {
				return err
			}
		}
		return nil
	})
}

// tell tells the hook of what it has not taken yet, the narrower gates first, and
// writes down what it took.
func (u *update) tell(ctx context.Context, rows []Row) error {
	if u.o.Hook == nil {
		return nil
	}
	var news []*Row
	for i := range rows {
		if rows[i].State != rows[i].Told {
			news = append(news, &rows[i])
		}
	}
	slices.SortStableFunc(news, func(a, b *Row) int {
		return cmp.Compare(slices.Index(catalog.GateStates, a.State), slices.Index(catalog.GateStates, b.State))
	})
	var told []catalog.Gate
	for _, row := range news {
		err := errGivenUp
		if u.failedTells < giveUp {
			err = u.o.Hook(ctx, Change{Incident: u.l.Incident.Name, User: row.User, Before: row.Told, State: row.State})
		}
		if err != nil {
			u.failedTells++
			row.Problem = errors.Join(row.Problem, fmt.Errorf("tell the hook that %q is %s: %w", row.User, row.State, err))
			continue
		}
		u.failedTells = 0
		row.Told = row.State
		told = append(told, row.Gate)
	}
	return u.write(ctx, told)
}
