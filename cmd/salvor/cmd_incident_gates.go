package main

import (
	"context"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/gate"
)

func (a *app) gatesCommand() *cli.Command {
	return &cli.Command{
		Name: "gates", ArgsUsage: "NAME", Usage: "how far each user may come in: down, web or imap",
		Description: `down: mail that the vault has is not back yet. web: what there is is back, but
messages are listed without content, which IMAP clients do not bear, or nobody has
looked since mail was brought back or taken out. imap: everything that is listed has
content.

Without --to the ledger and the last looks tell, and nothing is written. With --to
all messages of the users are looked at, the gates are written into the ledger, and
the command that on-gate in the configuration file names is run for each change.

Exit code 3: a user could not be looked at, or a change not told.`,
		UsageText: "salvor incident gates server3\nsalvor incident gates server3 --to imaps://admin@mail.example.org --user alice --json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "look at the running server `STORE`"},
			&cli.StringSliceFlag{Name: "user", Usage: "only this `USER`"},
		},
		Action: a.action(1, 1, a.incidentGates),
	}
}

func (a *app) incidentGates(ctx context.Context, c *cli.Context) error {
	name, users := c.Args().First(), notEmpty(c.StringSlice("user"))
	rows, err := a.gates(ctx, name, c.String("to"), users)
	a.closeDisplay()
	if perr := a.printGates(rows); perr != nil {
		return perr
	}
	if err != nil {
		return oweHint(err)
	}
	if problems := a.warnGates(rows); problems > 0 {
		return withHint(incompletef("%s could not be looked at, or not told of", counted(problems, "user")), "the same command tries again")
	}
	return nil
}

// gates lists them, or looks at a server first.
func (a *app) gates(ctx context.Context, name, to string, users []string) (rows []gate.Row, err error) {
	if to == "" {
		s, err := a.openAnswers(ctx)
		if err != nil {
			return nil, err
		}
		return gate.List(ctx, s.catalog, name, users)
	}
	o := gate.Options{Users: users, Store: to, Hook: gate.Shell(a.settings.config.OnGate)}
	s, err := a.openUnless(ctx, false)
	if err != nil {
		return nil, err
	}
	o.Meter = a.meter()
	err = incident.Act(ctx, s.history(), incident.ActOptions{Name: name, Purpose: "gates", Now: a.now}, func(ctx context.Context, l *incident.Ledger) error {
		end, err := a.liveServer(to, &o.Server)
		if err != nil {
			return err
		}
		defer end()
		rows, err = gate.Update(ctx, l, o)
		return err
	})
	return rows, err
}

// updateGates brings the gates of users up to date after their mail was brought
// back to a store, which is looked at where it is a running server.
func (a *app) updateGates(ctx context.Context, l *incident.Ledger, users []string, to string) error {
	o := gate.Options{Users: users, Hook: gate.Shell(a.settings.config.OnGate)}
	if strings.HasPrefix(to, "imap:") || strings.HasPrefix(to, "imaps:") {
		o.Store = to
		end, err := a.liveServer(to, &o.Server)
		if err != nil {
			return err
		}
		defer end()
	}
	rows, err := gate.Update(ctx, l, o)
	if err != nil {
		return err
	}
	problems, dangling := a.warnGates(rows), 0
	for _, r := range rows {
		if r.Dangling > 0 {
			dangling++
		}
	}
	if dangling > 0 {
		a.say("Of %s messages are listed there without content; what was brought back stands beside them: `salvor incident owe %s` takes them out.",
			counted(dangling, "user"), l.Incident.Name)
	}
	if problems > 0 {
		return withHint(incompletef("the gates of %s could not be brought up to date", counted(problems, "user")),
			"`salvor incident gates "+l.Incident.Name+" --to "+shellWord(to)+"` tries again")
	}
	return nil
}

// warnGates names what went wrong with users' gates, and counts it.
func (a *app) warnGates(rows []gate.Row) (problems int) {
	for _, r := range rows {
		if r.Problem != nil {
			problems++
			a.warn("salvor: %s: %v", r.User, r.Problem)
		}
	}
	return problems
}

// gateWords is a gate for scripts.
type gateWords struct {
	User      string            `json:"user"`
	Gate      catalog.GateState `json:"gate"`
	Reason    string            `json:"reason"`
	Dangling  int64             `json:"dangling"`
	CheckedAt *time.Time        `json:"checked_at"` // null: nobody has looked
	Told      catalog.GateState `json:"told"`       // "": the hook was never told
}

func (a *app) printGates(rows []gate.Row) error {
	t := a.newTable("USER", "GATE", ">WITHOUT CONTENT", "LOOKED AT", "TOLD", "REASON")
	for _, r := range rows {
		w := gateWords{User: r.User, Gate: r.State, Reason: r.Reason, Dangling: r.Dangling, Told: r.Told}
		if !r.CheckedAt.IsZero() {
			w.CheckedAt = &r.CheckedAt
		}
		var err error
		if a.json {
			err = a.printJSON(w)
		} else {
			err = t.row(w.User, string(w.Gate), counted64(w.Dangling), momentOf(w.CheckedAt), string(w.Told), w.Reason)
		}
		if err != nil {
			return err
		}
	}
	if a.json || len(rows) == 0 {
		return nil
	}
	return t.flush()
}
