package imap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// Bounds of an inspection.
const (
	inspectAtOnce = 500      // messages of one command
	inspectText   = 16 << 20 // what is kept of their flags, in bytes
	// maxLooks is how often a mailbox is opened until as many messages are listed
	// as were counted: somebody may remove some between the commands. Where nobody
	// does, a server that lists too few is not believed.
	maxLooks = 5
	// envelopesAtOnce is how many dangling messages are asked for their envelope
	// with one command, envelopeText how much of an answer that may be.
	envelopesAtOnce = 50
	envelopeText    = 8 << 20
)

// Inspect lists a mailbox. Of each message one byte is asked for: it shows which
// have no content. The listing is never taken up again after the connection broke:
// Dovecot hangs up over a lost file and shows another mailbox the next time.
func (l *live) Inspect(ctx context.Context, mailbox string, yield func(mailstore.Inspected) error) (st mailstore.Stand, err error) {
	var own error
	err = l.in(ctx, mailbox, func(onWire string) error {
		i := &inspection{l: l, onWire: onWire, yield: func(m mailstore.Inspected) error {
			own = yield(m)
			return own
		}}
		var err error
		st, err = i.run(ctx)
		return err
	})
	if own != nil {
		return st, own
	}
	return st, err
}

// An inspection is one pass over a mailbox.
type inspection struct {
	l      *live
	onWire string
	yield  func(mailstore.Inspected) error
	sel    *wire.Selected
	text   int // bytes kept of the flags of one command's messages
}

func (i *inspection) run(ctx context.Context) (st mailstore.Stand, err error) {
	var all wire.Set
	err = i.l.a.do(ctx, func(c *wire.Conn) (err error) {
		for range maxLooks {
			before, stood := i.sel, st
			if i.sel, err = i.l.look(ctx, c, i.onWire); err != nil {
				return err
			}
			if st, err = i.l.standOf(ctx, c, i.onWire, i.sel); err != nil || st.Messages == 0 {
				return err
			}
			// What comes between the commands is no part of the listing.
			if all, err = c.Search(ctx, fmt.Sprintf("UID 1:%d", max(st.UIDNext, 2)-1)); err != nil || all.Len() >= int64(st.Messages) {
				return err
			}
			if st == stood && i.sel.HighestModSeq == before.HighestModSeq {
				return fmt.Errorf("the server counts %d messages there and lists %d", st.Messages, all.Len())
			}
		}
		return nil // it changes all the time
	})
	if err != nil {
		return st, err
	}
	if n := all.Len(); n > int64(st.Messages)+1_000_000 {
		return st, fmt.Errorf("the server lists %d UIDs for %d messages", n, st.Messages)
	}
	for chunk := range all.Chunks(inspectAtOnce, setText) {
		if err := i.chunk(ctx, chunk); err != nil {
			return st, err
		}
	}
	return st, nil
}

// chunk lists a set of messages.
func (i *inspection) chunk(ctx context.Context, set wire.Set) error {
	c, err := i.l.a.link.connect(ctx)
	if err != nil {
		return err
	}
	sel, err := i.l.a.link.examine(ctx, c, i.onWire)
	if err != nil {
		return i.l.gone(i.onWire, err)
	}
	if err := sameMailbox(i.sel, sel); err != nil {
		return err
	}
	got, err := i.ask(ctx, c, set)
	if wire.IsHungUp(err) {
		err = fmt.Errorf("%w, when it was asked for the contents of its messages: one of them may be damaged, and the server may have changed its index over that (see its log)", err)
	}
	if err != nil {
		return err
	}
	for _, uid := range slices.Sorted(maps.Keys(got)) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := i.yield(got[uid].Inspected); err != nil {
			return err
		}
	}
	return nil
}

// ask gives what the server tells about a set of messages. Those without content
// are asked for once more, now that the server has said which have been removed
// since the mailbox was opened, and then for what its index still knows of them.
func (i *inspection) ask(ctx context.Context, c *wire.Conn, set wire.Set) (map[uint32]*told, error) {
	const content = " BODY.PEEK[]<0.1>"
	got, left, err := i.fetch(ctx, c, set, content)
	if err != nil || len(left) == 0 {
		return got, err
	}
	if err := c.Noop(ctx); err != nil {
		return nil, err
	}
	more, left, err := i.fetch(ctx, c, left, content)
	if err != nil {
		return nil, err
	}
	maps.Copy(got, more)
	for part := range left.Chunks(envelopesAtOnce, setText) {
		dangling, err := i.dangling(ctx, c, part)
		if err != nil {
			return nil, err
		}
		maps.Copy(got, dangling)
	}
	return got, nil
}

// dangling asks for messages that have no content. Without its cache, which may
// have gone the way of the messages, a Cyrus has no envelopes either.
func (i *inspection) dangling(ctx context.Context, c *wire.Conn, set wire.Set) (map[uint32]*told, error) {
	got, left, err := i.fetch(ctx, c, set, " ENVELOPE")
	if isRefused(err) {
		got, left, err = map[uint32]*told{}, set, nil
	}
	if err == nil && len(left) > 0 {
		var plain map[uint32]*told
		plain, left, err = i.fetch(ctx, c, left, "")
		maps.Copy(got, plain)
	}
	if err != nil {
		return nil, err
	}
	for _, m := range got {
		m.Dangling = true
	}
	if len(left) == 0 {
		return got, nil
	}
	still, err := c.Search(ctx, "UID "+left.String())
	if err == nil && len(still) > 0 {
		err = fmt.Errorf("the server lists %d messages and tells nothing about them: UID %.200s", still.Len(), still.String())
	}
	return got, err
}

// told is what a server has told of a message, perhaps in several answers.
type told struct {
	mailstore.Inspected
	flags, size, beside bool
	empty               bool // its content came, and is nothing
}

// fetch asks for a set of messages with something beside their facts: content or
// envelope. Those of which it does not come are left.
func (i *inspection) fetch(ctx context.Context, c *wire.Conn, set wire.Set, beside string) (got map[uint32]*told, left wire.Set, err error) {
	items := "UID FLAGS INTERNALDATE RFC822.SIZE"
	if i.sel.HighestModSeq > 0 { // Dovecot answers BAD where it keeps none
		items += " MODSEQ"
	}
	if i.l.a.cyrus {
		items += " DIGEST.SHA1"
	}
	got, i.text = map[uint32]*told{}, 0
	p, err := c.Fetch(ctx, wire.FetchQuery{UIDs: set.String(), Items: items + beside, MaxText: envelopeText, MaxLiteral: envelopeText,
		MaxAnswers: mostAnswers(i.sel, set.Len()), Yield: func(f *wire.Fetched) error { return i.take(f, set, got) }})
	if err == nil {
		_, err = p.Wait(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	var without []uint32
	for uid := range set.All() {
		m := got[uid]
		if m == nil || !m.flags || !m.size || beside != "" && !m.beside && !(m.empty && m.Size == 0) {
			without = append(without, uid)
			delete(got, uid)
		}
	}
	return got, wire.SetOf(without...), nil
}

// take notes an answer. Those that nobody asked for only bring news of flags.
func (i *inspection) take(f *wire.Fetched, set wire.Set, got map[uint32]*told) error {
	if f.UID == 0 || !set.Contains(f.UID) {
		return nil
	}
	m := got[f.UID]
	if m == nil {
		m = &told{Inspected: mailstore.Inspected{UID: mailstore.UID(f.UID)}}
		got[f.UID] = m
	}
	if flags, ok := flagsOf(f); ok {
		for _, flag := range flags {
			i.text += len(flag) + 16
		}
		if i.text > inspectText {
			return errors.New("the server tells flags without end")
		}
		m.Flags, m.flags = flags, true
	}
	if size, err := f.Items["RFC822.SIZE"].Uint(62); err == nil {
		m.Size, m.size = int64(size), true
	}
	if date, err := f.InternalDate(); err == nil { // worth less than the message
		m.InternalDate = date.UTC()
	}
	if sum := digest(f); sum != (chunk.SHA1{}) {
		m.SHA1 = sum
	}
	m.ModSeq = max(m.ModSeq, f.ModSeq())
	if content := f.Items["BODY[]<0>"]; content.Kind == wire.String { // NIL is none
		m.beside, m.empty = len(content.Bytes) > 0, len(content.Bytes) == 0
	}
	if e, ok := f.Items["ENVELOPE"]; ok {
		m.Envelope, m.MessageID = envelope(e)
		m.beside = true
	}
	return nil
}

// digest gives the SHA-1 that a Cyrus promises; zero for none.
func digest(f *wire.Fetched) (sum chunk.SHA1) {
	if sum.UnmarshalText(f.Items["DIGEST.SHA1"].Bytes) != nil {
		return chunk.SHA1{}
	}
	return sum
}
