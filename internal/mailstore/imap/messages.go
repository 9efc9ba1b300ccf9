package imap

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/wire"
)

// Bounds of one command's UIDs.
const (
	listAtOnce = 4000
	setText    = 8000 // bytes
)

// Messages lists a mailbox. What the server was not asked about again, because
// it has not changed since box.Since, is yielded as Unchanged.
func (s *Source) Messages(ctx context.Context, box mailstore.Mailbox, yield func(mailstore.Message) error) error {
	var own error // yield's
	err := s.with(box.User, func(one *session) error {
		l := &listing{one: one, box: box, poison: map[uint32]bool{}, yield: func(m mailstore.Message) error {
			own = yield(m)
			return own
		}}
		return l.run(ctx)
	})
	switch {
	case err == nil:
		return nil
	case own != nil:
		return own
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &mailstore.Incomplete{Problems: []*mailstore.Problem{{User: box.User, Mailbox: box.Name, Err: err}}}
}

// A listing is one pass over a mailbox.
type listing struct {
	one      *session
	box      mailstore.Mailbox
	yield    func(mailstore.Message) error
	onWire   string
	items    string
	missing  []uint32        // UIDs that the server lists and tells nothing about
	poison   map[uint32]bool // UIDs that break the connection
	said     string          // what it says to people meanwhile
	breaks   int             // connections lost in this listing
	slow     int             // and those in a row on which the server dawdled
	sha1     bool            // the server tells SHA-1
	identity string          // what ObjectID is made from
	exact    bool            // RFC822.SIZE is no estimate
}

// maxBreaks bounds how often one mailbox may break the connection: messages
// that do are found by halving.
const maxBreaks = 60

func (l *listing) run(ctx context.Context) error {
	var all wire.Set
	var sel *wire.Selected
	link := l.one.lister
	err := link.do(ctx, func(c *wire.Conn) (err error) {
		if err = l.prepare(ctx, c); err != nil {
			return err
		}
		link.box = "" // to learn what is new
		if sel, err = link.examine(ctx, c, l.onWire); err == nil && sel.Messages > 0 {
			all, err = c.Search(ctx, "ALL")
		}
		return err
	})
	if err != nil {
		return err
	}
	if sel.UIDValidity != l.box.UIDValidity {
		return fmt.Errorf("UIDVALIDITY changed from %d to %d while it was listed", l.box.UIDValidity, sel.UIDValidity)
	}
	if n := all.Len(); n > int64(sel.Messages)+1_000_000 {
		return fmt.Errorf("the server lists %d UIDs for %d messages", n, sel.Messages)
	}
	since, ok := parseToken(l.box.Since)
	if ok && since.validity == sel.UIDValidity && since.modSeq <= sel.HighestModSeq {
		err = l.changes(ctx, all, since)
	} else {
		err = l.everything(ctx, all)
	}
	if err != nil {
		return err
	}
	return l.judgeMissing(ctx)
}

// prepare finds out what to ask for.
func (l *listing) prepare(ctx context.Context, c *wire.Conn) error {
	table, err := l.one.nameTable(ctx, c)
	if err != nil {
		return err
	}
	l.onWire = table.onWire(l.box.Name)
	l.items = "UID FLAGS INTERNALDATE RFC822.SIZE"
	caps := c.Caps()
	guids, err := l.one.s.knowsGUIDs(ctx, c)
	switch {
	case err != nil:
		return err
	case caps.Has("DIGEST=SHA1"):
		l.identity = "DIGEST.SHA1"
	case guids:
		l.identity = "X-GUID"
	case caps.Has("OBJECTID"):
		l.identity = "EMAILID"
	}
	// Some products only estimate sizes; Cyrus and Dovecot are known to tell them
	// exactly.
	l.exact = l.identity == "DIGEST.SHA1" || l.identity == "X-GUID"
	if l.identity != "" {
		l.items += " " + l.identity
	}
	return nil
}

// everything lists all messages.
func (l *listing) everything(ctx context.Context, all wire.Set) error {
	for chunk := range all.Chunks(listAtOnce, setText) {
		got, err := l.fetch(ctx, chunk, 0)
		if err != nil {
			return err
		}
		for uid := range chunk.All() {
			if err := l.give(ctx, got, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

// give yields a message, or notes that the server told nothing about it.
func (l *listing) give(ctx context.Context, got map[uint32]mailstore.Message, uid uint32) error {
	m, ok := got[uid]
	if !ok {
		l.missing = append(l.missing, uid)
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.yield(m)
}

// changes lists what is newer than the token, and the rest as unchanged.
func (l *listing) changes(ctx context.Context, all wire.Set, since token) error {
	for chunk := range all.Chunks(5*listAtOnce, 1<<20) {
		span := wire.Set{{First: chunk[0].First, Last: chunk[len(chunk)-1].Last}}
		got, err := l.fetch(ctx, span, since.modSeq)
		if err == nil {
			err = l.fetchSilent(ctx, chunk, since, got)
		}
		if err != nil {
			return err
		}
		for uid := range chunk.All() {
			if _, ok := got[uid]; !ok && uid < since.next && !l.poison[uid] {
				got[uid] = mailstore.Message{UID: mailstore.UID(uid), Key: keyOf(l.box.UIDValidity, uid), Unchanged: true}
			}
			if err := l.give(ctx, got, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchSilent asks for messages that came after the token and that the server
// does not call changed: they are not taken for unchanged, whatever it says.
func (l *listing) fetchSilent(ctx context.Context, chunk wire.Set, since token, got map[uint32]mailstore.Message) error {
	var silent []uint32
	for uid := range chunk.All() {
		if _, ok := got[uid]; !ok && uid >= since.next {
			silent = append(silent, uid)
		}
	}
	for part := range wire.SetOf(silent...).Chunks(listAtOnce, setText) {
		more, err := l.fetch(ctx, part, 0)
		if err != nil {
			return err
		}
		maps.Copy(got, more)
	}
	return nil
}

// fetch asks for a set of messages. A server that breaks the connection over it
// is asked for each half, so that what it cannot give costs that message only.
func (l *listing) fetch(ctx context.Context, set wire.Set, since uint64) (map[uint32]mailstore.Message, error) {
	got := map[uint32]mailstore.Message{}
	c, err := l.one.lister.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err = l.fetchOnce(ctx, c, set, since, got); err == nil {
		l.slow = 0
	}
	if err == nil || !wire.IsBroken(err) || ctx.Err() != nil {
		return got, err
	}
	l.one.lister.drop()
	if slow(err) {
		l.slow++
	}
	if l.breaks++; l.breaks > maxBreaks || l.slow > 1 || endless(err) {
		return nil, err
	}
	if set.Len() == 1 {
		l.poison[set[0].First], l.said = true, err.Error()
		return map[uint32]mailstore.Message{}, nil
	}
	clear(got)
	for half := range set.Chunks((set.Len()+1)/2, setText) {
		more, err := l.fetch(ctx, half, since)
		if err != nil {
			return nil, err
		}
		maps.Copy(got, more)
	}
	return got, nil
}

func (l *listing) fetchOnce(ctx context.Context, c *wire.Conn, set wire.Set, since uint64, got map[uint32]mailstore.Message) error {
	sel, err := l.one.lister.examine(ctx, c, l.onWire)
	if err != nil {
		return err
	}
	if sel.UIDValidity != l.box.UIDValidity {
		return fmt.Errorf("UIDVALIDITY changed from %d to %d while it was listed", l.box.UIDValidity, sel.UIDValidity)
	}
	items := l.items
	if sel.HighestModSeq > 0 { // Dovecot answers BAD where it keeps none
		items += " MODSEQ"
	}
	p, err := c.Fetch(ctx, wire.FetchQuery{UIDs: set.String(), Items: items, ChangedSince: since, MaxAnswers: mostAnswers(sel, set.Len()),
		Yield: func(f *wire.Fetched) error { return l.take(f, set, got) },
		Say:   func(text string) { l.said = text }})
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	var refused *wire.Refused
	if errors.As(err, &refused) && !refused.Bad && since == 0 {
		l.said = refused.Error() // what was told until then counts
		return nil
	}
	return err
}

// take makes a message of an answer. Answers that nobody asked for, as when
// somebody changes a flag, say less and only bring news of flags.
func (l *listing) take(f *wire.Fetched, set wire.Set, got map[uint32]mailstore.Message) error {
	if f.UID == 0 || !set.Contains(f.UID) {
		return nil
	}
	flags, hasFlags := flagsOf(f)
	if old, ok := got[f.UID]; ok && hasFlags {
		old.Flags, old.ModSeq = flags, max(old.ModSeq, f.ModSeq())
		got[f.UID] = old
		return nil
	}
	size, err := f.Items["RFC822.SIZE"].Uint(62)
	if err != nil || !hasFlags {
		return nil
	}
	date, err := f.InternalDate()
	if err != nil { // worth less than the message
		date = time.Unix(0, 0)
	}
	m := mailstore.Message{Key: keyOf(l.box.UIDValidity, f.UID), UID: mailstore.UID(f.UID), Flags: flags, InternalDate: date.UTC(),
		ModSeq: f.ModSeq(), Size: int64(size), Promised: -1}
	if l.exact {
		m.Promised = m.Size
	}
	l.identify(&m, f.Items[l.identity])
	got[f.UID] = m
	return nil
}

// flagsOf gives the flags of an answer, sorted. They are kept side by side in one
// line; ok is false when the answer holds none.
func flagsOf(f *wire.Fetched) (flags []string, ok bool) {
	flags, ok = f.Flags()
	for i, flag := range flags {
		flags[i] = strings.ReplaceAll(folder.Clean(flag), " ", `\x20`)
	}
	slices.Sort(flags)
	return slices.Compact(flags), ok
}

// identify sets what names the content.
func (l *listing) identify(m *mailstore.Message, v wire.Value) {
	if len(v.Items) == 1 {
		v = v.Items[0]
	}
	id := v.Text()
	if !isGUID(id) {
		return
	}
	switch l.identity {
	case "DIGEST.SHA1":
		var sum chunk.SHA1
		if n, err := hex.Decode(sum[:], v.Bytes[:min(len(v.Bytes), 2*len(sum))]); err != nil || n != len(sum) || len(v.Bytes) != 2*len(sum) {
			return
		}
		m.SHA1 = sum
		m.ObjectID = "sha1:" + hex.EncodeToString(sum[:]) + ":" + strconv.FormatInt(m.Size, 10)
	case "X-GUID":
		m.ObjectID = "guid:" + id
	case "EMAILID":
		m.ObjectID = "emailid:" + id
	}
}

// isGUID tells whether an identity is fit to be kept: printable, and not longer
// than a file name, which is what Dovecot makes it from.
func isGUID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return len(id) > 0 && len(id) < 300
}

// judgeMissing tells messages that were removed meanwhile from those that the
// server still lists but says nothing about.
func (l *listing) judgeMissing(ctx context.Context) error {
	if len(l.missing) == 0 {
		return nil
	}
	var left wire.Set
	for chunk := range wire.SetOf(l.missing...).Chunks(listAtOnce, setText) {
		err := l.one.lister.do(ctx, func(c *wire.Conn) error {
			if _, err := l.one.lister.examine(ctx, c, l.onWire); err != nil {
				return err
			}
			if err := c.Noop(ctx); err != nil {
				return err
			}
			found, err := c.Search(ctx, "UID "+chunk.String())
			left = append(left, found...)
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(left) == 0 {
		return nil
	}
	text := left.String()
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	err := fmt.Errorf("the server lists %d messages and tells nothing about them: UID %s", left.Len(), text)
	if l.said != "" {
		err = fmt.Errorf("%w (it says %q)", err, l.said)
	}
	return err
}
