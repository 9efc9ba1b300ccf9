package main

import (
	"context"
	"strconv"

	"github.com/urfave/cli/v2"

	"salvor/internal/incident"
)

func (a *app) incidentGiveUpCommand() *cli.Command {
	return &cli.Command{
		Name: "give-up", ArgsUsage: "NAME", Usage: "count messages that are owed as lost, by name",
		Description: `What is given up is counted as lost; who said so, when and why stands in the
ledger. Give --user, --claim or --all, and a --reason. Messages that were sent, and
of which nobody can tell whether they arrived, stay owed unless --in-doubt says
otherwise or --claim names them. All is given up in one step, or nothing is.

Exit code 3: some of what was chosen stays owed, as it may have arrived.`,
		UsageText: "salvor incident give-up server3 --user alice --reason 'disk 3 is unreadable' --dry-run\n" +
			"salvor incident give-up server3 --claim 1742 --reason 'alice has it herself'",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "user", Usage: "give up all that `USER` is owed"},
			&cli.StringSliceFlag{Name: "claim", Usage: "give up the message `ID`, as in incident list --json"},
			&cli.BoolFlag{Name: "all", Usage: "give up all that is owed"},
			&cli.BoolFlag{Name: "in-doubt", Usage: "give up also what may have arrived"},
			&cli.StringFlag{Name: "reason", Usage: "write `WORDS` into the ledger"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say how many it would be, and change nothing"},
		},
		Action: a.action(1, 1, a.incidentGiveUp),
	}
}

func (a *app) incidentGiveUp(ctx context.Context, c *cli.Context) error {
	o := incident.GiveUpOptions{Name: c.Args().First(), By: operator(), Reason: oneLine(c.String("reason")), Users: notEmpty(c.StringSlice("user")),
		All: c.Bool("all"), InDoubt: c.Bool("in-doubt"), DryRun: c.Bool("dry-run"), Now: a.now}
	for _, text := range c.StringSlice("claim") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id <= 0 {
			return withHint(usagef("--claim %q is no message of an incident", text), "`salvor incident list NAME --json` gives each its id")
		}
		o.Claims = append(o.Claims, id)
	}
	if o.All == (len(o.Users)+len(o.Claims) > 0) {
		return usagef("say what is given up: --user and --claim, or --all")
	}
	if o.Reason == "" {
		return withHint(usagef("say why, with --reason: whoever asks later finds it in the ledger"), "as in --reason 'disk 3 is unreadable'")
	}
	s, err := a.openUnless(ctx, o.DryRun)
	if err != nil {
		return err
	}
	r, err := incident.GiveUp(ctx, s.history(), o)
	if err != nil {
		return incidentHint(err)
	}
	if a.json {
		err = a.printJSON(r)
	} else {
		did := "given up"
		if r.DryRun {
			did = "would be given up"
		}
		a.print("%s %s; %d stay owed", counted(r.GivenUp, "message"), did, r.Owed)
	}
	if err == nil && r.LeftInDoubt > 0 {
		return withHint(incompletef("%s may have arrived, and stay owed", counted(r.LeftInDoubt, "message")),
			"`salvor incident list NAME --doubt` names them; --in-doubt gives them up too")
	}
	return err
}
