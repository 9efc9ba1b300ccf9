package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"salvor/internal/upkeep"
)

func (a *app) forgetCommand() *cli.Command {
	return &cli.Command{
		Name: "forget", Category: categoryKeep,
		Usage: "erase one user at once, whatever the retention says",
		Description: `Erases the user's records, the contents that nobody else has, and the packs and
journals that held them, without any grace: stop running restores first. With the
identity at hand, packs that hold other users' mail too are rewritten; without it
those bytes wait for a prune that has it. It prints what was erased, and what remains
where and until when (locked objects, copies). A user who is still in the mail store
comes back with the next backup.`,
		UsageText: "salvor forget --user alice --dry-run\nsalvor forget --user alice --yes --identity /media/usb/salvor-identity.txt",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "user", Usage: "the `USER` to forget"},
			&cli.BoolFlag{Name: "yes", Usage: "do it; nothing brings the mail back"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be erased"},
		}, retentionFlags()...),
		Action: a.action(0, 0, a.forget),
	}
}

func (a *app) forget(ctx context.Context, c *cli.Context) error {
	user, dry := c.String("user"), c.Bool("dry-run")
	if user == "" {
		return usagef("name the user with --user")
	}
	if !dry && !c.Bool("yes") {
		return &codeError{err: fmt.Errorf("this would erase all mail of %q from the backup, for good", user), code: exitUsage,
			hint: "look at it with --dry-run, do it with --yes"}
	}
	policy, err := a.policy(c)
	if err != nil {
		return err
	}
	s, err := a.openUnless(ctx, dry)
	if err != nil {
		return err
	}
	reader, err := a.reader(s)
	if err != nil {
		return err
	}
	r, err := upkeep.Forget(ctx, s.history(), user, upkeep.PruneOptions{Policy: policy, DryRun: dry, Reader: reader, Host: hostName(), Now: a.now})
	if errors.Is(err, upkeep.ErrNoUser) {
		return withHint(err, "`salvor users` lists them")
	}
	if err != nil {
		return err
	}
	a.tellUnerased(s.vault)
	if a.json {
		return a.printJSON(r)
	}
	if dry {
		a.print("%s: %s in %s, %s that nobody else has, would be erased", r.User, counted(r.Records, "message"), counted(r.Mailboxes, "folder"), size(r.Bytes))
		a.lockWords(s.vault.Config())
		return nil
	}
	a.print("%s: forgot %s in %s, %s that nobody else had; erased %s, %s", r.User, counted(r.Records, "message"), counted(r.Mailboxes, "folder"),
		size(r.Bytes), counted(r.Erased, "object"), size(r.ErasedBytes))
	a.printRemains(r.Remains)
	if r.NeedIdentity {
		a.warn("salvor: %s still lie in packs that hold other users' mail: run `salvor prune` with the identity", size(r.Remaining))
	}
	return a.remindIdentity(s)
}
