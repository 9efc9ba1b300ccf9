package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"salvor/internal/objstore"
	"salvor/internal/pace"
	"salvor/internal/replicate"
	"salvor/internal/vault"
)

func (a *app) copyCommand() *cli.Command {
	return &cli.Command{
		Name: "copy", Category: categoryKeep,
		Usage: "make or continue a second copy of the vault in another place",
		Description: `Copies what the copy does not have yet: from any kind of store to any other, without
an identity, also while a backup runs. A copy that was cut off goes on where it ended.
Each object is compared with the hash that is its name before it is written.

The copy is read like any vault (status, ls, restore, check --vault COPY). Only copy
writes to it, until --promote makes it a vault of its own, when the first is lost.

What prune has erased is erased in the copy as well, when the copy has known for the
grace (24 hours) that nothing needs it; --keep-erased leaves it there.

Exit code 3: some objects are damaged in the vault and could not be copied.`,
		UsageText: "salvor copy --to /mnt/usb/mail-copy\nsalvor copy --to 's3://mail-copy/server3?endpoint=https://s3.example.org' --pace 20MB/s",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "the copy's `VAULT`: a directory or s3://BUCKET/PREFIX?endpoint=.."},
			&cli.StringFlag{Name: "pace", Usage: "copy at most at `RATE`, as in 20MB/s"},
			&cli.BoolFlag{Name: "read-data", Usage: "also read what the copy has, and replace what is damaged there"},
			&cli.BoolFlag{Name: "keep-erased", Usage: "erase nothing in the copy"},
			&cli.StringFlag{Name: "erase-grace", Usage: "erase in the copy after `TIME`; else as in the configuration file, or 24h"},
			&cli.BoolFlag{Name: "promote", Usage: "make the copy a vault of its own, and copy nothing"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be copied and erased, and write nothing"},
		},
		Action: a.action(0, 0, a.copy),
	}
}

func (a *app) copy(ctx context.Context, c *cli.Context) error {
	url := c.String("to")
	if url == "" {
		err := usagef("--to: where to? name the copy's place")
		err.hint = "as in: salvor copy --to /mnt/usb/mail-copy"
		return err
	}
	if c.Bool("promote") {
		return a.promote(ctx, c, url)
	}
	o, err := a.copyOptions(c)
	if err != nil {
		return err
	}
	if a.samePlace(url) {
		return usagef("--to: %s is the vault itself", url)
	}
	s, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	if !s.replica {
		if err := a.checkKnownHead(ctx, s); err != nil {
			return err
		}
	}
	to, err := a.openCopy(ctx, url, o.DryRun)
	if err != nil {
		return err
	}
	a.enlist(o.Pace, url, nil)
	o.Meter = a.meter()
	report, err := replicate.Copy(ctx, s.vault, to, o)
	a.closeDisplay()
	if err != nil {
		return copyError(url, err)
	}
	if err := a.printCopy(report, url); err != nil {
		return err
	}
	if len(report.Damaged) > 0 {
		return withHint(incompletef("%s damaged in the vault and not copied", counted(len(report.Damaged), "object")), foundDamage)
	}
	return nil
}

func (a *app) copyOptions(c *cli.Context) (replicate.Options, error) {
	o := replicate.Options{DryRun: c.Bool("dry-run"), ReadData: c.Bool("read-data"), KeepErased: c.Bool("keep-erased"), Now: a.now}
	policy, err := a.policy(c)
	if err != nil {
		return o, err
	}
	o.Grace = policy.Erase
	rate, _, err := givenPace(c)
	o.Pace = pace.NewLimiter(rate)
	return o, err
}

// openCopy opens the copy's store. A directory is made where it is not there,
// but not in a dry run, which gives nil then.
func (a *app) openCopy(ctx context.Context, url string, dry bool) (objstore.Store, error) {
	to, err := a.openStoreAt(ctx, url, objstore.Options{Create: !dry && !strings.HasPrefix(url, "s3:")})
	if dry && errors.Is(err, vault.ErrNoVault) && !strings.HasPrefix(url, "s3:") {
		return nil, nil
	}
	if errors.Is(err, vault.ErrNoVault) {
		return nil, withHint(err, "make the bucket first; copy makes directories, but no buckets")
	}
	return to, err
}

// samePlace tells whether a URL names the vault itself: a second copy there
// would be none.
func (a *app) samePlace(url string) bool {
	if url == a.settings.vault {
		return true
	}
	one, err := os.Stat(strings.TrimPrefix(url, "file:"))
	other, oerr := os.Stat(strings.TrimPrefix(a.settings.vault, "file:"))
	return err == nil && oerr == nil && os.SameFile(one, other)
}

// copyError says what is wrong with the place of the copy.
func copyError(url string, err error) error {
	if errors.Is(err, vault.ErrVaultExists) {
		return withHint(fmt.Errorf("%s: %w", url, err), "name an empty place with --to, or the copy of this vault")
	}
	return fmt.Errorf("%s: %w", url, err)
}

func (a *app) printCopy(r *replicate.Report, url string) error {
	if a.json {
		return a.printJSON(r)
	}
	did := ""
	if r.DryRun {
		did = "would be "
	}
	a.print("%s %scopied, %s; %d of %d were there", counted(r.Copied, "object"), did, size(r.Bytes), r.Present, r.Objects)
	for _, name := range r.Mended {
		a.print("damaged in the copy, and replaced: %s", name)
	}
	for _, d := range r.Damaged {
		a.print("damaged in the vault, not copied: %s", d.What)
	}
	if r.Erased > 0 {
		a.print("%s %serased, %s", counted(r.Erased, "object"), did, size(r.ErasedBytes))
	}
	if r.ToErase > 0 {
		a.print("%s that the vault has erased stay in the copy, %s", counted(r.ToErase, "object"), size(r.ToEraseBytes))
	}
	if !r.DryRun {
		a.print("%s is a copy up to commit %d, in %s", url, r.Head.Number, seconds(r.Seconds))
	}
	return nil
}

// promote makes a copy a vault of its own. The vault that it followed may be
// lost: it is not asked.
func (a *app) promote(ctx context.Context, c *cli.Context, url string) error {
	a.settings.vault = url
	s, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	head, err := s.vault.Head(ctx)
	if err != nil {
		return a.whereVault(err)
	}
	if s.replica && !c.Bool("dry-run") {
		if err := s.vault.Promote(ctx); err != nil {
			return a.whereVault(err)
		}
	}
	if a.json {
		return a.printJSON(struct {
			Promoted bool       `json:"promoted"` // it was a copy
			Head     vault.Head `json:"head"`
			DryRun   bool       `json:"dry_run,omitempty"`
		}{s.replica, head, c.Bool("dry-run")})
	}
	switch {
	case !s.replica:
		a.print("%s is no copy (any more): there is nothing to do", url)
	case c.Bool("dry-run"):
		a.print("%s would be a vault of its own, at commit %d", url, head.Number)
	default:
		a.print("%s is a vault of its own now, at commit %d; name it with --vault, and let nobody write to the old one", url, head.Number)
	}
	return nil
}
