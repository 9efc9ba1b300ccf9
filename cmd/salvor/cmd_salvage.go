package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"salvor/internal/backup"
	"salvor/internal/durable"
	"salvor/internal/incident"
	"salvor/internal/incident/stow"
	"salvor/internal/pace"
	"salvor/salvage"
	"salvor/salvage/found"
	"salvor/salvage/raid"
	"salvor/salvage/volume"
)

func (a *app) salvageCommand() *cli.Command {
	return &cli.Command{
		Name: "salvage", Category: categoryDisaster, ArgsUsage: "SOURCE...",
		Usage: "find mail on damaged disks, and say whose it is",
		Description: `Sources are images, block devices, the members of an array in any order, and
directories of files (a file system mounted read-only, what a repair left in
lost+found). They are only read. Partitions, LVM volumes and md arrays in them are
found; ext2, ext3, ext4 and XFS are read record by record, whether or not anything
still points to a record; what no file system explains is found by its content.

With --incident every message is held against the ledger: what is owed is proved by
size and SHA-1, what the vault has already is counted, what its user deleted is
never offered. Without it everything that looks like mail is kept.

--map names the map file of ddrescue for an image: what it does not call finished is
unknown, not zero. A map beside the image (IMAGE.map, IMAGE.mapfile, or .map in place
of the image's ending) is used unasked; --map none reads without.

The results go into the directory --out, readable by its owner only, or into the
vault. A salvage that was stopped goes on where it was when it is run again.

Exit code 3: parts of the sources could not be read, or damaged mail was found.`,
		UsageText: "salvor salvage /rescue/sdb1.img --map /rescue/sdb1.map --incident server3 --out /rescue/found\n" +
			"salvor salvage /rescue/sd[abcd].img --incident server3 --out /rescue/found\n" +
			"salvor salvage /dev/sdx1 --out /rescue/found\n" +
			"salvor salvage /mnt/repaired --incident server3 --out /rescue/found2\n" +
			"salvor redeliver --incident server3 --from /rescue/found --to imaps://admin@new.example.org --dry-run",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "incident", Usage: "hold what is found against the ledger of the incident `NAME`"},
			&cli.StringFlag{Name: "out", Usage: "keep what is found in the directory `DIR`; else in the vault"},
			&cli.StringSliceFlag{Name: "map", Usage: "ddrescue's map `[SOURCE=]FILE` (repeatable), or none"},
			&cli.StringFlag{Name: "raid", Usage: "take the sources for members of an array of `LEVEL` (0, 1, 4, 5, 6, 10); none: of no array; else what they say"},
			&cli.StringFlag{Name: "chunk", Usage: "the array's chunk size, as in `64K`"},
			&cli.StringFlag{Name: "layout", Usage: "the array's `LAYOUT`, as in left-symmetric, or n2 for near=2"},
			&cli.StringFlag{Name: "order", Usage: "the array's members in order, `SOURCE,SOURCE,missing,...`"},
			&cli.StringFlag{Name: "data-offset", Usage: "where data begins on each member, as in `1M`"},
			&cli.StringFlag{Name: "max-bytes", Usage: "keep at most `SIZE` of mail; else twice the size of the sources"},
			&cli.StringFlag{Name: "min-free", Usage: "leave `SIZE` free on the disk of --out, or none; else 1GiB"},
			&cli.BoolFlag{Name: "anew", Usage: "forget how far an earlier run came"},
		},
		Action:      a.action(1, math.MaxInt, a.salvage),
		Subcommands: []*cli.Command{a.salvageShowCommand()},
	}
}

func (a *app) salvage(ctx context.Context, c *cli.Context) (err error) {
	if c.String("incident") == "" && c.String("out") == "" {
		return withHint(usagef("where to? Neither --incident nor --out is given"), "as in: salvor salvage disk.img --out /rescue/found")
	}
	spec, err := salvageSources(c)
	if err != nil {
		return err
	}
	least, err := minFree(c)
	if err != nil {
		return err
	}
	sources, err := salvage.Open(ctx, spec)
	if err != nil {
		return sourcesHint(err)
	}
	defer func() { err = errors.Join(err, sources.Close()) }()
	o := salvage.Options{Volumes: sources.Volumes, Trees: sources.Trees, Mark: sources.Mark, Incident: c.String("incident"), Anew: c.Bool("anew")}
	s, err := a.salvageLedger(ctx, c, &o)
	if err != nil {
		return err
	}
	for _, n := range sources.Notes {
		a.warn("salvor: %s", n)
	}
	most := 2 * sources.Size
	if len(sources.Trees) > 0 {
		most = 0 // nobody knows yet how much is in them
	}
	if text := c.String("max-bytes"); text != "" {
		if most, err = pace.ParseBytes(text); err != nil {
			return usagef("--max-bytes: %w", err)
		}
	}
	if out := c.String("out"); out != "" {
		if in, err := sources.Holds(out); err != nil || in != "" {
			return cmp.Or(err, withHint(usagef("--out %s lies in %s, which is only read", out, in), "name a directory on another disk"))
		}
		return a.salvageToDir(ctx, out, found.Head{Version: 1, Started: a.now(), Sources: sources.Names, Incident: o.Incident}, found.Options{MaxBytes: most, MinFree: least}, o, c)
	}
	return a.salvageToVault(ctx, s, sources, most, o, c)
}

// sourcesHint says what to do about sources that cannot be opened.
func sourcesHint(err error) error {
	switch {
	case errors.Is(err, salvage.ErrSpec), errors.Is(err, raid.ErrOptions):
		return usagef("%w", err)
	case errors.Is(err, volume.ErrMap):
		return withHint(err, "--map names the file that ddrescue was given as its third argument; --map none reads without a map, and takes what could not be read for zeros")
	case errors.Is(err, raid.ErrUnsure):
		return withHint(err, "name all members, read those with bad sectors with ddrescue first and keep the maps beside them, and say all that is known of the array, "+
			"as in: --raid 5 --chunk 64K --layout left-symmetric --order A,B,missing,D --data-offset 1M")
	case errors.Is(err, fs.ErrNotExist):
		return withHint(err, "sources are images, block devices, members of an array, and directories; look at the path")
	}
	return withHint(err, "sources are images, block devices, members of an array, and directories; --raid none reads disks one by one, whatever they say that they are")
}

// salvageToDir keeps what is found in a directory.
func (a *app) salvageToDir(ctx context.Context, out string, head found.Head, fo found.Options, o salvage.Options, c *cli.Context) (err error) {
	w, err := found.Create(out, head, fo)
	if errors.Is(err, found.ErrNotEmpty) || errors.Is(err, found.ErrOther) {
		return usagef("%w", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	o.Keeper, o.Work = w, out
	report, err := a.runSalvage(ctx, o)
	if err != nil {
		return err
	}
	if err := w.Report(report); err != nil {
		return err
	}
	return a.printSalvaged(report, c)
}

// salvageToVault keeps what is found in the vault, as findings of the incident. The
// notes lie beside the catalog.
func (a *app) salvageToVault(ctx context.Context, s *session, sources *salvage.Sources, most int64, o salvage.Options, c *cli.Context) error {
	name := sha256.Sum256([]byte(strings.Join(sources.Names, "\n")))
	o.Work = filepath.Join(a.settings.data, "salvage-"+s.vault.ID()+"-"+o.Incident+"-"+hex.EncodeToString(name[:8]))
	if err := durable.MkdirAll(o.Work, 0o700); err != nil {
		return err
	}
	var report *salvage.Report
	act := incident.ActOptions{Name: o.Incident, Purpose: "salvage", Now: a.now}
	err := incident.Act(ctx, s.history(), act, func(ctx context.Context, l *incident.Ledger) (err error) {
		o.Catalog = l.Catalog()
		o.Keeper = stow.New(l, stow.Options{Salvage: hex.EncodeToString(name[:8]), Envelope: backup.Envelope, MaxBytes: most})
		report, err = a.runSalvage(ctx, o)
		return err
	})
	if err != nil {
		return incidentHint(err)
	}
	return a.printSalvaged(report, c)
}

func (a *app) runSalvage(ctx context.Context, o salvage.Options) (*salvage.Report, error) {
	o.Progress = a.meter()
	defer a.closeDisplay()
	return salvage.Run(ctx, o)
}

// salvageSources reads the flags that say what the sources are.
func salvageSources(c *cli.Context) (spec salvage.Spec, err error) {
	spec.Sources = c.Args().Slice()
	spec.RAID, spec.Layout = c.String("raid"), c.String("layout")
	switch spec.RAID {
	case "", "auto", "none":
	default:
		if _, err := raid.ParseLevel(spec.RAID); err != nil {
			return spec, usagef("--raid: %w", err)
		}
	}
	if order := c.String("order"); order != "" {
		spec.Order = strings.Split(order, ",")
	}
	for _, size := range []struct {
		flag string
		to   *int64
	}{{"chunk", &spec.Chunk}, {"data-offset", &spec.DataOffset}} {
		if text := c.String(size.flag); text != "" {
			if *size.to, err = diskSize(text); err != nil {
				return spec, usagef("--%s: %w", size.flag, err)
			}
		}
	}
	for _, flag := range []string{"chunk", "layout", "order", "data-offset"} {
		if c.IsSet(flag) && (spec.RAID == "" || spec.RAID == "none") {
			return spec, withHint(usagef("--%s is for --raid", flag), "as in: --raid 5 --"+flag+" "+c.String(flag))
		}
	}
	for _, m := range c.StringSlice("map") {
		if m == "none" {
			spec.NoMaps = true
			continue
		}
		source, file, ok := strings.Cut(m, "=")
		if !ok {
			if len(spec.Sources) > 1 {
				return spec, usagef("--map %s: of which source? Give it as SOURCE=FILE", m)
			}
			source, file = spec.Sources[0], m
		}
		if file == "" {
			return spec, withHint(usagef("--map %s: no file is named", m), "--map none reads without a map")
		}
		if spec.Maps[source] != "" {
			return spec, usagef("--map: %s has two maps, %s and %s", source, spec.Maps[source], file)
		}
		if spec.Maps == nil {
			spec.Maps = map[string]string{}
		}
		spec.Maps[source] = file
	}
	return spec, nil
}

// minFree reads how many bytes stay free on the disk of a result directory, as
// found.Options has it.
func minFree(c *cli.Context) (int64, error) {
	text := c.String("min-free")
	switch {
	case text == "":
		return 0, nil
	case c.String("out") == "":
		return 0, withHint(usagef("--min-free is for --out"), "a vault's disk has min-free-space in the configuration")
	case text == "none":
		return -1, nil
	}
	n, err := pace.ParseBytes(text)
	if err != nil {
		return 0, usagef("--min-free: %w", err)
	}
	if n == 0 {
		return -1, nil
	}
	return n, nil
}

// diskSize reads a size as mdadm has it: 64K are 65536 bytes.
func diskSize(text string) (int64, error) {
	if n := len(text); n > 1 && strings.ContainsRune("kKmMgG", rune(text[n-1])) {
		text += "iB"
	}
	return pace.ParseBytes(text)
}

// salvageLedger opens what tells whose mail is: the vault's catalog. Without an
// incident it is used where there is one.
func (a *app) salvageLedger(ctx context.Context, c *cli.Context, o *salvage.Options) (*session, error) {
	if o.Incident == "" {
		if !c.IsSet("vault") {
			return nil, nil
		}
		s, err := a.openAnswers(ctx)
		if err != nil {
			return nil, err
		}
		o.Catalog = s.catalog
		return s, nil
	}
	s, err := a.openUnless(ctx, c.String("out") != "")
	if err != nil {
		return nil, err
	}
	_, ok, err := s.catalog.Incident(o.Incident)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, withHint(fmt.Errorf("there is no incident %q", o.Incident), "salvor incident list names all")
	}
	o.Catalog = s.catalog
	return s, nil
}

func (a *app) printSalvaged(r *salvage.Report, c *cli.Context) error {
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
		return salvageVerdict(r)
	}
	a.print("%s found in %s, of which %s", counted(r.Candidates, "message"), counted(len(r.Sources), "source"), unread(r))
	for _, line := range []struct {
		n    int64
		what string
	}{
		{r.Matched, "matched: owed, and proved to be what is owed"},
		{r.AlreadyHeld, "held already: nothing to do"},
		{r.Tombstoned, "deleted by their users: never offered"},
		{r.Unknown, "unknown: nobody is known to miss them; set aside"},
		{r.Damaged, "damaged: parts are missing; delivered only when asked for by ID"},
		{r.Superseded, "damaged copies of what was found whole elsewhere"},
	} {
		if line.n > 0 {
			a.print("%10d %s", line.n, line.what)
		}
	}
	if r.Owed > 0 {
		a.print("%s owed: %d found, %d in places that cannot be read, %d overwritten, %d without a trace",
			counted(r.Owed, "message"), r.OwedFound, r.OwedUnreadable, r.OwedOverwritten, r.OwedMissing)
	}
	if err := a.salvagedUsers(r); err != nil {
		return err
	}
	for _, line := range append(r.Notes, r.Further...) {
		a.print("%s", line)
	}
	a.salvageNext(r, c)
	return salvageVerdict(r)
}

func (a *app) salvagedUsers(r *salvage.Report) error {
	t := a.newTable("USER", ">OWED", ">FOUND", ">UNREADABLE", ">OVERWRITTEN", ">NO TRACE", ">UNKNOWN", ">DAMAGED", ">HELD", ">DELETED")
	for _, u := range r.Users {
		n := counted64[int64]
		err := t.row(first(u.Name, "(nobody's)"), n(u.Owed), n(u.OwedFound), n(u.Unreadable), n(u.Overwritten), n(u.Missing),
			n(u.Found.Unknown), n(u.Found.Damaged), n(u.Found.AlreadyHeld), n(u.Found.Tombstoned))
		if err != nil {
			return err
		}
	}
	return t.flush()
}

// salvageNext says what to do with the results.
func (a *app) salvageNext(r *salvage.Report, c *cli.Context) {
	out, incident := c.String("out"), c.String("incident")
	switch {
	case incident != "" && out != "" && r.Matched > 0:
		a.print("next: salvor redeliver --incident %s --from %s --to imaps://ADMIN@HOST --dry-run", incident, out)
	case incident != "" && r.Matched > 0:
		a.print("next: salvor redeliver --incident %s --to imaps://ADMIN@HOST --dry-run", incident)
	case r.Unknown+r.Damaged > 0 && out != "":
		a.print("next: salvor salvage show %s", out)
	}
}

// unread says what nobody could read.
func unread(r *salvage.Report) string {
	switch {
	case r.UnreadFiles == 1:
		return size(r.UnreadableBytes) + " and 1 file or directory cannot be read"
	case r.UnreadFiles > 1:
		return fmt.Sprintf("%s and %d files or directories cannot be read", size(r.UnreadableBytes), r.UnreadFiles)
	}
	return size(r.UnreadableBytes) + " cannot be read"
}

func salvageVerdict(r *salvage.Report) error {
	if r.UnreadableBytes == 0 && r.UnreadFiles == 0 && r.Damaged == 0 {
		return nil
	}
	return incompletef("%s, %s found", unread(r), counted(r.Damaged, "damaged message"))
}
