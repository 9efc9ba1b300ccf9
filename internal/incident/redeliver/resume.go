package redeliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
)

// An attempt is what was written down together, to be sent to one folder.
type attempt struct {
	folder   string
	validity uint32
	next     mailstore.UID
	doubt    bool    // in doubt since an earlier run
	items    []*item // by their order
}

// resume clears up what was on its way to the user when a run, or a connection,
// broke off. Nobody else sends: this process has the incident's lease.
func (u *user) resume(ctx context.Context) error {
	var attempts []*attempt
	err := u.l.Claims(ctx, catalog.ClaimQuery{Sent: true, User: u.name}, func(c *catalog.Claim) error {
		if c.State != catalog.ClaimOwed {
			return nil
		}
		if c.SentStore != u.o.Store {
			u.note("message %s of %s was on its way to %s: run it with that destination, or say what became of it with `salvor incident settle`",
				uidIn(c.Folder, c.UID), u.name, c.SentStore)
			return nil
		}
		i := slices.IndexFunc(attempts, func(a *attempt) bool {
			return a.folder == c.SentFolder && a.validity == c.SentValidity && a.next == mailstore.UID(c.SentNext) && a.doubt == c.Doubt
		})
		if i < 0 {
			i = len(attempts)
			attempts = append(attempts, &attempt{folder: c.SentFolder, validity: c.SentValidity, next: mailstore.UID(c.SentNext), doubt: c.Doubt})
		}
		it := &item{Claim: *c}
		if found := u.known(c.ID); found != nil {
			it.match = &match{claim: c.ID, user: c.User, folder: c.Folder, content: found, grade: it.sure()}
		}
		attempts[i].items = append(attempts[i].items, it)
		return nil
	})
	if err != nil {
		return err
	}
	// What is in doubt comes last, so that it takes no message for its own that
	// another copy of it has brought.
	slices.SortStableFunc(attempts, func(a, b *attempt) int {
		switch {
		case a.doubt == b.doubt:
			return 0
		case a.doubt:
			return 1
		}
		return -1
	})
	for _, a := range attempts {
		slices.SortFunc(a.items, func(x, y *item) int { return int(x.SentOrder - y.SentOrder) })
		if err := u.clear(ctx, a); err != nil {
			return err
		}
	}
	return u.put(ctx)
}

// known gives the content of what is on its way, where it was found again.
func (u *user) known(id int64) *content {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.evidence[id]
}

// clear decides what became of an attempt.
func (u *user) clear(ctx context.Context, a *attempt) error {
	stand, gone, err := u.quiet(ctx, a.folder)
	if err != nil {
		return err
	}
	for _, it := range a.items {
		if it.match == nil {
			continue
		}
		if err := u.read(ctx, it); err != nil {
			return err
		}
		if it.wire == nil || it.content.id != it.SentSum {
			it.match, it.wire, it.forms = nil, nil, nil // what was sent is not at hand
		}
	}
	v := verdict{gone: gone, renumbered: stand.UIDValidity != a.validity, stand: stand}
	if !v.gone && !v.renumbered {
		if err := u.arrivals(ctx, a, &v); err != nil {
			return err
		}
	}
	var missing []*item
	for _, it := range a.items {
		if at, ok := v.at(it); ok {
			u.settleSent(it, at, "delivered; the connection broke off before the server said so")
			continue
		}
		missing = append(missing, it)
	}
	if err := u.look(ctx, missing); err != nil {
		return err
	}
	if missing, err = u.settleThere(ctx, missing); err != nil {
		return err
	}
	for _, it := range missing {
		if a.doubt { // a person decides
			continue
		}
		c := &it.Claim
		switch why := v.doubt(u, a, it); {
		case why == "":
			unsent(c)
			if it.match != nil {
				u.cleared = append(u.cleared, it.match)
				u.left[c.ID] = true
			}
		case it.match == nil && !v.gone && !v.renumbered:
			// With what was sent at hand the next run may find out.
			c.Reason = inDoubt("the connection broke off while it was delivered, and its content is not at hand to be compared")
		default:
			c.Doubt, c.Reason = true, inDoubt(why)
			delete(u.left, c.ID)
		}
		u.change(c)
	}
	return nil
}

func inDoubt(why string) string { return "in doubt: " + why }

// quietLimit bounds the waiting for a folder into which others deliver.
const quietLimit = 12

// quiet waits until no more comes into a folder out of a connection that broke off.
func (u *user) quiet(ctx context.Context, box string) (stand mailstore.Stand, gone bool, err error) {
	for n := 0; ; n++ {
		now, err := u.post.Stand(ctx, box)
		if errors.Is(err, mailstore.ErrNoMailbox) {
			return now, true, nil
		}
		if err != nil {
			return now, false, err
		}
		if n > 0 && now.UIDNext == stand.UIDNext && now.UIDValidity == stand.UIDValidity || n == quietLimit {
			return now, false, nil
		}
		stand = now
		select {
		case <-time.After(u.o.Quiet):
		case <-ctx.Done():
			return stand, false, context.Cause(ctx)
		}
	}
}

// A verdict is what the server shows of an attempt.
type verdict struct {
	gone, renumbered bool
	stand            mailstore.Stand
	came             []arrival // since the intention, by UID
	found            map[int64]mailstore.UID
}

// An arrival is a message that came after an intention was written down.
type arrival struct {
	uid       mailstore.UID
	sum       chunk.ID
	messageID string
}

// arrivals lists what came into the folder since, and finds the messages of the
// attempt in it, in their order.
func (u *user) arrivals(ctx context.Context, a *attempt, v *verdict) error {
	if v.stand.UIDNext <= a.next {
		return nil
	}
	err := u.post.Find(ctx, a.folder, mailstore.Sought{From: a.next}, func(f mailstore.Found) error {
		id, _ := identity(f.Wire)
		v.came = append(v.came, arrival{uid: f.UID, sum: wireSum(f.Wire), messageID: id})
		return nil
	})
	if errors.Is(err, mailstore.ErrNoMailbox) {
		v.gone = true
		return nil
	}
	if err != nil {
		return err
	}
	slices.SortFunc(v.came, func(x, y arrival) int { return int(int64(x.uid) - int64(y.uid)) })
	v.found = map[int64]mailstore.UID{}
	for _, it := range a.items {
		sums := []chunk.ID{it.SentSum}
		for _, form := range it.forms {
			sums = append(sums, wireSum(form))
		}
		for _, c := range v.came {
			at := spot{a.folder, a.validity, c.uid}
			if slices.Contains(sums, c.sum) && u.isFree(at, it.Claim.ID) {
				v.found[it.Claim.ID] = c.uid
				u.taken[at] = true
				break
			}
		}
	}
	return nil
}

// isFree tells whether a message that came after an intention is nobody else's.
// What stood in the folder before the disaster has a lower UID.
func (u *user) isFree(at spot, id int64) bool {
	o := u.owner[at]
	return !u.taken[at] && (!o.sure || o.id == id)
}

// at gives where a message of the attempt has arrived.
func (v *verdict) at(it *item) (at spot, ok bool) {
	uid, ok := v.found[it.Claim.ID]
	return spot{it.SentFolder, it.SentValidity, uid}, ok
}

// doubt says why it cannot be told whether a message that is not to be found was
// delivered; "" when it surely was not. The order in which messages were sent says
// nothing about a gap: a copy that was found may be another one, which its user
// has moved.
func (v *verdict) doubt(u *user, a *attempt, it *item) string {
	switch {
	case v.gone:
		return fmt.Sprintf("the folder %q, to which it was on its way, is gone", a.folder)
	case v.renumbered:
		return fmt.Sprintf("the folder %q, to which it was on its way, was made anew", a.folder)
	case v.stand.UIDNext == a.next:
		return ""
	case v.stand.UIDNext < a.next:
		return fmt.Sprintf("the folder %q has an older state than when the message was on its way there", a.folder)
	}
	there, id := mailstore.UID(0), it.messageID()
	for _, c := range v.came {
		if c.uid >= v.stand.UIDNext {
			continue
		}
		there++
		if u.isFree(spot{a.folder, a.validity, c.uid}, it.Claim.ID) && c.messageID == id {
			return fmt.Sprintf("message %s came at that time, and may be this one in another form", uidIn(a.folder, uint32(c.uid)))
		}
	}
	switch {
	case a.next+there < v.stand.UIDNext:
		return fmt.Sprintf("something that came into %q at that time is gone again", a.folder)
	case it.match == nil:
		return "its content is not at hand to be compared"
	}
	return ""
}
