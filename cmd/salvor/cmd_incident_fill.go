package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/fill"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/stores"
	"salvor/restore"
)

func (a *app) incidentFillCommand() *cli.Command {
	return &cli.Command{
		Name: "fill", ArgsUsage: "NAME", Usage: "put messages' files back under an index that survived: UIDs, flags and dates hold at once",
		Description: `STORE is the server's disk as it is now, its metadata alive, its messages' files
lost in whole or in part: cyrus:/etc/imapd.conf while the server runs, or a Maildir
with CONTROL= and INDEX= while Dovecot is stopped (it must not have run over the
empty Maildirs: it takes missing files for deletions, and then nothing is missing by
its index). Each file that the index misses, and the vault has, gets its old place, its
time and the owner of its directory. The index itself is not touched. No reconstruct
is needed, before or after.

Only content that is what the index promises is put (SHA-1; in a Maildir the size).
What stands there and is another file is put aside, hidden, and named. Whole files are
read once, compared, and counted as present. An interrupted fill is run again.

Exit code 3: something could not be put back; it stays as it is, with its reason.`,
		UsageText: "salvor incident fill server3 --to cyrus:/etc/imapd.conf --dry-run\n" +
			"salvor incident fill server3 --to cyrus:/etc/imapd.conf --pace 500msg/s,50MB/s\n" +
			"salvor incident fill server4 --to maildir:/srv/%u:CONTROL=/var/control/%u:INDEX=/var/index/%u",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "the mail store `STORE` whose files are put back"},
			&cli.StringSliceFlag{Name: "user", Usage: "only the mail of `USER`"},
			&cli.StringFlag{Name: "pace", Usage: "read and write at most at `RATE`, as in 200msg/s,20MB/s"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be put back, and write nothing"},
		},
		Action: a.action(1, 1, a.incidentFill),
	}
}

func (a *app) incidentFill(ctx context.Context, c *cli.Context) error {
	o := fill.Options{Store: c.String("to"), Users: notEmpty(c.StringSlice("user")), DryRun: c.Bool("dry-run")}
	if o.Store == "" {
		return withHint(usagef("say which store is filled, with --to"), "as in --to cyrus:/etc/imapd.conf")
	}
	limiter, err := a.pace(c, o.Store)
	if err != nil {
		return err
	}
	o.Pace = limiter
	o.Open = func() (mailstore.Filler, error) { return stores.OpenFiller(o.Store, a.storeOptions("", nil)) }
	if err := tryOpen(o.Open); err != nil {
		return storeError(err)
	}
	s, err := a.openUnless(ctx, o.DryRun)
	if err != nil {
		return err
	}
	if !o.DryRun {
		if o.Read, err = a.claimReader(s); err != nil {
			return err
		}
	}
	a.steer(ctx, c, limiter, o.Store, nil)
	o.Meter = a.meter()
	act := incident.ActOptions{Name: c.Args().First(), Purpose: "fill", Now: a.now, DryRun: o.DryRun}
	var report *fill.Report
	err = incident.Act(ctx, s.history(), act, func(ctx context.Context, l *incident.Ledger) (err error) {
		if report, err = fill.Run(ctx, l, o); err != nil || o.DryRun {
			return err
		}
		return a.updateGates(ctx, l, o.Users, o.Store)
	})
	a.closeDisplay()
	if report != nil {
		err = errors.Join(err, a.printFilled(report))
	}
	if err != nil {
		return incidentHint(err)
	}
	return filled(report)
}

// tryOpen tells whether a store can be opened, before anything else is begun.
func tryOpen(open func() (mailstore.Filler, error)) error {
	f, err := open()
	if err != nil {
		return err
	}
	if c, ok := f.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

// claimReader reads claims' contents out of the vault.
func (a *app) claimReader(s *session) (func(context.Context, *catalog.Claim) ([]byte, error), error) {
	reader, err := a.mustRead(s)
	if err != nil {
		return nil, err
	}
	chunks := s.history().Chunks(reader)
	return func(ctx context.Context, c *catalog.Claim) ([]byte, error) {
		e, ok, err := s.catalog.Wanted(c.Content, c.Record)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errors.New("the vault does not have its content any more")
		}
		return restore.Message(ctx, s.catalog, chunks, &e)
	}, nil
}

func (a *app) printFilled(r *fill.Report) error {
	if a.json {
		return a.printJSON(r)
	}
	did := "put back"
	if r.DryRun {
		did = "to be put back (dry run, nothing was written)"
	}
	a.print("%s %s, %s, of %s", counted(r.Filled, "file"), did, size(r.Bytes), counted(r.Users, "user"))
	there := "there already"
	if r.DryRun {
		there += " by their sizes, and are read when it is done"
	}
	a.print("%d were %s; %d could not be put back; %d the index does not name; %d are owed", r.Present, there, r.Failed, r.Unnamed, r.Owed)
	for _, n := range r.Notes {
		a.print("note: %s", n)
	}
	for _, p := range r.Problems {
		a.print("problem: %s", p)
	}
	if r.More > 0 {
		a.print("and %s more", counted(r.More, "problem"))
	}
	return nil
}

// filled says what of a fill is left to be done.
func filled(r *fill.Report) error {
	switch {
	case r.Failed == 0 && len(r.Problems) > 0:
		return incompletef("the store could not be looked at in whole: %s", counted(len(r.Problems)+r.More, "problem"))
	case r.Incomplete():
		return incompletef("%s could not be put back, %s", counted(r.Failed, "message"), counted(len(r.Problems)+r.More, "problem"))
	case r.Unnamed > 0 && r.Filled+r.Present == 0:
		return withHint(incompletef("the index of %s names none of the %s that wait in the vault", r.Store, counted(r.Unnamed, "message")),
			"a server or a repair that ran over the lost files has dropped them; `salvor restore --all --incident NAME` brings them back")
	}
	return nil
}
