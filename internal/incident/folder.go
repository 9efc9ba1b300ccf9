package incident

import (
	"context"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
)

// A reading is one folder of the index while it is compared.
type reading struct {
	pair
	known *listing
	seen  map[string]struct{} // keys that were listed
	ctx   context.Context
	older bool // the index is older than the backup
}

// folder compares a folder of the index with what the catalog has of it.
func (c *comparison) folder(ctx context.Context, p pair) error {
	known, err := c.known(ctx, p.row)
	if err != nil {
		return err
	}
	c.report.Folders++
	r := &reading{pair: p, known: known, seen: map[string]struct{}{}, older: older(p), ctx: ctx}
	c.doubt.folder(p)
	err = c.src.Messages(ctx, p.box, func(m mailstore.Message) error { return c.message(r, m) })
	damage, err := c.damage(err)
	if err != nil {
		return err
	}
	return c.unnamed(ctx, known, place{p.box.User, p.box.Name, p.row.UIDValidity}, c.noProof(r, damage))
}

// older tells whether the backup saw a folder in a later state than the index
// has it in.
func older(p pair) bool {
	if p.row.ID == 0 || p.row.UIDValidity != p.box.UIDValidity {
		return false
	}
	return p.box.UIDNext != 0 && p.box.UIDNext < p.row.UIDNext ||
		p.box.HighestModSeq != 0 && p.box.HighestModSeq < p.row.HighestModSeq
}

// noProof says why it proves nothing that the index does not name a message of
// the folder; "" when it proves its deletion.
func (c *comparison) noProof(r *reading, damage string) string {
	switch {
	case r.box.Lost != "":
		return "the folder's index is no evidence: " + r.box.Lost
	case damage != "":
		return "the folder's index is damaged: " + damage
	case !c.o.Index.Apart:
		return "this kind of index does not outlive the messages"
	case r.row.UIDValidity != r.box.UIDValidity:
		return fmt.Sprintf("the folder's UIDVALIDITY changed from %d to %d", r.row.UIDValidity, r.box.UIDValidity)
	case r.older:
		return "the folder's index is older than the backup"
	case r.box.Written.After(c.o.At):
		return "the folder's index was written after the loss, maybe by a server that did not find the messages' files any more"
	case r.box.UIDNext == 0:
		return "the folder's index does not say how far it goes"
	}
	return ""
}

// message makes the claim of a message that the index names.
func (c *comparison) message(r *reading, m mailstore.Message) error {
	if _, twice := r.seen[m.Key]; twice {
		c.report.problem(fmt.Sprintf("%q: %q: the index lists UID %d twice", r.box.User, r.box.Name, m.UID))
		return nil
	}
	r.seen[m.Key] = struct{}{}
	c.sums.listed++
	claim := catalog.Claim{User: r.box.User, Folder: r.box.Name, UIDValidity: r.box.UIDValidity, UID: uint32(m.UID), SHA1: m.SHA1,
		Size: max(m.Size, m.Promised, 0), Flags: m.Flags, InternalDate: m.InternalDate, MessageID: m.MessageID, Envelope: m.Envelope}
	if m.SHA1.IsZero() { // what is found again is known by its name then
		claim.Name = m.Key
	}
	var rec *catalog.Record
	var was standing
	if at, ok := r.known.byKey[m.Key]; ok && !(c.o.Index.KeysNumbered && r.row.UIDValidity != r.box.UIDValidity) {
		e := &r.known.entries[at]
		e.compared, was = true, e.was
		if was.there() {
			c.sums.both++
		}
		var err error
		if rec, err = c.record(e.id); err != nil {
			return err
		}
		claim.Record = rec.ID
		if !rec.InternalDate.IsZero() { // it never changes, and an index may only guess it
			claim.InternalDate = rec.InternalDate
		}
		if r.older || m.NoFlags {
			claim.Flags = rec.Flags
		}
	}
	if err := c.judge(r, m, rec, was, &claim); err != nil {
		return err
	}
	return c.put(claim)
}

// judge finds the state of a message that the index names.
func (c *comparison) judge(r *reading, m mailstore.Message, rec *catalog.Record, was standing, claim *catalog.Claim) error {
	switch {
	case !m.Expunged.IsZero() && was.there() && r.older:
		if err := c.fill(rec, claim); err != nil {
			return err
		}
		return c.doubtful(claim, "the index says that it was removed, but is older than the backup")
	case !m.Expunged.IsZero():
		claim.State, claim.Reason = catalog.ClaimDeleted, "removed at the server "+m.Expunged.UTC().Format(time.RFC3339)
		return nil
	case r.why == folder.ReasonJunk:
		claim.State = catalog.ClaimJunk
		return nil
	case was == gone && r.older:
		claim.State, claim.Reason = catalog.ClaimDeleted, "the backup, which is newer than the index, found it removed"
		return nil
	}
	c.doubt.message(m, c.o.At)
	content, reason, err := c.find(r, m, rec, claim)
	if err != nil {
		return err
	}
	if content == nil {
		claim.State, claim.Reason = catalog.ClaimOwed, reason
		return nil
	}
	claim.State, claim.Content, claim.MessageID = catalog.ClaimHeld, content.ID, content.MessageID
	if claim.Record == 0 {
		c.absent.arrived[content.ID]++
	}
	if m.Doubt != "" {
		claim.State, claim.Reason = catalog.ClaimUncertain, m.Doubt
	}
	return nil
}

// find looks for what the index promises in the vault: the content of the same
// message, of another one of the same user, of anybody's. Where there is none,
// reason says why.
func (c *comparison) find(r *reading, m mailstore.Message, rec *catalog.Record, claim *catalog.Claim) (content *catalog.Content, reason string, err error) {
	reason = "it arrived after the last backup"
	switch {
	case r.why == folder.ReasonExcluded:
		reason = "its folder is left out of the backup"
	case r.row.ID != 0 && r.row.UIDValidity == r.box.UIDValidity && m.UID != 0 && uint32(m.UID) < r.row.UIDNext:
		reason = "the last backup could not read it"
	}
	if rec != nil {
		found, ok, err := c.tx.Content(rec.Content)
		switch {
		case err != nil:
			return nil, "", err
		case !ok || !same(m, rec, &found):
			reason = "the vault has other bytes of it than the index promises"
		default:
			whole, err := c.tx.HasContent(found.ID)
			if err != nil || whole {
				return &found, "", err
			}
			reason = damagedCopy
		}
	}
	size := max(m.Size, m.Promised)
	switch {
	case m.SHA1.IsZero() && rec == nil && c.o.Index.KeysTravel:
		return c.namesake(r, m, claim, reason)
	case m.SHA1.IsZero() || size < 0:
		return nil, reason, nil
	}
	twin, ok, err := c.tx.Twin(r.box.User, m.SHA1, size)
	if err != nil {
		return nil, "", err
	}
	id := twin.Content
	if !ok {
		if id, ok, err = c.tx.BySHA1(m.SHA1, size); err != nil || !ok {
			return nil, reason, err
		}
	}
	whole, err := c.tx.HasContent(id)
	if err != nil {
		return nil, "", err
	}
	if !whole {
		return nil, damagedCopy, nil
	}
	found, _, err := c.tx.Content(id)
	return &found, "", err
}

const damagedCopy = "the vault's copy is damaged (salvor check names it)"

// same tells whether a record's content is what the index promises of it.
func same(m mailstore.Message, rec *catalog.Record, content *catalog.Content) bool {
	if !m.SHA1.IsZero() {
		return content.SHA1 == m.SHA1
	}
	size := max(m.Size, m.Promised)
	return size < 0 || rec.StoredSize == size
}

// unnamed makes the claims of what the catalog had and the index does not name.
// noProof says why that does not prove a deletion, "" when it does.
func (c *comparison) unnamed(ctx context.Context, l *listing, at place, noProof string) error {
	for _, e := range l.entries {
		if !e.was.there() || e.compared {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if noProof == "" && (e.was != doubted || c.src == nil) {
			c.absent.list = append(c.absent.list, absence{e.id, at, inTrash(l.row)})
			continue
		}
		rec, err := c.record(e.id)
		if err != nil {
			return err
		}
		claim, err := c.claimOf(rec, at)
		if err != nil {
			return err
		}
		if e.was == doubted && c.src != nil {
			err = c.doubtful(&claim, "a backup before the loss did not find it any more, and nobody has confirmed its deletion")
		} else {
			err = c.doubtful(&claim, noProof)
		}
		if err == nil {
			err = c.put(claim)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// claimOf is the claim of a record that the index does not name.
func (c *comparison) claimOf(rec *catalog.Record, at place) (catalog.Claim, error) {
	claim := catalog.Claim{User: at.user, Folder: at.folder, UIDValidity: at.validity, UID: rec.UID, Size: rec.StoredSize, Flags: rec.Flags,
		InternalDate: rec.InternalDate, Record: rec.ID}
	if rec.GoneRun != 0 {
		claim.UIDValidity = 0 // the folder may have been numbered anew since
	}
	return claim, c.fill(rec, &claim)
}

// fill adds what the catalog knows of a record's content.
func (c *comparison) fill(rec *catalog.Record, claim *catalog.Claim) error {
	content, ok, err := c.tx.Content(rec.Content)
	if err == nil && ok {
		claim.Content, claim.SHA1, claim.MessageID = content.ID, content.SHA1, content.MessageID
	}
	return err
}

// doubtful makes a claim uncertain, unless the vault's copy is damaged.
func (c *comparison) doubtful(claim *catalog.Claim, reason string) error {
	claim.State, claim.Reason = catalog.ClaimUncertain, reason
	whole, err := c.tx.HasContent(claim.Content)
	if err == nil && !whole {
		claim.State, claim.Reason, claim.Content = catalog.ClaimOwed, damagedCopy, chunk.ID{}
	}
	return err
}
