package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/stores"
	"salvor/internal/upkeep"
	"salvor/restore"
)

const drillWords = `

--drill restores a sample of users for practice, into a private directory beside the
catalog that is removed afterwards (or an empty store, --to), reads everything back, compares it
with the backup, and records how long it took and how old the data was; status shows
it. Exit code 3: something did not come back as it was.`

// drillFlags are those of restore --drill.
func drillFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "drill", Usage: "restore some users for practice, and compare"},
		&cli.StringFlag{Name: "users", Usage: "with --drill: a sample of `N` users, in turn; else 3"},
		&cli.StringSliceFlag{Name: "user", Usage: "with --drill: `USER` instead of a sample"},
		&cli.BoolFlag{Name: "keep-store", Usage: "with --drill: leave what was restored where it is"},
	}
}

// checkDrillFlags refuses flags of a drill without one, and others with one.
func checkDrillFlags(c *cli.Context) error {
	drill := c.Bool("drill")
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		ours := slices.Contains([]string{"users", "user", "keep-store"}, name)
		both := slices.Contains([]string{"drill", "to", "pace"}, name)
		switch {
		case !c.IsSet(name) || both:
		case ours && !drill:
			return usagef("--%s is for --drill", name)
		case drill && !ours:
			return usagef("--%s does not go with --drill, which restores users whole", name)
		}
	}
	if drill && c.NArg() > 0 {
		return withHint(usagef("a drill takes a sample of users"), "name one with --user "+c.Args().First())
	}
	if drill && c.IsSet("users") && c.IsSet("user") {
		return usagef("give --users N for a sample, or each --user")
	}
	return nil
}

func (a *app) drill(ctx context.Context, c *cli.Context) error {
	o := upkeep.DrillOptions{Users: notEmpty(c.StringSlice("user")), Host: hostName(), Now: a.now}
	if text := c.String("users"); text != "" {
		var err error
		if o.Sample, err = strconv.Atoi(text); err != nil || o.Sample < 1 {
			return usagef("--users %q: want a number of users from 1 on", text)
		}
	}
	to := c.String("to")
	if to != "" {
		if err := stores.CheckSource(to); err != nil {
			return storeError(fmt.Errorf("a drill reads back what it has restored: %w", err))
		}
		if len(o.Users) != 1 && !manyUsers(to) {
			return withHint(usagef("%s is one user's store", to), "put %u where the users' names belong, as in maildir:/srv/drill/%u")
		}
	}
	limiter, err := a.pace(c, to)
	if err != nil {
		return err
	}
	s, err := a.openWriter(ctx)
	if err != nil {
		return err
	}
	reader, err := a.mustRead(s)
	if err != nil {
		return err
	}
	if err := a.follow(ctx, s); err != nil {
		return err
	}
	o.Store = strings.SplitN(to, ":", 2)[0] // no more: the rest may name somebody
	if to == "" {
		dir, err := newScratch(filepath.Dir(s.catalog.Path()), c.Bool("keep-store"))
		if err != nil {
			return fmt.Errorf("make a place for the drill: %w", err)
		}
		a.onClose(dir.close)
		to, o.Store = "maildir:"+strings.ReplaceAll(dir.path, "%", "%%")+"/%u:LAYOUT=fs:UTF-8", "a directory beside the catalog"
		if dir.keep {
			a.say("salvor: what is restored stays in %s", dir.path)
		}
	}
	o.Meter = a.meter()
	ro := restore.Options{Catalog: s.catalog, Chunks: s.history().Chunks(reader), To: to, Wait: limiter.Wait, Meter: o.Meter}
	alone := ""
	if len(o.Users) == 1 {
		alone = o.Users[0]
	}
	o.Restore = func(ctx context.Context, users []string, each func(upkeep.Drilled)) error {
		return a.restoreForDrill(ctx, users, alone, ro, each)
	}
	o.Open = func(users []string) (mailstore.Source, error) {
		return stores.OpenSource(to, a.storeOptions(alone, users))
	}
	report, err := upkeep.Drill(ctx, s.history(), o)
	a.closeDisplay()
	switch {
	case errors.Is(err, upkeep.ErrNoUser) || errors.Is(err, upkeep.ErrNobody):
		return withHint(err, "`salvor users` lists who is in the backup")
	case err != nil:
		return err
	}
	if err := a.printDrill(report); err != nil {
		return err
	}
	return a.remindIdentity(s)
}

// restoreForDrill restores as a real restore does.
func (a *app) restoreForDrill(ctx context.Context, users []string, alone string, o restore.Options, each func(upkeep.Drilled)) (err error) {
	if o.Destination, err = stores.OpenDestination(o.To, a.storeOptions(alone, nil)); err != nil {
		return storeError(err)
	}
	if closer, ok := o.Destination.(io.Closer); ok {
		defer closer.Close() // accounts, which hold what was written, are closed by the restore
	}
	return restore.All(ctx, users, o, func(r *restore.Report, err error) {
		for _, p := range r.Problems {
			a.warn("salvor: %s", p)
		}
		each(upkeep.Drilled{User: r.User, Messages: int64(r.Messages + r.Skipped), Bytes: r.Bytes, Err: err})
	})
}

func (a *app) printDrill(r *upkeep.DrillReport) error {
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		words := fmt.Sprintf("restored %s, %s, %s in %s", counted(r.Users, "user"), counted(r.Messages, "message"), size(r.Bytes), seconds(r.Seconds))
		if r.Whole != nil {
			words += "; at this rate the whole vault takes " + estimated(r.Whole)
		}
		if r.DataAge != nil {
			words += "; the data was " + age(*r.DataAge) + " old"
		}
		a.print("%s", words)
		for _, d := range r.Differences {
			a.print("different: %s", d)
		}
		if r.More > 0 {
			a.print("and %s more", counted(r.More, "difference"))
		}
	}
	if n := len(r.Differences) + r.More; n > 0 {
		return withHint(incompletef("%s between what was restored and the backup (%s)", counted(n, "difference"), strings.Join(r.Problems, "; ")),
			"`salvor check --read-data` tells whether the vault is damaged; docs/runbook.md, \"Some messages do not come back\"")
	}
	if !a.json {
		a.print("all of it is as it was")
	}
	return nil
}

// age is how old something is, for people.
func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}

// estimated is an estimate for people.
func estimated(e *upkeep.Estimate) string {
	from, to := age(e.From), age(e.To)
	if from == to {
		return "about " + from
	}
	return from + " to " + to
}

// printLastDrill says in status what the last drill came to.
func (a *app) printLastDrill(d *upkeep.DrillStatus) {
	if d == nil {
		a.print("drill    never: `salvor restore --drill` shows whether mail comes back, and how fast")
		return
	}
	words := fmt.Sprintf("%s: %s, %s in %s", moment(d.At), counted(d.Users, "user"), counted(d.Messages, "message"), seconds(d.Seconds))
	if d.Failed > 0 || len(d.Problems) > 0 {
		words += ", not all as it was"
	}
	if d.Whole != nil {
		words += "; the whole vault would take " + estimated(d.Whole) + " (RTO)"
	}
	if d.DataAge != nil {
		words += "; the data was " + age(*d.DataAge) + " old (RPO)"
	}
	a.print("drill    %s", words)
}
