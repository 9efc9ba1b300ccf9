package imap

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// maxBodyBreaks is how many connections may end over one message.
const maxBodyBreaks = 2

// Body gives a message's bytes.
func (l *live) Body(ctx context.Context, mailbox string, uid mailstore.UID) (body []byte, err error) {
	err = l.in(ctx, mailbox, func(onWire string) error {
		q := &bodyQuery{l: l, onWire: onWire, uid: uint32(uid)}
		err := l.a.do(ctx, func(c *wire.Conn) error { return q.run(ctx, c) })
		body = q.body
		return errors.Join(q.final, err)
	})
	return body, err
}

// A bodyQuery fetches one message.
type bodyQuery struct {
	l      *live
	onWire string
	uid    uint32
	breaks int

	found wire.Value
	size  int64
	sum   chunk.SHA1
	said  string

	body  []byte
	final error // of which no other connection would make anything else
}

func (q *bodyQuery) run(ctx context.Context, c *wire.Conn) error {
	if _, err := q.l.a.link.examine(ctx, c, q.onWire); err != nil {
		return q.l.gone(q.onWire, err)
	}
	err := q.fetch(ctx, c)
	if err == nil && !q.hasContent() {
		err = q.again(ctx, c)
	}
	if wire.IsBroken(err) {
		if q.breaks++; q.breaks >= maxBodyBreaks {
			q.final = fmt.Errorf("UID %d: the server hangs up when it is to give the message: %w", q.uid, err)
			q.l.a.link.drop()
			return nil
		}
		return err
	}
	if err == nil && q.final == nil {
		q.body = q.found.Bytes
		q.final = q.judge()
	}
	return err
}

// again finds out about a message that has not come: the mailbox may be newer
// than this connection knew.
func (q *bodyQuery) again(ctx context.Context, c *wire.Conn) error {
	if err := c.Noop(ctx); err != nil {
		return err
	}
	there, err := c.Search(ctx, fmt.Sprintf("UID %d", q.uid))
	if err != nil {
		return err
	}
	if !there.Contains(q.uid) {
		q.final = mailstore.ErrVanished
		if q.breaks > 0 {
			q.final = fmt.Errorf("the server hung up when UID %d was to come, and has it no more: lost, or just deleted", q.uid)
		}
		return nil
	}
	if err := q.fetch(ctx, c); err != nil || q.hasContent() {
		return err
	}
	q.final = &mailstore.Dangling{UID: mailstore.UID(q.uid), Missing: true,
		Why: fmt.Sprintf("the server lists UID %d and gives no content (it says %q)", q.uid, q.said)}
	return nil
}

// fetch asks once.
func (q *bodyQuery) fetch(ctx context.Context, c *wire.Conn) error {
	q.found, q.size, q.sum, q.said = wire.Value{}, -1, chunk.SHA1{}, "nothing"
	items := "UID RFC822.SIZE BODY.PEEK[]"
	if q.l.a.cyrus {
		items += " DIGEST.SHA1"
	}
	p, err := c.Fetch(ctx, wire.FetchQuery{UIDs: fmt.Sprint(q.uid), Items: items, MaxLiteral: q.l.s.d.s.o.MaxMessage,
		MaxAnswers: mostAnswers(q.l.a.link.selected, 1), Yield: q.take, Say: func(text string) { q.said = text }})
	if err == nil {
		_, err = p.Wait(ctx)
	}
	return err
}

func (q *bodyQuery) take(f *wire.Fetched) error {
	if f.UID != q.uid {
		return nil
	}
	if body, ok := f.Items["BODY[]"]; ok {
		q.found = body
	}
	if size, err := f.Items["RFC822.SIZE"].Uint(62); err == nil {
		q.size = int64(size)
	}
	if sum := digest(f); sum != (chunk.SHA1{}) {
		q.sum = sum
	}
	return nil
}

// hasContent tells whether any content has come: NIL and, where more is promised,
// nothing are none.
func (q *bodyQuery) hasContent() bool {
	return q.found.Kind == wire.String && (len(q.found.Bytes) > 0 || q.size == 0)
}

// judge holds the content against what the server promises. A Cyrus gives what
// stands in the file, whatever that is, and fills up with blanks what is short.
// Others do not promise a hash, and some only estimate sizes.
func (q *bodyQuery) judge() error {
	if !q.l.a.cyrus {
		return nil
	}
	why := ""
	sum := chunk.SHA1(sha1.Sum(q.body))
	switch {
	case q.size >= 0 && int64(len(q.body)) != q.size:
		why = fmt.Sprintf("the server gives %d bytes and promises %d", len(q.body), q.size)
	case q.sum != (chunk.SHA1{}) && sum != q.sum:
		why = fmt.Sprintf("the server gives other bytes than it promises (SHA-1 %s instead of %s)", sum, q.sum)
	default:
		return nil
	}
	q.body = nil
	return &mailstore.Dangling{UID: mailstore.UID(q.uid), Why: fmt.Sprintf("UID %d: %s", q.uid, why)}
}
