package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
)

func (a *app) usersCommand() *cli.Command {
	return &cli.Command{
		Name: "users", Category: categoryRead,
		Usage:     "list the users in the backup",
		UsageText: "salvor users",
		Action:    a.action(0, 0, a.users),
	}
}

type userWords struct {
	User        string     `json:"user"`
	Source      string     `json:"source"`
	FirstSeen   time.Time  `json:"first_seen"`
	Messages    int64      `json:"messages"`
	DeletedKept int64      `json:"deleted_kept"`
	LastRun     uint64     `json:"last_run"`
	LastGood    *time.Time `json:"last_good"` // the last run that read everything
	Problems    int        `json:"problems"`  // in the last run
	Gone        bool       `json:"gone"`      // not at the source any more

	newest uint64 // the last run that listed a user of the same source
}

func (a *app) users(ctx context.Context, _ *cli.Context) error {
	s, err := a.openAnswers(ctx)
	if err != nil {
		return err
	}
	newest := map[string]uint64{} // by source: the last run that listed a user
	err = s.catalog.Users(ctx, func(u *catalog.User) error {
		newest[u.Source] = max(newest[u.Source], u.LastRun)
		return nil
	})
	if err != nil {
		return err
	}
	t := a.newTable("USER", ">MESSAGES", ">DELETED", "LAST GOOD RUN", "REMARK")
	err = s.catalog.Users(ctx, func(u *catalog.User) error {
		w := userWords{User: u.Name, Source: u.Source, FirstSeen: u.FirstSeen, LastRun: u.LastRun, Problems: u.Failed, Gone: u.GoneRun != 0}
		err := s.catalog.Counts(ctx, catalog.CountQuery{User: u.Name}, func(m *catalog.MailboxCount) error {
			w.Messages += m.Live
			w.DeletedKept += m.Gone - m.Moved
			return nil
		})
		if err != nil {
			return err
		}
		w.newest = newest[u.Source]
		if !u.LastGoodAt.IsZero() {
			w.LastGood = &u.LastGoodAt
		}
		if a.json {
			return a.printJSON(w)
		}
		return t.row(w.User, counted64(w.Messages), counted64(w.DeletedKept), momentOf(w.LastGood), w.remark())
	})
	if err != nil || a.json {
		return err
	}
	return t.flush()
}

func (w *userWords) remark() string {
	switch {
	case w.Gone:
		return "gone from the source"
	case w.Problems > 0:
		return counted(w.Problems, "problem") + " in the last run"
	case w.LastRun < w.newest:
		return fmt.Sprintf("not listed in run %d", w.newest)
	case w.LastGood == nil:
		return "never read completely"
	}
	return ""
}
