package imap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/cyrussync"
	"salvor/internal/mailstore/imap/wire"
)

// Append sends a message once.
func (l *live) Append(ctx context.Context, d mailstore.Delivery) (uid mailstore.UID, err error) {
	p := &parcel{d: &d, wire: l.a.wireForm(&d)}
	if len(p.wire) == 0 {
		return 0, &mailstore.Refusal{Why: "IMAP servers take no empty messages"}
	}
	var refusal *mailstore.Refusal
	err = l.in(ctx, d.Mailbox, func(onWire string) error {
		p.b = l.box(d.Mailbox, onWire)
		uid, err = l.add(ctx, p)
		if errors.As(err, &refusal) {
			return nil
		}
		return err
	})
	if refusal != nil {
		return 0, refusal
	}
	return uid, err
}

// box is what is remembered of a folder between two messages.
func (l *live) box(name, onWire string) *box {
	b := l.boxes[onWire]
	if b == nil {
		b = &box{name: name, onWire: onWire}
		l.boxes[onWire] = b
	}
	return b
}

// add appends a message, over the replication verbs where an APPEND would change
// it, or was refused, and the login may.
func (l *live) add(ctx context.Context, p *parcel) (mailstore.UID, error) {
	p.nul = bytes.IndexByte(p.wire, 0) >= 0
	p.changed = changedForm(p.wire, l.a.cyrus)
	var odd []string
	p.system, p.keywords, odd = cleanFlags(p.d.Flags)
	for _, f := range odd {
		l.a.note(p.b.name, true, "the flag %q was left out: IMAP has no such flag", f)
	}
	l.a.setDate(p)
	changes := !bytes.Equal(p.changed, p.wire)
	if changes {
		ad, err := l.admin(ctx)
		if err != nil {
			return 0, err
		}
		if ad != nil {
			return 0, l.replicate(ctx, p)
		}
	}
	uid, err := l.tryFlags(ctx, p)
	var r *wire.Refused
	if errors.As(err, &r) {
		return 0, l.refused(ctx, p, r)
	}
	if err == nil && changes {
		l.noteChange(ctx, p, uid)
	}
	return mailstore.UID(uid), err
}

// tryFlags appends a message with the keywords that the mailbox takes. A server
// that refuses one refuses the message, without saying why: then the message goes
// up without those that were never tried, and gets them afterwards.
func (l *live) tryFlags(ctx context.Context, p *parcel) (uint32, error) {
	proven, untried, refused := p.b.flags.sort(p.keywords)
	l.a.leaveOut(p.b, refused...)
	p.keywords = append(proven[:len(proven):len(proven)], untried...)
	uid, err := l.send(ctx, p)
	if err == nil {
		p.b.flags.mark(&p.b.flags.proven, untried)
	}
	if len(untried) == 0 || !isRefused(err) {
		return uid, err
	}
	p.keywords = proven
	uid, again := l.send(ctx, p)
	if again != nil { // it is not the keywords
		p.keywords = append(p.keywords, untried...)
		return 0, again
	}
	if err := l.a.giveKeywords(ctx, p.b, uid, untried); err != nil { // the message is there
		l.a.note(p.b.name, true, "some messages may have come without the keywords %q: %v", strings.Join(untried, " "), err)
	}
	return uid, nil
}

// send sends one APPEND, and never a second time. The server has to ask for the
// message: as long as it has not, it has nothing of it. A *wire.Refused says that
// the message is not there, and so does every error but ErrUnanswered.
func (l *live) send(ctx context.Context, p *parcel) (uint32, error) {
	c, err := l.a.link.connect(ctx)
	if err != nil {
		return 0, err
	}
	if err := l.a.unselect(ctx, c); err != nil {
		return 0, err
	}
	p.ordinary = false // so that it is asked for
	cmd := p.appendCommand(l.a.binary)
	r, err := c.Do(ctx, cmd)
	var refused *wire.Refused
	switch {
	case err == nil:
		return l.appended(p, r), nil
	case errors.As(err, &refused):
		return 0, err
	case cmd.Asked():
		return 0, fmt.Errorf("%w: %w", mailstore.ErrUnanswered, err)
	}
	return 0, fmt.Errorf("the message was not sent: %w", err)
}

// appended gives the UID, unless the mailbox is another one than Stand told of.
func (l *live) appended(p *parcel, r *wire.Response) uint32 {
	_, args := r.Code()
	validity, _, _ := strings.Cut(args, " ")
	uid := appendUID(r)
	if was := l.validity[p.b.onWire]; uid != 0 && was != 0 && validity != strconv.FormatUint(uint64(was), 10) {
		l.a.note(p.b.name, false, "the folder was made anew while messages were appended: their UIDs are unknown")
		return 0
	}
	return uid
}

// refused decides what becomes of a message that the server does not take.
func (l *live) refused(ctx context.Context, p *parcel, r *wire.Refused) error {
	why := r.Text
	if why == "" {
		why = r.Error()
	}
	switch {
	case isFull(r):
		return &mailstore.Refusal{Why: why, Full: true}
	case isNotThere(r):
		return l.gone(p.b.onWire, r)
	case isDenied(r):
		return &mailstore.Refusal{Why: why}
	case isAboutAll(r):
		return r
	}
	ad, err := l.admin(ctx)
	if err != nil {
		return err
	}
	if ad == nil {
		return &mailstore.Refusal{Why: why}
	}
	if err := l.replicate(ctx, p); err != nil {
		return fmt.Errorf("%w (over replication, as APPEND was refused: %s)", err, why)
	}
	return nil
}

// replicate appends a message over the replication verbs of a Cyrus, once. Left
// with the administrator's session it is nowhere yet; the second verb makes it a
// message of the mailbox.
func (l *live) replicate(ctx context.Context, p *parcel) error {
	ad := l.a.admin
	internal, partition, err := ad.place(ctx, p.b.name)
	if err != nil {
		return err
	}
	c, err := ad.link.connect(ctx)
	if err != nil {
		return err
	}
	if err := sendOn(ctx, c, "SYNCAPPLY", p.asFile(partition)); err != nil {
		return asRefusal(err)
	}
	record := p.record()
	restore := func() error {
		if err := c.Err(); err != nil {
			return fmt.Errorf("the message was not sent: %w", err)
		}
		err := sendOn(ctx, c, "SYNCRESTORE", func(w io.Writer) error {
			return cyrussync.WriteRestore(w, internal, record, time.Now().Unix())
		})
		var refused *wire.Refused
		if err != nil && !errors.As(err, &refused) {
			return fmt.Errorf("%w: %w", mailstore.ErrUnanswered, err)
		}
		return err
	}
	err = restore()
	if isRefused(err) && len(p.keywords) > 0 { // the mailbox has as many as it can
		record.Flags = p.system
		if err = restore(); err == nil {
			l.a.leaveOut(p.b, p.keywords...)
		}
	}
	if err == nil {
		l.a.note(p.b.name, false, "some messages were put in over Cyrus' replication verbs, unchanged: APPEND would have refused or changed them")
	}
	return asRefusal(err)
}

// asRefusal makes a refusal of a message, or of a folder, out of that of a command,
// unless it is about the server.
func asRefusal(err error) error {
	var r *wire.Refused
	if !errors.As(err, &r) || isAboutAll(r) && !isDenied(r) {
		return err
	}
	return &mailstore.Refusal{Why: r.Error(), Full: isFull(r)}
}

// noteChange notes what the server has made of a message. That it cannot be found
// out changes nothing: the message is there.
func (l *live) noteChange(ctx context.Context, p *parcel, uid uint32) {
	if err := l.a.tellChange(ctx, p, uid); err != nil {
		l.a.note(p.b.name, true, "the server may have changed some messages; to look at them went wrong: %v", err)
	}
}

// Forms gives the forms in which the server may show a message.
func (l *live) Forms(wire []byte) [][]byte {
	forms := [][]byte{wire}
	if changed := changedForm(wire, l.a.cyrus); !bytes.Equal(changed, wire) {
		forms = append(forms, changed)
	}
	return forms
}
