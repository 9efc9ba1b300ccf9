package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/backup"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/stores"
	"salvor/internal/objstore"
	"salvor/internal/pace"
	"salvor/internal/vault"
)

func (a *app) backupCommand() *cli.Command {
	return &cli.Command{
		Name: "backup", Category: categoryWrite, ArgsUsage: "SOURCE",
		Usage: "read a mail store and keep what is new",
		Description: `SOURCE is one of
  maildir:PATH, sdbox:PATH, mdbox:PATH   Dovecot's formats, with the parameters of its
                                         mail_location (:LAYOUT=fs, :INDEX=PATH ...)
  mbox:PATH
  cyrus:/etc/imapd.conf                  a Cyrus server's own disk
  imaps://ADMIN@HOST, imap://ADMIN@HOST  any IMAP server
In a PATH %u stands for the user's name, %n for what comes before its @ and %d
for what follows; a path without them is one user's. The mail store is only
read. Junk folders are left out.

ADMIN logs in for each --user (or, on Cyrus, for all users that there are) by
proxy authorization; the password is in SALVOR_IMAP_PASSWORD, or in the file that
SALVOR_IMAP_PASSWORD_FILE names. imap:// is STARTTLS. What may follow the host:
?ca=FILE &passwords=FILE &auth=MECHANISM &token=FILE &separator=* &tls=none; see
docs/mail-servers.md.

Without SOURCE, the one of the configuration file is read. Where there is no
vault yet, --create makes it (on a terminal, the default one is made unasked);
not where a configuration file or a service is in use: there, use salvor init.

Exit code 3: the backup was made, but something could not be read, or more mail
disappeared than people delete, and waits for salvor deletions.`,
		UsageText: "salvor backup --create maildir:/home/%u/Maildir\nsalvor backup maildir:/var/vmail/%d/%n --exclude-folder 'Cache/*'\n" +
			"salvor backup cyrus:/etc/imapd.conf\nsalvor backup imaps://backup@mail.example.org --user alice --user bob",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "create", Usage: "make the vault when it is not there, and an identity when there is none"},
			&cli.StringSliceFlag{Name: "user", Usage: "only this `USER`; for a path without %u, whose mail it is"},
			&cli.StringSliceFlag{Name: "exclude-folder", Usage: "leave out folders like `PATTERN`: * is anything, % anything but /"},
			&cli.BoolFlag{Name: "include-junk", Usage: "take Junk folders too"},
			&cli.StringFlag{Name: "pace", Usage: "read at most at `RATE`, as in 200msg/s,20MB/s"},
			&cli.StringFlag{Name: "min-free-space", Usage: "refuse to begin when the vault's disk has less than `SIZE` left; else 500MB"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and write nothing"},
		}, retentionFlags()...),
		Action: a.action(0, 1, a.backup),
	}
}

func (a *app) backup(ctx context.Context, c *cli.Context) error {
	o, err := a.backupOptions(c)
	if err != nil {
		return err
	}
	if closer, ok := o.Source.(io.Closer); ok {
		defer closer.Close() // it was only read
	}
	s, err := a.openForBackup(ctx, c)
	if err != nil {
		return err
	}
	if err := a.checkSpace(ctx, c, s.vault.Store()); err != nil {
		return err
	}
	a.steer(ctx, c, o.Pace, o.Name, nil)
	o.Host, o.Meter = hostName(), a.meter()
	report, err := backup.Run(ctx, s.history(), o)
	a.closeDisplay()
	if report != nil && (err == nil || report.Partial) {
		a.tellTroubles(s.vault)
		if perr := a.printBackup(report, o.DryRun, troubleWords(s.vault)); perr != nil {
			return errors.Join(err, perr)
		}
	}
	if err == nil && report.Clean() && report.Messages.Seen == 0 {
		a.warn("salvor: warning: no message was seen; is it the right mail store, and the right users? (over IMAP, --user names whose mail it is)")
	}
	if rerr := a.remindIdentity(s); rerr != nil || err != nil {
		return errors.Join(err, rerr)
	}
	missing, err := a.missingUsers(ctx, s, o)
	if err != nil {
		return err
	}
	return degradedVerdict(s.vault, report, backupVerdict(report, missing))
}

// missingUsers counts the users that have vanished from the source without a
// person having confirmed it. A disk that is not mounted is not all right in
// its second night either.
func (a *app) missingUsers(ctx context.Context, s *session, o backup.Options) (int, error) {
	if len(o.Users) > 0 || o.DryRun {
		return 0, nil
	}
	waiting := map[string]bool{}
	err := s.catalog.OpenHolds(ctx, func(h *catalog.Hold) error {
		waiting[h.User] = true
		return nil
	})
	if err != nil || len(waiting) == 0 {
		return 0, err
	}
	missing := 0
	err = s.catalog.Users(ctx, func(u *catalog.User) error {
		if waiting[u.Name] && u.GoneRun != 0 {
			missing++
		}
		return nil
	})
	return missing, err
}

// backupOptions reads the command line and opens the source, before anything
// is made or written.
func (a *app) backupOptions(c *cli.Context) (backup.Options, error) {
	cfg := a.settings.config
	o := backup.Options{Name: first(c.Args().First(), cfg.Source), DryRun: c.Bool("dry-run"), Limits: a.limits(), Now: a.now}
	if o.Name == "" {
		err := usagef("no source: name the mail store to back up")
		err.hint = "as in: salvor backup maildir:/home/%u/Maildir"
		return o, err
	}
	users := notEmpty(c.StringSlice("user"))
	alone := cfg.User
	if len(users) == 1 {
		alone = users[0]
	}
	var err error
	if o.Source, err = stores.OpenSource(o.Name, a.storeOptions(alone, users)); err != nil {
		return o, storeError(err)
	}
	o.Users = users
	policy, err := a.policy(c)
	if err != nil {
		return o, err
	}
	o.Policy = policy.Retention
	patterns, err := folder.ParsePatterns(append(append([]string{}, cfg.ExcludeFolders...), c.StringSlice("exclude-folder")...))
	if err != nil {
		return o, usagef("--exclude-folder: %w", err)
	}
	o.Scope = folder.Scope{IncludeJunk: c.Bool("include-junk") || cfg.IncludeJunk, Exclude: patterns, JunkNames: cfg.JunkFolders}
	o.Pace, err = a.pace(c, o.Name)
	return o, err
}

// storeError makes a mistake in a store's URL a usage error.
func storeError(err error) error {
	if errors.Is(err, stores.ErrURL) {
		return &codeError{err: err, code: exitUsage}
	}
	return err
}

// openForBackup opens the vault, or makes it where that is asked for.
func (a *app) openForBackup(ctx context.Context, c *cli.Context) (*session, error) {
	s, err := a.openWriter(ctx)
	if !errors.Is(err, vault.ErrNoVault) {
		return s, err
	}
	if c.Bool("dry-run") {
		return nil, withHint(err, "a dry run makes no vault")
	}
	if refused := a.mayCreate(c, err); refused != nil {
		return nil, refused
	}
	made, err := a.createVault(ctx, creation{})
	if err != nil {
		return nil, err
	}
	a.tellCreated(made)
	return a.openWriter(ctx)
}

// mayCreate tells whether a missing vault may be made on the way. Where a
// configuration file or a service is in use, a vault that is missing is a disk
// that was not mounted, and an empty one in its place would hide that.
func (a *app) mayCreate(c *cli.Context, missing error) error {
	switch {
	case a.settings.config.File != "":
		return withHint(missing, "is its disk mounted? With a configuration file ("+a.settings.config.File+") a vault is only made by `salvor init`")
	case a.inUnit():
		return withHint(missing, "is its disk mounted? In a service a vault is only made by `salvor init`")
	case c.Bool("create"):
		return nil
	case !a.settings.vaultNamed && isTerminal(a.stdin) && isTerminal(a.stderr):
		return nil
	}
	return withHint(missing, "is its disk mounted? To make a new vault there, add --create")
}

// defaultFreeSpace is what must be left where nothing else is said: some packs,
// the catalog's growth, and room to notice.
const defaultFreeSpace = 500e6

func (a *app) minFreeSpace() int64 {
	if n := a.settings.config.MinFreeSpace; n > 0 {
		return n
	}
	return defaultFreeSpace
}

// checkSpace refuses to begin what would fill the vault's disk.
func (a *app) checkSpace(ctx context.Context, c *cli.Context, store objstore.Store) error {
	least := a.minFreeSpace()
	if text := c.String("min-free-space"); text != "" {
		n, err := pace.ParseBytes(text)
		if err != nil {
			return usagef("--min-free-space: %w", err)
		}
		least = n
	}
	disk, ok := store.(objstore.Space)
	if !ok {
		return nil
	}
	free, err := disk.Free(ctx)
	if err != nil {
		return err
	}
	if free < least {
		return withHint(fmt.Errorf("%s: only %s left, %s are wanted before a run begins: %w", a.settings.vault, size(free), size(least), objstore.ErrFull),
			"make room (`salvor prune` erases what is over its time), or lower min-free-space")
	}
	return nil
}

// headWords is a commit by which a vault that was rolled back is noticed; keep
// it away from the vault.
type headWords struct {
	Vault  string   `json:"vault"`
	Number uint64   `json:"number"`
	Hash   chunk.ID `json:"hash"`
}

func (a *app) printBackup(r *backup.Report, dry bool, degraded []string) error {
	if a.json {
		return a.printJSON(struct {
			*backup.Report
			Head     headWords `json:"head"`
			Degraded []string  `json:"degraded,omitempty"`
		}{r, headWords(r.Head), degraded})
	}
	what := fmt.Sprintf("run %d", r.Run)
	switch {
	case dry:
		what = "dry run, nothing was written"
	case r.Partial:
		what += " (interrupted; what was complete is kept)"
	}
	a.print("%s: %s, %s, %s seen: %d new, %d gone, %d failed", what, counted(r.Users, "user"), counted(r.Mailboxes, "folder"),
		counted(r.Messages.Seen, "message"), r.Messages.New, r.Messages.Gone, r.Messages.Failed)
	a.print("read %s, of which new %s, stored as %s, in %s", size(r.Bytes.Read), size(r.Bytes.New), size(r.Bytes.Stored), seconds(r.Seconds))
	if !dry && r.Head.Number > 0 {
		a.print("head: commit %d, %s", r.Head.Number, r.Head.Hash)
	}
	a.printExcluded(r.Excluded)
	for _, o := range r.Opaque {
		a.print("kept as files only: %s: %s %s; a restore gives the same files back", clean(o.User), counted(o.Messages, "message"), o.Form)
	}
	if r.FlagsUnknown > 0 {
		a.print("the mail store does not tell the flags of %s", counted(r.FlagsUnknown, "message"))
	}
	if r.Messages.Damaged > 0 {
		a.print("damaged at the source: %s, named below; copies from earlier nights stay", counted(r.Messages.Damaged, "message"))
	}
	if r.Clock != "" {
		a.print("clock in doubt, so nothing's time runs: %s", r.Clock)
	}
	for _, h := range r.HeldByBrake {
		a.print("held by the brake: %s: %s", h.User, h.Reason)
	}
	for _, p := range r.Problems {
		a.print("problem: %s", p)
	}
	return nil
}

// printExcluded adds up what was left out; --verbose names the folders.
func (a *app) printExcluded(list []backup.Excluded) {
	folders, messages := map[string]int{}, map[string]int{}
	for _, e := range list {
		folders[e.Why]++
		messages[e.Why] += e.Messages
		if a.verbose {
			a.print("left out: %s %s (%s, %s)", e.User, e.Folder, e.Why, counted(e.Messages, "message"))
		}
	}
	for _, why := range []string{folder.ReasonJunk, folder.ReasonExcluded} {
		if folders[why] > 0 {
			a.print("left out as %s: %s with %s", why, counted(folders[why], "folder"), counted(messages[why], "message"))
		}
	}
}

// degradedVerdict adds that targets of the vault are away: the run is whole,
// but the next loss may not be survived, so somebody has to know.
func degradedVerdict(v *vault.Vault, r *backup.Report, verdict error) error {
	n := len(troubleWords(v))
	if n == 0 || verdict != nil && exitCode(verdict) != exitIncomplete {
		return verdict
	}
	what := "is"
	if n > 1 {
		what = "are"
	}
	if verdict != nil {
		return fmt.Errorf("%w; and %s %s away", verdict, counted(n, "target"), what)
	}
	return withHint(incompletef("run %d is kept, but degraded: %s %s away", r.Run, counted(n, "target"), what),
		"when it is back, `salvor check --repair` gives it what it has missed; docs/runbook.md, \"A target is away\"")
}

// backupVerdict is the error of a run that was made, but not clean.
func backupVerdict(r *backup.Report, missing int) error {
	if r.Clean() && missing == 0 && r.Users > 0 {
		return nil
	}
	var what []string
	add := func(n int64, one, many string) {
		if n == 1 {
			what = append(what, "1 "+one)
		} else if n > 1 {
			what = append(what, fmt.Sprintf("%d %s", n, many))
		}
	}
	add(r.Messages.Failed, "unreadable message", "unreadable messages")
	add(int64(r.Unlisted), "unreadable folder or user", "unreadable folders or users")
	add(int64(len(r.HeldByBrake)), "user held by the brake", "users held by the brake")
	if len(r.HeldByBrake) == 0 {
		add(int64(missing), "user is missing from the mail store", "users are missing from the mail store")
	}
	if r.Clock != "" {
		what = append(what, "a clock in doubt")
	}
	if r.Users == 0 {
		what = append(what, "the mail store shows no users")
	}
	if len(what) == 0 {
		what = append(what, counted(len(r.Problems), "problem"))
	}
	err := incompletef("run %d is kept, but: %s", r.Run, strings.Join(what, ", "))
	switch {
	case len(r.HeldByBrake) > 0 || missing > 0:
		return withHint(err, "`salvor deletions` shows what is held and why; confirm or reject it there")
	case r.Users == 0:
		return withHint(err, "is its disk mounted, and does the path fit? %u stands for the users' names")
	}
	return err
}
