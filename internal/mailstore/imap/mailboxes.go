package imap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/wire"
)

// answer is what is known about an ability that no server announces.
type answer int

const (
	unknown answer = iota
	yes
	no
)

// errNoInbox is not taken for mail that the user has deleted: a Cyrus lets its
// administrators log in for any name and then lists nothing.
var errNoInbox = errors.New("the server has no INBOX of this user; is the name right, or was the user deleted?")

// Mailboxes lists the user's own mailboxes, INBOX first.
func (s *Source) Mailboxes(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox) error) error {
	var boxes []*found
	var problems []*mailstore.Problem
	err := s.with(user.Name, func(one *session) (err error) {
		boxes, problems, err = one.all(ctx)
		return err
	})
	if err != nil {
		return problem(ctx, user.Name, "", err)
	}
	return give(user.Name, boxes, problems, yield)
}

// all lists the user's mailboxes, through hang-ups.
func (one *session) all(ctx context.Context) (boxes []*found, problems []*mailstore.Problem, err error) {
	err = one.lister.do(ctx, func(c *wire.Conn) (err error) {
		boxes, problems, err = one.list(ctx, c)
		return err
	})
	return boxes, problems, err
}

// give yields the mailboxes that are to be read.
func give(user string, boxes []*found, problems []*mailstore.Problem, yield func(mailstore.Mailbox) error) error {
	if len(boxes) == 0 {
		return &mailstore.Problem{User: user, Err: errNoInbox}
	}
	if boxes[0].box.Name != folder.Inbox {
		problems = append(problems, &mailstore.Problem{User: user, Err: errNoInbox})
	}
	for _, b := range boxes {
		if b.gone {
			continue
		}
		if err := yield(b.box); err != nil {
			return err
		}
	}
	if len(problems) > 0 {
		return &mailstore.Incomplete{Problems: problems}
	}
	return nil
}

// A found mailbox is one while it is being asked about.
type found struct {
	box    mailstore.Mailbox
	onWire string
	gone   bool // or not to be read
}

// list asks for everything about a user's mailboxes.
func (one *session) list(ctx context.Context, c *wire.Conn) ([]*found, []*mailstore.Problem, error) {
	table, err := one.nameTable(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	boxes, problems, err := one.listNames(ctx, c, table)
	if err != nil {
		return nil, nil, err
	}
	if !c.Caps().Has("LIST-EXTENDED") {
		if err := markSubscribed(ctx, c, table, boxes); err != nil {
			return nil, nil, err
		}
	}
	more, err := one.askStatus(ctx, c, boxes)
	if err == nil {
		err = one.distrustModSeqs(ctx, c, boxes)
	}
	if err == nil {
		err = askQuota(ctx, c, boxes)
	}
	return boxes, append(problems, more...), err
}

// distrustModSeqs forgets the modification sequences of a user for whom the
// server does not keep them (NOMODSEQ of RFC 7162; Dovecot with INDEX=MEMORY).
// STATUS shows some all the same, which begin anew with every session and would
// hide changes. INBOX speaks for all: to open every folder would cost what its
// State is to save.
func (one *session) distrustModSeqs(ctx context.Context, c *wire.Conn, boxes []*found) error {
	if len(boxes) == 0 || boxes[0].box.Name != folder.Inbox || boxes[0].box.HighestModSeq == 0 {
		return nil
	}
	one.lister.box = "" // what was told when it was opened last may be old
	sel, err := one.lister.examine(ctx, c, boxes[0].onWire)
	if err != nil {
		if wire.IsBroken(err) || ctx.Err() != nil {
			return err
		}
		return nil // to list it will say so
	}
	for _, b := range boxes {
		if sel.HighestModSeq == 0 {
			b.box.HighestModSeq, b.box.State = 0, ""
		}
	}
	return nil
}

var errManyMailboxes = fmt.Errorf("the server lists more than %d mailboxes", maxMailboxes)

var specialUses = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Important`, `\Junk`, `\Sent`, `\Trash`}

func (one *session) listNames(ctx context.Context, c *wire.Conn, table *names) (boxes []*found, problems []*mailstore.Problem, err error) {
	seen := map[string]bool{}
	told := 0
	take := func(l wire.Listed) error {
		if told++; told > 4*maxMailboxes { // with those that are none, or told twice
			return errManyMailboxes
		}
		if l.Has(`\Noselect`) || l.Has(`\NonExistent`) || seen[l.Name] {
			return nil
		}
		name, ok := table.name(l.Name)
		if !ok {
			if name != "" {
				problems = append(problems, &mailstore.Problem{User: one.user, Mailbox: folder.Clean(l.Name), Err: errors.New("the folder's name cannot be written the same way again")})
			}
			return nil
		}
		if len(boxes) >= maxMailboxes {
			return errManyMailboxes
		}
		seen[l.Name] = true
		f := &found{box: mailstore.Mailbox{User: one.user, Name: name, Subscribed: l.Has(`\Subscribed`)}, onWire: l.Name}
		for _, use := range specialUses {
			if l.Has(use) {
				f.box.SpecialUse = use
				break
			}
		}
		boxes = append(boxes, f)
		return nil
	}
	for _, pattern := range table.patterns() {
		if err := c.List(ctx, "", pattern, take); err != nil {
			return nil, nil, err
		}
	}
	slices.SortStableFunc(boxes, func(a, b *found) int {
		if ai, bi := a.box.Name == folder.Inbox, b.box.Name == folder.Inbox; ai != bi {
			if ai {
				return -1
			}
			return 1
		}
		return strings.Compare(a.box.Name, b.box.Name)
	})
	return boxes, problems, nil
}

// markSubscribed is for servers without LIST-EXTENDED. Where they have no LSUB
// either, nothing counts as subscribed.
func markSubscribed(ctx context.Context, c *wire.Conn, table *names, boxes []*found) error {
	byName := make(map[string]*found, len(boxes))
	for _, b := range boxes {
		byName[b.onWire] = b
	}
	for _, pattern := range table.patterns() {
		err := c.Subscribed(ctx, "", pattern, func(l wire.Listed) error {
			if b := byName[l.Name]; b != nil {
				b.box.Subscribed = true
			}
			return nil
		})
		var refused *wire.Refused
		if errors.As(err, &refused) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// askStatus asks for the state of each mailbox.
func (one *session) askStatus(ctx context.Context, c *wire.Conn, boxes []*found) (problems []*mailstore.Problem, err error) {
	items := "MESSAGES UIDNEXT UIDVALIDITY"
	if c.Caps().Has("CONDSTORE") {
		items += " HIGHESTMODSEQ"
	}
	if xguid, err := one.s.knowsGUIDs(ctx, c); err != nil {
		return nil, err
	} else if xguid {
		items += " X-GUID"
	}
	all := make([]string, len(boxes))
	for i, b := range boxes {
		all[i] = b.onWire
	}
	i := 0
	err = c.Statuses(ctx, all, items, func(st wire.Status) error {
		b := boxes[i]
		i++
		if st.Err != nil {
			b.gone = true
			// One that was removed since it was listed is no problem.
			if wire.CodeOf(st.Err) != "NONEXISTENT" {
				problems = append(problems, &mailstore.Problem{User: one.user, Mailbox: b.box.Name, Err: st.Err})
			}
			return nil
		}
		b.box.UIDValidity = uint32(st.Uint("UIDVALIDITY"))
		b.box.UIDNext = uint32(st.Uint("UIDNEXT"))
		b.box.HighestModSeq = st.Uint("HIGHESTMODSEQ")
		if id := st.Items["X-GUID"].Text(); isGUID(id) {
			b.box.ObjectID = id
		}
		if b.box.HighestModSeq > 0 {
			b.box.State = token{b.box.UIDValidity, b.box.HighestModSeq, b.box.UIDNext, uint32(st.Uint("MESSAGES"))}.String()
		}
		return nil
	})
	if err != nil || !c.Caps().Has("OBJECTID") {
		return problems, err
	}
	// Cyrus 3.6 answers MAILBOXID beside any other item with memory that it has
	// freed, and alone rightly.
	i = 0
	err = c.Statuses(ctx, all, "MAILBOXID", func(st wire.Status) error {
		if id := st.Items["MAILBOXID"]; len(id.Items) == 1 && isObjectID(id.Items[0].Text()) {
			boxes[i].box.ObjectID = id.Items[0].Text()
		}
		i++
		return nil
	})
	return problems, err
}

// isObjectID checks the form of RFC 8474, section 4.
func isObjectID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return len(s) > 0 && len(s) < 256
}

// knowsGUIDs tells whether the server has Dovecot's X-GUID, which it does not
// announce: it is asked once, where nothing better is announced.
func (s *Source) knowsGUIDs(ctx context.Context, c *wire.Conn) (bool, error) {
	s.mu.Lock()
	known := s.guids
	s.mu.Unlock()
	if known == unknown {
		known = no
		if !c.Caps().Has("OBJECTID") && !c.Caps().Has("DIGEST=SHA1") {
			err := c.Statuses(ctx, []string{folder.Inbox}, "X-GUID", func(st wire.Status) error {
				if st.Err == nil && st.Items["X-GUID"].Text() != "" {
					known = yes
				}
				return nil
			})
			if err != nil {
				return false, err
			}
		}
		s.mu.Lock()
		s.guids = known
		s.mu.Unlock()
	}
	return known == yes, nil
}

// askQuota notes the limits that hold for INBOX and thereby for the user.
func askQuota(ctx context.Context, c *wire.Conn, boxes []*found) error {
	if !c.Caps().Has("QUOTA") || len(boxes) == 0 || boxes[0].box.Name != folder.Inbox {
		return nil
	}
	cmd := wire.NewCommand("GETQUOTAROOT").String(folder.Inbox)
	cmd.Handle = func(r *wire.Response) (bool, error) {
		if r.Name != "QUOTA" {
			return r.Name == "QUOTAROOT", nil
		}
		values, err := r.Values()
		if err == nil && len(values) >= 2 && boxes[0].box.Quota == "" {
			boxes[0].box.Quota = quota(values[1].Items)
		}
		return true, err
	}
	_, err := c.Do(ctx, cmd)
	if wire.IsBroken(err) {
		return err
	}
	return nil // a quota that is not told is unknown
}

// quota writes the limits of "STORAGE 10 512 MESSAGE 3 1000".
func quota(items []wire.Value) string {
	var parts []string
	for i := 0; i+2 < len(items); i += 3 {
		name := strings.ToUpper(items[i].Text())
		limit, err := items[i+2].Uint(63)
		if err == nil && (name == "STORAGE" || name == "MESSAGE") {
			parts = append(parts, fmt.Sprintf("%s %d", name, limit))
		}
	}
	return strings.Join(parts, " ")
}
