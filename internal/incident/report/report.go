// Package report says what became of the mail of an incident: to each user, in
// plain words, what he will notice (Page); to whoever keeps the books, every
// message with its state (CSV); to the public, sums without anything private
// (Public). It reads the ledger and writes what it was told to write, nothing
// else; cmd/salvor calls it.
//
// Invariants:
//   - Nothing is said of a ledger that does not add up: the states of all users
//     make the incident's totals, and those the number of messages that it was
//     opened with. A page is compared with them once more.
//   - Public names nobody and nothing: no user, folder, message, file or server.
//   - Names and headers are anybody's: they are escaped for HTML, made harmless
//     in CSV, and hold no control characters in a text.
//
// Memory is bounded by one user's folders, not by the ledger.
package report

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
)

// ErrNoUser says that nothing of the user's mail is part of the incident.
var ErrNoUser = errors.New("no mail of this user is part of the incident")

// ErrChanged says that somebody went on with the incident while it was read.
var ErrChanged = errors.New("the ledger was changed while it was read: run it again")

// Options say how a report is made. The zero value works.
type Options struct {
	Zone *time.Location // of all times; nil: the host's
	Now  func() time.Time
}

// A Report answers questions about one incident.
type Report struct {
	Incident catalog.Incident
	Totals   incident.Totals
	Users    int64 // who have mail in it

	c    *catalog.Catalog
	head catalog.Head
	zone *time.Location
	now  func() time.Time
}

// Open adds an incident's ledger up. incident.ErrUnknown; incident.ErrSums when
// it does not add up.
func Open(ctx context.Context, c *catalog.Catalog, name string, o Options) (*Report, error) {
	r := &Report{c: c, zone: o.Zone, now: o.Now}
	if r.zone == nil {
		r.zone = time.Local
	}
	if r.now == nil {
		r.now = time.Now
	}
	var err error
	for range 3 { // somebody may change it in between
		if r.head, err = c.Head(); err != nil {
			return nil, err
		}
		if err = r.sum(ctx, name); !errors.Is(err, incident.ErrSums) {
			break
		}
		if changed, herr := r.changed(); herr != nil || !changed {
			return nil, errors.Join(err, herr)
		}
	}
	if errors.Is(err, incident.ErrSums) { // no two looks were at the same state
		return nil, ErrChanged
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// changed tells whether anything was written since the report was opened.
func (r *Report) changed() (bool, error) {
	head, err := r.c.Head()
	return head.Number != r.head.Number, err
}

// sum compares the sums by user with those of the incident.
func (r *Report) sum(ctx context.Context, name string) error {
	totals, err := incident.Count(ctx, r.c, name)
	if err != nil {
		return err
	}
	if r.Incident, _, err = r.c.Incident(name); err != nil {
		return err
	}
	r.Totals, r.Users = *totals, 0
	byUser := Numbers{}
	err = r.c.ClaimUsers(ctx, name, func(u catalog.UserClaims) error {
		r.Users++
		n, err := numbersOf(u.Counts)
		byUser.add(n)
		return err
	})
	if err == nil && byUser != numbersOfTotals(totals) {
		err = fmt.Errorf("%w: the users of incident %q have %+v, the incident %+v", incident.ErrSums, name, byUser, numbersOfTotals(totals))
	}
	return err
}

// Pages gives the page of every user, by name.
func (r *Report) Pages(ctx context.Context, yield func(*Page) error) error {
	return r.c.ClaimUsers(ctx, r.Incident.Name, func(u catalog.UserClaims) error {
		p, err := r.page(ctx, u)
		if err != nil {
			return err
		}
		return yield(p)
	})
}

// Page gives one user's page; ErrNoUser.
func (r *Report) Page(ctx context.Context, user string) (*Page, error) {
	found := catalog.UserClaims{}
	err := r.c.ClaimUsers(ctx, r.Incident.Name, func(u catalog.UserClaims) error {
		if u.User != user {
			return nil
		}
		found = u
		return catalog.ErrStop
	})
	if err != nil {
		return nil, err
	}
	if found.Counts == nil {
		return nil, fmt.Errorf("%q: %w", user, ErrNoUser)
	}
	return r.page(ctx, found)
}

// page makes a page and holds it against the ledger's sums.
func (r *Report) page(ctx context.Context, u catalog.UserClaims) (*Page, error) {
	want, err := numbersOf(u.Counts)
	if err != nil {
		return nil, err
	}
	p, err := r.makePage(ctx, u.User)
	if err != nil {
		return nil, err
	}
	got := p.Messages
	got.InDoubt = 0
	if got == want {
		return p, nil
	}
	changed, err := r.changed()
	switch {
	case err != nil:
		return nil, err
	case !changed:
		return nil, fmt.Errorf("%w: the messages of %q make %+v, the ledger has %+v", incident.ErrSums, u.User, got, want)
	case got.all() != want.all():
		return nil, fmt.Errorf("user %q: %w", u.User, ErrChanged)
	}
	return p, nil // messages went from state to state, and none got lost
}

// total holds what all pages make together against the incident's sums.
func (r *Report) total(sum Numbers) error {
	sum.InDoubt = 0
	want := numbersOfTotals(&r.Totals)
	if sum == want {
		return nil
	}
	changed, err := r.changed()
	switch {
	case err != nil:
		return err
	case !changed:
		return fmt.Errorf("%w: all pages make %+v, the incident %+v", incident.ErrSums, sum, want)
	case sum.all() != want.all():
		return ErrChanged
	}
	return nil
}
