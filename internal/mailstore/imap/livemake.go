package imap

import (
	"context"
	"errors"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// Make makes a mailbox that is not there. The user's own rights come first, then
// the administrator's.
func (l *live) Make(ctx context.Context, m mailstore.Mailbox) error {
	_, err := l.find(ctx, m.Name)
	if errors.Is(err, mailstore.ErrNoMailbox) {
		err = l.make(ctx, m)
	}
	return l.about(m.Name, err)
}

func (l *live) make(ctx context.Context, m mailstore.Mailbox) error {
	b := &box{name: m.Name, mailbox: m}
	err := l.a.createNamed(ctx, b)
	if isDenied(err) {
		err = l.makeAsAdmin(ctx, b, err)
	}
	if err != nil || !b.created {
		return asRefusal(err) // or nil: somebody else has made it meanwhile
	}
	l.a.there[b.onWire] = true
	if shown, _ := l.a.table.name(b.onWire); shown != m.Name {
		l.a.note(m.Name, false, "the folder is called %q there, as the server has no name for it", shown)
	}
	if err := l.a.furnish(ctx, b); err != nil || m.ACL == "" {
		return err
	}
	ad, err := l.admin(ctx)
	if err != nil || ad == nil {
		return err
	}
	if err := ad.setACL(ctx, m.Name, m.ACL); err != nil {
		if wire.IsBroken(err) || ctx.Err() != nil {
			return err
		}
		l.a.note(m.Name, true, "its rights (ACL) were not set: %v", err)
	}
	return nil
}

func isDenied(err error) bool {
	var r *wire.Refused
	return errors.As(err, &r) && (r.Code == "NOPERM" || strings.Contains(strings.ToLower(r.Text), "permission denied"))
}

// makeAsAdmin makes a folder that the user may not make.
func (l *live) makeAsAdmin(ctx context.Context, b *box, denied error) error {
	ad, err := l.admin(ctx)
	if err != nil {
		return err
	}
	if ad == nil {
		return denied
	}
	err = ad.do(ctx, func() *wire.Command { return wire.NewCommand("CREATE").String(ad.outside(b.name)) })
	b.onWire, b.created = l.a.table.target(b.name), err == nil
	if isThere(err) {
		return nil
	}
	return err
}

// admin gives the connection of a Cyrus administrator, on behalf of the user;
// nil where the login is none.
func (l *live) admin(ctx context.Context) (*admin, error) {
	if l.askedAdmin || !l.a.cyrus {
		return l.a.admin, nil
	}
	ad, err := l.s.d.asAdmin(ctx, l.a.link.user)
	if err == nil && ad != nil {
		if err = ad.refresh(ctx); err != nil {
			ad.link.close()
		}
	}
	if err != nil {
		return nil, err
	}
	l.a.admin, l.askedAdmin = ad, true
	return ad, nil
}
