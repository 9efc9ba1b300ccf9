package backup

import (
	"fmt"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/atrest"
)

// stillDamaged takes the place of a record's SourceState as long as its message
// is damaged: no source uses it, so the message is read, and reported, again.
const stillDamaged = "damaged at the source"

// damage compares a message with what its store's index promises of it. Of one
// that can be read only as the file that it is kept in, nothing is promised.
func damage(msg mailstore.Message, m *chunk.Message, form atrest.Form) error {
	switch {
	case form.Opaque():
	case msg.Promised >= 0 && msg.Promised != m.StoredSize:
		return fmt.Errorf("%w: %d bytes, its index promises %d", mailstore.ErrDamaged, m.StoredSize, msg.Promised)
	case !msg.SHA1.IsZero() && msg.SHA1 != m.SHA1:
		return fmt.Errorf("%w: its SHA-1 is %s, its index promises %s", mailstore.ErrDamaged, m.SHA1, msg.SHA1)
	}
	return nil
}

// damaged reports a message whose source does not hold it whole. Its record, if
// there is one, stays as it is, with the good copy. A new one gets the content
// that was promised, where the vault has it from elsewhere; else what there is
// of it, which is better than nothing.
func (k *keeper) damaged(res result, damage error) error {
	if !res.msg.Expunged.IsZero() {
		return nil // its user has no claim to it any more, and its store none to have it
	}
	k.r.tally(func(rep *Report) { rep.Messages.Damaged++ })
	if err := k.unread(res, damage); err != nil || res.replaces != 0 {
		return err
	}
	res.msg.State = stillDamaged
	id, held, err := k.promised(res.msg)
	switch {
	case err != nil:
		return err
	case held:
		res.cut = &chunk.Message{ID: id, SHA1: res.msg.SHA1, Stored: id, StoredSize: res.msg.Promised, LineEnds: chunk.EndsCRLF}
		return k.record(res)
	case res.cut == nil || res.cut.StoredSize == 0:
		return nil
	}
	return k.content(res)
}

// promised finds in the vault what the source's index promises of a message.
func (k *keeper) promised(m mailstore.Message) (id chunk.ID, found bool, err error) {
	if m.SHA1.IsZero() || m.Promised < 0 {
		return id, false, nil
	}
	if id, found, err = k.r.tx.BySHA1(m.SHA1, m.Promised); err != nil || !found {
		return id, false, err
	}
	found, err = k.r.tx.HasContent(id)
	return id, found, err
}
