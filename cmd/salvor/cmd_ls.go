package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/retention"
	"salvor/restore"
)

func (a *app) lsCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Category: categoryRead, ArgsUsage: "USER [FOLDER]",
		Usage: "list a user's messages",
		Description: `FLAGS are letters: S seen, A answered, F flagged, D draft, T marked as deleted,
k a keyword of any name. Without --deleted and --as-of it lists what the mail store
had when it was last read.`,
		UsageText: "salvor ls alice INBOX\nsalvor ls alice --deleted\nsalvor ls alice INBOX --as-of yesterday",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "as-of", Usage: "what was there at `TIME`: 2006-10-26, '2006-10-26 18:30', yesterday, 3d (ago)"},
			&cli.BoolFlag{Name: "deleted", Usage: "only what was deleted and is still kept"},
		}, retentionFlags()...),
		Action: a.action(1, 2, a.ls),
	}
}

func (a *app) findCommand() *cli.Command {
	return &cli.Command{
		Name: "find", Category: categoryRead,
		Usage:     "search the backup for messages",
		UsageText: "salvor find --from anna@example.org --since 2w\nsalvor find --user alice --subject invoice --deleted",
		Description: `Texts match any part, in any case. All conditions given must hold. Without --deleted
it finds what the mail store had when it was last read.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "user", Usage: "only of this `USER`"},
			&cli.StringFlag{Name: "from", Usage: "sender has `TEXT`"},
			&cli.StringFlag{Name: "to", Usage: "recipient has `TEXT`"},
			&cli.StringFlag{Name: "subject", Usage: "subject has `TEXT`"},
			&cli.StringFlag{Name: "message-id", Usage: "Message-ID has `TEXT`"},
			&cli.StringFlag{Name: "since", Usage: "arrived at `TIME` or later"},
			&cli.StringFlag{Name: "before", Usage: "arrived before `TIME`"},
			&cli.BoolFlag{Name: "deleted", Usage: "only what was deleted and is still kept"},
		}, retentionFlags()...),
		Action: a.action(0, 0, a.find),
	}
}

// entryWords is one message, as scripts may rely on.
type entryWords struct {
	User         string     `json:"user"`
	Folder       string     `json:"folder"`
	UID          uint32     `json:"uid"`
	Size         int64      `json:"size"` // of the wire form
	SHA256       string     `json:"sha256"`
	StoredSHA256 string     `json:"stored_sha256"`
	StoredSize   int64      `json:"stored_size"`
	Flags        []string   `json:"flags"`
	InternalDate time.Time  `json:"internal_date"`
	FirstSeen    time.Time  `json:"first_seen"`
	Deleted      *time.Time `json:"deleted"`
	Expires      *time.Time `json:"expires"`
	*foundWords
}

// foundWords is what find adds.
type foundWords struct {
	From      string `json:"from"`
	To        string `json:"to"`
	Subject   string `json:"subject"`
	MessageID string `json:"message_id"`
}

func (a *app) ls(ctx context.Context, c *cli.Context) error {
	q := catalog.Query{User: c.Args().First(), Deleted: c.Bool("deleted")}
	if c.NArg() == 2 {
		q.Folders = []string{c.Args().Get(1)}
	}
	var err error
	if q.AsOf, err = a.timeFlag(c, "as-of"); err != nil {
		return err
	}
	if q.Deleted && !q.AsOf.IsZero() {
		return usagef("--deleted and --as-of do not go together: ls lists what was there at a time, or what is there no more")
	}
	l, err := a.newListing(ctx, c)
	if err != nil {
		return err
	}
	if err := l.mustHave(ctx, q); err != nil {
		return err
	}
	titles := []string{"FOLDER", ">UID", "FLAGS", "DATE", ">SIZE", "FROM", "SUBJECT"}
	if q.Deleted {
		titles = []string{"FOLDER", ">UID", "FLAGS", "DATE", "DELETED", "EXPIRES", ">SIZE", "FROM", "SUBJECT"}
	}
	t := a.newTable(titles...)
	found := false
	err = l.entries(ctx, q, func(e *catalog.Entry, w *entryWords) error {
		found = true
		if a.json {
			return a.printJSON(w)
		}
		cells := []string{e.Folder, counted64(e.UID), flagLetters(e.Flags), moment(e.InternalDate)}
		if q.Deleted {
			cells = append(cells, momentOf(w.Deleted), expiry(w))
		}
		return t.row(append(cells, size(e.Size), sender(e.From), e.Subject)...)
	})
	if err != nil || a.json {
		return err
	}
	if !found {
		a.say("No messages%s.", l.leftOut(q.Folders))
		return nil
	}
	return t.flush()
}

// leftOut says that a folder is empty here because it is no part of the backup.
func (l *listing) leftOut(folders []string) string {
	for _, f := range folders {
		if why := l.excluded[f]; why != "" {
			return fmt.Sprintf(": the folder is left out of the backup (%s)", why)
		}
	}
	return ""
}

func expiry(w *entryWords) string {
	if w.Deleted != nil && w.Expires == nil {
		return "held"
	}
	return momentOf(w.Expires)
}

func (a *app) find(ctx context.Context, c *cli.Context) error {
	q := catalog.Query{User: c.String("user"), From: c.String("from"), To: c.String("to"), Subject: c.String("subject"),
		MessageID: c.String("message-id"), Deleted: c.Bool("deleted")}
	var err error
	if q.Since, err = a.timeFlag(c, "since"); err != nil {
		return err
	}
	if q.Before, err = a.timeFlag(c, "before"); err != nil {
		return err
	}
	l, err := a.newListing(ctx, c)
	if err != nil {
		return err
	}
	if err := l.mustHave(ctx, q); err != nil {
		return err
	}
	titles := []string{"USER", "FOLDER", ">UID", "DATE", ">SIZE", "FROM", "SUBJECT"}
	if q.Deleted {
		titles = []string{"USER", "FOLDER", ">UID", "DATE", "DELETED", ">SIZE", "FROM", "SUBJECT"}
	}
	t := a.newTable(titles...)
	found := 0
	err = l.entries(ctx, q, func(e *catalog.Entry, w *entryWords) error {
		found++
		if a.json {
			w.foundWords = &foundWords{e.From, e.To, e.Subject, e.MessageID}
			return a.printJSON(w)
		}
		cells := []string{e.User, e.Folder, counted64(e.UID), moment(e.InternalDate)}
		if q.Deleted {
			cells = append(cells, momentOf(w.Deleted))
		}
		return t.row(append(cells, size(e.Size), sender(e.From), e.Subject)...)
	})
	if err != nil || a.json {
		return err
	}
	if found == 0 {
		return a.nothingFound(ctx, l, q)
	}
	return t.flush()
}

// nothingFound says whether it was deleted, rather than never there.
func (a *app) nothingFound(ctx context.Context, l *listing, q catalog.Query) error {
	deleted := 0
	if !q.Deleted {
		q.Deleted = true
		err := l.catalog.Entries(ctx, q, func(*catalog.Entry) error {
			deleted++
			return nil
		})
		if err != nil {
			return err
		}
	}
	if deleted > 0 {
		a.say("Nothing found in what is there; %s would match: --deleted lists them.", counted(deleted, "deleted message"))
		return nil
	}
	a.say("Nothing found.")
	return nil
}

// listing is what ls, find and show need of an opened catalog.
type listing struct {
	*session
	policy   retention.Policy
	begun    map[uint64]time.Time // when runs began, as far as they were asked for
	excluded map[string]string    // why folders that were asked for are left out
}

func (a *app) newListing(ctx context.Context, c *cli.Context) (*listing, error) {
	policy, err := a.policy(c)
	if err != nil {
		return nil, err
	}
	s, err := a.openAnswers(ctx)
	if err != nil {
		return nil, err
	}
	return a.listingOf(s, policy.Retention), nil
}

func (a *app) listingOf(s *session, policy retention.Policy) *listing {
	return &listing{session: s, policy: policy, begun: map[uint64]time.Time{}, excluded: map[string]string{}}
}

// mustHave tells apart "nothing found" from a name that nobody has.
func (l *listing) mustHave(ctx context.Context, q catalog.Query) error {
	if q.User == "" {
		return nil
	}
	if _, ok, err := l.catalog.User(q.User); err != nil || !ok {
		return errors.Join(err, noSuch(!ok, "user", q.User, restore.ErrNoUser))
	}
	for _, f := range q.Folders {
		found := false
		err := l.catalog.Mailboxes(ctx, q.User, func(m *catalog.Mailbox) error {
			if m.Name == f {
				found, l.excluded[f] = true, m.Excluded
			}
			return nil
		})
		if err != nil || !found {
			return errors.Join(err, noSuch(!found, "folder", f, restore.ErrNoFolder))
		}
	}
	return nil
}

func noSuch(missing bool, what, name string, err error) error {
	if !missing {
		return nil
	}
	return fmt.Errorf("%s %q: %w", what, name, err)
}

// entries lists what the query finds, with the words for it.
func (l *listing) entries(ctx context.Context, q catalog.Query, yield func(*catalog.Entry, *entryWords) error) error {
	return l.catalog.Entries(ctx, q, func(e *catalog.Entry) error {
		w, err := l.words(e)
		if err != nil {
			return err
		}
		return yield(e, w)
	})
}

func (l *listing) words(e *catalog.Entry) (*entryWords, error) {
	w := &entryWords{User: e.User, Folder: e.Folder, UID: e.UID, Size: e.Size, SHA256: e.Content.String(), StoredSHA256: e.Stored.String(),
		StoredSize: e.StoredSize, Flags: append([]string{}, e.Flags...), InternalDate: e.InternalDate, FirstSeen: e.FirstSeen}
	switch {
	case e.GoneRun == 0:
	case e.GoneAt == nil: // its week has not begun: deleted, but without an end
		t, err := l.runBegan(e.GoneRun)
		if err != nil {
			return nil, err
		}
		w.Deleted = &t
	default:
		expires := l.policy.Expires(e.User, *e.GoneAt)
		w.Deleted, w.Expires = e.GoneAt, &expires
	}
	return w, nil
}

func (l *listing) runBegan(number uint64) (time.Time, error) {
	if t, ok := l.begun[number]; ok {
		return t, nil
	}
	run, _, err := l.catalog.Run(number)
	l.begun[number] = run.Started
	return run.Started, err
}
