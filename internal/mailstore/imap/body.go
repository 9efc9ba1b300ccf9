package imap

import (
	"fmt"
	"strconv"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// examine opens the batch's mailbox.
func (f *fetcher) examine(c *wire.Conn, b *batch) error {
	first := b.entries[0]
	table, err := f.one.nameTable(f.s.ctx, c)
	if err != nil {
		return err
	}
	name := table.onWire(first.box)
	sel, err := f.link.examine(f.s.ctx, c, name)
	if err == nil && sel.UIDValidity != first.validity {
		f.link.box = "" // what is open may be what was there before
		sel, err = f.link.examine(f.s.ctx, c, name)
	}
	if wire.CodeOf(err) == "NONEXISTENT" {
		return fmt.Errorf("%w: %w", mailstore.ErrVanished, err)
	}
	if err == nil && sel.UIDValidity != first.validity {
		return fmt.Errorf("%w: the mailbox was made anew (UIDVALIDITY %d, was %d)", mailstore.ErrVanished, sel.UIDValidity, first.validity)
	}
	return err
}

// ask sends the batch's command; bodies go to their entries as they arrive.
func (f *fetcher) ask(c *wire.Conn, b *batch) (err error) {
	b.pending, err = f.fetch(c, b, b.entries)
	return err
}

func (f *fetcher) fetch(c *wire.Conn, b *batch, entries []*entry) (*wire.Pending, error) {
	a := f.s.ahead
	return c.Fetch(f.s.ctx, wire.FetchQuery{UIDs: b.set(entries), Items: "UID BODY.PEEK[]", MaxLiteral: b.limit, MaxAnswers: mostAnswers(f.link.selected, int64(len(entries))),
		Say: b.say,
		Yield: func(m *wire.Fetched) error {
			body := m.Items["BODY[]"]
			e := b.uids[m.UID]
			if e == nil || body.Kind != wire.String {
				return nil // news of flags, or a body that is not there
			}
			if b.come += int64(len(body.Bytes)); !b.alone && b.come > 2*b.size+moreThanPromised {
				return fmt.Errorf("the server promised %d messages of %d bytes, and sends more than %d", len(b.entries), b.size, b.come)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.arrive(e, body.Bytes, nil)
			return nil
		}})
}

// say remembers some of what the server says to people.
func (b *batch) say(text string) {
	if len(b.said) < batchMessages {
		b.said = append(b.said, text)
	}
}

// about gives what the server said about a message by its number, or at last.
func (b *batch) about(seq uint32) string {
	number := strconv.FormatUint(uint64(seq), 10)
	for _, text := range b.said {
		for _, word := range strings.Fields(text) {
			if word == number {
				return text
			}
		}
	}
	if len(b.said) > 0 && len(b.entries) == 1 {
		return b.said[len(b.said)-1]
	}
	return "nothing"
}

// finish waits for the batch's end and finds out about what has not come. Its
// error is that of a broken connection.
func (f *fetcher) finish(c *wire.Conn, b *batch) error {
	_, err := b.pending.Wait(f.s.ctx)
	if wire.IsBroken(err) {
		return err
	}
	left := f.missing(b)
	if len(left) == 0 {
		return nil
	}
	// The view of the mailbox may be older than the listing.
	if err := c.Noop(f.s.ctx); err != nil {
		return err
	}
	if len(left) > 1 && err == nil {
		b.said = nil
		again, askErr := f.fetch(c, b, left)
		if askErr != nil {
			return askErr
		}
		if _, err = again.Wait(f.s.ctx); wire.IsBroken(err) {
			return err
		}
		if err == nil {
			return f.judge(c, b, f.missing(b), nil)
		}
	}
	// A NO for one message may have kept others from being sent.
	for _, e := range f.missing(b) {
		b.said = nil
		alone, err := f.fetch(c, b, []*entry{e})
		if err == nil {
			_, err = alone.Wait(f.s.ctx)
		}
		if wire.IsBroken(err) {
			return err
		}
		if err := f.judge(c, b, []*entry{e}, err); err != nil {
			return err
		}
	}
	return nil
}

// judge tells messages that are gone from those that are there without a body.
func (f *fetcher) judge(c *wire.Conn, b *batch, left []*entry, refusal error) error {
	there := map[uint32]uint32{} // number by UID
	if len(left) == 0 {
		return nil
	}
	p, err := c.Fetch(f.s.ctx, wire.FetchQuery{UIDs: b.set(left), Items: "UID FLAGS", MaxAnswers: mostAnswers(f.link.selected, int64(len(left))), Yield: func(m *wire.Fetched) error {
		if b.uids[m.UID] != nil {
			there[m.UID] = m.Seq
		}
		return nil
	}})
	if err == nil {
		_, err = p.Wait(f.s.ctx)
	}
	if wire.IsBroken(err) {
		return err
	}
	if refusal == nil {
		refusal = err
	}
	a := f.s.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range left {
		seq, exists := there[e.uid]
		switch {
		case refusal != nil && (exists || err != nil):
			a.arrive(e, nil, fmt.Errorf("%w: UID %d: %w", mailstore.ErrDamaged, e.uid, refusal))
		case exists:
			a.arrive(e, nil, fmt.Errorf("%w: the server knows UID %d and sends no content (it says %q)", mailstore.ErrDamaged, e.uid, b.about(seq)))
		case e.tries > 0:
			a.arrive(e, nil, fmt.Errorf("%w: the server hung up when UID %d was to come, and has it no more: lost, or just deleted", mailstore.ErrDamaged, e.uid))
		default:
			a.arrive(e, nil, mailstore.ErrVanished)
		}
	}
	return nil
}
