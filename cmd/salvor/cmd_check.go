package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"salvor/internal/history"
	"salvor/internal/upkeep"
)

func (a *app) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Category: categoryKeep,
		Usage: "look for damage in the vault",
		Description: `Without flags it follows the signed commits and looks whether every object that
they name is there, of the right size. --read-data reads all of them; with the
identity at hand it also decrypts and unpacks everything.

--repair puts right what the parity of a vault on several targets can put right, and
fills a target that was replaced by an empty one; it needs no identity.
--repair --from COPY fetches what is damaged or missing from a second copy of the
vault (salvor copy), needs no identity, and keeps the damaged bytes under damaged/.

Exit code 3: something is damaged; 1: the bytes of messages are not there any more.
The messages that cannot be restored are named.
Those that the mail store still has are stored anew by the next backup.`,
		UsageText: "salvor check\nsalvor check --read-data --percent 5\nsalvor check --read-data --repair\nsalvor check --read-data --repair --from /mnt/usb/mail-copy",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "read-data", Usage: "read the objects, and compare them with their names"},
			&cli.StringFlag{Name: "percent", Usage: "with --read-data: read only `N` percent, the next ones each time"},
		}, repairFlags()...),
		Action: a.action(0, 0, a.check),
	}
}

func (a *app) check(ctx context.Context, c *cli.Context) error {
	o := upkeep.CheckOptions{ReadData: c.Bool("read-data"), Now: a.now}
	if text := c.String("percent"); text != "" {
		var err error
		if o.Percent, err = strconv.Atoi(text); err != nil || o.Percent < 1 || o.Percent > 100 {
			return usagef("--percent: %q is no number from 1 to 100", text)
		}
		if !o.ReadData {
			return usagef("--percent needs --read-data")
		}
	}
	s, second, mended, err := a.openToCheck(ctx, c)
	if errors.Is(err, history.ErrNoKey) {
		a.warn("salvor: warning: no key is at hand: what is damaged is found, but not which messages are in it")
		err = nil
	}
	if err != nil {
		return err
	}
	if o.Reader, err = a.reader(s); err != nil {
		return err
	}
	o.Meter, o.Second, o.Repair = a.meter(), second, c.Bool("repair")
	if o.Part, err = a.nextPart(s.vault.ID()); err != nil {
		return err
	}
	report, err := upkeep.Check(ctx, s.history(), o)
	a.closeDisplay()
	if err != nil {
		return err
	}
	if parts := upkeep.Parts(o.Percent); parts > 1 {
		a.say("salvor: read part %d of %d; after %d such checks everything was read", o.Part%parts+1, parts, parts)
		if err := a.readPart(s.vault.ID(), o.Part); err != nil {
			a.warn("salvor: warning: %v", err) // the next check reads the same part
		}
	}
	noteMended(report, mended)
	if o.Repair && second == nil && len(s.vault.Config().Targets) == 0 && len(report.Damaged) > 0 {
		a.warn("salvor: warning: this vault has no parity, so there is nothing here to repair it from: give a copy with --from, " +
			"or run the next backup, which stores again what the mail store still has")
	}
	if n := len(report.Covered); n > 0 {
		a.warn("salvor: warning: somebody with a credential for the bucket has overwritten or hidden objects (%d or more, the first is %s); what was there before is still read", n, report.Covered[0])
		a.warn("hint: docs/runbook.md, \"Somebody attacks the bucket\"")
	}
	if a.json {
		err = a.printJSON(report)
	} else {
		a.printCheck(report, o.ReadData)
	}
	switch {
	case err != nil:
		return err
	case len(report.Lost) > 0:
		return &codeError{err: fmt.Errorf("%s lost", counted(len(report.Lost), "object")), code: exitFailed, hint: foundDamage}
	case len(report.Damaged) > len(report.Repaired):
		return withHint(incompletef("%s damaged", counted(len(report.Damaged)-len(report.Repaired), "object")),
			foundDamage)
	}
	return nil
}

const foundDamage = "docs/runbook.md, \"check found damage\""

func (a *app) printCheck(r *upkeep.CheckReport, read bool) {
	depth := "there and of the right size"
	switch {
	case r.Deep:
		depth = "read, decrypted and unpacked: " + size(r.BytesRead)
	case read:
		depth = "read and compared with their names (not unpacked: no identity): " + size(r.BytesRead)
	}
	a.print("%s, %s, in %s", counted(r.Objects, "object"), depth, seconds(r.Seconds))
	if r.Strays > 0 {
		a.print("%s named by no commit; prune erases them in time", counted(r.Strays, "object"))
	}
	for _, d := range r.Damaged {
		if slices.Contains(r.Repaired, d.Object) {
			a.print("repaired: %s: %s", d.Object, d.What)
			continue
		}
		a.print("damaged: %s: %s (%s)", d.Object, d.What, counted(d.Affected, "message"))
		for _, m := range d.Messages {
			a.print("  cannot be restored: user %s, folder %s, uid %d", clean(m.User), clean(m.Folder), m.UID)
		}
		if rest := d.Affected - int64(len(d.Messages)); rest > 0 {
			a.print("  and %d more", rest)
		}
	}
	if len(r.Damaged) == 0 {
		a.print("no damage found")
	}
}
