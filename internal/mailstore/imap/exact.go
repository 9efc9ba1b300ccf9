package imap

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/cyrussync"
	"salvor/internal/mailstore/imap/wire"
)

// An exactBox is a mailbox of a Cyrus that is made with its original UIDs. Its
// messages are left with the server as they come, in any order; the mailbox is
// made of them when the account is closed. Until then only their facts are kept.
type exactBox struct {
	internal  string // Cyrus' own name
	uniqueID  string
	partition string
	there     bool // and empty, never used
	records   []cyrussync.Record
	used      map[uint32]bool
	next      uint32 // for messages without a UID of their own
	keywords  map[string]bool
	flags     map[string][]string // shared by all records that have the same
	done      bool
}

// maxKeywords is how many a mailbox of Cyrus can have (MAX_USER_FLAGS).
const maxKeywords = 128

// openExact begins an exact restore; it tells whether there can be one.
func (a *account) openExact(ctx context.Context, b *box) (bool, error) {
	name := a.admin.internal(b.name)
	if a.admin.inexact(name, b.mailbox) != "" {
		return false, nil
	}
	info, there := a.admin.infos[name]
	x := &exactBox{internal: name, there: there, uniqueID: info.UniqueID, next: max(1, b.mailbox.UIDNext),
		used: map[uint32]bool{}, keywords: map[string]bool{}, flags: map[string][]string{}}
	b.exact, b.created, b.onWire = x, true, a.admin.table.target(b.name)
	if !there {
		if err := a.chooseID(ctx, b); err != nil {
			return false, err
		}
	}
	return true, a.choosePartition(ctx, b)
}

// chooseID takes over the identity, unless another mailbox has it: one that the
// user has renamed since, or deleted, which Cyrus keeps for a while.
func (a *account) chooseID(ctx context.Context, b *box) error {
	id := b.mailbox.ObjectID
	b.exact.uniqueID = id
	if !isUniqueID(id) {
		b.exact.uniqueID = newUniqueID()
		return nil
	}
	var users []cyrussync.Info
	err := a.admin.link.do(ctx, func(c *wire.Conn) (err error) {
		users, err = a.admin.get(ctx, c, func(w io.Writer) error { return cyrussync.WriteNames(w, "UNIQUEIDS", id) })
		return err
	})
	var r *wire.Refused
	if err != nil && !errors.As(err, &r) {
		return err
	}
	if err != nil || len(users) > 0 || a.isTaken(id) {
		b.exact.uniqueID = newUniqueID()
		a.note(b.name, false, "it has a new MAILBOXID, as another mailbox has the old one")
	}
	return nil
}

// isTaken tells whether another folder of this restore has the identity.
func (a *account) isTaken(id string) bool {
	for _, b := range a.boxes {
		if b.exact != nil && b.exact.uniqueID == id {
			return true
		}
	}
	return false
}

// isUniqueID tells whether an identity looks like one of Cyrus': 24 letters and
// digits, a UUID, or 16 hex digits of old versions.
func isUniqueID(s string) bool {
	return (len(s) == 24 || len(s) == 36 || len(s) == 16) && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func newUniqueID() string {
	const letters = "0123456789abcdefghijklmnopqrstuv"
	b := make([]byte, 24)
	rand.Read(b)
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return string(b)
}

// choosePartition finds the partition that contents go to. Folders stand where
// the user's INBOX does. To name one that is not there would kill the server's
// process, so on a server of which nothing is known yet the INBOX is made at
// once, empty: that is refused in an orderly way.
func (a *account) choosePartition(ctx context.Context, b *box) error {
	d := a.d
	if a.isAbsent() {
		d.mu.Lock()
		b.exact.partition = d.partition
		d.mu.Unlock()
		if b.exact.partition != "" {
			return nil
		}
		if err := a.beginUser(ctx, b); err != nil {
			return err
		}
	}
	b.exact.partition = a.admin.infos[a.admin.inbox()].Partition
	if !isPartition(b.exact.partition) {
		return errors.New("the server does not tell its partition")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.partition = b.exact.partition
	return nil
}

// beginUser makes the user's INBOX, with the UIDVALIDITY that it shall have where
// it is restored too.
func (a *account) beginUser(ctx context.Context, b *box) error {
	switch {
	case b.name == folder.Inbox:
		b.exact.partition = "default"
		m := a.mailboxOf(b)
		m.Records, m.LastUID = nil, 0
		if err := a.admin.send(ctx, "SYNCAPPLY", m.WriteApply); err != nil {
			return fmt.Errorf("%w (if the server has no partition called %q, make the user there first)", err, b.exact.partition)
		}
		if err := a.admin.refresh(ctx); err != nil {
			return err
		}
		b.exact.there = true
	case a.inbox != nil && a.inbox.UIDValidity != 0:
		return a.Mailbox(ctx, *a.inbox)
	default:
		return a.createInbox(ctx)
	}
	return nil
}

// addExact leaves a message with the server.
func (a *account) addExact(ctx context.Context, p *parcel) (mailstore.UID, error) {
	x := p.b.exact
	if int64(len(p.wire)) >= 1<<32 {
		return 0, &mailstore.Refusal{Why: "Cyrus takes no messages of 4 GiB and more"}
	}
	uid, ok := x.take(uint32(p.d.UID))
	if !ok {
		return 0, &mailstore.Refusal{Why: "the folder has no UIDs left"}
	}
	record := cyrussync.Record{UID: uid, Size: uint32(len(p.wire)), GUID: chunk.SHA1(sha1.Sum(p.wire)), Flags: a.exactFlags(p)}
	if p.d.ModSeq < 1<<62 {
		record.ModSeq = p.d.ModSeq
	}
	date := p.d.InternalDate
	if date.IsZero() {
		date = time.Now()
	}
	date, same := clampDate(date, firstDate)
	if !same {
		a.note(p.b.name, true, datesNote)
	}
	record.Date = uint32(date.Unix())
	if err := a.stage.put(ctx, a.admin, x.partition, record.GUID, p.wire); err != nil {
		a.err = err
		return 0, err
	}
	x.records = append(x.records, record)
	return mailstore.UID(uid), nil
}

// take gives a message its own UID, or one above all, where it has none or
// another message has it.
func (x *exactBox) take(uid uint32) (uint32, bool) {
	if uid == 0 || x.used[uid] {
		uid = x.next
	}
	if uid == 0 || uid == 1<<32-1 || x.used[uid] {
		return 0, false
	}
	x.used[uid] = true
	x.next = max(x.next, uid+1)
	return uid, true
}

// exactFlags gives the flags of a record.
func (a *account) exactFlags(p *parcel) []string {
	system, keywords, odd := cleanFlags(p.d.Flags)
	for _, f := range odd {
		a.note(p.b.name, true, "the flag %q was left out: IMAP has no such flag", f)
	}
	x := p.b.exact
	flags := system
	for _, w := range keywords {
		low := strings.ToLower(w)
		if !x.keywords[low] && len(x.keywords) >= maxKeywords {
			a.leaveOut(p.b, w)
			continue
		}
		x.keywords[low] = true
		flags = append(flags, w)
	}
	key := strings.Join(flags, " ")
	if known, ok := x.flags[key]; ok {
		return known
	}
	x.flags[key] = flags
	return flags
}

// mailboxOf gives the whole mailbox.
func (a *account) mailboxOf(b *box) *cyrussync.Mailbox {
	x := b.exact
	info := a.admin.infos[x.internal]
	m := &cyrussync.Mailbox{Name: x.internal, UniqueID: x.uniqueID, Partition: x.partition, UIDValidity: b.mailbox.UIDValidity,
		ACL: b.mailbox.ACL, LastUpdated: time.Now().Unix(), Records: x.records, HighestModSeq: max(1, info.HighestModSeq)}
	if m.ACL != "" && !goodACL(m.ACL) {
		a.note(b.name, true, "its rights (ACL) were not set: %q is none of Cyrus'", m.ACL)
	}
	switch {
	case goodACL(m.ACL):
	case x.there && goodACL(info.ACL):
		m.ACL = info.ACL
	default:
		m.ACL = a.link.user + "\tlrswipkxtecdan\t"
	}
	if isUse(b.mailbox.SpecialUse) && b.name != folder.Inbox {
		m.SpecialUse, m.User = b.mailbox.SpecialUse, a.link.user
	}
	if b.mailbox.HighestModSeq < 1<<62 {
		m.HighestModSeq = max(m.HighestModSeq, b.mailbox.HighestModSeq)
	}
	if b.mailbox.UIDNext > 0 {
		m.LastUID = b.mailbox.UIDNext - 1
	}
	for i := range m.Records {
		m.HighestModSeq = max(m.HighestModSeq, m.Records[i].ModSeq)
		m.LastUID = max(m.LastUID, m.Records[i].UID)
	}
	for i := range m.Records {
		if m.Records[i].ModSeq == 0 { // it looks changed to every client, and none misses anything
			m.Records[i].ModSeq = m.HighestModSeq
		}
	}
	slices.SortFunc(m.Records, func(a, b cyrussync.Record) int { return cmp.Compare(a.UID, b.UID) })
	return m
}

var errInterrupted = errors.New("the restore ended before it was complete, and a part would take the other messages' UIDs from them")

// finishExact makes the mailboxes. What cannot be made is counted as dropped.
func (a *account) finishExact(ctx context.Context) error {
	var boxes []*box
	for _, b := range a.byWire {
		if b.exact != nil {
			boxes = append(boxes, b)
		}
	}
	if len(boxes) == 0 {
		return a.err
	}
	slices.SortFunc(boxes, func(x, y *box) int {
		if (x.name == folder.Inbox) != (y.name == folder.Inbox) {
			if x.name == folder.Inbox {
				return -1
			}
			return 1
		}
		return strings.Compare(x.name, y.name)
	})
	err := a.prepare(ctx, boxes)
	for _, b := range boxes {
		if err != nil && (wire.IsBroken(err) || !a.canGoOn()) {
			break
		}
		if e := a.apply(ctx, b); e != nil {
			err = errors.Join(err, fmt.Errorf("restore folder %q of %q with its UIDs: %w", b.name, a.link.user, e))
		}
	}
	if slices.ContainsFunc(boxes, func(b *box) bool { return b.exact.done }) {
		err = errors.Join(err, a.dress(ctx, boxes))
	}
	a.dropped = map[string]int{}
	for _, b := range boxes {
		if n := len(b.exact.records); !b.exact.done && n > 0 {
			a.dropped[b.name] = n
		}
	}
	return err
}

func (a *account) canGoOn() bool { return a.err == nil && a.stage.err == nil && a.ctx.Err() == nil }

// prepare makes sure that everything has arrived and that the user is there.
func (a *account) prepare(ctx context.Context, boxes []*box) error {
	if a.err != nil {
		return a.err
	}
	if a.ctx.Err() != nil {
		return fmt.Errorf("restore %d folders of %q with their UIDs: %w", len(boxes), a.link.user, errInterrupted)
	}
	if err := a.stage.settle(ctx, a.admin); err != nil {
		a.err = err
		return err
	}
	if a.isAbsent() && boxes[0].name != folder.Inbox {
		a.err = a.createInbox(ctx)
	}
	return a.err
}

// apply makes one mailbox out of what was left with the server.
func (a *account) apply(ctx context.Context, b *box) error {
	m := a.mailboxOf(b)
	// Whoever is killed between a folder and its subscription is not made good: the
	// next restore finds the folder, and cannot tell what its user wants.
	if b.name != folder.Inbox {
		a.subscribe(ctx, b)
	}
	err := a.applyOnce(ctx, m)
	switch says := wordsOf(err); {
	case strings.HasPrefix(says, "IMAP_MAILBOX_MOVED") && !b.exact.there:
		m.UniqueID = newUniqueID()
		a.note(b.name, false, "it has a new MAILBOXID, as another mailbox has the old one")
		err = a.applyOnce(ctx, m)
	case strings.HasPrefix(says, "IMAP_SYNC_CHECKSUM"):
		there, e := a.applyBeside(ctx, b, m)
		if e != nil {
			return e
		}
		if !there {
			return fmt.Errorf("%w (mail has come into it since the restore began: restore once more, and the messages are added with new UIDs)", err)
		}
		a.note(b.name, false, "all messages are there, but not alone, as the server says: mail has come into it since the restore began")
		err = nil
	}
	if wire.IsBroken(err) {
		a.stage.lose(err)
	}
	b.exact.done = err == nil
	if b.exact.done && b.name == folder.Inbox { // there is no user before
		a.subscribe(ctx, b)
	}
	return err
}

// subscribe subscribes the user to a folder, there or not yet. Should that fail,
// dress tries again, and tells.
func (a *account) subscribe(ctx context.Context, b *box) {
	if b.mailbox.Subscribed {
		_ = a.admin.send(ctx, "SYNCAPPLY", func(w io.Writer) error { return cyrussync.WriteSubscribe(w, a.link.user, b.exact.internal) })
	}
}

func (a *account) applyOnce(ctx context.Context, m *cyrussync.Mailbox) error {
	if err := a.stage.settle(ctx, a.admin); err != nil {
		return err
	}
	return a.admin.send(ctx, "SYNCAPPLY", m.WriteApply)
}

// wordsOf gives the server's words of a refusal.
func wordsOf(err error) string {
	var r *wire.Refused
	if errors.As(err, &r) {
		return r.Text
	}
	return ""
}

// applyBeside tries to make a mailbox into which mail has come meanwhile, and
// tells whether it holds all messages that it was to be made of. That goes well
// where the new UIDs are lower than all that are restored. The server then says
// that the checksum is wrong, when it has written all.
func (a *account) applyBeside(ctx context.Context, b *box, m *cyrussync.Mailbox) (bool, error) {
	if err := a.admin.refresh(ctx); err != nil {
		return false, err
	}
	m.HighestModSeq = max(m.HighestModSeq, a.admin.infos[m.Name].HighestModSeq)
	if err := a.applyOnce(ctx, m); err != nil && wordsOf(err) == "" {
		return false, err
	}
	if err := a.do(ctx, func(c *wire.Conn) error { return a.learn(ctx, c) }); err != nil {
		return false, err
	}
	onWire := a.table.target(b.name)
	if !a.there[onWire] {
		return false, nil
	}
	delete(a.sums, onWire)
	k, err := a.contents(ctx, onWire)
	if err != nil || k.known == nil {
		return false, err
	}
	for _, r := range m.Records {
		h := hashed{r.GUID, int64(r.Size)}
		if k.known[h]--; k.known[h] < 0 {
			return false, nil
		}
	}
	return true, nil
}

// dress gives the mailboxes that were made their subscriptions, and looks that
// the server shows them.
func (a *account) dress(ctx context.Context, boxes []*box) error {
	if a.isAbsent() { // there was no namespace without the user
		if err := a.admin.refresh(ctx); err != nil {
			return err
		}
	}
	if err := a.do(ctx, func(c *wire.Conn) error { return a.learn(ctx, c) }); err != nil {
		return err
	}
	var err error
	for _, b := range boxes {
		if !b.exact.done {
			continue
		}
		b.onWire = a.table.target(b.name)
		if !a.there[b.onWire] {
			err = errors.Join(err, fmt.Errorf("folder %q of %q: the server has made it and does not show it", b.name, a.link.user))
		} else if e := a.furnish(ctx, b); e != nil {
			err = errors.Join(err, inFolder(b.name, e))
		}
	}
	return err
}
