package main

import (
	"context"
	"errors"
	"os/user"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/upkeep"
)

func (a *app) deletionsCommand() *cli.Command {
	verdict := func(name, usage, text string, confirm bool) *cli.Command {
		return &cli.Command{
			Name: name, ArgsUsage: "USER", Usage: usage, Description: text,
			UsageText: "salvor deletions " + name + " alice --dry-run\nsalvor deletions " + name + " alice",
			Flags:     []cli.Flag{&cli.BoolFlag{Name: "dry-run", Usage: "say what it would be about, and decide nothing"}},
			Action:    a.action(1, 1, func(ctx context.Context, c *cli.Context) error { return a.decide(ctx, c, confirm) }),
		}
	}
	return &cli.Command{
		Name: "deletions", Category: categoryKeep,
		Usage: "what the brake holds: list, confirm, reject",
		Description: `When more mail disappears than people delete (a disk that was not mounted, a lost
index), its week does not begin. A person looks at the mail store and decides.`,
		UsageText: "salvor deletions\nsalvor deletions confirm alice",
		Action:    a.action(0, 0, a.deletionsList),
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list what is held, and why",
				UsageText: "salvor deletions list",
				Action:    a.action(0, 0, a.deletionsList),
			},
			verdict("confirm", "say that the user's deletions are real",
				"The week of what is held begins now.", true),
			verdict("reject", "say that the user's deletions are none",
				"What is held is kept, without an end, until the mail store shows it again or a\nlater confirm.", false),
		},
	}
}

type holdWords struct {
	User      string     `json:"user"`
	Run       uint64     `json:"run"`
	Reason    string     `json:"reason"`
	Messages  int64      `json:"messages"`
	Verdict   string     `json:"verdict"`
	VerdictAt *time.Time `json:"verdict_at"`
	VerdictBy string     `json:"verdict_by,omitempty"`
}

func (a *app) deletionsList(ctx context.Context, _ *cli.Context) error {
	s, err := a.openAnswers(ctx)
	if err != nil {
		return err
	}
	t := a.newTable("USER", ">MESSAGES", "RUN", "VERDICT", "REASON")
	shown := 0
	err = s.catalog.Holds(ctx, func(h *catalog.Hold) error {
		if (h.Verdict == catalog.Confirmed || h.Records == 0) && !a.verbose {
			return nil // settled; what was rejected has come back
		}
		shown++
		if a.json {
			return a.printJSON(holdWords{h.User, h.Run, h.Reason, h.Records, h.Verdict, h.VerdictAt, h.VerdictBy})
		}
		return t.row(h.User, counted64(h.Records), counted64(h.Run), first(h.Verdict, "waiting"), h.Reason)
	})
	if err != nil || a.json {
		return err
	}
	if shown == 0 {
		a.say("The brake holds nothing.")
		return nil
	}
	return t.flush()
}

func (a *app) decide(ctx context.Context, c *cli.Context, confirm bool) error {
	s, err := a.openUnless(ctx, c.Bool("dry-run"))
	if err != nil {
		return err
	}
	report, err := upkeep.Decide(ctx, s.history(), upkeep.Verdict{User: c.Args().First(), Confirm: confirm, By: operator(),
		Host: hostName(), Now: a.now, DryRun: c.Bool("dry-run")})
	if errors.Is(err, upkeep.ErrNothingHeld) {
		return withHint(err, "`salvor deletions` lists what is held")
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(report)
	}
	did := report.Verdict
	if report.DryRun {
		did = "would be " + did
	}
	a.print("%s of %s %s", counted(report.Records, "deletion"), clean(report.User), did)
	return a.remindIdentity(s)
}

// operator names the person at the keyboard, for the record of a decision.
func operator() string {
	if u, err := user.Current(); err == nil {
		return clean(u.Username) + "@" + hostName()
	}
	return hostName()
}
