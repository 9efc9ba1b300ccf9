package imap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/cyrussync"
	"salvor/internal/mailstore/imap/wire"
)

// isFull tells whether a refusal is that of a quota. Cyrus has no code for it.
func isFull(r *wire.Refused) bool {
	return r.Code == "OVERQUOTA" || strings.Contains(strings.ToLower(r.Text), "over quota") || strings.Contains(strings.ToLower(r.Text), "quota exceeded")
}

// isAboutAll tells refusals that are no message's fault.
func isAboutAll(r *wire.Refused) bool {
	switch r.Code {
	case "UNAVAILABLE", "SERVERBUG", "INUSE", "NOPERM", "AUTHORIZATIONFAILED", "CONTACTADMIN", "EXPIRED", "PRIVACYREQUIRED", "TRYCREATE", "NONEXISTENT":
		return true
	}
	text := strings.ToLower(r.Text)
	return strings.Contains(text, "permission denied") || strings.Contains(text, "i/o error") || strings.Contains(text, "internal error")
}

// refused decides what becomes of a message that the server does not take.
func (a *account) refused(ctx context.Context, p *parcel, r *wire.Refused) (mailstore.UID, error) {
	why := r.Text
	if why == "" {
		why = r.Error()
	}
	switch {
	case isFull(r):
		a.full = why
		return 0, &mailstore.Refusal{Why: why, Full: true}
	case isAboutAll(r):
		return 0, r
	case a.admin == nil:
		return 0, &mailstore.Refusal{Why: why}
	}
	if err := a.replicate(ctx, p); err != nil {
		return 0, fmt.Errorf("%w (over replication, as APPEND was refused: %s)", err, why)
	}
	a.note(p.b.name, false, "Cyrus refuses some messages from IMAP clients (%s); they were put in over its replication verbs, unchanged", why)
	return 0, nil
}

// replicate appends a message over the replication verbs, which take any bytes
// and ask for no quota.
func (a *account) replicate(ctx context.Context, p *parcel) error {
	name, partition, err := a.admin.place(ctx, p.b.name)
	if err != nil {
		return err
	}
	record := p.record()
	err = a.admin.send(ctx, "SYNCAPPLY", p.asFile(partition))
	restore := func() error {
		return a.admin.send(ctx, "SYNCRESTORE", func(w io.Writer) error {
			return cyrussync.WriteRestore(w, name, record, time.Now().Unix())
		})
	}
	if err == nil {
		err = restore()
	}
	if isRefused(err) && len(p.keywords) > 0 { // the mailbox has as many as it can
		record.Flags = p.system
		if err = restore(); err == nil {
			a.leaveOut(p.b, p.keywords...)
		}
	}
	if wire.IsBroken(err) {
		a.stage.lose(err)
		a.admin.link.drop()
		if uid, there, e := a.hasArrived(ctx, p); e == nil && there {
			p.arrived(uid)
			return nil
		}
		return err
	}
	if err == nil {
		p.arrived(0)
	}
	return err
}

// record is the message's record for the replication verbs.
func (p *parcel) record() cyrussync.Record {
	_, sum, size := chunk.WireSums(p.wire)
	date := p.d.InternalDate
	if date.IsZero() {
		date = time.Now()
	}
	date, _ = clampDate(date, firstDate)
	return cyrussync.Record{UID: 1, Flags: append(p.system[:len(p.system):len(p.system)], p.keywords...), Date: uint32(date.Unix()), Size: uint32(size), GUID: sum}
}

// asFile writes the message as SYNCAPPLY takes it.
func (p *parcel) asFile(partition string) func(io.Writer) error {
	_, sum, _ := chunk.WireSums(p.wire)
	return func(w io.Writer) error {
		_, err := w.Write(append(cyrussync.AppendFile([]byte(cyrussync.MessagesHead), partition, sum, p.wire), cyrussync.MessagesEnd...))
		return err
	}
}

// isPartition tells whether a name can be one of a Cyrus partition.
func isPartition(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
}

// changedForm is what a server is known to make of a message: Cyrus writes "X"
// for 8-bit bytes of headers (munge8bit), Dovecot 0x80 for NUL and one CR less
// before a line's end of several. It is the message itself where nothing is
// changed.
func changedForm(wire []byte, cyrus bool) []byte {
	if !cyrus {
		if bytes.IndexByte(wire, 0) < 0 && !bytes.Contains(wire, []byte("\r\r\n")) {
			return wire
		}
		return bytes.ReplaceAll(bytes.ReplaceAll(wire, []byte{0}, []byte{0x80}), []byte("\r\r\n"), []byte("\r\n"))
	}
	head := len(wire)
	if i := bytes.Index(wire, []byte("\r\n\r\n")); i >= 0 {
		head = i
	}
	if bytes.HasPrefix(wire, []byte("\r\n")) || !bytes.ContainsFunc(wire[:head], func(r rune) bool { return r >= 0x80 }) {
		return wire
	}
	changed := bytes.Clone(wire)
	for i := range changed[:head] {
		if changed[i] >= 0x80 {
			changed[i] = 'X'
		}
	}
	return changed
}

// changedIsThere tells whether the mailbox holds a copy of the message, in the
// form in which the server stores it, that no other record has claimed.
func (a *account) changedIsThere(ctx context.Context, p *parcel) (bool, error) {
	if p.b.created {
		return false, nil
	}
	k, err := a.contents(ctx, p.b.onWire)
	if err != nil {
		return false, err
	}
	id, sum, size := chunk.WireSums(p.changed)
	n, err := a.copies(ctx, k, mailstore.Wanted{Content: id, SHA1: sum, Size: size})
	if err != nil || n <= p.b.changed[id] {
		return false, err
	}
	if p.b.changed == nil {
		p.b.changed = map[chunk.ID]int{}
	}
	p.b.changed[id]++
	return true, nil
}

// tellChange looks what the server has made of a message that it may change.
func (a *account) tellChange(ctx context.Context, p *parcel, uid uint32) error {
	same := false
	if uid != 0 {
		a.link.box = "" // the message is newer than the mailbox as it was opened
		err := a.fetchBodies(ctx, p.b.onWire, wire.SetOf(uid), func(_ uint32, id chunk.ID) { same = id == p.d.Content })
		if err != nil {
			return err
		}
	}
	switch {
	case same:
	case a.cyrus:
		a.note(p.b.name, true, "the server has changed some messages: it writes X for 8-bit bytes in their headers (an administrator's login leaves them as they are)")
	default:
		a.note(p.b.name, true, "the server has changed some messages: it stores 0x80 where they have NUL, or one CR less before a line's end of several")
	}
	return nil
}
