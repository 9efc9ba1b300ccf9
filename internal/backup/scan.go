package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// submit hands a message that must be read to the workers.
type submit func(context.Context, job) error

// scan walks the source and compares it with the catalog.
func (r *run) scan(ctx context.Context, read submit) error {
	known, err := r.knownUsers(ctx)
	if err != nil {
		return err
	}
	r.o.Meter.Stage("backup")
	expected, err := r.expected(ctx)
	if err != nil {
		return err
	}
	r.o.Meter.Total(expected, 0)
	listed := 0
	missing := map[string]bool{}
	for _, name := range r.o.Users {
		missing[name] = known[name].Name == ""
	}
	err = r.o.Source.Users(ctx, func(u mailstore.User) error {
		delete(known, u.Name)
		delete(missing, u.Name)
		listed++
		if !r.wanted(u.Name) {
			return nil
		}
		if err := r.user(ctx, u, read); err != nil {
			return err
		}
		return r.enough()
	})
	if whole, err := r.whole(err); err != nil || !whole {
		return err
	}
	if listed == 0 {
		r.tally(func(rep *Report) {
			rep.Unlisted++
			rep.problem("the source shows no users at all; is its disk mounted, and is the path right?")
		})
	}
	r.unknown(missing)
	return r.usersGone(ctx, known)
}

// unknown reports users that were asked for and that nobody has ever seen: a
// misspelled name must not pass for a backup.
func (r *run) unknown(missing map[string]bool) {
	for _, name := range sortedKeys(missing) {
		if missing[name] {
			r.tally(func(rep *Report) {
				rep.Unlisted++
				rep.problem(fmt.Sprintf("%q: the source has no such user", name))
			})
		}
	}
}

// knownUsers are the users of this source that the catalog believes to exist.
func (r *run) knownUsers(ctx context.Context) (map[string]catalog.User, error) {
	known := map[string]catalog.User{}
	err := r.tx.Users(ctx, func(u *catalog.User) error {
		if u.Source == r.o.Name {
			known[u.Name] = *u
		}
		return nil
	})
	return known, err
}

// expected is how many messages the last run saw: the best guess for a bar.
func (r *run) expected(ctx context.Context) (seen int64, err error) {
	err = r.tx.Runs(ctx, 20, func(run *catalog.Run) error {
		if seen == 0 && run.Source == r.o.Name {
			seen = run.Seen
		}
		return nil
	})
	return seen, err
}

func (r *run) wanted(user string) bool {
	return len(r.o.Users) == 0 || slices.Contains(r.o.Users, user)
}

// enough ends the pass when what it reads deserves a commit of its own.
func (r *run) enough() error {
	if r.change == nil {
		return nil
	}
	if r.submitted >= r.o.CommitAfter {
		return errMorePasses
	}
	return nil
}

// whole takes the problems out of a listing's error and tells whether the
// listing was whole; other errors end the run.
func (r *run) whole(err error) (bool, error) {
	var incomplete *mailstore.Incomplete
	var problem *mailstore.Problem
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &incomplete):
		r.tally(func(rep *Report) {
			for _, p := range incomplete.Problems {
				rep.problem(p.Error())
			}
		})
	case errors.As(err, &problem):
		r.tally(func(rep *Report) { rep.problem(problem.Error()) })
	default:
		return false, err
	}
	r.tally(func(rep *Report) { rep.Unlisted++ })
	return false, nil
}

// user backs up one user's mailboxes.
func (r *run) user(ctx context.Context, u mailstore.User, read submit) error {
	row, err := r.userRow(u)
	if err != nil {
		return err
	}
	r.tally(func(rep *Report) { rep.Users++ })
	boxes, whole, err := r.mailboxes(ctx, u)
	if err != nil {
		return err
	}
	state := &userState{row: row, run: r.number, unlisted: !whole}
	plan, err := r.match(ctx, boxes, row)
	if err != nil {
		return err
	}
	for i := range plan.pairs {
		if err := r.mailbox(ctx, state, &plan.pairs[i], read); err != nil {
			return err
		}
	}
	if err := r.lookAgain(ctx, u, state, &plan, read); err != nil {
		return err
	}
	for _, b := range state.open {
		if err := read(ctx, job{box: b, kind: boxEnd}); err != nil {
			return err
		}
	}
	if whole {
		if err := r.mailboxesGone(ctx, u.Name, plan.gone); err != nil {
			return err
		}
	}
	return read(ctx, job{user: state, kind: userEnd})
}

// userRow finds or makes the user's row; it must stand before its mailboxes.
func (r *run) userRow(u mailstore.User) (catalog.User, error) {
	row, found, err := r.tx.User(u.Name)
	if err != nil {
		return row, err
	}
	if found && row.GoneRun == 0 && row.Partition == u.Partition && row.Source == r.o.Name {
		return row, nil
	}
	if !found {
		row = catalog.User{Name: u.Name, FirstRun: r.number, FirstSeen: r.clock.Now}
	}
	row.Source, row.Partition, row.GoneRun = r.o.Name, u.Partition, 0
	return row, r.tx.Put(row)
}

// mailboxes lists the user's mailboxes; whole is false when some are missing.
func (r *run) mailboxes(ctx context.Context, u mailstore.User) (boxes []mailstore.Mailbox, whole bool, err error) {
	err = r.o.Source.Mailboxes(ctx, u, func(b mailstore.Mailbox) error {
		boxes = append(boxes, b)
		return nil
	})
	whole, err = r.whole(err)
	return boxes, whole, err
}

// usersGone marks users that a whole listing did not show any more. Their
// mail is gone with them; the brake holds it.
func (r *run) usersGone(ctx context.Context, known map[string]catalog.User) error {
	for _, name := range sortedKeys(known) {
		u := known[name]
		if !r.wanted(name) {
			continue
		}
		if u.GoneRun == 0 {
			u.GoneRun = r.number
			r.tally(func(rep *Report) { rep.problem(fmt.Sprintf("%q: the user is not at the source any more", name)) })
		}
		u.LastRun = r.number
		if err := r.tx.Put(u); err != nil {
			return err
		}
		boxes, err := r.boxesOf(ctx, name)
		if err != nil {
			return err
		}
		if err := r.mailboxesGone(ctx, name, boxes); err != nil {
			return err
		}
	}
	return nil
}

// boxesOf lists the user's mailboxes that the catalog believes to exist.
func (r *run) boxesOf(ctx context.Context, user string) (boxes []catalog.Mailbox, err error) {
	err = r.tx.Mailboxes(ctx, user, func(b *catalog.Mailbox) error {
		if b.GoneRun == 0 {
			boxes = append(boxes, *b)
		}
		return nil
	})
	return boxes, err
}

// mailboxesGone marks mailboxes that their user removed, with all their mail.
// One that was out of scope is left as it is: what nobody looked at since is
// not known to be deleted.
func (r *run) mailboxesGone(ctx context.Context, user string, boxes []catalog.Mailbox) error {
	trees := map[string]int{}
	for _, b := range boxes {
		b.GoneRun, b.State = r.number, ""
		if err := r.tx.Put(b); err != nil {
			return err
		}
		if b.Excluded != "" {
			continue
		}
		n, err := r.allGone(ctx, b)
		if err != nil {
			return err
		}
		if !r.isTrash(b) {
			trees[treeTop(b.Name, boxes)] += n
		}
	}
	for _, name := range sortedKeys(trees) {
		r.removed[user] = append(r.removed[user], trees[name])
	}
	return nil
}

// allGone marks every live record of a mailbox as gone.
func (r *run) allGone(ctx context.Context, b catalog.Mailbox) (n int, err error) {
	var gone []catalog.Record
	err = r.tx.Records(ctx, b.ID, func(rec *catalog.Record) error {
		if rec.GoneRun == 0 {
			gone = append(gone, *rec)
		}
		return nil
	})
	for i := 0; err == nil && i < len(gone); i++ {
		err = r.gone(gone[i])
	}
	return len(gone), err
}

// gone marks a record as vanished. Its week does not begin here but in the
// settlement, when the whole run has been seen.
func (r *run) gone(rec catalog.Record) error {
	rec.GoneRun, rec.GoneAt, rec.Hold = r.number, nil, 0
	r.tally(func(rep *Report) { rep.Messages.Gone++ })
	return r.tx.Put(rec)
}
