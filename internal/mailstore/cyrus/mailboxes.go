package cyrus

import (
	"context"
	"fmt"
	"os"
	"time"

	"salvor/internal/mailstore"
)

// Mailboxes lists a user's mailboxes. One whose index cannot be relied on is
// listed as Lost; Messages says more of it.
func (s *Source) Mailboxes(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox) error) error {
	list, err := s.current(ctx)
	if err != nil {
		return err
	}
	a, err := list.account(user.Name)
	if err != nil {
		return err
	}
	l := boxLister{s: s, a: a}
	conf, err := os.OpenRoot(s.c.dir)
	if err != nil {
		l.problem("", s.c.dir, fmt.Errorf("subscriptions and quotas are unknown: %w", err))
	} else {
		defer conf.Close()
		var path string
		if l.subs, path, err = s.subscriptions(conf, a); err != nil {
			l.problem("", path, fmt.Errorf("read the subscriptions: %w", err))
		}
	}
	l.uses, _, _ = s.specialUses() // what is wrong with these, Users has said
	for _, b := range a.boxes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := yield(l.mailbox(conf, b)); err != nil {
			return err
		}
	}
	return incomplete(l.problems)
}

// A boxLister lists one user's mailboxes once.
type boxLister struct {
	s        *Source
	a        *account
	subs     map[string]bool
	uses     map[string]string
	seen     *seenState // of mailboxes before version 12, read when first needed
	problems []*mailstore.Problem
}

func (l *boxLister) problem(mailbox, path string, err error) {
	l.problems = append(l.problems, &mailstore.Problem{User: l.a.name, Mailbox: mailbox, Path: path, Err: err})
}

func (l *boxLister) mailbox(conf *os.Root, b *box) mailstore.Mailbox {
	k := l.s.c.look(b)
	m := mailstore.Mailbox{
		User: l.a.name, Name: b.folder, ObjectID: k.identity(b), SpecialUse: b.useOf(l.uses), Subscribed: l.subs[b.folder],
		ACL: k.rights(b), Lost: k.lost, UIDValidity: b.validity,
	}
	if k.raw != nil {
		m.UIDValidity = b.uidValidity(&k.header)
	}
	if k.lost == "" {
		m.UIDNext, m.HighestModSeq = nextUID(k.header.LastUID), k.header.HighestModSeq
		m.TellsRemovals = l.s.c.keepsExpunged(&k.header)
	}
	seen := ""
	if k.raw != nil && !k.header.Version12() {
		if l.seen == nil {
			l.seen = l.s.seenState(l.a)
		}
		seen = l.seen.token(m.ObjectID)
	}
	m.State = k.token(seen, time.Now())
	if conf != nil {
		quota, path, err := l.s.quota(conf, b)
		if m.Quota = quota; err != nil {
			l.problem(b.folder, path, fmt.Errorf("read the quota: %w", err))
		}
	}
	return m
}

// nextUID is the UID that the next message will have, at least.
func nextUID(last uint32) uint32 {
	if last == ^uint32(0) {
		return last
	}
	return last + 1
}

// Count counts the live messages from the index's header.
func (s *Source) Count(ctx context.Context, box mailstore.Mailbox) (int, error) {
	b, err := s.box(ctx, box)
	if err != nil {
		return 0, err
	}
	k := s.c.look(b)
	if k.lost == "" {
		return int(k.header.Exists), nil
	}
	n := 0
	err = s.Messages(ctx, box, func(m mailstore.Message) error {
		if m.Expunged.IsZero() {
			n++
		}
		return nil
	})
	return n, err
}

// box finds a mailbox that was listed.
func (s *Source) box(ctx context.Context, box mailstore.Mailbox) (*box, error) {
	list, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	a, err := list.account(box.User)
	if err != nil {
		return nil, err
	}
	if b := a.find(box.ObjectID, box.Name); b != nil {
		return b, nil
	}
	return nil, &mailstore.Problem{User: box.User, Mailbox: box.Name, Err: fmt.Errorf("it is not listed any more: %w", mailstore.ErrVanished)}
}
