package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/retention"
	"salvor/internal/vault"
	"salvor/restore"
)

func (a *app) showCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Category: categoryRead, ArgsUsage: "USER FOLDER UID",
		Usage: "print one message, as it is in the vault",
		Description: `Prints the main headers and the first text, with control characters made visible.
--raw prints exactly the bytes that the mail store had. Both check the message's
hash first. When a UID was used twice, the message that is there wins over a deleted
one, else the later one is shown.`,
		UsageText: "salvor show alice INBOX 17\nsalvor show alice INBOX 17 --raw > message.eml",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "raw", Usage: "print the stored bytes, and nothing else"}},
		Action:    a.action(3, 3, a.show),
	}
}

func (a *app) show(ctx context.Context, c *cli.Context) error {
	uid, err := parseUID(c.Args().Get(2))
	if err != nil {
		return err
	}
	s, err := a.openReader(ctx)
	if err != nil {
		return err
	}
	l := a.listingOf(s, retention.Policy{})
	q := catalog.Query{User: c.Args().First(), Folders: []string{c.Args().Get(1)}, UIDs: []uint32{uid}}
	if err := l.mustHave(ctx, q); err != nil {
		return err
	}
	best, err := l.latest(ctx, q)
	if err != nil {
		return err
	}
	if best == nil {
		return withHint(fmt.Errorf("no message with uid %d in folder %q of user %q", uid, q.Folders[0], q.User), "`salvor ls USER FOLDER` lists them, with --deleted those that are gone")
	}
	stored, err := a.readMessage(ctx, s, best)
	if err != nil {
		return err
	}
	if c.Bool("raw") {
		_, err = a.out.Write(stored)
		return err
	}
	words, err := l.words(best)
	if err != nil {
		return err
	}
	return a.printMessage(best, words, stored)
}

// latest gives the message that is there, else the last one that was.
func (l *listing) latest(ctx context.Context, q catalog.Query) (best *catalog.Entry, err error) {
	for _, q.Deleted = range []bool{false, true} {
		err = l.catalog.Entries(ctx, q, func(e *catalog.Entry) error {
			if best == nil || e.ID > best.ID {
				best = e
			}
			return nil
		})
		if err != nil || best != nil {
			return best, err
		}
	}
	return nil, nil
}

func (a *app) readMessage(ctx context.Context, s *session, e *catalog.Entry) ([]byte, error) {
	reader, err := a.mustRead(s)
	if err != nil {
		return nil, err
	}
	return restore.Message(ctx, s.catalog, s.history().Chunks(reader), e)
}

// mustRead gives what reads packs, or says that the identity is missing.
func (a *app) mustRead(s *session) (*vault.Reader, error) {
	if len(s.ids.Keys) == 0 {
		return nil, withHint(fmt.Errorf("reading mail: %w: none is at hand", vault.ErrNoIdentity),
			"give the vault's identity file with --identity FILE; the backup host itself cannot read the mail it has written")
	}
	if !opens(s.ids, s.vault.Config()) {
		return nil, a.whereVault(fmt.Errorf("%w: the identity given belongs to another vault", vault.ErrNoIdentity))
	}
	return a.reader(s)
}

func parseUID(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, usagef("%q is no UID: want a number from 1 on", text)
	}
	return uint32(n), nil
}
