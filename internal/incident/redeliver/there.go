package redeliver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
)

// A copied message is one of the server that is, or may be, one that is owed.
type copied struct {
	spot
	sum  chunk.SHA1
	same bool // its bytes; else only what servers add on the way is different
}

// look finds the copies of messages in all folders of the user.
func (u *user) look(ctx context.Context, items []*item) error {
	var boxes []mailstore.Mailbox
	err := u.live.Mailboxes(ctx, func(b mailstore.Mailbox) error {
		boxes = append(boxes, b)
		return nil
	})
	var some *mailstore.Incomplete
	if errors.As(err, &some) {
		u.note("user %s: not all folders could be searched for what is there already: %v", u.name, err)
	} else if err != nil {
		return err
	}
	for _, b := range boxes {
		stand, err := u.post.Stand(ctx, b.Name)
		if errors.Is(err, mailstore.ErrNoMailbox) {
			continue
		}
		if err != nil {
			return err
		}
		if stand.Messages == 0 {
			continue
		}
		err = u.copies(ctx, items, b.Name, stand)
		if err != nil && !errors.Is(err, mailstore.ErrNoMailbox) {
			return err
		}
	}
	return nil
}

// copies finds those of messages in one folder: first those with the same bytes,
// all together, as a folder may have many messages of one size; then, for each,
// those that came another way.
func (u *user) copies(ctx context.Context, items []*item, box string, stand mailstore.Stand) error {
	wanted := map[chunk.ID][]*item{}
	var forms [][]byte
	for _, it := range items {
		for _, form := range it.forms {
			id := wireSum(form)
			if wanted[id] == nil {
				forms = append(forms, form)
			}
			wanted[id] = append(wanted[id], it)
		}
	}
	if len(forms) > 0 {
		err := u.post.Find(ctx, box, mailstore.Sought{Forms: forms}, func(f mailstore.Found) error {
			id, sum, _ := chunk.WireSums(f.Wire)
			for _, it := range wanted[id] {
				it.copies = append(it.copies, copied{spot{box, stand.UIDValidity, f.UID}, sum, true})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, it := range items {
		if err := u.cousins(ctx, it, box, stand); err != nil {
			return err
		}
	}
	return nil
}

// cousins finds the messages with a message's Message-ID that are this one, and
// came another way; or, where its content is not at hand, that are what was sent.
func (u *user) cousins(ctx context.Context, it *item, box string, stand mailstore.Stand) error {
	id := it.messageID()
	if id == "" {
		return nil
	}
	return u.post.Find(ctx, box, mailstore.Sought{MessageID: id}, func(f mailstore.Found) error {
		at := spot{box, stand.UIDValidity, f.UID}
		if slices.ContainsFunc(it.copies, func(c copied) bool { return c.spot == at }) {
			return nil
		}
		id, sum, _ := chunk.WireSums(f.Wire)
		c := copied{at, sum, it.InFlight() && id == it.SentSum}
		if c.same || slices.ContainsFunc(it.forms, func(form []byte) bool { return sameButTrace(form, f.Wire) }) {
			it.copies = append(it.copies, c)
		}
		return nil
	})
}

// messageID is that of the content, where it is at hand.
func (it *item) messageID() string {
	if it.match != nil && it.content.messageID != "" {
		return it.content.messageID
	}
	return it.MessageID
}

// settleThere settles the messages that the server has already: delivered by a
// queue, by a person, or put back. First each in its own folder, then where their
// user may have moved them. It gives the others.
func (u *user) settleThere(ctx context.Context, items []*item) (others []*item, err error) {
	for _, own := range []bool{true, false} {
		others = others[:0:0]
		for _, it := range items {
			free, err := u.free(ctx, it)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(free, func(c copied) bool {
				return !own || c.folder == it.Folder || it.InFlight() && c.folder == it.SentFolder
			})
			if i < 0 {
				others = append(others, it)
				continue
			}
			u.isThere(it, free[i])
		}
		items = others
	}
	return others, nil
}

func (u *user) isThere(it *item, c copied) {
	why := fmt.Sprintf("the server has it already, as message %s", uidIn(c.folder, uint32(c.uid)))
	if !c.same {
		why += ", which came another way"
	}
	was := original(&it.Claim)
	u.stands(&it.Claim, c.spot, it.sure(), why)
	if was == c.spot && c.same {
		it.Claim.State, it.Claim.Grade = catalog.ClaimPresent, ""
		u.change(&it.Claim)
	}
	u.mu.Lock()
	u.report.AlreadyThere++
	u.mu.Unlock()
}

// free gives the copies of a message that are nobody else's: no other claim says
// that its message stands there. Those with the same bytes come first.
func (u *user) free(ctx context.Context, it *item) ([]copied, error) {
	var out []copied
	seen := map[int64]bool{} // claims that have explained a copy
	for _, c := range it.copies {
		if owner := u.ownerOf(c.spot, c.sum); owner != 0 && owner != it.Claim.ID {
			seen[owner] = true
			continue
		}
		if !u.taken[c.spot] {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	others, err := u.others(ctx, it)
	if err != nil {
		return nil, err
	}
	for i := range others {
		if other := &others[i]; !seen[other.ID] {
			out = explain(out, other, it)
		}
	}
	slices.SortStableFunc(out, func(a, b copied) int {
		switch {
		case a.same == b.same:
			return 0
		case a.same:
			return -1
		}
		return 1
	})
	return out, nil
}

// explain takes away the copy that another claim to the same message accounts for:
// one in its folder or, when it stands somewhere, any, as it may have been moved.
func explain(copies []copied, other *catalog.Claim, it *item) []copied {
	box := other.Folder
	if other.NowFolder != "" {
		box = other.NowFolder
	}
	its := func(c copied) bool {
		return other.SHA1.IsZero() || other.SHA1 == c.sum || c.same && other.SHA1 == it.SHA1
	}
	i := slices.IndexFunc(copies, func(c copied) bool { return its(c) && c.folder == box })
	if i < 0 && other.State != catalog.ClaimOwed {
		i = slices.IndexFunc(copies, its)
	}
	if i < 0 {
		return copies
	}
	return slices.Delete(copies, i, i+1)
}

// others lists the other claims of the user to the same message: those that stand
// somewhere, and those that are owed another copy of it.
func (u *user) others(ctx context.Context, it *item) (out []catalog.Claim, err error) {
	seen := map[int64]bool{it.Claim.ID: true}
	add := func(c *catalog.Claim) error {
		if now, ok := u.pending[c.ID]; ok {
			c = &now
		}
		if seen[c.ID] {
			return nil
		}
		seen[c.ID] = true
		switch c.State {
		case catalog.ClaimPresent, catalog.ClaimRestored, catalog.ClaimRestoredMaybe, catalog.ClaimRedelivered:
		case catalog.ClaimOwed:
			if c.Folder == it.Folder {
				return nil // one of them is as good as the other
			}
		default:
			return nil
		}
		out = append(out, *c)
		return nil
	}
	if !it.SHA1.IsZero() {
		err = u.l.Claims(ctx, catalog.ClaimQuery{User: u.name, SHA1: it.SHA1}, add)
	} else if it.match != nil {
		err = u.l.Claims(ctx, catalog.ClaimQuery{User: u.name, SHA1: it.content.sha1}, add)
	}
	if id := it.messageID(); err == nil && id != "" {
		err = u.l.Claims(ctx, catalog.ClaimQuery{User: u.name, MessageID: id}, add)
	}
	return out, err
}
