package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/redeliver"
)

func (a *app) redeliverCommand() *cli.Command {
	return &cli.Command{
		Name: "redeliver", Category: categoryDisaster,
		Usage: "bring found mail back that an incident owes, each message exactly once",
		Description: `Everything below --from is held against what the incident owes. Messages with the
SHA-1 and size of an owed one (or, of a Dovecot, its file's name and size) are
appended to their folders at the running server --to, with their flags and dates,
under new UIDs. What has an owed message's Message-ID, size and date is probable;
it is listed, and delivered with --accept probable only.

--from is what salvor salvage has written (--out), another directory of message
files (a Maildir, a Cyrus spool, .eml), mbox:FILE, another mail store as for backup,
or vault: what later backups found, and what salvor salvage has put there.

Of what was salvaged only whole messages that are owed are delivered. One that is
not whole is named with --damaged, as salvor salvage show lists it; it is marked with
the keyword $Damaged, with zeros for what is missing. One that nobody is known to
miss is named with --finding. Where such a one fits no owed message, --user and
--folder say where it goes, else what the finding says of itself.

The server is asked before a message is sent; what it has already is not sent. A
run may be interrupted at any time, and run again: nothing is sent twice. Where it
cannot be told whether a message arrived, it is in doubt, and stays owed until
salvor incident settle says what became of it.

Exit code 3: not everything that was found could be delivered, or is in doubt.`,
		UsageText: "salvor redeliver --incident server3 --from /mnt/rescue --to imaps://admin@new.example.org --dry-run\n" +
			"salvor redeliver --incident server3 --from mbox:/root/queue.mbox --to imaps://admin@new.example.org\n" +
			"salvor redeliver --incident server3 --from vault --to imaps://admin@new.example.org --user alice",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "incident", Usage: "the incident `NAME`"},
			&cli.StringFlag{Name: "from", Usage: "what was found: `DIR`, mbox:FILE, another mail store, or vault (else)"},
			&cli.StringFlag{Name: "to", Usage: "deliver to the running server `STORE`, imaps://ADMIN@HOST or imap://ADMIN@HOST"},
			&cli.StringFlag{Name: "accept", Usage: "`probable`: deliver also what is only probably owed"},
			&cli.StringFlag{Name: "user", Usage: "only mail of `USER`"},
			&cli.StringSliceFlag{Name: "damaged", Usage: "deliver finding `ID` although it is not whole (repeatable)"},
			&cli.StringSliceFlag{Name: "finding", Usage: "deliver finding `ID` although nobody is known to miss it (repeatable)"},
			&cli.StringFlag{Name: "folder", Usage: "where --damaged and --finding go that fit no owed message, of --user"},
			&cli.StringFlag{Name: "pace", Usage: "deliver at most at `RATE`, as in 200msg/s,20MB/s"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be delivered, and write nothing"},
		},
		Action: a.action(0, 0, a.redeliver),
	}
}

func (a *app) redeliver(ctx context.Context, c *cli.Context) error {
	o, err := a.redeliverOptions(c)
	if err != nil {
		return err
	}
	s, err := a.openUnless(ctx, o.DryRun)
	if err != nil {
		return err
	}
	if err := redelivered(ctx, c, s, &o); err != nil {
		return err
	}
	end, err := a.redeliverFrom(ctx, c, s, &o)
	if err != nil {
		return err
	}
	defer end()
	limiter, err := a.pace(c, c.String("to"))
	if err != nil {
		return err
	}
	a.steer(ctx, c, limiter, o.Store, nil)
	o.Wait = limiter.Wait
	leave, err := a.liveServer(c.String("to"), &o.Server)
	if err != nil {
		return err
	}
	defer leave()
	o.Meter = a.meter()
	report, err := redeliver.Run(ctx, s.history(), o)
	a.closeDisplay()
	if err == nil || report.Delivered+report.AlreadyThere > 0 {
		if perr := a.printRedelivered(report, &o); perr != nil {
			return errors.Join(err, perr)
		}
	}
	if err != nil {
		return incidentHint(err)
	}
	if users := deliveredTo(report); len(users) > 0 && !o.DryRun {
		act := incident.ActOptions{Name: o.Name, Purpose: "gates", Now: a.now}
		err := incident.Act(ctx, s.history(), act, func(ctx context.Context, l *incident.Ledger) error {
			return a.updateGates(ctx, l, users, c.String("to"))
		})
		if err != nil {
			return errors.Join(redeliverVerdict(report), incidentHint(err))
		}
	}
	return redeliverVerdict(report)
}

// redelivered refuses a user of whom the incident knows nothing: a name that is
// mistyped owes nothing, and all would look well. What is named by its ID may go to
// anybody.
func redelivered(ctx context.Context, c *cli.Context, s *session, o *redeliver.Options) error {
	if o.User == "" || len(c.StringSlice("damaged"))+len(c.StringSlice("finding")) > 0 {
		return nil
	}
	_, known, err := s.catalog.Incident(o.Name)
	if err != nil || !known {
		return err // it is told below
	}
	known = false
	err = s.catalog.ClaimUsers(ctx, o.Name, func(u catalog.UserClaims) error {
		known = known || u.User == o.User
		return nil
	})
	if err == nil && !known {
		err = withHint(fmt.Errorf("incident %s knows of no user %q", o.Name, o.User), "look at the name; salvor incident report "+o.Name+" tells each user of the incident")
	}
	return err
}

// deliveredTo are the users to whom something was delivered.
func deliveredTo(r *redeliver.Report) (users []string) {
	for _, f := range r.Folders {
		if len(users) == 0 || users[len(users)-1] != f.User {
			users = append(users, f.User)
		}
	}
	return users
}

func (a *app) redeliverOptions(c *cli.Context) (redeliver.Options, error) {
	o := redeliver.Options{Name: c.String("incident"), User: c.String("user"), DryRun: c.Bool("dry-run"), Folder: a.settings.config.RedeliverFolder, Now: a.now}
	for _, flag := range []string{"incident", "to"} {
		if c.String(flag) == "" {
			return o, withHint(usagef("--%s is missing", flag), "as in: salvor redeliver --incident NAME --from DIR --to imaps://ADMIN@HOST")
		}
	}
	switch c.String("accept") {
	case "":
	case "probable":
		o.AcceptProbable = true
	default:
		return o, usagef("--accept %s: only probable can be accepted", c.String("accept"))
	}
	if c.String("folder") != "" && len(c.StringSlice("damaged"))+len(c.StringSlice("finding")) == 0 {
		return o, usagef("--folder says where --damaged and --finding go: what is owed goes to its own folder")
	}
	if to := c.String("to"); !strings.HasPrefix(to, "imap:") && !strings.HasPrefix(to, "imaps:") {
		return o, withHint(usagef("--to %s: mail is redelivered to a running server, over IMAP: only that can be asked whether a message arrived", to),
			"as in: --to imaps://ADMIN@HOST")
	}
	// What follows the "?" says how to connect, not whereto.
	o.Store, _, _ = strings.Cut(c.String("to"), "?")
	if a.verbose {
		o.Unknown = func(c redeliver.Content) { a.say("nobody owes %s", c.Place) }
	}
	return o, nil
}

func (a *app) printRedelivered(r *redeliver.Report, o *redeliver.Options) error {
	for _, n := range r.Notes {
		a.warn("salvor: %s", n)
	}
	if r.MoreNotes > 0 {
		a.warn("salvor: and %s more", counted(r.MoreNotes, "note"))
	}
	if a.json {
		return a.printJSON(r)
	}
	did := "delivered"
	if r.DryRun {
		did = "would be delivered"
	}
	a.print("%s %s to %s; %d there already, %d failed, %d still owed", counted(r.Delivered, "message"), did, o.Store, r.AlreadyThere, r.Failed, r.StillOwed)
	if r.InDoubt+r.Probable > 0 {
		a.print("  %d in doubt, %d probable and not delivered", r.InDoubt, r.Probable)
	}
	a.print("  of what was found: %d held already, %d deleted by their users, %d owed by nobody, %d unreadable", r.AlreadyHeld, r.Deleted, r.Unknown, r.Unreadable)
	if !r.DryRun && !a.verbose || len(r.Folders) == 0 {
		return nil
	}
	t := a.newTable("USER", "FOLDER", ">MESSAGES", ">SIZE")
	for _, f := range r.Folders {
		if err := t.row(f.User, f.Name, counted64(f.Messages), size(f.Bytes)); err != nil {
			return err
		}
	}
	return t.flush()
}

// redeliverVerdict says what stays to be done of what was found.
func redeliverVerdict(r *redeliver.Report) error {
	switch {
	case r.Complete() || r.DryRun && r.Unreadable == 0:
		return nil
	case r.InDoubt > 0:
		return withHint(incompletef("%d could not be delivered, %d are in doubt, %d are probable, %d could not be read", r.Failed, r.InDoubt, r.Probable, r.Unreadable),
			"`salvor incident list NAME --doubt` names what is in doubt; look whether it arrived, and say so with `salvor incident settle`")
	case r.Failed == 0 && r.Probable > 0:
		return withHint(incompletef("%d are probable and were not delivered, %d could not be read", r.Probable, r.Unreadable),
			"they are named above; --accept probable delivers them")
	}
	return withHint(incompletef("%d could not be delivered, %d are probable, %d could not be read", r.Failed, r.Probable, r.Unreadable),
		"`salvor incident list NAME --state owed` gives the reasons; what is delivered by now will not be sent again")
}

func (a *app) incidentSettleCommand() *cli.Command {
	return &cli.Command{
		Name: "settle", ArgsUsage: "NAME", Usage: "say what became of a message that is in doubt",
		Description: `A message is in doubt when it was sent and nobody can tell whether it arrived. Look
into the user's folders, then say so. Messages that are not in doubt are refused.`,
		UsageText: "salvor incident list server3 --doubt --json\nsalvor incident settle server3 --claim 1742 --delivered\nsalvor incident settle server3 --claim 1742 --send-again",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "claim", Usage: "the message `ID`, as in incident list --json"},
			&cli.BoolFlag{Name: "delivered", Usage: "it arrived, or the user has it in another way"},
			&cli.BoolFlag{Name: "send-again", Usage: "it did not arrive: redeliver may send it again"},
		},
		Action: a.action(1, 1, a.incidentSettle),
	}
}

func (a *app) incidentSettle(ctx context.Context, c *cli.Context) error {
	id, err := strconv.ParseInt(c.String("claim"), 10, 64)
	if err != nil || id <= 0 {
		return withHint(usagef("--claim %q is no message of an incident", c.String("claim")), "`salvor incident list NAME --doubt --json` gives each its id")
	}
	if c.Bool("delivered") == c.Bool("send-again") {
		return usagef("say what became of it: --delivered or --send-again")
	}
	s, err := a.openUnless(ctx, false)
	if err != nil {
		return err
	}
	claim, err := redeliver.Settle(ctx, s.history(), redeliver.SettleOptions{Name: c.Args().First(), Claim: id, Delivered: c.Bool("delivered"), By: operator(), Now: a.now})
	if errors.Is(err, redeliver.ErrSettled) || errors.Is(err, redeliver.ErrNoClaim) {
		return withHint(err, "`salvor incident list NAME --doubt --json` names those that are in doubt")
	}
	if err != nil {
		return incidentHint(err)
	}
	if a.json {
		return a.printJSON(wordsOfClaim(&claim))
	}
	a.print("message %d of %s in %s is %s: %s", claim.ID, clean(claim.User), clean(claim.Folder), claim.State, clean(claim.Reason))
	return nil
}
