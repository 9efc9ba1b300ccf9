package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/config"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

func (a *app) pruneCommand() *cli.Command {
	return &cli.Command{
		Name: "prune", Category: categoryKeep,
		Usage: "expire what is over its time, erase what nothing holds any more",
		Description: `Erasing takes two prunes: the first condemns, one after the grace (24 hours)
erases, so that no running restore loses what it reads. Packs that still hold
living mail are rewritten, which needs the identity: when a fifth of a pack is
dead, or when its dead bytes are a week old. Without one they wait. What is locked
in its bucket (init --lock-days) is erased when its lock ends; the locks of what is
needed are extended.`,
		UsageText: "salvor prune --dry-run\nsalvor prune --identity /media/usb/salvor-identity.txt --rewrite-after 0s",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be expired and erased, and change nothing"},
			&cli.StringFlag{Name: "rewrite-after", Usage: "rewrite packs and journals whose dead bytes are older than `TIME`; else 7d"},
		}, retentionFlags()...),
		Action: a.action(0, 0, a.prune),
	}
}

func (a *app) prune(ctx context.Context, c *cli.Context) error {
	policy, err := a.policy(c)
	if err != nil {
		return err
	}
	s, err := a.openUnless(ctx, c.Bool("dry-run"))
	if err != nil {
		return err
	}
	reader, err := a.reader(s)
	if err != nil {
		return err
	}
	o := upkeep.PruneOptions{Policy: policy, DryRun: c.Bool("dry-run"), Reader: reader, Host: hostName(), Now: a.now}
	if text := c.String("rewrite-after"); text != "" {
		age, err := config.ParseDuration(text)
		if err != nil {
			return usagef("--rewrite-after: %w", err)
		}
		o.RewriteAge = max(age, time.Nanosecond)
		o.CheckpointEvery = o.RewriteAge
	}
	report, err := upkeep.Prune(ctx, s.history(), o)
	if err != nil {
		return err
	}
	a.tellUnerased(s.vault)
	if err := a.printPrune(report); err != nil {
		return err
	}
	if err := a.remindIdentity(s); err != nil {
		return err
	}
	return pruneVerdict(report)
}

func pruneVerdict(r *upkeep.PruneReport) error {
	switch {
	case r.Clock != "":
		return incompletef("nothing was expired or erased: %s", r.Clock)
	case r.LockProblem != "":
		return withHint(incompletef("the locks could not be extended: %s", r.LockProblem), "run prune with a credential that may lock (docs/operations.md, \"Object lock\")")
	case len(r.Damaged) > 0:
		return incompletef("%s could not be rewritten: %s", counted(len(r.Damaged), "damaged pack"), r.Damaged[0])
	}
	return nil
}

// reader gives what reads packs; nil where no identity is at hand.
func (a *app) reader(s *session) (*vault.Reader, error) {
	if !opens(s.ids, s.vault.Config()) {
		return nil, nil
	}
	return s.vault.NewReader(s.ids.Keys, vault.ReaderOptions{})
}

func (a *app) printPrune(r *upkeep.PruneReport) error {
	if a.json {
		return a.printJSON(r)
	}
	did := ""
	if r.DryRun {
		did = "would be "
	}
	a.print("%s %sexpired, %s", counted(r.Expired, "message"), did, size(r.ExpiredBytes))
	a.print("%s %scondemned, %s (%d rewritten)", counted(r.Condemned, "object"), did, size(r.CondemnBytes), r.Rewritten)
	a.print("%s %serased, %s", counted(r.Erased, "object"), did, size(r.ErasedBytes))
	a.print("%s of dead bytes are still stored", size(r.Remaining))
	if r.Locked > 0 {
		a.print("%s to be erased are locked in their store, %s: they go with the first prune after %s", counted(r.Locked, "object"), size(r.LockedBytes), momentOf(r.LockedUntil))
	}
	if r.Extended > 0 {
		a.print("the locks of %s were extended", counted(r.Extended, "object"))
	}
	if r.Postponed > 0 {
		a.say("Enough was rewritten for one prune; %s wait for the next one.", counted(r.Postponed, "pack"))
	}
	if r.NeedIdentity {
		a.say("Some of them stand between living mail; a prune with the identity rewrites these packs.")
	}
	return nil
}
