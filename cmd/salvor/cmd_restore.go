package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/mailstore/stores"
	"salvor/internal/pace"
	"salvor/restore"
)

func (a *app) restoreCommand() *cli.Command {
	return &cli.Command{
		Name: "restore", Category: categoryRead, ArgsUsage: "USER",
		Usage: "put mail back: a user, a folder, a message, or everybody",
		Description: `STORE is maildir:PATH, mbox:PATH or eml:DIR, with %u, %n and %d as for backup, or
imaps://ADMIN@HOST or imap://ADMIN@HOST, with the password as for backup. On a Cyrus
server, folders that are not there come back with their UIDs. Where UIDs cannot
be kept, that is said before anything is written. docs/mail-servers.md has more.

Restoring only adds: what the folder holds already (the same content) is skipped,
nothing is overwritten or removed, and an interrupted restore is completed by
running it again. It needs the identity.

Give USER, or --all, or --users-file. Of many users, those of --priority come first,
then (with --all) those who got mail lately, the small ones first; of each user
INBOX and the newest mail first. It shows when all will be there; salvor pace
makes it faster or slower meanwhile.` + drillWords,
		UsageText: "salvor restore alice --to maildir:/tmp/alice\n" +
			"salvor restore alice --folder INBOX --deleted-since yesterday --to maildir:/home/alice/Maildir --into RESTORED\n" +
			"salvor restore --all --to maildir:/srv/new/%u/Maildir --pace 500msg/s\n" +
			"salvor restore --all --priority board.txt --to imaps://admin@new.example.org --refused eml:/root/refused\n" +
			"salvor restore --all --to imaps://admin@new.example.org --incident server3\n" +
			"salvor restore --drill --users 5",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "put the mail into `STORE`"},
			&cli.StringSliceFlag{Name: "folder", Usage: "only this `FOLDER`; 'Work/*' takes what lies below too"},
			&cli.StringSliceFlag{Name: "uid", Usage: "only the message with UID `N`"},
			&cli.StringFlag{Name: "as-of", Usage: "what was there at `TIME`"},
			&cli.StringFlag{Name: "deleted-since", Usage: "only what was deleted at `TIME` or later, and is still kept"},
			&cli.StringFlag{Name: "into", Usage: "put everything below `FOLDER` instead of the original folders"},
			&cli.BoolFlag{Name: "all", Usage: "restore all users"},
			&cli.StringFlag{Name: "users-file", Usage: "restore the users that `FILE` names, one a line"},
			&cli.StringFlag{Name: "priority", Usage: "restore those whom `FILE` names, one a line, before all others"},
			&cli.BoolFlag{Name: "offline", Usage: "Dovecot is stopped: put the indexes of a Maildir aside, to keep UIDs there too"},
			&cli.StringFlag{Name: "refused", Usage: "put what the destination refuses into `STORE`, as in eml:/root/refused"},
			&cli.StringFlag{Name: "incident", Usage: "bring back what the ledger of incident `NAME` says, and note there what came back"},
			&cli.BoolFlag{Name: "again", Usage: "with --incident: bring back also what is back elsewhere, or was lost once more"},
			&cli.StringFlag{Name: "pace", Usage: "write at most at `RATE`, as in 200msg/s,20MB/s"},
			&cli.BoolFlag{Name: "full-speed", Usage: "do not slow down when the destination answers slower"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be restored, and write nothing"},
		}, drillFlags()...),
		Action: a.action(0, 1, a.restore),
	}
}

func (a *app) restore(ctx context.Context, c *cli.Context) error {
	if err := checkDrillFlags(c); err != nil || c.Bool("drill") {
		if err == nil {
			err = a.drill(ctx, c)
		}
		return err
	}
	o, err := a.restoreOptions(c)
	if err != nil {
		return err
	}
	limiter, err := a.pace(c, o.To)
	if err != nil {
		return err
	}
	governor := pace.NewGovernor(limiter)
	if o.Wait = governor.Wait; !c.Bool("full-speed") {
		o.Took = governor.Took
	}
	named := 0
	for _, given := range []bool{c.NArg() == 1, c.Bool("all"), c.String("users-file") != ""} {
		if given {
			named++
		}
	}
	if named != 1 {
		return usagef("give one of: a USER, --all, --users-file FILE")
	}
	if c.NArg() == 1 && c.String("priority") != "" {
		return usagef("--priority is for --all and --users-file")
	}
	if c.Bool("again") && c.String("incident") == "" {
		return usagef("--again goes with --incident: other restores look only at what is there")
	}
	if c.String("incident") != "" {
		a.steer(ctx, c, limiter, o.To, governor.Note)
		return a.restoreIncident(ctx, c, o)
	}
	s, err := a.openReader(ctx)
	if err != nil {
		return err
	}
	end, err := a.restoreTo(c, s, &o)
	if err != nil {
		return err
	}
	defer end()
	user := c.Args().First()
	a.steer(ctx, c, limiter, o.To, governor.Note)
	if named == 1 && user != "" {
		err = a.restoreUser(ctx, user, o)
	} else {
		err = a.restoreUsersOf(ctx, c, s, o)
	}
	if err != nil {
		return err
	}
	return s.outdated()
}

// restoreTo opens what a restore reads from and writes to; end lets go of it.
func (a *app) restoreTo(c *cli.Context, s *session, o *restore.Options) (end func(), err error) {
	reader, err := a.mustRead(s)
	if err != nil {
		return nil, err
	}
	o.Catalog, o.Chunks = s.catalog, s.history().Chunks(reader)
	user := c.Args().First()
	to := a.storeOptions(user, nil)
	to.Offline = c.Bool("offline")
	if to.Offline && !strings.HasPrefix(o.To, "maildir:") {
		return nil, usagef("--offline is for maildir: only: other stores have no indexes of a server that could be put aside")
	}
	if o.Destination, err = stores.OpenDestination(o.To, to); err != nil {
		return nil, storeError(err)
	}
	if o.RefusedTo != "" {
		if o.Refused, err = stores.OpenDestination(o.RefusedTo, a.storeOptions(user, nil)); err != nil {
			return nil, storeError(err)
		}
	}
	o.Announce = func(line string) { a.warn("salvor: %s", line) }
	return func() {
		if closer, ok := o.Destination.(io.Closer); ok {
			closer.Close() // accounts, which hold what was written, are closed by the restore
		}
	}, nil
}

// severalInto refuses a store in which the mail of several users would be mixed.
func severalInto(users int, to string) error {
	if users < 2 || manyUsers(to) {
		return nil
	}
	err := usagef("%s is one user's store: the mail of %d users would be mixed in it", to, users)
	err.hint = "put %u where the users' names belong, as in maildir:/srv/new/%u/Maildir"
	return err
}

// restoreUsersOf restores the users of --all or --users-file.
func (a *app) restoreUsersOf(ctx context.Context, c *cli.Context, s *session, o restore.Options) error {
	plan, err := a.restorePlan(ctx, c, s)
	if err != nil {
		return err
	}
	if err := severalInto(len(plan.Users), o.To); err != nil {
		return err
	}
	o.NewestFirst = true
	if restore.Whole(o.Query) {
		o.Expected = plan.Extent
	}
	return a.restoreMany(ctx, plan.Users, o)
}

// restorePlan gives the users of --all or --users-file in their order.
func (a *app) restorePlan(ctx context.Context, c *cli.Context, s *session) (*restore.Plan, error) {
	var o restore.PlanOptions
	var err error
	if o.Users, err = readUsers(c, "users-file"); err == nil {
		o.Priority, err = readUsers(c, "priority")
	}
	if err != nil {
		return nil, err
	}
	plan, err := restore.MakePlan(ctx, s.catalog, o)
	if err != nil {
		return nil, err
	}
	for _, user := range o.Priority {
		if !slices.Contains(plan.Users, user) {
			a.warn("salvor: warning: --priority: %s is not among those to be restored", user)
		}
	}
	return plan, nil
}

// outdated tells, after a restore from a catalog that could not be brought up
// to the vault's head, that there may be more.
func (s *session) outdated() error {
	if s.behind == nil {
		return nil
	}
	return withHint(incompletef("restored what this host's catalog knows; later commits could not be read, so users and messages may be missing"),
		"docs/runbook.md, \"Something is not authentic\"")
}

// manyUsers tells whether a store's URL gives each user a place of his own. A
// mail server does: whoever logs in there opens the accounts of others, or is
// refused.
func manyUsers(url string) bool {
	for _, scheme := range []string{"eml:", "imap:", "imaps:"} {
		if strings.HasPrefix(url, scheme) {
			return true
		}
	}
	plain := strings.ReplaceAll(url, "%%", "")
	return strings.Contains(plain, "%u") || strings.Contains(plain, "%n")
}

func (a *app) restoreOptions(c *cli.Context) (restore.Options, error) {
	o := restore.Options{To: c.String("to"), Into: c.String("into"), DryRun: c.Bool("dry-run"), RefusedTo: c.String("refused")}
	if o.To == "" {
		err := usagef("no destination: where shall the mail go?")
		err.hint = "as in: --to maildir:/tmp/restored/%u"
		return o, err
	}
	q := catalog.Query{Folders: notEmpty(c.StringSlice("folder"))}
	for _, text := range c.StringSlice("uid") {
		uid, err := parseUID(text)
		if err != nil {
			return o, err
		}
		q.UIDs = append(q.UIDs, uid)
	}
	if len(q.UIDs) > 0 && len(q.Folders) != 1 {
		return o, usagef("--uid needs exactly one --folder: every folder counts its own UIDs")
	}
	var err error
	if q.AsOf, err = a.timeFlag(c, "as-of"); err != nil {
		return o, err
	}
	if q.DeletedSince, err = a.timeFlag(c, "deleted-since"); err != nil {
		return o, err
	}
	o.Query = q
	return o, nil
}

// readUsers reads the users that the file of a flag names; none without it.
func readUsers(c *cli.Context, flag string) ([]string, error) {
	path := c.String(flag)
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	defer f.Close()
	var users []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" && !strings.HasPrefix(name, "#") {
			users = append(users, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	if len(users) == 0 {
		return nil, usagef("--%s: %s names nobody", flag, path)
	}
	return users, nil
}

func (a *app) restoreUser(ctx context.Context, user string, o restore.Options) error {
	o.Meter = a.meter()
	report, err := restore.User(ctx, user, o)
	a.closeDisplay()
	if err == nil || report.Messages > 0 {
		if perr := a.printRestore(report); perr != nil {
			return errors.Join(err, perr)
		}
	}
	if err != nil {
		return err
	}
	for _, p := range report.Problems {
		a.warn("salvor: %s", p)
	}
	if report.Failed == 0 && report.PutAside > 0 && len(report.Problems) == report.PutAside {
		return withHint(incompletef("%s of %s went to %s", counted(report.PutAside, "message"), user, o.RefusedTo),
			"they are named above, with what the destination said")
	}
	if report.Failed > 0 || len(report.Problems) > 0 {
		return withHint(incompletef("%s of %s could not be restored", counted(max(report.Failed, len(report.Problems)), "message"), user),
			"they are named above; docs/runbook.md, \"Some messages do not come back\"")
	}
	return nil
}

// restoreMany restores user by user; one that fails stops nobody else.
func (a *app) restoreMany(ctx context.Context, users []string, o restore.Options) error {
	o.Meter = a.meter()
	var failed, messages, aside int
	var printErr error
	err := restore.All(ctx, users, o, func(r *restore.Report, err error) {
		if err != nil && ctx.Err() == nil {
			failed++
			line, _ := explain(err)
			a.warn("salvor: %s: %s", r.User, line)
		}
		for _, p := range r.Problems {
			a.warn("salvor: %s", p)
		}
		messages += r.Failed
		aside += r.PutAside
		printErr = errors.Join(printErr, a.printRestore(r))
	})
	a.closeDisplay()
	if err = errors.Join(err, printErr); err != nil {
		return err
	}
	if failed+messages > 0 {
		return incompletef("%s failed, %s could not be restored", counted(failed, "user"), counted(messages, "message"))
	}
	if aside > 0 {
		return incompletef("%s went to %s", counted(aside, "message"), o.RefusedTo)
	}
	return nil
}

func (a *app) printRestore(r *restore.Report) error {
	if a.json {
		return a.printJSON(r)
	}
	did := "restored"
	if r.DryRun {
		did = "would be restored"
	}
	a.print("%s: %s (%s) %s to %s; %d there already, %d failed, %s", clean(r.User), counted(r.Messages, "message"), size(r.Bytes), did,
		r.To, r.Skipped, r.Failed, seconds(r.Seconds))
	if r.PutAside > 0 {
		a.print("  %s more refused there and put aside", counted(r.PutAside, "message"))
	}
	if r.MaybeDeleted > 0 {
		a.print("  %d of them may have been deleted by their user, which nobody could confirm", r.MaybeDeleted)
	}
	var names []string
	for name := range r.Folders {
		names = append(names, name)
	}
	sort.Strings(names)
	if a.verbose || r.DryRun {
		for _, name := range names {
			a.print("  %6d  %s", r.Folders[name], clean(name))
		}
	}
	return nil
}
