package dbox

import (
	"cmp"
	"context"
	"fmt"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dovecot/index"
)

// claims are what the folders of an mdbox whose index can be read have of its
// storage.
type claims struct {
	messages *index.Index // the map; nil: it cannot be read
	at       map[location]*index.Record
	byUID    map[uint32]int // how often a message of the map is claimed
	byGUID   map[string]bool
	lost     map[string]bool  // the folders whose index cannot be read, or not to its end
	anyLost  string           // the first of them
	found    map[string][]int // what they may hold: indexes into scanned.entries
	scanned  *scanned
}

// claims searches the storage and reads the indexes of all folders. What it
// finds is good for a while, as many folders may need it.
func (a *account) claims(ctx context.Context) (*claims, error) {
	a.store.mu.Lock()
	c, at := a.store.claimed, a.store.claimedAt
	a.store.mu.Unlock()
	if c != nil && a.opt.now().Sub(at) < fresh {
		return c, nil
	}
	c, err := a.findClaims(ctx)
	if err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	a.store.claimed, a.store.claimedAt = c, a.opt.now()
	a.store.mu.Unlock()
	return c, nil
}

func (a *account) findClaims(ctx context.Context) (*claims, error) {
	c := &claims{found: map[string][]int{}, lost: map[string]bool{}, at: map[location]*index.Record{}, byUID: map[uint32]int{}, byGUID: map[string]bool{}}
	// The problems of this listing are those of Mailboxes.
	for _, name := range (&lister{a: a}).folders(ctx) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ix, err := a.box(name).readIndex()
		if err != nil {
			c.lost[name] = true
			c.anyLost = cmp.Or(c.anyLost, name)
			continue
		}
		if ix.Torn != "" {
			c.lost[name] = true
			c.anyLost = cmp.Or(c.anyLost, name)
		}
		for i := range ix.Records {
			r := &ix.Records[i]
			c.byUID[mapUID(r)]++
			c.byGUID[guidOf(r)] = true
		}
	}
	if m, err := a.loadMap(); err == nil {
		c.messages = m
		for i := range m.Records {
			if at, _, ok := mapRecord(&m.Records[i]); ok {
				c.at[at] = &m.Records[i]
			}
		}
	}
	var err error
	if c.scanned, err = a.scan(ctx); err != nil {
		return nil, err
	}
	for i, s := range c.scanned.entries {
		if name := c.owner(a, s); name != "" {
			c.found[name] = append(c.found[name], i)
		}
	}
	return c, nil
}

// owner is the folder that a message may stand in although no index says so, ""
// for none: its first one, if its index is lost, or the first of all that are.
func (c *claims) owner(a *account, s stored) string {
	if c.messages == nil && s.guid != "" && c.byGUID[s.guid] {
		return ""
	}
	if c.messages != nil {
		r := c.at[s.location]
		if r == nil {
			return "" // not in the map yet, or not any more
		}
		if _, refs, _ := mapRecord(r); c.byUID[r.UID] >= int(refs) {
			return "" // expunged, or in the folders that are known
		}
	}
	if first := a.nameOf(s.mailbox); c.lost[first] {
		return first
	}
	return c.anyLost
}

// unclaimed lists the messages of mdbox files that no folder's index names, for a
// folder whose own cannot be read.
func (l *listing) unclaimed() error {
	a := l.box.a
	c, err := a.claims(l.ctx)
	if err != nil {
		return err
	}
	l.problems = append(l.problems, c.scanned.problems...)
	for _, position := range c.found[l.box.name] {
		found := c.scanned.entries[position]
		if found.guid != "" && l.copies[found.guid] > 0 {
			continue // listed by what is left of the index
		}
		e, err := l.entry(found.location)
		if err != nil {
			continue // moved to another file meanwhile: the next run's business
		}
		m := mailstore.Message{Key: found.guid, NoFlags: true, Position: position + 1}
		if objectID(found.guid) == "" {
			m.Key = fmt.Sprintf("m.%d:%d", found.location.file, found.location.offset)
			found.guid = ""
		}
		m.State, m.Place = m.Key, place{location: found.location, guid: found.guid}.String()
		describe(&m, e, l.file)
		if err := l.yield(m); err != nil {
			return err
		}
	}
	return nil
}
