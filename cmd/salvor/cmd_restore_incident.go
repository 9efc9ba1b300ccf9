package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/recall"
	"salvor/internal/mailstore"
	"salvor/restore"
)

// restoreIncident brings back what an incident's ledger says is held or
// uncertain, and notes there what came back.
func (a *app) restoreIncident(ctx context.Context, c *cli.Context, o restore.Options) error {
	for _, flag := range []string{"folder", "uid", "as-of", "deleted-since", "into"} {
		if c.IsSet(flag) {
			return usagef("--%s does not go with --incident: the ledger says which messages come back, and where", flag)
		}
	}
	s, err := a.openUnless(ctx, o.DryRun)
	if err != nil {
		return err
	}
	end, err := a.restoreTo(c, s, &o)
	if err != nil {
		return err
	}
	defer end()
	act := incident.ActOptions{Name: c.String("incident"), Purpose: "restore", Now: a.now, DryRun: o.DryRun}
	err = incident.Act(ctx, s.history(), act, func(ctx context.Context, l *incident.Ledger) error {
		return a.recall(ctx, c, l, o)
	})
	if err != nil {
		return incidentHint(err)
	}
	if a.json || o.DryRun {
		return nil
	}
	totals, err := incident.Count(ctx, s.catalog, act.Name)
	if err != nil {
		return incidentHint(err)
	}
	return a.printTotals(totals)
}

// recall restores with the ledger in hand.
func (a *app) recall(ctx context.Context, c *cli.Context, l *incident.Ledger, o restore.Options) (err error) {
	r := recall.New(l, o.To)
	r.Again = c.Bool("again")
	users, strangers, err := a.recallUsers(ctx, c, l, r)
	if err != nil {
		return err
	}
	for _, u := range strangers {
		a.warn("salvor: user %q has no message in the ledger of incident %s", u, l.Incident.Name)
	}
	if len(strangers) > 0 {
		defer func() {
			if err == nil {
				err = incompletef("%s of those named have no message in the ledger", counted(len(strangers), "user"))
			}
		}()
	}
	if err := severalInto(len(users), o.To); err != nil {
		return err
	}
	if len(users) == 0 {
		return a.allBack(ctx, c, r)
	}
	o.Choose = func(ctx context.Context, user string, yield func(*restore.Wish) error) error {
		return r.List(ctx, user, func(c *catalog.Claim) error { return yield(wishOf(c)) })
	}
	o.Folder = r.Folder
	if o.Expected, err = expected(ctx, r, users); err != nil {
		return err
	}
	o.Settled = func(ctx context.Context, user string, s restore.Settlement) error {
		switch s.Outcome {
		case restore.Added, restore.Present:
			return r.Back(ctx, s.Tag, mailstore.UID(s.UID))
		}
		return r.NotBack(ctx, s.Tag, s.Err.Error())
	}
	err = a.restoreMany(ctx, users, o)
	if o.DryRun {
		return err
	}
	if ctx.Err() == nil {
		if ferr := r.Flush(ctx); ferr != nil {
			return errors.Join(err, ferr)
		}
		gerr := a.updateGates(ctx, l, users, o.To)
		if err != nil {
			return err
		}
		return gerr
	}
	// What is back is to stand in the ledger soon; what does not get there in time
	// is found at the destination by the next restore.
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer stop()
	return errors.Join(err, r.Flush(last))
}

// allBack says that nothing is waiting, and whether it is back where the operator
// means it to be.
func (a *app) allBack(ctx context.Context, c *cli.Context, r *recall.Recall) error {
	var users []string
	if c.NArg() == 1 {
		users = []string{c.Args().First()}
	}
	n, stores, err := r.Elsewhere(ctx, users)
	if err != nil {
		return err
	}
	if n > 0 {
		return withHint(incompletef("nothing is waiting in the vault, and %s are back at %s, not here", counted64(n), strings.Join(stores, ", ")),
			"--again brings to this store, too, what is back elsewhere; what is here is skipped")
	}
	a.say("Nothing of these users is waiting in the vault: all of it is back.")
	return nil
}

// expected is how much is to be brought back of users.
func expected(ctx context.Context, r *recall.Recall, users []string) (e restore.Extent, err error) {
	e.Messages, e.Bytes, err = r.Extent(ctx, users)
	return e, err
}

// lastWords is how long an interrupted restore may take to write the ledger.
const lastWords = 10 * time.Second

// recallUsers are those of the command line of whom something is to be brought
// back, in their order, and those who are not in the ledger.
func (a *app) recallUsers(ctx context.Context, c *cli.Context, l *incident.Ledger, r *recall.Recall) (users, strangers []string, err error) {
	waiting, others, err := r.Users(ctx)
	if err != nil {
		return nil, nil, err
	}
	var o restore.PlanOptions
	if o.Users, err = readUsers(c, "users-file"); err == nil {
		o.Priority, err = readUsers(c, "priority")
	}
	if err != nil {
		return nil, nil, err
	}
	if c.NArg() == 1 {
		o.Users = []string{c.Args().First()}
	}
	plan, err := restore.MakePlan(ctx, l.Catalog(), o)
	if err != nil {
		return nil, nil, err
	}
	for _, u := range plan.Users {
		if _, found := slices.BinarySearch(waiting, u); found {
			users = append(users, u)
		} else if _, found := slices.BinarySearch(others, u); !found && len(o.Users) > 0 {
			strangers = append(strangers, u)
		}
	}
	if c.Bool("all") { // those whom only the index knows come last
		for _, u := range waiting {
			if !slices.Contains(users, u) {
				users = append(users, u)
			}
		}
	}
	return users, strangers, nil
}

func wishOf(c *catalog.Claim) *restore.Wish {
	return &restore.Wish{Content: c.Content, Folder: c.Folder, Record: c.Record, Flags: c.Flags, InternalDate: c.InternalDate,
		UID: restore.UID(c.UID), UIDValidity: c.UIDValidity, MaybeDeleted: c.State == catalog.ClaimUncertain, Tag: c.ID}
}
