// Package recall is the part of an incident that a restore works for: which
// messages of whom are to be brought back from the vault, in which order and
// into which folders, and, when they are back, what the ledger says of them.
//
// It brings nothing back itself: salvor restore --incident hands what List gives
// to package restore and what became of it to Back.
//
// Invariants:
//   - Only what is held or uncertain is brought back, each claim once.
//   - A claim becomes restored when its message lasts at the destination, never
//     before. What a kill leaves unwritten is found at the destination the next
//     time, and written then.
package recall

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
)

// A Recall brings an incident's messages back. Its methods may be called by
// several goroutines.
type Recall struct {
	// Again brings back also what was brought back before, or stood in its place: to
	// another store, or after it was lost once more. What is there is skipped, as
	// ever.
	Again bool

	ledger *incident.Ledger
	store  string // where to, for the ledger

	mu      sync.Mutex
	folders map[string]map[string]mailstore.UID // see highest, by user
	settled []settled
	since   time.Time // of the oldest of settled
	failed  error     // of a change that nobody waited for
	write   sync.Mutex
}

// settled is what became of a claim: back under a UID, or not and why.
type settled struct {
	id  int64
	uid mailstore.UID
	why string // "" when it is back
}

// New makes a recall to a store; its name holds no secrets.
func New(l *incident.Ledger, store string) *Recall {
	return &Recall{ledger: l, store: store, folders: map[string]map[string]mailstore.UID{}}
}

// Users lists whose mail is to be brought back, and all others of the ledger.
func (r *Recall) Users(ctx context.Context) (waiting, others []string, err error) {
	err = r.ledger.Catalog().ClaimUsers(ctx, r.ledger.Incident.Name, func(u catalog.UserClaims) error {
		n := u.Counts[catalog.ClaimHeld] + u.Counts[catalog.ClaimUncertain]
		if r.Again {
			n += u.Counts[catalog.ClaimRestored] + u.Counts[catalog.ClaimRestoredMaybe] + u.Counts[catalog.ClaimPresent]
		}
		if n > 0 {
			waiting = append(waiting, u.User)
		} else {
			others = append(others, u.User)
		}
		return nil
	})
	return waiting, others, err
}

// Extent is how many messages and bytes are to be brought back of users.
func (r *Recall) Extent(ctx context.Context, users []string) (messages, bytes int64, err error) {
	chosen := map[string]bool{}
	for _, u := range users {
		chosen[u] = true
	}
	for _, state := range catalog.ClaimStates {
		if !r.wanted(&catalog.Claim{State: state, Content: chunk.ID{1}}) {
			continue
		}
		err := r.ledger.Claims(ctx, catalog.ClaimQuery{State: state}, func(c *catalog.Claim) error {
			if chosen[c.User] && r.wanted(c) {
				messages++
				bytes += c.Size
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return messages, bytes, nil
}

// A sight is what the order of a user's claims needs of one: some 30 bytes, so
// that a user with a million messages takes 30 MB.
type sight struct {
	id     int64
	at     int64 // internal date, in seconds
	folder int32
}

// ages are the bounds of the blocks in which a folder's mail comes back, before
// the user's newest message. Inside a block the oldest comes first: a server that
// numbers anew gives the numbers in an order that clients can show.
var ages = []time.Duration{14 * 24 * time.Hour, 90 * 24 * time.Hour, 365 * 24 * time.Hour}

// block is which of the blocks a message belongs to.
func block(at, newest int64) int {
	for i, age := range ages {
		if at >= newest-int64(age/time.Second) {
			return i
		}
	}
	return len(ages)
}

// List gives a user's claims that are to be brought back: INBOX first, then the
// folders by their newest mail; of each the mail of two weeks, of 90 days, of a
// year, and then the rest.
func (r *Recall) List(ctx context.Context, user string, yield func(*catalog.Claim) error) error {
	order, err := r.survey(ctx, user)
	if err != nil {
		return err
	}
	for _, s := range order {
		c, ok, err := r.ledger.Catalog().Claim(r.ledger.Incident.Name, s.id)
		if err != nil {
			return err
		}
		if !ok || !r.wanted(&c) {
			continue // forgotten meanwhile
		}
		if err := yield(&c); err != nil {
			return err
		}
	}
	return nil
}

// A place is a folder, as the order sees it.
type place struct {
	name   string
	later  int   // 0: INBOX
	newest int64 // internal date of its newest message
}

// survey puts a user's claims into their order.
func (r *Recall) survey(ctx context.Context, user string) ([]sight, error) {
	var all []sight
	var places []place
	number := map[string]int32{}
	var newest int64
	err := r.ledger.Claims(ctx, catalog.ClaimQuery{User: user}, func(c *catalog.Claim) error {
		if !r.wanted(c) {
			return nil
		}
		n, known := number[c.Folder]
		if !known {
			n = int32(len(places))
			number[c.Folder] = n
			p := place{name: c.Folder, later: 1}
			if strings.EqualFold(c.Folder, folder.Inbox) {
				p.later = 0
			}
			places = append(places, p)
		}
		at := c.InternalDate.Unix()
		places[n].newest, newest = max(places[n].newest, at), max(newest, at)
		all = append(all, sight{c.ID, at, n})
		return nil
	})
	slices.SortFunc(all, func(a, b sight) int {
		if a.folder != b.folder {
			x, y := places[a.folder], places[b.folder]
			return cmp.Or(cmp.Compare(x.later, y.later), cmp.Compare(y.newest, x.newest), strings.Compare(x.name, y.name))
		}
		return cmp.Or(cmp.Compare(block(a.at, newest), block(b.at, newest)), cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id))
	})
	return all, err
}

// Folder says what a folder is to be like: where messages are to keep their
// UIDs, new mail must not get those of messages that are missing still. It is
// false for a folder that had mail in the backup and has none in the ledger: it
// was renamed or removed.
func (r *Recall) Folder(user string, box *mailstore.Mailbox) bool {
	highest, err := r.highest(user)
	if err != nil {
		return true // the listing meets the error too, and ends the restore
	}
	uid, claimed := highest[box.Name]
	if claimed && uid < 1<<32-1 {
		box.UIDNext = max(box.UIDNext, uint32(uid)+1)
	}
	return claimed || !r.hadMail(user, box.Name)
}

// maxUsers is of how many users the folders are remembered: more than are
// restored side by side.
const maxUsers = 64

// highest gives the folders of a user's claims with the highest UID of each.
func (r *Recall) highest(user string) (map[string]mailstore.UID, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.folders[user]; known != nil {
		return known, nil
	}
	uids := map[string]mailstore.UID{}
	err := r.ledger.Claims(context.Background(), catalog.ClaimQuery{User: user}, func(c *catalog.Claim) error {
		uids[c.Folder] = max(uids[c.Folder], mailstore.UID(c.UID))
		return nil
	})
	if err == nil {
		if len(r.folders) >= maxUsers {
			clear(r.folders)
		}
		r.folders[user] = uids
	}
	return uids, err
}

// hadMail tells whether the backup has messages of a folder.
func (r *Recall) hadMail(user, name string) bool {
	had := false
	err := r.ledger.Catalog().Mailboxes(context.Background(), user, func(m *catalog.Mailbox) error {
		if m.Name == name && m.GoneRun == 0 {
			err := r.ledger.Catalog().Records(context.Background(), m.ID, func(*catalog.Record) error {
				had = true
				return catalog.ErrStop
			})
			if err != nil && !errors.Is(err, catalog.ErrStop) {
				return err
			}
		}
		return nil
	})
	return err == nil && had
}

// When what came back is written into the ledger: after so many, or so long.
const (
	flushAfter = 5000
	flushEvery = 20 * time.Second
)

// Back notes that the message of a claim lasts at the destination, under this
// UID (0: nobody said). It is in the ledger after some time, or Flush. The error
// is one of writing the ledger before.
func (r *Recall) Back(ctx context.Context, id int64, uid mailstore.UID) error {
	return r.note(ctx, settled{id: id, uid: uid})
}

// NotBack notes why the message of a claim did not come back. It stays as it is,
// with that reason.
func (r *Recall) NotBack(ctx context.Context, id int64, why string) error {
	return r.note(ctx, settled{id: id, why: why})
}

func (r *Recall) note(ctx context.Context, s settled) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.settled) == 0 {
		r.since = r.ledger.Now()
	}
	r.settled = append(r.settled, s)
	due := len(r.settled) >= flushAfter || r.ledger.Now().Sub(r.since) >= flushEvery
	if due && r.failed == nil && r.write.TryLock() {
		// The restore does not wait: the vault may be in the hands of a backup.
		go func() {
			defer r.write.Unlock()
			if err := r.flush(ctx); err != nil {
				r.mu.Lock()
				r.failed = err
				r.mu.Unlock()
			}
		}()
	}
	return r.failed
}

// Flush writes into the ledger what is not in it yet.
func (r *Recall) Flush(ctx context.Context) error {
	r.write.Lock()
	defer r.write.Unlock()
	return r.flush(ctx)
}

func (r *Recall) flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		n := min(len(r.settled), flushAfter)
		batch := r.settled[:n]
		r.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := r.ledger.Change(ctx, func(e *incident.Edit) error { return r.put(e, batch) }); err != nil {
			return err
		}
		r.mu.Lock()
		r.settled, r.since = slices.Clone(r.settled[n:]), r.ledger.Now()
		r.mu.Unlock()
	}
}

// put makes claims restored.
func (r *Recall) put(e *incident.Edit, batch []settled) error {
	for _, s := range batch {
		c, ok, err := e.Claim(s.id)
		if err != nil {
			return err
		}
		if !ok || !r.wanted(&c) {
			continue
		}
		r.settle(&c, s)
		if err := e.Put(&c); err != nil {
			return err
		}
	}
	return nil
}

// settle makes a claim say what became of it.
func (r *Recall) settle(c *catalog.Claim, s settled) {
	switch {
	case s.why != "" && isBack(c.State): // it is where it was
		return
	case isBack(c.State):
		c.SettledAt = r.ledger.Now()
	case s.why != "" && c.State == catalog.ClaimHeld:
		c.Reason = notBack + s.why
		return
	case s.why != "":
		before, _, _ := strings.Cut(c.Reason, andNotBack)
		c.Reason = before + andNotBack + s.why
		return
	case c.State == catalog.ClaimHeld:
		c.State, c.Reason = catalog.ClaimRestored, ""
	default:
		before, _, _ := strings.Cut(c.Reason, andNotBack)
		c.State, c.Reason = catalog.ClaimRestoredMaybe, before
	}
	c.NowStore, c.NowFolder, c.NowValidity, c.NowUID = r.store, c.Folder, 0, uint32(s.uid)
}

// wanted tells whether a claim is to be brought back.
func (r *Recall) wanted(c *catalog.Claim) bool {
	return c.State == catalog.ClaimHeld || c.State == catalog.ClaimUncertain || r.Again && isBack(c.State) && !c.Content.IsZero()
}

func isBack(s catalog.ClaimState) bool {
	return s == catalog.ClaimRestored || s == catalog.ClaimRestoredMaybe || s == catalog.ClaimPresent
}

// Elsewhere counts what stands at other stores than the recall's, of the users
// that are named; none: of all.
func (r *Recall) Elsewhere(ctx context.Context, users []string) (n int64, stores []string, err error) {
	err = r.ledger.Claims(ctx, catalog.ClaimQuery{}, func(c *catalog.Claim) error {
		inPlace := c.NowValidity != 0 && c.NowValidity == c.UIDValidity && c.NowUID == c.UID // a file under the surviving index
		if isBack(c.State) && c.NowStore != "" && c.NowStore != r.store && !inPlace && (len(users) == 0 || slices.Contains(users, c.User)) {
			if n++; !slices.Contains(stores, c.NowStore) && len(stores) < maxStores {
				stores = append(stores, c.NowStore)
			}
		}
		return nil
	})
	return n, stores, err
}

// maxStores bounds what Elsewhere names.
const maxStores = 5

// How the ledger says why something is not back.
const (
	notBack    = "it could not be brought back: "
	andNotBack = "; " + notBack
)
