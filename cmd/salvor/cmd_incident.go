package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"salvor/internal/incident"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/stores"
)

const categoryDisaster = "After a disaster"

func (a *app) incidentCommand() *cli.Command {
	return &cli.Command{
		Name: "incident", Category: categoryDisaster,
		Usage: "what existed on a lost server, what the vault holds of it, what is owed",
		Description: `An incident has a ledger: every message that was in the backup or in the index
that survived the loss stands in it once, with its state. The ledger is in the
vault. While an incident is open, nothing of its users expires.

The night goes: open; fill (the index survived on the server) and salvor restore
--incident (for all else); gates; owe; report; salvor redeliver, when something is
found; close. docs/runbook.md has each step.

The states: held (the vault has the content), uncertain (held, but maybe deleted
by its user: brought back to be safe), owed (it existed, nobody has its content),
present, restored, restored_maybe_deleted, redelivered, lost; these make up the
total. Counted apart: deleted (by its user, and known to be), junk.`,
		UsageText: "salvor incident open server3 --source cyrus:/etc/imapd.conf\nsalvor incident show server3\nsalvor incident list server3 --state owed\nsalvor incident close server3",
		Subcommands: []*cli.Command{
			{
				Name: "open", ArgsUsage: "NAME", Usage: "copy what survived of the metadata, compare it with the backup, write the ledger",
				Description: `STORE of --source is the lost mail store as the backup named it. STORE of --index
is what survived of its metadata, with the directories named as they are now:
cyrus:/path/imapd.conf, or Dovecot's maildir:, mdbox: or sdbox: with CONTROL= and
INDEX=; the messages' files may be gone. Or none. It is only read. Nobody must have run
reconstruct on it, nor a Dovecot over the empty Maildirs.

The metadata is copied first, to a directory beside the catalog, private and with
checksums; when that fails, nothing else happens. Run it again after an
interruption: it goes on with the copy that was made.

Exit code 3: the incident is open, but something of the metadata could not be read.`,
				UsageText: "salvor incident open server3 --source cyrus:/etc/imapd.conf --at '2006-10-26 18:30' --dry-run\n" +
					"salvor incident open server3 --source cyrus:/etc/imapd.conf --index cyrus:/mnt/rescue/imapd.conf\n" +
					"salvor incident open server4 --index maildir:/srv/%u:CONTROL=/rescue/control/%u:INDEX=/rescue/index/%u",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "source", Usage: "the lost mail store `STORE`, as in the backup; else that of the configuration file"},
					&cli.StringFlag{Name: "index", Usage: "`STORE` that the metadata is read from; none: nothing survived; else that of --source"},
					&cli.StringFlag{Name: "at", Usage: "`TIME` of the loss: the backup is taken as it was then; else now"},
					&cli.StringFlag{Name: "keep", Usage: "copy the metadata to `DIR`; else to incidents/NAME beside the catalog"},
					&cli.BoolFlag{Name: "accept-index", Usage: "take an index that looks like another server's, or newer than the loss"},
					&cli.BoolFlag{Name: "dry-run", Usage: "compare and say what the ledger would be; copy and write nothing"},
				},
				Action: a.action(1, 1, a.incidentOpen),
			},
			{
				Name: "show", ArgsUsage: "NAME", Usage: "how an incident stands: totals that add up",
				UsageText: "salvor incident show server3\nsalvor incident show server3 --json",
				Action:    a.action(1, 1, a.incidentShow),
			},
			{
				Name: "list", ArgsUsage: "[NAME]", Usage: "list an incident's messages, one a line; without NAME all incidents",
				UsageText: "salvor incident list\nsalvor incident list server3 --user alice --state owed",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "user", Usage: "only messages of `USER`"},
					&cli.StringFlag{Name: "state", Usage: "only messages in `STATE`; salvor incident --help explains them"},
					&cli.BoolFlag{Name: "doubt", Usage: "only messages of which nobody can tell whether they arrived"},
				},
				Action: a.action(0, 1, a.incidentList),
			},
			a.incidentFillCommand(),
			a.oweCommand(),
			a.gatesCommand(),
			a.incidentReportCommand(),
			a.incidentSettleCommand(),
			a.incidentGiveUpCommand(),
			{
				Name: "close", ArgsUsage: "NAME", Usage: "end an incident: deleted mail of its users expires again",
				Description: `It is refused while messages are owed. --give-up counts them as lost, in the name
of who says so; salvor incident give-up does it user by user, and with what may have
arrived. What is held or uncertain and was not brought back stays in the backup with
--leave-held, and can be restored as ever.`,
				UsageText: "salvor incident close server3\nsalvor incident close server3 --give-up --leave-held",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "give-up", Usage: "count what is owed as lost"},
					&cli.BoolFlag{Name: "leave-dangling", Usage: "leave messages without content in a server's index"},
					&cli.BoolFlag{Name: "leave-held", Usage: "leave in the backup what was not brought back"},
				},
				Action: a.action(1, 1, a.incidentClose),
			},
		},
	}
}

func (a *app) incidentOpen(ctx context.Context, c *cli.Context) error {
	cfg := a.settings.config
	o := incident.Options{Name: c.Args().First(), Source: first(c.String("source"), cfg.Source), DryRun: c.Bool("dry-run"),
		AcceptIndex: c.Bool("accept-index"), By: operator(), Host: hostName(), Now: a.now}
	if err := incident.CheckName(o.Name); err != nil {
		return &codeError{err: err, code: exitUsage}
	}
	if o.Source == "" {
		return withHint(usagef("no source: name the mail store that was lost"), "as in: salvor incident open "+o.Name+" --source cyrus:/etc/imapd.conf")
	}
	var err error
	if o.At, err = a.timeFlag(c, "at"); err != nil {
		return err
	}
	if o.Index, err = a.survivingIndex(first(c.String("index"), o.Source)); err != nil {
		return err
	}
	patterns, err := folder.ParsePatterns(cfg.ExcludeFolders)
	if err != nil {
		return err
	}
	o.Scope = folder.Scope{IncludeJunk: cfg.IncludeJunk, Exclude: patterns, JunkNames: cfg.JunkFolders}
	s, err := a.openUnless(ctx, o.DryRun)
	if err != nil {
		return err
	}
	o.Keep = first(c.String("keep"), filepath.Join(filepath.Dir(s.catalog.Path()), "incidents", o.Name))
	o.Meter = a.meter()
	report, err := incident.Open(ctx, s.history(), o)
	a.closeDisplay()
	if err != nil {
		return incidentHint(err)
	}
	if err := a.printOpened(report); err != nil {
		return err
	}
	if err := a.remindIdentity(s); err != nil {
		return err
	}
	if report.Unread > 0 {
		return withHint(incompletef("the incident is open, but %s of the metadata could not be read", counted(report.Unread, "part")),
			"what the backup has of it is uncertain, and is taken back to be safe")
	}
	return nil
}

func (a *app) incidentClose(ctx context.Context, c *cli.Context) error {
	s, err := a.openUnless(ctx, false)
	if err != nil {
		return err
	}
	totals, err := incident.Close(ctx, s.history(), incident.CloseOptions{Name: c.Args().First(), By: operator(), GiveUp: c.Bool("give-up"),
		LeaveHeld: c.Bool("leave-held"), LeaveDangling: c.Bool("leave-dangling"), Now: a.now})
	if err != nil {
		return incidentHint(err)
	}
	if a.json {
		return a.printJSON(totals)
	}
	a.print("incident %s is closed", totals.Name)
	return a.printTotals(totals)
}

// survivingIndex gives what --index names.
func (a *app) survivingIndex(url string) (*incident.Index, error) {
	if url != "none" {
		if err := stores.CheckSource(url); err != nil {
			return nil, storeError(err)
		}
	}
	index, err := incident.IndexOf(url)
	if err != nil {
		return nil, &codeError{err: err, code: exitUsage}
	}
	return index, nil
}

// incidentHint says what to do about an error of an incident.
func incidentHint(err error) error {
	for _, known := range []struct {
		is   error
		hint string
	}{
		{incident.ErrExists, "`salvor incident show NAME` says how it stands"},
		{incident.ErrUnknown, "`salvor incident list` names those that there are"},
		{incident.ErrOwing, "`salvor incident list NAME --state owed` names them; --give-up counts them as lost"},
		{incident.ErrInDoubt, "`salvor redeliver` finds out about what is under way, `salvor incident settle` says what became of the rest; give-up --in-doubt counts it as lost"},
		{incident.ErrDangling, "`salvor incident gates NAME --to STORE` looks again, `salvor incident owe` takes them out; --leave-dangling leaves them to the clients"},
		{incident.ErrHeld, "restore them, or leave them in the backup with --leave-held"},
		{incident.ErrNotOwed, "`salvor incident list NAME --state owed --json` gives users and ids; nothing was given up"},
		{incident.ErrOverlap, "`salvor incident list` names it; a loss of the same users belongs to the same incident"},
		{incident.ErrIndex, "look at --source, --index and --at; if they are right, --accept-index takes it all the same; if nothing survived, --index none takes back what the backup has"},
		{incident.ErrSource, "--source names the mail store just as the backup did (`salvor users --json` shows it), --at the time of the loss"},
		{incident.ErrNothing, "look at the directories that it names; if nothing survived, --index none takes back what the backup has"},
		{incident.ErrNotKept, "open the incident with --index naming what survived; the copy is on the host that opened it"},
		{incident.ErrClosed, "`salvor incident show NAME` says since when"},
		{incident.ErrSums, "do not act on it: `salvor catalog rebuild`, and if that does not help, docs/runbook.md, \"Something is not authentic\""},
	} {
		if errors.Is(err, known.is) {
			return withHint(err, known.hint)
		}
	}
	return err
}

func (a *app) printOpened(r *incident.Report) error {
	if a.json {
		return a.printJSON(r)
	}
	what := "incident " + r.Name + " is open"
	if r.DryRun {
		what = "dry run, nothing was written"
	}
	a.print("%s: %s, %s, compared with run %d as of %s", what, counted(r.Users, "user"), counted(r.Folders, "folder"), r.Run, moment(r.At))
	if k := r.Kept; k != nil {
		made := "copied to"
		if k.Again {
			made = "had been copied to"
		}
		a.print("metadata %s %s: %s, %s, SHA256SUMS %s", made, k.Dir, counted(k.Files, "file"), size(k.Bytes), k.Sum)
	}
	for _, p := range r.Problems {
		a.print("problem: %s", p)
	}
	if more := r.Unread - len(r.Problems); more > 0 {
		a.print("and %s more", counted(more, "problem"))
	}
	return a.printTotals(&r.Totals)
}
