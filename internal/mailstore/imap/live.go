package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/wire"
)

// A Server opens accounts of a running IMAP server as their users' clients see
// them. It may be used by several goroutines, one account by one of them.
type Server struct {
	d *Destination
	// proxied: the login has opened somebody else's account before. One that it
	// then is refused is not there.
	proxied atomic.Bool
}

var (
	_ mailstore.Server  = (*Server)(nil)
	_ mailstore.Live    = (*live)(nil)
	_ mailstore.Remover = (*live)(nil)
	_ mailstore.Poster  = (*live)(nil)
	_ mailstore.Noter   = (*live)(nil)
)

// Connect logs in once, to prove address, TLS and password, and makes nothing.
func Connect(o Options) (*Server, error) {
	d, err := Create(o)
	if err != nil {
		return nil, err
	}
	return &Server{d: d}, nil
}

// Close ends what the server keeps open beside its accounts. Accounts cannot be
// used any more.
func (s *Server) Close() error { return s.d.Close() }

// Live opens a user's account.
func (s *Server) Live(ctx context.Context, user string) (mailstore.Live, error) {
	l := &live{s: s, a: &account{holding: newHolding(s.d, user), ctx: ctx}, boxes: map[string]*box{}, validity: map[string]uint32{}}
	if err := l.open(ctx); err != nil {
		l.a.closeLinks()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("open the account of %q: %w", user, s.explain(user, err))
	}
	if s.d.administers(user) {
		s.proxied.Store(true)
	}
	return l, nil
}

// explain tells what a refused login for another user means.
func (s *Server) explain(user string, err error) error {
	var refused *loginError
	if !errors.As(err, &refused) || !s.d.administers(user) {
		return err
	}
	switch wire.CodeOf(err) {
	case "", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "NONEXISTENT":
		if s.proxied.Load() {
			return fmt.Errorf("%w: %w", mailstore.ErrNoAccount, err)
		}
	}
	return fmt.Errorf("%w; only an administrator of a Cyrus or a master user of a Dovecot opens the accounts of others, if they are there", err)
}

// A live is an account of a running server. What it has in common with one that
// is restored into, the account does: connections, names, folders and notes.
type live struct {
	s     *Server
	a     *account
	boxes map[string]*box // folders that were appended to, by name on the wire
	// validity is the UIDVALIDITY that Stand told last, by name on the wire.
	validity   map[string]uint32
	askedAdmin bool
}

// open connects, and makes sure that the user is there: a Cyrus lets its
// administrators in for any name.
func (l *live) open(ctx context.Context) error {
	return l.a.do(ctx, func(c *wire.Conn) error {
		l.a.cyrus = c.Caps().Has("DIGEST=SHA1")
		l.a.binary = c.Caps().Has("BINARY")
		if err := l.a.learn(ctx, c); err != nil {
			return err
		}
		if l.a.there[folder.Inbox] {
			return nil
		}
		_, err := l.a.link.examine(ctx, c, folder.Inbox)
		if isNotThere(err) {
			return fmt.Errorf("%w (it has no INBOX of this user: %w)", mailstore.ErrNoAccount, err)
		}
		l.a.there[folder.Inbox] = err == nil
		return err
	})
}

// isNotThere tells whether a mailbox is refused because there is none. Cyrus has
// no code for it.
func isNotThere(err error) bool {
	var r *wire.Refused
	if !errors.As(err, &r) || r.Bad {
		return false
	}
	text := strings.ToLower(r.Text)
	return r.Code == "NONEXISTENT" || r.Code == "TRYCREATE" || strings.Contains(text, "does not exist") || strings.Contains(text, "doesn't exist")
}

// Notes are what the operator should know about what was appended and made.
func (l *live) Notes() []mailstore.Note { return l.a.Notes() }

// Close ends the connections. What was appended or removed is so since the
// server has said it.
func (l *live) Close(context.Context) error {
	l.a.closeLinks()
	return nil
}

// Mailboxes lists the user's own mailboxes.
func (l *live) Mailboxes(ctx context.Context, yield func(mailstore.Mailbox) error) error {
	user := l.a.link.user
	one := &session{s: l.s.d.s, user: user, lister: &l.a.link}
	one.names.Store(l.a.table)
	boxes, problems, err := one.all(ctx)
	if err != nil {
		return problem(ctx, user, "", err)
	}
	return give(user, boxes, problems, yield)
}

// find gives the name on the wire under which a folder is there: the one that a
// restore gave it or, for what the server lists under a name that a restore
// would not give, its own.
func (l *live) find(ctx context.Context, name string) (string, error) {
	for try := 1; ; try++ {
		if onWire, ok := l.a.find(name); ok {
			return onWire, nil
		}
		if own := l.a.table.onWire(name); l.a.there[own] {
			if back, ok := l.a.table.name(own); ok && back == name {
				return own, nil
			}
		}
		if try > 1 {
			return "", mailstore.ErrNoMailbox
		}
		// Others may have made it since.
		if err := l.a.do(ctx, func(c *wire.Conn) error { return l.a.learn(ctx, c) }); err != nil {
			return "", err
		}
	}
}

// look opens a mailbox for reading, as it is now.
func (l *live) look(ctx context.Context, c *wire.Conn, onWire string) (*wire.Selected, error) {
	l.a.link.box = "" // what was told when it was opened last may be old
	sel, err := l.a.link.examine(ctx, c, onWire)
	return sel, l.gone(onWire, err)
}

// sameMailbox is an error when a mailbox was made anew between two looks at it.
func sameMailbox(before, now *wire.Selected) error {
	if before.UIDValidity == now.UIDValidity {
		return nil
	}
	return fmt.Errorf("%w (UIDVALIDITY was %d and is %d)", mailstore.ErrRenumbered, before.UIDValidity, now.UIDValidity)
}

// gone makes a refusal of a mailbox that is no more ErrNoMailbox.
func (l *live) gone(onWire string, err error) error {
	if !isNotThere(err) {
		return err
	}
	delete(l.a.there, onWire)
	return fmt.Errorf("%w: %w", mailstore.ErrNoMailbox, err)
}

// in calls f with a folder's name on the wire, and names user and folder in its
// error.
func (l *live) in(ctx context.Context, mailbox string, f func(onWire string) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	onWire, err := l.find(ctx, mailbox)
	if err == nil {
		err = f(onWire)
	}
	return l.about(mailbox, err)
}

func (l *live) about(mailbox string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: folder %q: %w", l.a.link.user, mailbox, err)
}

// Stand tells how far a mailbox has come. It is opened anew for that: what STATUS
// tells may come from a cache, and be behind other sessions.
func (l *live) Stand(ctx context.Context, mailbox string) (st mailstore.Stand, err error) {
	err = l.in(ctx, mailbox, func(onWire string) error {
		return l.a.do(ctx, func(c *wire.Conn) error {
			sel, err := l.look(ctx, c, onWire)
			if err != nil {
				return err
			}
			if st, err = l.standOf(ctx, c, onWire, sel); err == nil {
				l.validity[onWire] = st.UIDValidity
			}
			return err
		})
	})
	return st, err
}

// standOf makes a Stand of what EXAMINE tells, and asks for what it does not.
func (l *live) standOf(ctx context.Context, c *wire.Conn, onWire string, sel *wire.Selected) (mailstore.Stand, error) {
	st := mailstore.Stand{UIDValidity: sel.UIDValidity, UIDNext: mailstore.UID(sel.UIDNext), Messages: int(sel.Messages)}
	if st.UIDNext == 0 {
		err := c.Statuses(ctx, []string{onWire}, "UIDNEXT", func(s wire.Status) error {
			st.UIDNext = mailstore.UID(min(s.Uint("UIDNEXT"), 1<<32-1))
			return s.Err
		})
		if err != nil {
			return st, err
		}
		if st.UIDNext == 0 {
			return st, errors.New("the server does not tell the mailbox's UIDNEXT")
		}
	}
	rights, err := askRights(ctx, c, onWire)
	// Without any of these nothing comes in and nothing goes out. "d" is what RFC
	// 2086 had for "t" and "e".
	st.ReadOnly = rights != "" && !strings.ContainsAny(rights, "itd")
	return st, err
}

// askRights gives the rights in a mailbox (RFC 4314, section 3.5); "" when the
// server does not tell them.
func askRights(ctx context.Context, c *wire.Conn, onWire string) (rights string, err error) {
	if !c.Caps().Has("ACL") {
		return "", nil
	}
	cmd := wire.NewCommand("MYRIGHTS").String(onWire)
	cmd.Handle = func(r *wire.Response) (bool, error) {
		if r.Name != "MYRIGHTS" {
			return false, nil
		}
		values, err := r.Values()
		if err == nil && len(values) > 1 {
			rights = values[len(values)-1].Text()
		}
		return true, err
	}
	if _, err = c.Do(ctx, cmd); wire.IsBroken(err) || ctx.Err() != nil {
		return "", err
	}
	return rights, nil // rights that are not told are unknown
}

// uidsOf makes a set of UIDs.
func uidsOf(uids []mailstore.UID) wire.Set {
	var out []uint32
	for _, u := range uids {
		if u != 0 {
			out = append(out, uint32(u))
		}
	}
	return wire.SetOf(out...)
}
