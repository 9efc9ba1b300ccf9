package imap

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/wire"
)

// A Destination puts mail into an IMAP server. Accounts of different users may
// be used at the same time, one account by one goroutine at a time.
//
// Messages are appended one by one and keep flags, keywords and date; the server
// numbers them anew. To a Cyrus, with an administrator's login, mailboxes that
// are not there yet are restored exactly, over its replication verbs: see
// exact.go. What a mailbox holds already is found out by content, so that a
// restore can be repeated, and goes on after it was interrupted.
type Destination struct {
	s *Source // connections and logins

	mu    sync.Mutex
	looks map[string]*userLook // by user, for Renumbers
	// partition is one that Cyrus is known to have; "" none yet.
	partition string
}

var (
	_ mailstore.Destination = (*Destination)(nil)
	_ mailstore.Previewer   = (*Destination)(nil)
	_ mailstore.Renumberer  = (*Destination)(nil)
)

// Create logs in once, to prove address, TLS and password, and makes nothing.
func Create(o Options) (*Destination, error) {
	s, err := Open(o)
	if err != nil {
		return nil, err
	}
	return &Destination{s: s, looks: map[string]*userLook{}}, nil
}

// Close ends all connections.
func (d *Destination) Close() error { return d.s.Close() }

// administers tells whether the login is for others than the user.
func (d *Destination) administers(user string) bool {
	return d.s.o.User != "" && d.s.o.User != user
}

// asAdmin opens a connection of the administrator of a Cyrus. It gives nil where
// the login is no such one, or the server no such server.
func (d *Destination) asAdmin(ctx context.Context, user string) (*admin, error) {
	if !d.administers(user) {
		return nil, nil
	}
	a := &admin{d: d, link: link{s: d.s, user: d.s.o.User}, user: user}
	var is bool
	err := a.link.do(ctx, func(c *wire.Conn) (err error) {
		is, err = a.recognise(ctx, c)
		return err
	})
	if err != nil || !is {
		a.link.close()
		return nil, err
	}
	return a, nil
}

// Account opens a user's account. It is made when its first folder is.
func (d *Destination) Account(ctx context.Context, user string) (mailstore.Account, error) {
	ad, err := d.asAdmin(ctx, user)
	if err != nil {
		return nil, err
	}
	a := &account{holding: newHolding(d, user), ctx: ctx, admin: ad, boxes: map[string]*box{}, byWire: map[string]*box{}}
	if ad != nil {
		if err := ad.refresh(ctx); err != nil {
			a.closeLinks()
			return nil, err
		}
		d.mu.Lock()
		if l := d.looks[user]; l != nil {
			a.inbox = l.inbox
			delete(d.looks, user) // what it says is not true for long
		}
		d.mu.Unlock()
	}
	err = a.do(ctx, func(c *wire.Conn) error {
		a.cyrus = c.Caps().Has("DIGEST=SHA1")
		a.binary = c.Caps().Has("BINARY")
		return a.learn(ctx, c)
	})
	if err != nil {
		a.closeLinks()
		return nil, err
	}
	return a, nil
}

// A holding is a user's mail as a connection of theirs shows it: what is there
// already. It makes nothing.
type holding struct {
	d     *Destination
	link  link
	table *names
	there map[string]bool // mailboxes that are there, by name on the wire
	sums  map[string]*contents
}

func newHolding(d *Destination, user string) *holding {
	return &holding{d: d, link: link{s: d.s, user: user}, sums: map[string]*contents{}}
}

func (h *holding) do(ctx context.Context, f func(*wire.Conn) error) error { return h.link.do(ctx, f) }

// learn asks for the namespace and the mailboxes that are there.
func (h *holding) learn(ctx context.Context, c *wire.Conn) (err error) {
	if h.table, err = askNames(ctx, c); err != nil {
		return err
	}
	h.there = map[string]bool{}
	for _, pattern := range h.table.patterns() {
		err := c.List(ctx, "", pattern, func(l wire.Listed) error {
			if len(h.there) >= maxMailboxes {
				return fmt.Errorf("more than %d mailboxes", maxMailboxes)
			}
			if !l.Has(`\Noselect`) && !l.Has(`\NonExistent`) {
				h.there[keyOfName(l.Name)] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keyOfName makes the spellings of INBOX the same.
func keyOfName(onWire string) string {
	if strings.EqualFold(onWire, folder.Inbox) {
		return folder.Inbox
	}
	return onWire
}

// Renumbers says why the messages of a mailbox will not keep their UIDs.
func (d *Destination) Renumbers(ctx context.Context, user string, box mailstore.Mailbox) (string, error) {
	l, err := d.look(ctx, user)
	if err != nil {
		return "", err
	}
	if l.plain != "" {
		return l.plain, nil
	}
	if strings.EqualFold(box.Name, folder.Inbox) {
		d.mu.Lock()
		l.inbox = &box
		d.mu.Unlock()
	}
	return l.admin.inexact(l.admin.internal(box.Name), box), nil
}

// A userLook is what is known of a user at a Cyrus before the restore begins.
type userLook struct {
	plain string // why nothing of the user is restored exactly; "" it may be
	admin *admin // without a connection
	// inbox is the INBOX that is going to be restored, nil where none is. Others
	// may need it before its turn comes.
	inbox *mailstore.Mailbox
}

const renumbered = "IMAP servers number messages themselves"

// look asks once for all mailboxes of a user.
func (d *Destination) look(ctx context.Context, user string) (*userLook, error) {
	d.mu.Lock()
	l := d.looks[user]
	d.mu.Unlock()
	if l != nil {
		return l, nil
	}
	ad, err := d.asAdmin(ctx, user)
	if err != nil {
		return nil, err
	}
	l = &userLook{plain: renumbered, admin: ad}
	if ad != nil {
		l.plain = ""
		err = ad.refresh(ctx)
		ad.link.close()
		if err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.looks) >= openSessions { // of users whose turn is over
		clear(d.looks)
	}
	d.looks[user] = l
	return l, nil
}

// Preview opens a user's account to compare with.
func (d *Destination) Preview(ctx context.Context, user string) (mailstore.Preview, error) {
	p := &preview{holding: newHolding(d, user)}
	err := p.do(ctx, func(c *wire.Conn) error { return p.learn(ctx, c) })
	if err != nil {
		p.link.close()
		return nil, err
	}
	return p, nil
}

// A preview is an account of a dry run.
type preview struct{ *holding }

// Copies counts the copies of a message; a folder that is not there has none.
func (p *preview) Copies(ctx context.Context, mailbox string, w mailstore.Wanted) (int, error) {
	onWire, ok := p.find(mailbox)
	if !ok {
		return 0, nil
	}
	k, err := p.contents(ctx, onWire)
	if err != nil {
		return 0, inFolder(mailbox, err)
	}
	n, err := p.copies(ctx, k, w)
	return n, inFolder(mailbox, err)
}

// Close ends the connection.
func (p *preview) Close(context.Context) error {
	p.link.close()
	return nil
}

func inFolder(mailbox string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("folder %q: %w", mailbox, err)
}
