package imap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// A parcel is a message on its way into a mailbox.
type parcel struct {
	b    *box
	d    *mailstore.Delivery
	wire []byte // CRLF line ends
	// changed is what the server may make of it; wire itself where nothing else.
	changed []byte
	nul     bool

	system, keywords []string // to be sent
	date             time.Time
	ordinary         bool // nothing in flags and date that the server has not taken before
}

// Add puts a message into a folder.
func (a *account) Add(ctx context.Context, d mailstore.Delivery) (mailstore.UID, error) {
	if err := errors.Join(a.err, ctx.Err()); err != nil {
		return 0, err
	}
	b := a.boxes[d.Mailbox]
	if b == nil {
		return 0, fmt.Errorf("folder %q was not opened", d.Mailbox)
	}
	if err := a.stage.keep(ctx); err != nil {
		a.err = err
		return 0, err
	}
	if a.full != "" {
		return 0, &mailstore.Refusal{Why: a.full, Full: true}
	}
	p := &parcel{b: b, d: &d, wire: a.wireForm(&d)}
	if len(p.wire) == 0 {
		return 0, &mailstore.Refusal{Why: "IMAP servers take no empty messages"}
	}
	var uid mailstore.UID
	var err error
	if b.exact != nil {
		uid, err = a.addExact(ctx, p)
	} else {
		uid, err = a.add(ctx, p)
	}
	var refusal *mailstore.Refusal
	if err != nil && !errors.As(err, &refusal) && !errors.Is(err, mailstore.ErrPresent) {
		err = fmt.Errorf("add a message to folder %q of %q: %w", d.Mailbox, a.link.user, err)
	}
	return uid, err
}

// wireForm gives the message with CRLF line ends: its stored bytes where they
// are so already.
func (a *account) wireForm(d *mailstore.Delivery) []byte {
	if bytes.Count(d.Stored, []byte("\n")) == bytes.Count(d.Stored, []byte("\r\n")) {
		return d.Stored
	}
	a.buf = chunk.ToWire(a.buf[:0], d.LF)
	return a.buf
}

func (a *account) add(ctx context.Context, p *parcel) (mailstore.UID, error) {
	p.nul = bytes.IndexByte(p.wire, 0) >= 0
	p.changed = changedForm(p.wire, a.cyrus)
	suspect := len(p.changed) != len(p.wire) || &p.changed[0] != &p.wire[0]
	if suspect {
		if there, err := a.changedIsThere(ctx, p); err != nil {
			return 0, err
		} else if there {
			return 0, mailstore.ErrPresent
		}
	}
	var odd []string
	p.system, p.keywords, odd = cleanFlags(p.d.Flags)
	for _, f := range odd {
		a.note(p.b.name, true, "the flag %q was left out: IMAP has no such flag", f)
	}
	a.setDate(p)
	if suspect && a.admin != nil {
		return 0, a.replicate(ctx, p)
	}
	uid, err := a.tryFlags(ctx, p)
	var r *wire.Refused
	if errors.As(err, &r) {
		return a.refused(ctx, p, r)
	}
	if err == nil && suspect {
		err = a.tellChange(ctx, p, uid)
	}
	return mailstore.UID(uid), err
}

// setDate chooses the date that is sent.
func (a *account) setDate(p *parcel) {
	p.date = p.d.InternalDate.UTC()
	now := time.Now()
	p.ordinary = p.date.Unix() > 0 && p.date.Before(now.Add(time.Hour))
	switch {
	case p.date.IsZero():
		p.ordinary = true
	case a.cyrus:
		var same bool
		if p.date, same = clampDate(p.date, firstDate); !same {
			a.note(p.b.name, true, datesNote)
		}
		p.ordinary = true
	case p.date.After(now.Add(time.Hour)):
		a.note(p.b.name, true, "some messages have dates in the future, which servers may replace")
		if p.date.Year() > 9999 {
			p.date, _ = clampDate(p.date, firstDate)
		}
	case p.date.Year() < 1:
		p.date, _ = clampDate(p.date, firstDate)
	}
}

// tryFlags appends a message with the keywords that the mailbox takes. A server
// that refuses one refuses the message, without saying why: then the message
// goes up without those that were never tried, and gets them one by one.
func (a *account) tryFlags(ctx context.Context, p *parcel) (uint32, error) {
	proven, untried, refused := p.b.flags.sort(p.keywords)
	a.leaveOut(p.b, refused...)
	p.keywords = append(proven[:len(proven):len(proven)], untried...)
	p.ordinary = p.ordinary && len(untried) == 0
	uid, err := a.deliver(ctx, p)
	if err == nil {
		p.b.flags.mark(&p.b.flags.proven, untried)
	}
	if len(untried) == 0 || !isRefused(err) {
		return uid, err
	}
	p.keywords = proven
	uid, again := a.deliver(ctx, p)
	if again != nil { // it is not the keywords
		p.keywords = append(p.keywords, untried...)
		return 0, again
	}
	return uid, a.giveKeywords(ctx, p.b, uid, untried)
}

func isRefused(err error) bool {
	var r *wire.Refused
	return errors.As(err, &r) && !isFull(r) && !isAboutAll(r)
}

func (a *account) leaveOut(b *box, keywords ...string) {
	for _, w := range keywords {
		a.note(b.name, true, "the keyword %q was left out: the server does not take it", w)
	}
}

// giveKeywords sets keywords of a message that this account has added.
func (a *account) giveKeywords(ctx context.Context, b *box, uid uint32, keywords []string) error {
	a.link.box = "" // selected to write now
	for _, w := range keywords {
		err := error(&wire.Refused{})
		if uid != 0 {
			err = a.do(ctx, func(c *wire.Conn) error {
				if _, err := c.Select(ctx, b.onWire); err != nil {
					return err
				}
				_, err := c.Do(ctx, wire.NewCommand("UID STORE").Raw(fmt.Sprintf(" %d +FLAGS.SILENT (%s)", uid, w)))
				return err
			})
		}
		if err != nil && !isRefused(err) {
			return err
		}
		if err != nil {
			b.flags.mark(&b.flags.refused, []string{w})
			a.leaveOut(b, w)
			continue
		}
		b.flags.mark(&b.flags.proven, []string{w})
	}
	return nil
}

// appendCommand is the APPEND of a parcel. Data that nobody has asked for goes
// only where the server cannot refuse the command before it: see AskedLiteral.
func (p *parcel) appendCommand(binary bool) *wire.Command {
	cmd := wire.NewCommand("APPEND").String(p.b.onWire)
	cmd.Raw(" (" + strings.Join(append(p.system[:len(p.system):len(p.system)], p.keywords...), " ") + ")")
	if !p.date.IsZero() {
		cmd.Raw(p.date.Format(` "02-Jan-2006 15:04:05 +0000"`))
	}
	eight := p.nul && binary
	switch {
	case !p.ordinary:
		return cmd.AskedLiteral(p.wire, eight)
	case eight:
		return cmd.Raw(" ").Literal8(int64(len(p.wire)), bytes.NewReader(p.wire))
	}
	return cmd.Raw(" ").Literal(int64(len(p.wire)), bytes.NewReader(p.wire))
}

// deliver appends a message once, through hang-ups: it is sent again only when
// it is seen not to have arrived.
func (a *account) deliver(ctx context.Context, p *parcel) (uint32, error) {
	made := false
	for try := 1; ; try++ {
		c, err := a.link.connect(ctx)
		if err != nil {
			return 0, err
		}
		if err := a.unselect(ctx, c); err != nil && !wire.IsBroken(err) {
			return 0, err
		}
		r, err := c.Do(ctx, p.appendCommand(a.binary))
		switch {
		case err == nil:
			return p.arrived(appendUID(r)), nil
		case wire.CodeOf(err) == "TRYCREATE" && !made:
			made = true
			if err := a.createOne(ctx, p.b.onWire, ""); err != nil && !isThere(err) {
				return 0, err
			}
			continue
		case !wire.IsBroken(err) || ctx.Err() != nil:
			return 0, err
		}
		a.link.drop()
		if try >= a.d.s.o.patience.tries {
			return 0, err
		}
		// The server may still be storing what it has read.
		if err := a.d.s.pause(ctx, try); err != nil {
			return 0, err
		}
		uid, there, err := a.hasArrived(ctx, p)
		if err != nil {
			return 0, err
		}
		if there {
			return p.arrived(uid), nil
		}
	}
}

// unselect lets go of the mailbox that was looked into: with it, Dovecot takes
// half as much time again for every message.
func (a *account) unselect(ctx context.Context, c *wire.Conn) error {
	if a.link.box == "" || !c.Caps().Has("UNSELECT") {
		return nil
	}
	a.link.box = ""
	_, err := c.Do(ctx, wire.NewCommand("UNSELECT"))
	return err
}

// appendUID reads the response code of RFC 4315; 0 for none.
func appendUID(r *wire.Response) uint32 {
	code, args := r.Code()
	_, uid, ok := strings.Cut(args, " ")
	n, err := strconv.ParseUint(uid, 10, 32)
	if code != "APPENDUID" || !ok || err != nil {
		return 0
	}
	return uint32(n)
}

// arrived notes that a message is in the mailbox.
func (p *parcel) arrived(uid uint32) uint32 {
	if uid >= p.b.next && uid < 1<<32-1 {
		p.b.next = uid + 1
	}
	if uid == 0 {
		if p.b.unnumbered == nil {
			p.b.unnumbered = map[chunk.ID]int{}
		}
		p.b.unnumbered[p.d.Content]++
	}
	return uid
}

// hasArrived looks whether a message whose APPEND had no answer is there.
func (a *account) hasArrived(ctx context.Context, p *parcel) (uid uint32, there bool, err error) {
	changed, _, _ := chunk.WireSums(p.changed)
	set, err := a.arrivals(ctx, p.b.onWire, p.b.next)
	if err != nil || len(set) == 0 {
		return 0, false, err
	}
	n := 0
	err = a.fetchBodies(ctx, p.b.onWire, set, func(u uint32, id chunk.ID) {
		if id == p.d.Content || id == changed {
			n++
			uid = max(uid, u)
		}
	})
	return uid, n > p.b.unnumbered[p.d.Content], err
}
