package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/config"
	"salvor/internal/incident"
	"salvor/internal/incident/gate"
	"salvor/internal/incident/owe"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/stores"
)

func (a *app) oweCommand() *cli.Command {
	return &cli.Command{
		Name: "owe", ArgsUsage: "NAME", Usage: "take messages that nobody has out of the live index, after writing them into the ledger",
		Description: `A client that meets a message without content may drop mail, and replication
stops at it. STORE is the running server, as in imaps://admin@host. First --dry-run
looks at all users, or at --user, and writes a plan; --plan runs it, two minutes to
24 hours later. Each message is looked at again then, written into the ledger, asked
for once more and taken out, so that clients hear of it. What the server can give is
never touched, nor what the vault has: salvor restore --incident brings that back.

More than 5 % of a user's messages are taken out only with --accept USER, and those
count too that had content before: a volume that is away looks like lost files. An
error of the server, other than a missing message, stops everything. After an interruption run
the same plan again. It is refused unless the surviving metadata was copied first
(salvor incident open --index).

Exit code 3: done, but something was not taken out, or still has no content.`,
		UsageText: "salvor incident owe server3 --to imaps://admin@mail.example.org --dry-run\n" +
			"salvor incident owe server3 --to imaps://admin@mail.example.org --plan HASH --accept alice",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "the running server `STORE`"},
			&cli.BoolFlag{Name: "dry-run", Usage: "look, and write a plan; change nothing"},
			&cli.StringFlag{Name: "plan", Usage: "run the plan with this `HASH`"},
			&cli.StringSliceFlag{Name: "user", Usage: "with --dry-run: only this `USER`"},
			&cli.StringSliceFlag{Name: "accept", Usage: "with --plan: take more than 5 % of the messages of `USER` out"},
			&cli.StringFlag{Name: "settle", Usage: "least `TIME` between plan and run; else 2m"},
		},
		Action: a.action(1, 1, a.incidentOwe),
	}
}

func (a *app) incidentOwe(ctx context.Context, c *cli.Context) error {
	name, dry, sum := c.Args().First(), c.Bool("dry-run"), c.String("plan")
	o := owe.Options{Store: c.String("to"), Users: notEmpty(c.StringSlice("user")), Accept: notEmpty(c.StringSlice("accept")), Settle: owe.Settle,
		Hook: gate.Shell(a.settings.config.OnGate)}
	switch {
	case o.Store == "":
		return withHint(usagef("no server: name the one that runs"), "as in: salvor incident owe "+name+" --to imaps://admin@mail.example.org --dry-run")
	case dry == (sum != ""):
		return withHint(usagef("either --dry-run or --plan: nothing is taken out without a plan"),
			fmt.Sprintf("salvor incident owe %s --to %s --dry-run makes one, and names it", name, shellWord(o.Store)))
	case !dry && len(o.Users) > 0:
		return usagef("--user goes with --dry-run: a plan says itself whom it is about")
	case dry && len(o.Accept) > 0:
		return usagef("--accept goes with --plan")
	}
	if text := c.String("settle"); text != "" {
		var err error
		if o.Settle, err = config.ParseDuration(text); err != nil {
			return usagef("--settle: %w", err)
		}
		if o.Settle < owe.Settle {
			a.warn("salvor: warning: --settle %s is for tests: a volume that is away for a moment looks like lost files", text)
		}
	}
	s, err := a.openUnless(ctx, dry)
	if err != nil {
		return err
	}
	o.Meter = a.meter()
	var report *owe.Report
	act := incident.ActOptions{Name: name, Purpose: "owe", Now: a.now, DryRun: dry}
	err = incident.Act(ctx, s.history(), act, func(ctx context.Context, l *incident.Ledger) error {
		end, err := a.liveServer(o.Store, &o.Server)
		if err != nil {
			return err
		}
		defer end()
		if dry {
			report, err = owe.Plan(ctx, l, o)
		} else {
			report, err = owe.Run(ctx, l, o, sum)
		}
		return err
	})
	a.closeDisplay()
	if report != nil {
		if perr := a.printOwe(report, o.Settle); perr != nil {
			return errors.Join(err, perr)
		}
	}
	if err != nil {
		return oweHint(err)
	}
	return a.oweVerdict(report)
}

// liveServer opens a running server, and gives what closes it.
func (a *app) liveServer(url string, to *mailstore.Server) (func(), error) {
	server, err := stores.OpenServer(url, a.storeOptions("", nil))
	if err != nil {
		return nil, storeError(err)
	}
	*to = server
	return func() {
		if closer, ok := server.(io.Closer); ok {
			closer.Close() // what it has answered, it has done
		}
	}, nil
}

// oweHint says what to do about an error of owing.
func oweHint(err error) error {
	for _, known := range []struct {
		is   error
		hint string
	}{
		{incident.ErrUser, "`salvor incident list NAME` shows whose messages it is about"},
		{owe.ErrPlan, "make a new one with --dry-run"},
		{owe.ErrOld, "make a new one with --dry-run"},
		{owe.ErrYoung, "run the same command again then"},
		{owe.ErrRemove, "name the running server: imaps://admin@host"},
	} {
		if errors.Is(err, known.is) {
			return withHint(err, known.hint)
		}
	}
	return incidentHint(err)
}

func (a *app) oweVerdict(r *owe.Report) error {
	if !r.Incomplete() {
		return nil
	}
	if r.DryRun {
		return incompletef("not everything could be looked at")
	}
	left, refused := 0, 0
	for _, u := range r.Users {
		left += u.Left
		if u.Refused {
			refused++
		}
	}
	if refused > 0 {
		return withHint(incompletef("%s of whom it is more than 5 %% not touched; %s without content left", counted(refused, "user"), counted(left, "message")),
			"if that is right, run the plan again with --accept USER for each")
	}
	return incompletef("%s without content left, %s taken out", counted(left, "message"), counted(r.Taken, "message"))
}

func (a *app) printOwe(r *owe.Report, settle time.Duration) error {
	if a.json {
		return a.printJSON(r)
	}
	if r.DryRun {
		return a.printPlan(r, settle)
	}
	t := a.newTable("USER", ">PLANNED", ">TAKEN", ">GONE BEFORE", ">WHOLE AGAIN", ">LEFT", ">IN THE VAULT")
	for _, u := range r.Users {
		err := t.row(u.User, counted64(u.Take), counted64(u.Taken), counted64(u.Gone), counted64(u.Whole), counted64(u.Left), counted64(u.Held))
		if err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	a.printOweWords(r)
	a.print("%s of %d taken out of %s", counted(r.Taken, "message"), r.Take, r.Store)
	return nil
}

// printPlan says what a plan would do, and how to run it.
func (a *app) printPlan(r *owe.Report, settle time.Duration) error {
	t := a.newTable("USER", ">LISTED", ">WITHOUT CONTENT", ">TO BE TAKEN OUT", ">%", "FROM", "TO", "FOLDERS")
	for _, u := range r.Users {
		var folders []string
		for _, f := range u.Folders {
			folders = append(folders, fmt.Sprintf("%s %d", f.Folder, f.Take))
		}
		err := t.row(u.User, counted64(u.Messages), counted64(u.Dangling), counted64(u.Take), fmt.Sprintf("%.1f", u.Percent), momentOf(u.From), momentOf(u.To),
			strings.Join(folders, ", "))
		if err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	a.printOweWords(r)
	if r.Plan == "" {
		a.print("dry run, nothing was changed: %s looked at, nothing to be taken out", counted(r.Looked, "user"))
		return nil
	}
	a.print("dry run, nothing was changed: %s looked at, %s to be taken out", counted(r.Looked, "user"), counted(r.Take, "message"))
	from, how := a.now().Add(settle), ""
	if settle != owe.Settle {
		how = " --settle " + settle.String()
	}
	if settle >= time.Minute {
		from = from.Add(time.Minute - 1) // it is printed without seconds
	}
	a.print("the plan is %s; from %s on:", r.File, moment(from))
	a.print("  salvor incident owe %s --to %s --plan %s%s", r.Incident, shellWord(r.Store), r.Plan, how)
	return nil
}

// printOweWords says what a table does not.
func (a *app) printOweWords(r *owe.Report) {
	for _, u := range r.Users {
		for _, p := range u.Problems {
			a.print("%s: %s", u.User, p)
		}
		if n := u.Again + u.New; n > 0 {
			a.print("%s: %s had content before, and more may follow: is a volume away?", u.User, counted(n, "message"))
		}
		if u.Copied > 0 {
			a.print("%s: %s of these were brought back to another place", u.User, counted(u.Copied, "message"))
		}
		if n := u.Deleted + u.Junk + u.Lost; n > 0 {
			a.print("%s: %d of these were removed by their user, %d are in Junk folders, %d were given up", u.User, u.Deleted, u.Junk, u.Lost)
		}
		if u.Held > 0 {
			a.print("%s: %s without content are in the vault and not touched: first `salvor incident fill %s` or `salvor restore --incident %s`",
				u.User, counted(u.Held, "message"), r.Incident, r.Incident)
		}
		if u.Refused {
			a.print("%s: %.1f %% of %s are more than 5 %%: not without --accept %s", u.User, u.Percent, counted(u.Messages, "message"), shellWord(u.User))
		}
	}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// shellWord writes a word as a shell takes it.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
