package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/chunk"
)

// A Wish is one message that Options.Choose wants back, wherever its content
// came from.
type Wish struct {
	Content chunk.ID
	// Folder is where it belongs. The catalog's mailbox of that name gives the
	// folder's properties where there is one.
	Folder string
	// Record is the catalog's record of this very message, whose stored form, key
	// and MODSEQ are given back. 0, or one of another content: the content as any
	// source stored it, else in its wire form.
	Record       int64
	Flags        []string  // sorted: \Seen and keywords
	InternalDate time.Time // zero: that of Record
	UID          UID       // 0: a fresh one
	// UIDValidity is the one under which UID is meant, and that of a folder which
	// the catalog does not know.
	UIDValidity uint32
	// MaybeDeleted has it counted as Report.MaybeDeleted.
	MaybeDeleted bool
	// Tag is the caller's own name for it.
	Tag int64
}

// An Outcome is what became of a Wish.
type Outcome int

// The outcomes.
const (
	// Added: it is there now, and lasts.
	Added Outcome = iota + 1
	// Present: the folder held a copy already that no other wish was set against.
	Present
	// Failed: it could not be rebuilt, or the destination has lost it again or
	// cannot be sure that it will last.
	Failed
	// RefusedThere: the destination will not take it.
	RefusedThere
	// PutAside: the same, and it went to Options.Refused.
	PutAside
)

// String gives the outcome as a word.
func (o Outcome) String() string {
	names := [...]string{"undecided", "added", "present", "failed", "refused", "put aside"}
	if o < 0 || int(o) >= len(names) {
		return fmt.Sprintf("outcome %d", int(o))
	}
	return names[o]
}

// A Settlement tells what became of one Wish.
type Settlement struct {
	Tag     int64 // of the Wish
	Outcome Outcome
	UID     UID   // that the destination gave it; 0: none, or not known
	Err     error // why, for Failed, RefusedThere and PutAside
}

// An item is a record or a wish on its way to the destination.
type item struct {
	*catalog.Entry
	tag   int64
	maybe bool // its user may have deleted it
}

// wishes lists what Options.Choose wants of the user.
func (r *run) wishes(ctx context.Context, yield func(*item) error) error {
	return r.Choose(ctx, r.name, func(w *Wish) error {
		if w.Folder == "" || w.Content.IsZero() {
			return fmt.Errorf("message %d of user %q: wanted without a folder or a content", w.Tag, r.name)
		}
		e, _, err := r.Catalog.Wanted(w.Content, w.Record)
		if err != nil {
			return err
		}
		e.Content = w.Content // of one that is nowhere: the rebuilding says so
		e.User, e.Folder, e.UID, e.UIDValidity, e.Flags = r.name, w.Folder, uint32(w.UID), w.UIDValidity, w.Flags
		if !w.InternalDate.IsZero() {
			e.InternalDate = w.InternalDate
		}
		return yield(&item{Entry: &e, tag: w.Tag, maybe: w.MaybeDeleted})
	})
}

var errNotLasting = errors.New("the destination could not make it last (hint: restore again; what is there is found)")

// decided tells what became of a wish that no later error can change.
func (r *run) decided(ctx context.Context, i *item, what Outcome, why error) error {
	return r.tell(ctx, Settlement{Tag: i.tag, Outcome: what, Err: why})
}

func (r *run) tell(ctx context.Context, s Settlement) error {
	if r.Settled == nil || r.Choose == nil || r.DryRun {
		return nil
	}
	r.settling.Lock()
	defer r.settling.Unlock()
	return r.Settled(ctx, r.name, s)
}

// settleAdded tells of all that was added, once the account is closed. cause is
// why it could not be.
func (r *run) settleAdded(ctx context.Context, cause error) error {
	var dropped map[string]int
	d, tells := r.account.(Dropper)
	if cause != nil && tells {
		dropped = d.Dropped()
	}
	for name, b := range r.boxes {
		lasting := b.added.n
		if cause != nil && !tells {
			lasting = 0
		}
		lasting -= min(lasting, dropped[name])
		n := 0
		err := b.added.each(func(a addition) error {
			s := Settlement{Tag: a.tag, Outcome: Added, UID: a.uid}
			if n++; n > lasting {
				s = Settlement{Tag: a.tag, Outcome: Failed, Err: fmt.Errorf("%w: %w", errNotLasting, cause)}
			}
			return r.tell(ctx, s)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
