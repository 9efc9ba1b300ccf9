package owe

import (
	"cmp"
	"context"
	"crypto/sha1"
	"errors"
	"slices"

	"salvor/chunk"
	"salvor/internal/mailstore"
)

// A place is where a message is.
type place struct {
	folder   string
	validity uint32
	uid      mailstore.UID
}

// An entry is a message that is listed without content.
type entry struct {
	folder   string
	validity uint32
	mailstore.Inspected
}

func (e *entry) place() place { return place{e.folder, e.validity, e.UID} }

// A box is a mailbox as it is listed.
type box struct {
	mailstore.Stand
	uids map[mailstore.UID]struct{}
	sums map[chunk.SHA1]struct{} // of what has content
}

// A sight is an account as it is listed.
type sight struct {
	messages int
	boxes    map[string]*box
	dangling []entry // by folder and UID
}

// view lists all of an account's own mailboxes.
func view(ctx context.Context, live mailstore.Live) (*sight, error) {
	v := &sight{boxes: map[string]*box{}}
	var names []string
	err := live.Mailboxes(ctx, func(m mailstore.Mailbox) error {
		names = append(names, m.Name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		b := &box{uids: map[mailstore.UID]struct{}{}, sums: map[chunk.SHA1]struct{}{}}
		var dangling []entry
		b.Stand, err = live.Inspect(ctx, name, func(m mailstore.Inspected) error {
			b.uids[m.UID] = struct{}{}
			if m.Dangling {
				dangling = append(dangling, entry{folder: name, Inspected: m})
			} else if m.SHA1 != zeroSum {
				b.sums[m.SHA1] = struct{}{}
			}
			return nil
		})
		if errors.Is(err, mailstore.ErrNoMailbox) { // removed since it was listed
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range dangling {
			e.validity = b.UIDValidity
			v.dangling = append(v.dangling, e)
		}
		v.boxes[name] = b
		v.messages += len(b.uids)
	}
	slices.SortFunc(v.dangling, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.folder, b.folder), cmp.Compare(a.UID, b.UID))
	})
	return v, nil
}

// lists tells whether a message is listed, whole or not.
func (v *sight) lists(p place) bool {
	b := v.boxes[p.folder]
	if b == nil || b.UIDValidity != p.validity {
		return false
	}
	_, ok := b.uids[p.uid]
	return ok
}

// has tells whether a folder, or any with "", has a message with this content.
func (v *sight) has(folder string, sum chunk.SHA1) bool {
	if sum == zeroSum {
		return false
	}
	for name, b := range v.boxes {
		if _, ok := b.sums[sum]; ok && (folder == "" || folder == name) {
			return true
		}
	}
	return false
}

// content is what a server answers when it is asked for a message.
type content int

const (
	contentMissing content = iota
	contentWhole
	contentOther // other bytes than those that it promises
	contentGone  // the message is not there any more
)

// ask asks for a message's content. An error says nothing about the message.
func ask(ctx context.Context, live mailstore.Live, e entry) (content, error) {
	body, err := live.Body(ctx, e.folder, e.UID)
	var dangling *mailstore.Dangling
	switch {
	case err == nil && e.SHA1 != zeroSum && chunk.SHA1(sha1.Sum(body)) != e.SHA1:
		return contentOther, nil
	case err == nil:
		return contentWhole, nil
	case errors.As(err, &dangling) && dangling.Missing:
		return contentMissing, nil
	case errors.As(err, &dangling):
		return contentOther, nil
	case errors.Is(err, mailstore.ErrVanished), errors.Is(err, mailstore.ErrNoMailbox):
		return contentGone, nil
	}
	return 0, err
}
