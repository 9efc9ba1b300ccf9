package redeliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
)

// some looks for messages of one folder at the server, and sends those that it has
// not. It gives those that surely did not arrive although they were sent.
func (u *user) some(ctx context.Context, matches []*match) (again []*match, err error) {
	var items []*item
	for _, m := range matches {
		it, err := u.item(ctx, m)
		if err != nil {
			return nil, err
		}
		if it != nil {
			items = append(items, it)
		}
	}
	if err := u.look(ctx, items); err != nil {
		return nil, err
	}
	if items, err = u.settleThere(ctx, items); err != nil || len(items) == 0 {
		return nil, err
	}
	if u.o.DryRun {
		for _, it := range items {
			u.delivered(it, 1)
			delete(u.left, it.Claim.ID)
		}
		return nil, nil
	}
	t, err := u.target(ctx, items[0].folder)
	if err != nil {
		return nil, err
	}
	if t.refused != "" {
		for _, it := range items {
			u.owe(&it.Claim, t.refused)
		}
		return nil, nil
	}
	for _, it := range items {
		it.stored, it.lf, it.wire, it.forms, it.copies = nil, nil, nil, nil, nil
	}
	for batch := range slices.Chunk(items, batchMessages) {
		more, err := u.batch(ctx, t, batch)
		if err != nil {
			return nil, err
		}
		again = append(again, more...)
	}
	return again, nil
}

// item reads an owed message and its content; nil when it is not owed any more, may
// be on its way, or cannot be read.
func (u *user) item(ctx context.Context, m *match) (*item, error) {
	c, ok, err := u.claim(m.claim)
	if err != nil {
		return nil, err
	}
	if !ok || c.State != catalog.ClaimOwed || c.Doubt || c.InFlight() {
		delete(u.left, m.claim)
		return nil, nil
	}
	it := &item{match: m, Claim: c}
	if err := u.read(ctx, it); err != nil || it.wire == nil {
		return nil, err
	}
	return it, nil
}

// read reads an item's content. That it cannot be read is noted.
func (u *user) read(ctx context.Context, it *item) (err error) {
	it.stored, it.lf, it.wire, err = it.content.bytes(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		u.note("message %s of %s: %s: %v", uidIn(it.Folder, it.UID), u.name, it.content.Place, err)
		return nil
	}
	it.forms = u.post.Forms(it.wire)
	return nil
}

func (u *user) note(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.report.note(format, args...)
}

// delivered counts a message that was delivered, or would be; or, with n = -1,
// that it was not.
func (u *user) delivered(it *item, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := [2]string{u.name, it.Folder}
	if f := it.NowFolder; f != "" {
		key[1] = f
	}
	f := u.folders[key]
	if f == nil {
		f = &Folder{User: key[0], Name: key[1]}
		u.folders[key] = f
	}
	size := it.Size
	if it.match != nil {
		size = it.content.wire
	}
	f.Messages += n
	f.Bytes += n * size
	u.report.Delivered += n
}

// A target is the folder that takes the messages of another one, or its own.
type target struct {
	folder  string
	note    string // why it is another one
	refused string // why there is none
}

// target finds the folder for messages of a folder, and makes it where it is gone.
func (u *user) target(ctx context.Context, name string) (target, error) {
	if t, ok := u.targets[name]; ok {
		return t, nil
	}
	t := target{folder: name}
	why, err := u.make(ctx, name)
	if err == nil && why != "" {
		t = target{folder: u.o.Folder, note: fmt.Sprintf("folder %q could not be made: %s", name, why)}
		if why, err = u.make(ctx, u.o.Folder); why != "" {
			t.refused = fmt.Sprintf("%s; nor could %q: %s", t.note, u.o.Folder, why)
		}
	}
	if err == nil {
		u.targets[name] = t
	}
	return t, err
}

// make makes sure that a folder is there, and says why the server will not have it.
func (u *user) make(ctx context.Context, name string) (refused string, err error) {
	if _, err = u.post.Stand(ctx, name); !errors.Is(err, mailstore.ErrNoMailbox) {
		return "", err
	}
	box := mailstore.Mailbox{User: u.name, Name: name, Subscribed: true}
	err = u.l.Catalog().Mailboxes(ctx, u.name, func(m *catalog.Mailbox) error {
		if m.Name == name {
			box.SpecialUse, box.Subscribed = m.SpecialUse, m.Subscribed
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if err = u.post.Make(ctx, box); err == nil || ctx.Err() != nil {
		return "", err
	}
	if _, again := u.post.Stand(ctx, name); again == nil { // it is there, and something about it is not as it was
		u.note("user %s: folder %q was made, but not wholly: %v", u.name, name, err)
		return "", nil
	}
	if _, alive := u.post.Stand(ctx, folder.Inbox); alive != nil {
		return "", err
	}
	return err.Error(), nil // the server answers, and will not have this one
}

// batchMessages is how many intentions are written down at a time.
const batchMessages = 16

// batch sends some messages to one folder, one after the other, after it has
// written down that it will.
func (u *user) batch(ctx context.Context, t target, items []*item) (again []*match, err error) {
	if u.full != "" {
		for _, it := range items {
			u.owe(&it.Claim, u.full)
		}
		return nil, nil
	}
	stand, err := u.post.Stand(ctx, t.folder)
	if err != nil {
		return nil, err
	}
	if stand.ReadOnly {
		for _, it := range items {
			u.owe(&it.Claim, fmt.Sprintf("nothing can be added to folder %q: it is read-only", t.folder))
		}
		return nil, nil
	}
	var intended []catalog.Claim
	for i, it := range items {
		c := &it.Claim
		c.SentAt, c.SentStore, c.SentFolder, c.SentOrder = u.o.Now(), u.o.Store, t.folder, int64(i+1)
		c.SentValidity, c.SentNext, c.SentSum, c.Grade = stand.UIDValidity, uint32(stand.UIDNext), it.content.id, it.grade
		intended = append(intended, it.content.noted(c))
	}
	if err := u.put(ctx, intended...); err != nil {
		return nil, err
	}
	for i, it := range items {
		err := u.send(ctx, t, stand, it)
		if err == nil && u.full == "" {
			continue
		}
		for _, rest := range items[i+1:] {
			if u.full != "" {
				rest.Claim.Reason = u.full
			}
			u.notSent(rest)
		}
		if errors.Is(err, mailstore.ErrUnanswered) && ctx.Err() == nil {
			return u.unanswered(ctx, items[i:])
		}
		if err != nil {
			return nil, err
		}
		break
	}
	return nil, u.sameStill(ctx, t, stand, items)
}

// send sends one message, whose intention is written down.
func (u *user) send(ctx context.Context, t target, stand mailstore.Stand, it *item) error {
	err := u.read(ctx, it)
	if err == nil && it.wire != nil && u.o.Wait != nil {
		err = u.o.Wait(ctx, 1, int64(len(it.wire)))
	}
	if ctx.Err() != nil { // the ledger may be in other hands by now
		err = context.Cause(ctx)
	}
	if err != nil || it.wire == nil { // or it could not be read again
		u.notSent(it)
		return err
	}
	date := it.InternalDate
	if date.IsZero() {
		date = orElse(it.content.Date, it.content.date)
	}
	var uid mailstore.UID
	uid, err = u.post.Append(ctx, mailstore.Delivery{Mailbox: t.folder, Stored: it.stored, LF: it.lf, Content: it.content.id, SHA1: it.content.sha1,
		Key: it.content.Name, Flags: it.content.marked(it.Flags), InternalDate: date})
	var refusal *mailstore.Refusal
	switch {
	case errors.Is(err, mailstore.ErrUnanswered):
		return err
	case errors.As(err, &refusal):
		u.owe(&it.Claim, refusal.Error())
		if refusal.Full {
			u.full = refusal.Error()
		}
	case err != nil:
		u.notSent(it)
		return err
	default:
		if err := u.arrived(ctx, t, stand, it, uid); err != nil {
			return err
		}
	}
	it.stored, it.lf, it.wire, it.forms = nil, nil, nil, nil
	return nil
}

func (u *user) notSent(it *item) {
	unsent(&it.Claim)
	u.change(&it.Claim)
}

// arrived settles a message that the server has taken. Where it did not say under
// which UID, it is asked.
func (u *user) arrived(ctx context.Context, t target, stand mailstore.Stand, it *item, uid mailstore.UID) error {
	why := it.content.where()
	if t.note != "" {
		why += "; " + t.note
	}
	at := spot{t.folder, stand.UIDValidity, uid}
	if uid == 0 {
		err := u.post.Find(ctx, t.folder, mailstore.Sought{From: stand.UIDNext, Forms: it.forms}, func(f mailstore.Found) error {
			if s := (spot{t.folder, stand.UIDValidity, f.UID}); f.Same && at.uid == 0 && !u.taken[s] {
				at = s
			}
			return nil
		})
		if err != nil { // it has arrived all the same
			u.note("message %s of %s was delivered, under a UID that could not be found out: %v", uidIn(it.Folder, it.UID), u.name, err)
		}
	}
	u.settleSent(it, at, why)
	return nil
}

// settleSent settles and counts a message that this run, or one before, has sent.
func (u *user) settleSent(it *item, at spot, why string) {
	grade := it.sure()
	if it.match != nil && grade == catalog.GradeCertain && it.Claim.SHA1.IsZero() {
		it.Claim.SHA1 = it.content.sha1
	}
	if noted := it.Claim.Reason; strings.HasPrefix(noted, damaged) && !strings.HasPrefix(why, damaged) {
		why = noted + "; " + why
	}
	u.stands(&it.Claim, at, grade, why)
	u.delivered(it, 1)
}

// sameStill makes sure that the folder is the one that it was while messages were
// appended to it.
func (u *user) sameStill(ctx context.Context, t target, before mailstore.Stand, items []*item) error {
	after, err := u.post.Stand(ctx, t.folder)
	if err == nil && after.UIDValidity == before.UIDValidity {
		return nil
	}
	if err != nil && !errors.Is(err, mailstore.ErrNoMailbox) {
		return err // they arrived, by what the server said
	}
	for _, it := range items {
		c := &it.Claim
		if c.State != catalog.ClaimRedelivered {
			continue
		}
		u.delivered(it, -1)
		c.State, c.Doubt, c.Grade = catalog.ClaimOwed, true, ""
		c.SentAt, c.SentStore, c.SentFolder, c.SentValidity, c.SentNext = u.o.Now(), u.o.Store, t.folder, before.UIDValidity, uint32(before.UIDNext)
		c.SentSum = it.content.id
		c.NowStore, c.NowFolder, c.NowValidity, c.NowUID = "", "", 0, 0
		c.Reason = inDoubt("the folder was removed or made anew while the message was delivered")
		u.change(c)
	}
	return nil
}

// unanswered finds out what became of the first of these messages; the others were
// not sent. It gives those that may be sent again.
func (u *user) unanswered(ctx context.Context, items []*item) (again []*match, err error) {
	if err := u.put(ctx); err != nil {
		return nil, err
	}
	u.mu.Lock()
	u.evidence[items[0].Claim.ID] = items[0].content
	u.mu.Unlock()
	if err := u.reopen(ctx); err != nil {
		return nil, err
	}
	if err := u.resume(ctx); err != nil {
		return nil, err
	}
	for _, it := range items { // of which some are settled by now
		again = append(again, it.match)
	}
	return again, nil
}

// wireSum is the identity of bytes that are a wire form.
func wireSum(wire []byte) chunk.ID {
	id, _, _ := chunk.WireSums(wire)
	return id
}
