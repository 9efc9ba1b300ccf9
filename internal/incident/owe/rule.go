package owe

import (
	"context"
	"reflect"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
)

// A kind is why a message is taken out, or is not.
type kind string

const (
	kindOwed    kind = "owed"    // nobody has its content
	kindCopied  kind = "copied"  // its copy stands elsewhere
	kindDeleted kind = "deleted" // its user had removed it
	kindJunk    kind = "junk"    // no backup takes it
	kindLost    kind = "lost"    // it was given up
	kindHeld    kind = "held"    // the vault has it: it can be put back
	kindOdd     kind = "odd"     // nobody can tell: it is left alone
)

// A ruling is what is to be done about a message without content.
type ruling struct {
	entry   entry
	kind    kind
	take    bool           // it is to be taken out
	write   bool           // claim is another one than the ledger's
	claim   *catalog.Claim // as it is to stand in the ledger
	was     catalog.ClaimState
	copied  bool // the entry is not where the message was, but its copy
	problem string
}

// done is the claim when the entry is out.
func (r *ruling) done(now time.Time) catalog.Claim {
	c := *r.claim
	c.TakenAt = now
	if r.copied {
		forgetCopy(&c)
	}
	return c
}

// forgetCopy notes that nothing of the message stands anywhere.
func forgetCopy(c *catalog.Claim) {
	c.NowStore, c.NowFolder, c.NowValidity, c.NowUID, c.Grade = "", "", 0, 0, ""
}

// A docket is what the ledger says about a user, by place.
type docket struct {
	c     *catalog.Catalog
	user  string
	store string
	view  *sight
	byID  map[int64]*catalog.Claim
	at    map[place]int64 // where messages were
	now   map[place]int64 // where their copies are
	lost  map[chunk.SHA1][]int64
	begun map[int64]bool // claims that are some entry's
}

func openDocket(ctx context.Context, l *incident.Ledger, store, user string, v *sight) (*docket, error) {
	d := &docket{c: l.Catalog(), user: user, store: store, view: v, byID: map[int64]*catalog.Claim{}, at: map[place]int64{}, now: map[place]int64{},
		lost: map[chunk.SHA1][]int64{}, begun: map[int64]bool{}}
	err := l.Claims(ctx, catalog.ClaimQuery{User: user}, func(c *catalog.Claim) error {
		d.add(c)
		return nil
	})
	return d, err
}

func (d *docket) add(c *catalog.Claim) {
	d.byID[c.ID] = c
	at := place{c.Folder, c.UIDValidity, mailstore.UID(c.UID)}
	if c.UID != 0 {
		if _, twice := d.at[at]; !twice {
			d.at[at] = c.ID
		}
	}
	if c.NowUID != 0 {
		d.now[place{c.NowFolder, c.NowValidity, mailstore.UID(c.NowUID)}] = c.ID
	}
	if c.SHA1 != zeroSum && c.TakenAt.IsZero() && !d.view.lists(at) && mayHaveMoved(c.State) {
		d.lost[c.SHA1] = append(d.lost[c.SHA1], c.ID)
	}
}

// mayHaveMoved tells which messages are looked for under another place.
func mayHaveMoved(s catalog.ClaimState) bool {
	return s == catalog.ClaimOwed || s == catalog.ClaimHeld || s == catalog.ClaimUncertain || s == catalog.ClaimPresent
}

// find gives the claim of an entry; nil: there is none. copied: the entry is not
// where the message was, but where its copy was put.
func (d *docket) find(e entry) (c *catalog.Claim, copied bool) {
	if id, ok := d.at[e.place()]; ok {
		return d.byID[id], false
	}
	for _, validity := range []uint32{e.validity, 0} { // 0: nobody told it
		if id, ok := d.now[place{e.folder, validity, e.UID}]; ok {
			return d.byID[id], true
		}
	}
	// The folder may have been renamed, or numbered anew.
	for _, id := range d.lost[e.SHA1] {
		c := d.byID[id]
		same := c.Folder == e.folder || mailstore.UID(c.UID) == e.UID && d.view.boxes[c.Folder] == nil
		if e.SHA1 != zeroSum && same && !d.begun[id] && (c.Size == 0 || c.Size == e.Size) {
			return c, false
		}
	}
	return nil, false
}

// rule decides about an entry.
func (d *docket) rule(e entry) (ruling, error) {
	found, copied := d.find(e)
	if found == nil {
		return d.unknown(e)
	}
	d.begun[found.ID] = true
	next := *found
	r := ruling{entry: e, claim: &next, was: found.State, copied: copied}
	if found.SHA1 != zeroSum && e.SHA1 != zeroSum && found.SHA1 != e.SHA1 {
		return r.odd("it is another message than the ledger's at this place"), nil
	}
	var err error
	switch found.State {
	case catalog.ClaimHeld, catalog.ClaimUncertain:
		// A copy that was lost again is brought back to where the message was, or
		// anew: nobody puts a file in this place.
		r.kind, r.take = kindHeld, copied
		if copied {
			r.kind = kindCopied
		}
	case catalog.ClaimOwed:
		r.kind, r.take = kindOwed, true
	case catalog.ClaimDeleted:
		r.kind, r.take = kindDeleted, true
	case catalog.ClaimJunk:
		r.kind, r.take = kindJunk, true
	case catalog.ClaimLost:
		r.kind, r.take = kindLost, true
	case catalog.ClaimPresent:
		err = d.again(&r, false)
	default: // restored or redelivered
		switch {
		case copied:
			err = d.again(&r, true)
		case next.NowUID == uint32(e.UID) && next.NowFolder == e.folder:
			err = d.again(&r, false)
		case next.NowUID != 0 || d.view.has(next.NowFolder, next.SHA1):
			r.kind, r.take = kindCopied, true
		case next.NowStore == d.store && next.SHA1 != zeroSum && !d.view.has("", next.SHA1):
			err = d.again(&r, false) // a restore that took the entry for the message
		default:
			return r.odd("its content was brought back, and nobody can tell to which place"), nil
		}
	}
	if r.take || !reflect.DeepEqual(next, *found) {
		r.note()
	}
	r.write = !reflect.DeepEqual(next, *found)
	return r, err
}

func (r ruling) odd(why string) ruling {
	r.kind, r.problem = kindOdd, why+"; it is left alone"
	return r
}

// again rules on a message that was whole and has lost its content again.
func (d *docket) again(r *ruling, copied bool) error {
	c := r.claim
	if c.SHA1 == zeroSum {
		c.SHA1 = r.entry.SHA1
	}
	held, err := d.content(c, r.entry.Size)
	if err != nil {
		return err
	}
	const why = "it was whole on the server, or counted as brought back, and has no content there now"
	switch {
	case held && copied:
		r.kind, r.take = kindCopied, true
		c.State, c.Reason = catalog.ClaimHeld, why
	case held:
		r.kind = kindHeld
		c.State, c.Reason = catalog.ClaimHeld, why
	default:
		r.kind, r.take = kindOwed, true
		c.State, c.Reason, c.Content = catalog.ClaimOwed, why, chunk.ID{}
	}
	if !copied {
		forgetCopy(c)
	}
	return nil
}

// content looks for a message in the vault, and notes what was found.
func (d *docket) content(c *catalog.Claim, size int64) (bool, error) {
	if !c.Content.IsZero() {
		if whole, err := d.c.HasContent(c.Content); whole || err != nil {
			return whole, err
		}
	}
	if c.SHA1 == zeroSum || size < 0 {
		return false, nil
	}
	id, ok, err := d.c.BySHA1(c.SHA1, size)
	if err != nil || !ok {
		return false, err
	}
	if whole, err := d.c.HasContent(id); !whole || err != nil {
		return false, err
	}
	found, _, err := d.c.Content(id)
	c.Content = id
	if c.MessageID == "" {
		c.MessageID = found.MessageID
	}
	return true, err
}

// unknown makes the claim of a message that the ledger does not have.
func (d *docket) unknown(e entry) (ruling, error) {
	const why = "it is not in the surviving index that the incident was opened with"
	c := &catalog.Claim{User: d.user, Folder: e.folder, UIDValidity: e.validity, UID: uint32(e.UID), State: catalog.ClaimOwed, Reason: why, SHA1: e.SHA1}
	held, err := d.content(c, e.Size)
	r := ruling{entry: e, claim: c, kind: kindOwed, take: true, write: true}
	if held {
		c.State, c.Reason, r.kind, r.take = catalog.ClaimHeld, why+"; the vault has its content from elsewhere", kindHeld, false
	}
	r.note()
	return r, err
}

// note adds to the claim what the server tells of the message. What is owed is
// delivered one day as the server had it last.
func (r *ruling) note() {
	c, e := r.claim, &r.entry
	if c.SHA1 == zeroSum {
		c.SHA1 = e.SHA1
	}
	if c.MessageID == "" {
		c.MessageID = e.MessageID
	}
	if e.Envelope != "" {
		c.Envelope = e.Envelope
	}
	if c.State != catalog.ClaimOwed && c.State != catalog.ClaimHeld {
		return
	}
	// \Deleted is what an interrupted removal of ours leaves.
	c.Flags = slices.DeleteFunc(slices.Clone(e.Flags), func(f string) bool { return f == `\Deleted` })
	if len(c.Flags) == 0 {
		c.Flags = nil
	}
	if !e.InternalDate.IsZero() {
		c.InternalDate = e.InternalDate
	}
	if e.Size > 0 {
		c.Size = e.Size
	}
	if !r.copied {
		c.Folder, c.UIDValidity, c.UID = e.folder, e.validity, uint32(e.UID)
	}
}
