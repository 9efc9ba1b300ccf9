package backup

import (
	"context"
	"errors"
	"fmt"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/vault"
)

// The keeper stores what the workers read. It runs in one goroutine; only has
// and part are called by others. Rows that refer to chunks go through the
// packer's After, so that they are written once the chunks are durable; all
// rows of one mailbox go the same way and so keep their order.
type keeper struct {
	r      *run
	packer *vault.Packer
	split  func(c *chunk.Cutter, m *chunk.Message, all bool) ([]piece, error)
	err    error
}

// hasContent tells whether a message is in the vault or on its way there.
func (k *keeper) hasContent(id chunk.ID) (bool, error) {
	if k.packer.Pending(chunk.Ref{Kind: chunk.KindMessage, ID: id}) {
		return true, nil
	}
	return k.r.tx.HasContent(id)
}

// has tells whether a chunk is in the vault or on its way there.
func (k *keeper) has(ref chunk.Ref) (bool, error) {
	if k.packer.Pending(ref) {
		return true, nil
	}
	return k.r.tx.HasChunk(ref)
}

// part finds a whole part, stored as one chunk or as several.
func (k *keeper) part(id chunk.ID) (chunk.Ref, bool, error) {
	for _, kind := range []chunk.Kind{chunk.KindData, chunk.KindPart} {
		ref := chunk.Ref{Kind: kind, ID: id}
		if known, err := k.has(ref); known || err != nil {
			return ref, known, err
		}
	}
	return chunk.Ref{}, false, nil
}

func (k *keeper) take(res result) error {
	switch res.kind {
	case boxEnd:
		res.box.ended = true
		return k.boxDone(res.box)
	case userEnd:
		res.user.ended = true
		return k.userDone(res.user)
	}
	err := k.message(res)
	res.box.done++
	if err != nil {
		return err
	}
	return k.boxDone(res.box)
}

// message stores one message that was read, or reports why it was not.
func (k *keeper) message(res result) error {
	switch {
	case res.err == nil:
	case errors.Is(res.err, mailstore.ErrVanished) && res.msg.Expunged.IsZero():
		// Deleted or moved while we read: the next run's business. The folder
		// is listed again then.
		res.box.failed++
		return nil
	case errors.Is(res.err, mailstore.ErrVanished):
		return nil
	case errors.Is(res.err, mailstore.ErrDamaged):
		return k.damaged(res, res.err)
	default:
		return k.unread(res, res.err)
	}
	m := res.cut
	k.r.o.Meter.Add(1, m.StoredSize)
	k.r.tally(func(rep *Report) { rep.Bytes.Read += m.StoredSize })
	if res.form.Opaque() {
		k.r.tally(func(rep *Report) { rep.opaque(res.box.src.User, string(res.form)) })
	}
	if damage := damage(res.msg, m, res.form); damage != nil {
		return k.damaged(res, damage)
	}
	return k.content(res)
}

// content stores what a message holds, where it is new, and its record.
func (k *keeper) content(res result) error {
	m := res.cut
	known, err := k.hasContent(m.ID)
	if err == nil && known && res.replaces != 0 {
		known, err = k.whole(m, res.pieces)
	}
	if err == nil && !known {
		if res.cut, res.pieces, err = k.cutAnyway(res); err == nil {
			err = k.store(res.cut, res.pieces)
		}
	}
	if err != nil {
		return err
	}
	return k.record(res)
}

// cutAnyway cuts a message after all that its worker took for known. A content is
// known to nobody for a moment: when its pack is durable, and so no longer
// pending, and its row is not written yet.
func (k *keeper) cutAnyway(res result) (*chunk.Message, []piece, error) {
	if res.cut.Recipe != nil {
		return res.cut, res.pieces, nil
	}
	m := res.bench.cutter.Cut(res.bench.stored)
	pieces, err := k.split(res.bench.cutter, m, res.replaces != 0)
	return m, pieces, err
}

// whole tells whether every chunk of a known message can be relied on; those in
// packs that a check found damaged cannot.
func (k *keeper) whole(m *chunk.Message, pieces []piece) (bool, error) {
	whole, err := k.has(chunk.Ref{Kind: chunk.KindMessage, ID: m.ID})
	for i := 0; err == nil && whole && i < len(pieces); i++ {
		whole, err = k.allThere(pieces[i])
	}
	return whole, err
}

// unread counts and names a message that could not be backed up, and goes on.
// What stops the whole run (a cancelled context) is no message's fault.
func (k *keeper) unread(res result, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errMorePasses) {
		return err
	}
	var p *mailstore.Problem
	if !errors.As(err, &p) {
		p = &mailstore.Problem{User: res.box.src.User, Mailbox: res.box.src.Name, Path: res.msg.Place, Err: err}
		if p.Path == "" { // a server tells no place
			p.Path = fmt.Sprint("UID ", res.msg.UID)
		}
	}
	k.r.tally(func(rep *Report) {
		rep.problem(p.Error())
		rep.Messages.Failed++
	})
	res.box.failed++
	res.box.user.unread++
	return nil
}

// store hands a new content's chunks to the packer, and its rows after them.
func (k *keeper) store(m *chunk.Message, pieces []piece) error {
	if len(m.Recipe) == 0 {
		return fmt.Errorf("message %s was not cut and cannot be stored", m.ID)
	}
	k.r.tally(func(rep *Report) { rep.Bytes.New += m.StoredSize })
	refs := make([]chunk.Ref, 0, len(pieces))
	var parts []catalog.Row
	for i, p := range pieces {
		ref, known, err := k.part(p.id)
		if err != nil {
			return err
		}
		if known && p.chunks != nil {
			known, err = k.allThere(p)
			if err != nil {
				return err
			}
		}
		if !known && p.chunks == nil {
			return fmt.Errorf("part %s of message %s disappeared from the catalog while it was used", m.Parts[i].ID, m.ID)
		}
		if !known {
			if ref, err = k.piece(p); err != nil {
				return err
			}
			if ref.Kind == chunk.KindPart {
				parts = append(parts, catalog.Part{ID: p.id, Size: p.size, Chunks: p.ids})
			}
		}
		refs = append(refs, ref)
	}
	if err := k.packer.Add(chunk.Ref{Kind: chunk.KindMessage, ID: m.ID}, m.Recipe); err != nil {
		return err
	}
	content := catalog.Content{ID: m.ID, SHA1: m.SHA1, Size: m.Size, Parts: refs}
	envelope(&content, m.Header)
	return k.packer.After(func() error { return k.r.tx.Put(append(parts, content)...) })
}

// allThere tells whether all chunks of a part that was cut are in the vault.
func (k *keeper) allThere(p piece) (bool, error) {
	for _, ref := range p.refs() {
		if has, err := k.has(ref); err != nil || !has {
			return false, err
		}
	}
	return true, nil
}

// piece adds a new part's chunks, those that are new.
func (k *keeper) piece(p piece) (chunk.Ref, error) {
	if len(p.chunks) == 1 {
		ref := chunk.Ref{Kind: chunk.KindData, ID: p.id}
		return ref, k.packer.Add(ref, p.chunks[0])
	}
	for i, id := range p.ids {
		ref := chunk.Ref{Kind: chunk.KindData, ID: id}
		if known, err := k.has(ref); err != nil {
			return ref, err
		} else if known {
			continue
		}
		if err := k.packer.Add(ref, p.chunks[i]); err != nil {
			return ref, err
		}
	}
	ref := chunk.Ref{Kind: chunk.KindPart, ID: p.id}
	return ref, k.packer.Add(ref, chunk.EncodePartList(p.ids, p.size))
}

// record writes the message's record. A file that was replaced in place is a
// new message, and the old one is gone, unless the store itself rewrites
// messages: then the old one has become the new one.
func (k *keeper) record(res result) error {
	m, r := res.cut, k.r
	rec := r.newRecord(res.box, res.msg)
	rec.Content, rec.Stored, rec.StoredSize, rec.LineEnds = m.ID, m.Stored, m.StoredSize, m.LineEnds
	if res.replaces != 0 {
		old, err := r.recordOf(res.replaces)
		if err != nil {
			return err
		}
		if old.Content == rec.Content {
			rec.ID, rec.FirstRun, rec.FirstSeen = old.ID, old.FirstRun, old.FirstSeen
			return k.packer.After(func() error { return r.tx.Put(rec) })
		}
		if res.msg.Mutable || old.SourceState == stillDamaged { // what was left of it is no message that anybody deleted
			return k.packer.After(func() error { return r.rewritten(old, rec) })
		}
		r.doubt(res.box.src, fmt.Sprintf("a message (UID %d) has other bytes than it had under the same name", old.UID))
		if err := k.packer.After(func() error { return r.gone(old) }); err != nil {
			return err
		}
	}
	r.tally(func(rep *Report) {
		rep.Messages.New++
		if rec.GoneRun != 0 {
			rep.Messages.Gone++
		}
	})
	return k.packer.After(func() (err error) {
		if rec.ID, err = r.tx.NextID(catalog.RecordIDs); err != nil {
			return err
		}
		return r.tx.Put(rec)
	})
}

// rewritten puts a record in the place of another. The old content stays as
// long as that of a message that moved, and counts as no deletion.
func (r *run) rewritten(old, rec catalog.Record) (err error) {
	if rec.ID, err = r.tx.NextID(catalog.RecordIDs); err != nil {
		return err
	}
	old.GoneRun, old.GoneAt, old.Hold, old.MovedTo = r.number, nil, 0, rec.ID
	return r.tx.Put(old, rec)
}

// boxDone writes the mailbox's row once all of its messages are safe: with its
// state when nothing failed, so that the next run may skip it.
func (k *keeper) boxDone(b *boxState) error {
	if !b.ended || b.done < b.jobs {
		return nil
	}
	row := b.row
	if b.failed == 0 && row.FailedRun != k.r.number {
		row.State = b.src.State
	}
	b.user.done++
	if err := k.packer.After(func() error { return k.r.tx.Put(row) }); err != nil {
		return err
	}
	return k.userDone(b.user)
}

// userDone writes the user's row once all of the user's mailboxes are done.
func (k *keeper) userDone(u *userState) error {
	if !u.ended || u.done < u.boxes {
		return nil
	}
	row := u.row
	row.Failed = u.failed + u.unread
	if u.unlisted {
		row.Failed++
	} else {
		row.LastRun = u.run
	}
	if row.Failed == 0 {
		row.LastGood, row.LastGoodAt = u.run, k.r.clock.Now
	}
	return k.packer.After(func() error { return k.r.tx.Put(row) })
}
