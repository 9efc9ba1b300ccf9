package imap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/wire"
)

// An account is one user's part of a destination. The user's own connection
// appends and compares; that of a Cyrus administrator makes what only they may.
type account struct {
	*holding
	ctx   context.Context    // of the restore: when it has ended, mailboxes are not complete
	admin *admin             // nil without one
	inbox *mailstore.Mailbox // see userLook
	cyrus bool
	// binary: literals may hold NUL.
	binary bool
	boxes  map[string]*box // by folder
	byWire map[string]*box // the same, by name on the wire
	notes  []mailstore.Note
	noted  map[string]bool
	full   string // why the server takes nothing more of this user; ""
	buf    []byte // the wire form of the message under way
	stage  staging

	dropped map[string]int
	err     error // what made the account useless
}

var (
	_ mailstore.Account  = (*account)(nil)
	_ mailstore.Comparer = (*account)(nil)
	_ mailstore.Noter    = (*account)(nil)
	_ mailstore.Dropper  = (*account)(nil)
)

// A box is a folder that is written.
type box struct {
	name, onWire string
	mailbox      mailstore.Mailbox
	created      bool
	exact        *exactBox // nil where messages are appended
	flags        flagBook
	// next is a UID below which everything was there before this account, or is
	// known to it; unnumbered counts what was added without learning its UID.
	next       uint32
	unnumbered map[chunk.ID]int
	changed    map[chunk.ID]int // copies of altered messages, set against records
}

// Notes are what the operator should know.
func (a *account) Notes() []mailstore.Note { return a.notes }

// Dropped tells, for mailboxes that were to be restored exactly and were not,
// how many messages went down with them.
func (a *account) Dropped() map[string]int { return a.dropped }

// maxNotes bounds the notes of one account.
const maxNotes = 10_000

// note says something once.
func (a *account) note(mailbox string, loss bool, format string, args ...any) {
	n := mailstore.Note{User: a.link.user, Mailbox: mailbox, What: fmt.Sprintf(format, args...), Loss: loss}
	key := mailbox + "\x00" + n.What
	if a.noted[key] || len(a.notes) >= maxNotes {
		return
	}
	if a.noted == nil {
		a.noted = map[string]bool{}
	}
	a.noted[key] = true
	a.notes = append(a.notes, n)
}

// Mailbox makes a folder, or looks at what is there.
func (a *account) Mailbox(ctx context.Context, m mailstore.Mailbox) error {
	if err := errors.Join(a.err, ctx.Err()); err != nil {
		return err
	}
	if b := a.boxes[m.Name]; b != nil {
		if b.exact != nil && len(b.exact.records) == 0 { // begun for others
			b.mailbox = m
		}
		return nil
	}
	b, err := a.open(ctx, m)
	if err != nil {
		return fmt.Errorf("make folder %q of %q: %w", m.Name, a.link.user, err)
	}
	a.boxes[m.Name], a.byWire[b.onWire] = b, b
	if shown, _ := a.tableOf(b).name(b.onWire); shown != m.Name && b.onWire != folder.Inbox {
		a.note(m.Name, false, "the folder is called %q there, as the server has no name for it", shown)
	}
	return nil
}

// tableOf gives the names in which a box's name on the wire is written: those of
// an exact restore are made before the user is.
func (a *account) tableOf(b *box) *names {
	if b.exact != nil {
		return &a.admin.table
	}
	return a.table
}

func (a *account) open(ctx context.Context, m mailstore.Mailbox) (*box, error) {
	b := &box{name: m.Name, mailbox: m, next: 1}
	var there bool
	b.onWire, there = a.find(m.Name)
	if same := a.byWire[b.onWire]; b.onWire != "" && same != nil { // inbox is INBOX
		return same, nil
	}
	if a.admin != nil {
		if is, err := a.openExact(ctx, b); is || err != nil {
			return b, err
		}
	}
	if !there {
		if err := a.create(ctx, b); err != nil || b.created {
			return b, err
		}
	}
	k, err := a.contents(ctx, b.onWire)
	if err != nil {
		return b, err
	}
	// INBOX is always there; one that nobody has used counts as new.
	if b.onWire == folder.Inbox && k.next <= 1 {
		if err := a.furnish(ctx, b); err != nil {
			return b, err
		}
	} else if b.onWire == folder.Inbox && a.admin != nil {
		if err := a.furnishKilled(ctx, b); err != nil {
			return b, err
		}
	}
	b.next = k.next
	if k.ghosts > 0 {
		a.note(m.Name, false, "messages that the server lists there and has no content of: %d; good copies of them are put beside", k.ghosts)
	}
	return b, nil
}

// create makes a folder, with its use, and what belongs to it.
func (a *account) create(ctx context.Context, b *box) error {
	if a.isAbsent() {
		if err := a.createInbox(ctx); err != nil {
			return err
		}
		if strings.EqualFold(b.name, folder.Inbox) {
			b.onWire, b.created = folder.Inbox, true
		}
	}
	if !b.created {
		if err := a.createNamed(ctx, b); err != nil {
			return err
		}
	}
	a.there[b.onWire] = true
	if !b.created { // somebody else has made it meanwhile
		return nil
	}
	a.sums[b.onWire] = &contents{onWire: b.onWire, next: 1}
	if err := a.furnish(ctx, b); err != nil {
		return err
	}
	if a.admin != nil && b.mailbox.ACL != "" {
		if err := a.admin.setACL(ctx, b.name, b.mailbox.ACL); err != nil {
			if wire.IsBroken(err) {
				return err
			}
			a.note(b.name, true, "its rights (ACL) were not set: %v", err)
		}
	}
	return nil
}

// isAbsent tells whether the user is not there, of whom an administrator knows.
func (a *account) isAbsent() bool {
	if a.admin == nil {
		return false
	}
	_, ok := a.admin.infos[a.admin.inbox()]
	return !ok
}

// createInbox makes the user, and asks anew for the namespace: there is none
// without the user.
func (a *account) createInbox(ctx context.Context) error {
	if err := a.admin.createInbox(ctx); err != nil {
		return err
	}
	return a.do(ctx, func(c *wire.Conn) error { return a.learn(ctx, c) })
}

// createNamed tries the names that the folder may have.
func (a *account) createNamed(ctx context.Context, b *box) (err error) {
	candidates := a.table.targets(b.name)
	if a.cyrus {
		candidates = []string{a.table.target(b.name), candidates[len(candidates)-1]}
	}
	for i, onWire := range candidates {
		b.onWire = onWire
		err = a.createOne(ctx, onWire, b.mailbox.SpecialUse)
		if err == nil || !isBadName(err) || i == len(candidates)-1 {
			break
		}
	}
	b.created = err == nil
	if isThere(err) {
		return nil
	}
	return err
}

// isBadName tells whether a server does not take a name, from its other reasons
// not to make a folder.
func isBadName(err error) bool {
	var r *wire.Refused
	if !errors.As(err, &r) {
		return false
	}
	text := strings.ToLower(r.Text)
	return r.Bad || r.Code == "CANNOT" || strings.Contains(text, "name") || strings.Contains(text, "character")
}

func isThere(err error) bool {
	var r *wire.Refused
	return errors.As(err, &r) && (r.Code == "ALREADYEXISTS" || strings.Contains(strings.ToLower(r.Text), "already exists"))
}

// createOne makes one mailbox, with its special use where the server takes it
// so (RFC 6154, section 3; Dovecot does without saying).
func (a *account) createOne(ctx context.Context, onWire, use string) error {
	plain := func() *wire.Command { return wire.NewCommand("CREATE").String(onWire) }
	if isUse(use) {
		err := a.command(ctx, func() *wire.Command { return plain().Raw(" (USE (" + use + "))") })
		var r *wire.Refused
		if err == nil || !errors.As(err, &r) || isThere(err) {
			return err
		}
	}
	return a.command(ctx, plain)
}

// isUse tells whether a special use may stand in a command.
func isUse(use string) bool {
	return len(use) > 1 && use[0] == '\\' && strings.Trim(use[1:], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// furnish makes sure of the special use and the subscription of a new folder.
func (a *account) furnish(ctx context.Context, b *box) error {
	if use := b.mailbox.SpecialUse; isUse(use) && b.onWire != folder.Inbox {
		if err := a.giveUse(ctx, b, use); err != nil {
			return err
		}
	}
	if !b.mailbox.Subscribed {
		return nil
	}
	err := a.command(ctx, func() *wire.Command { return wire.NewCommand("SUBSCRIBE").String(b.onWire) })
	var r *wire.Refused
	if errors.As(err, &r) {
		a.note(b.name, true, "it was not subscribed to: %v", err)
		return nil
	}
	return err
}

// furnishKilled furnishes the INBOX of a user who has no subscription at all: a
// restore was killed when it had made INBOX.
func (a *account) furnishKilled(ctx context.Context, b *box) error {
	some := false
	err := a.do(ctx, func(c *wire.Conn) error {
		return c.Subscribed(ctx, "", "*", func(wire.Listed) error {
			some = true
			return nil
		})
	})
	if err != nil || some {
		return err
	}
	return a.furnish(ctx, b)
}

// giveUse looks whether CREATE gave the folder its special use, and else sets it
// as metadata (RFC 6154, section 4).
func (a *account) giveUse(ctx context.Context, b *box, use string) error {
	has := false
	look := func(c *wire.Conn) error {
		return c.List(ctx, "", b.onWire, func(l wire.Listed) error {
			has = has || l.Name == b.onWire && l.Has(use)
			return nil
		})
	}
	if err := a.do(ctx, look); err != nil || has {
		return err
	}
	var err error = errors.New("the server knows no special uses")
	if a.metadata() {
		err = a.command(ctx, func() *wire.Command {
			return wire.NewCommand("SETMETADATA").String(b.onWire).Raw(" (/private/specialuse").String(use).Raw(")")
		})
	}
	if wire.IsBroken(err) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		a.note(b.name, true, "it did not get the special use %s: %v", use, err)
	}
	return nil
}

func (a *account) metadata() bool {
	return a.link.conn != nil && a.link.conn.Caps().Has("METADATA")
}

// command sends a command that may be sent twice.
func (a *account) command(ctx context.Context, cmd func() *wire.Command) error {
	return a.do(ctx, func(c *wire.Conn) error {
		_, err := c.Do(ctx, cmd())
		return err
	})
}

// Copies counts the copies of a message that the folder held when it was opened.
func (a *account) Copies(ctx context.Context, mailbox string, w mailstore.Wanted) (int, error) {
	b := a.boxes[mailbox]
	if b == nil || b.exact != nil || b.created {
		return 0, a.err
	}
	k, err := a.contents(ctx, b.onWire)
	if err != nil {
		return 0, inFolder(mailbox, err)
	}
	n, err := a.copies(ctx, k, w)
	return n, inFolder(mailbox, err)
}

// Present yields what a folder holds now.
func (a *account) Present(ctx context.Context, mailbox string, yield func(chunk.ID) error) error {
	b := a.boxes[mailbox]
	if b == nil {
		return fmt.Errorf("folder %q was not opened", mailbox)
	}
	if b.exact != nil {
		return a.err // it holds nothing before the account is closed
	}
	return inFolder(mailbox, a.present(ctx, b.onWire, yield))
}

// Close makes the mailboxes that are restored exactly, and sets quotas. What was
// appended is the server's since it has said so.
func (a *account) Close(ctx context.Context) error {
	err := a.finishExact(ctx)
	if err == nil && a.admin != nil {
		for _, b := range a.boxes {
			if !b.created || b.mailbox.Quota == "" {
				continue
			}
			if e := a.admin.setQuota(ctx, b.name, b.mailbox.Quota); e != nil {
				a.note(b.name, true, "its quota was not set: %v", e)
			}
		}
	}
	a.closeLinks()
	a.err = errors.Join(a.err, fs.ErrClosed)
	return err
}

func (a *account) closeLinks() {
	a.link.close()
	if a.admin != nil {
		a.admin.link.close()
	}
}
