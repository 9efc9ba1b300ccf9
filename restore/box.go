package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
)

// A box is a folder of the destination that is restored into.
type box struct {
	name     string
	validity uint32           // UIDVALIDITY under which the original UIDs are meant
	there    tally            // what it holds and no record has been set against
	copies   map[chunk.ID]int // the same, of what a Comparer was asked for
	added    receipts
}

// makeEmpty makes the folders of a restore of whole folders, before any
// message: those that are empty would not come to light otherwise. What was out
// of scope is not made: an empty folder would say that there was no mail.
func (r *run) makeEmpty(ctx context.Context) error {
	if r.DryRun || !r.choice.whole() {
		return nil
	}
	for _, name := range r.choice.order {
		m := r.choice.boxes[name]
		if m.Excluded != "" || !r.choice.existed(m) {
			continue
		}
		if r.Folder != nil && r.Choose != nil && !r.Folder(r.name, &Mailbox{User: r.name, Name: name}) {
			continue
		}
		if _, err := r.box(ctx, &item{Entry: &catalog.Entry{Folder: name, UIDValidity: m.UIDValidity}}); err != nil {
			return err
		}
	}
	return nil
}

// box gives the folder of the destination for one of the source, made and
// counted when it is met for the first time, with e in it.
func (r *run) box(ctx context.Context, e *item) (*box, error) {
	folder := e.Folder
	name := r.target(folder)
	if b := r.boxes[name]; b != nil {
		return b, nil
	}
	m := r.mailbox(folder, name)
	if r.choice.boxes[folder] == nil { // of a wish, for a folder that the catalog does not know
		if was := r.choice.rows[e.Mailbox]; was != nil {
			m = r.described(was, name) // by this name
		}
		m.UIDValidity = e.UIDValidity
	}
	if r.Folder != nil && r.Choose != nil {
		r.Folder(r.name, &m)
	}
	b := &box{name: name, validity: m.UIDValidity}
	if err := r.open(ctx, b, m); err != nil {
		return nil, err
	}
	r.boxes[name] = b
	return b, nil
}

// target is the name at the destination.
func (r *run) target(folder string) string {
	if r.Into != "" {
		return r.Into + "/" + folder
	}
	return folder
}

// mailbox describes a folder as it is to be made under name.
func (r *run) mailbox(folder, name string) Mailbox {
	return r.described(r.choice.boxes[folder], name)
}

// described gives a folder of the catalog's as it is to be made under name; m is
// nil where the catalog knows nothing of it.
func (r *run) described(m *catalog.Mailbox, name string) Mailbox {
	box := Mailbox{User: r.name, Name: name}
	if m != nil {
		box.UIDValidity, box.UIDNext, box.Subscribed = m.UIDValidity, m.UIDNext, m.Subscribed
		box.ObjectID, box.SpecialUse = m.ObjectID, m.SpecialUse
		box.HighestModSeq, box.ACL, box.Quota = m.HighestModSeq, m.ACL, m.Quota
	}
	if r.Into != "" {
		// The original keeps its role and its identity; and a tree that was
		// asked for should be seen.
		box.ObjectID, box.SpecialUse, box.Subscribed = "", "", true
		box.HighestModSeq, box.ACL, box.Quota = 0, "", ""
	}
	return box
}

// open makes the mailbox, unless this is a dry run, and counts what it holds.
func (r *run) open(ctx context.Context, b *box, m Mailbox) error {
	var err error
	looker, looks := r.Destination.(Looker)
	switch {
	case !r.DryRun:
		err = r.account.Mailbox(ctx, m)
		if err == nil && r.comparer == nil {
			err = r.account.Present(ctx, m.Name, b.there.add)
		}
	case r.comparer == nil && looks:
		err = looker.Look(ctx, r.name, m.Name, b.there.add)
	}
	b.there.seal()
	b.copies = map[chunk.ID]int{}
	var part *mailstore.Incomplete
	if errors.As(err, &part) {
		// What nobody can read there may be the very mail that is missed: a
		// good copy beside it is better than none, and is found the next time.
		for _, p := range part.Problems {
			r.problem(&Problem{User: r.name, Folder: m.Name, Err: fmt.Errorf("already at the destination, and unreadable: %w", p)})
		}
		return nil
	}
	if err != nil {
		return r.destination(ctx, m.Name, err)
	}
	return nil
}

// present sets a record against a copy that the folder holds already, if there
// is one left.
func (r *run) present(ctx context.Context, b *box, e *item) (bool, error) {
	if r.comparer == nil {
		return b.there.take(e.Content), nil
	}
	left, asked := b.copies[e.Content]
	if !asked {
		var err error
		if left, err = r.comparer.Copies(ctx, b.name, Wanted{Content: e.Content, SHA1: e.SHA1, Size: e.Size}); err != nil {
			return false, r.destination(ctx, b.name, err)
		}
	}
	b.copies[e.Content] = max(left-1, 0)
	return left > 0, nil
}

// checkInto refuses what is no folder name at any destination.
func checkInto(name string) error {
	if name == "" {
		return nil
	}
	odd := strings.ContainsFunc(name, unicode.IsControl)
	if odd || !utf8.ValidString(name) || slices.Contains(strings.Split(name, "/"), "") {
		return fmt.Errorf("%w: %q", ErrInto, name)
	}
	return nil
}
