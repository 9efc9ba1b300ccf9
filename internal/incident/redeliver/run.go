package redeliver

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// A run is one call of Run.
type run struct {
	o        *Options
	l        *incident.Ledger
	book     *book
	evidence map[int64]*content // of what was under way before; see matcher

	mu      sync.Mutex // guards what follows
	report  *Report
	folders map[[2]string]*Folder
}

// serve serves users side by side. One that fails stops nobody; a ledger that
// cannot be written stops everybody.
func (r *run) serve(ctx context.Context, users map[string][]*match) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	names := make(chan string)
	var all sync.WaitGroup
	for range min(r.o.Workers, len(users)) {
		all.Go(func() {
			for name := range names {
				if err := r.user(ctx, name, users[name]); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		select {
		case names <- name:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(names)
	all.Wait()
	return context.Cause(ctx)
}

// A ledgerError ends the run: what cannot be written down must not be done.
type ledgerError struct{ error }

func (e *ledgerError) Unwrap() error { return e.error }

// lastWords is how long an interrupted run goes on to write down what it has done.
const lastWords = 20 * time.Second

// user serves one user. Its error ends the run.
func (r *run) user(ctx context.Context, name string, matches []*match) error {
	u := &user{run: r, name: name, owner: map[spot]owner{}, taken: map[spot]bool{}, pending: map[int64]catalog.Claim{}, left: map[int64]bool{},
		targets: map[string]target{}}
	for _, m := range matches {
		u.left[m.claim] = true
	}
	err := u.open(ctx)
	if err == nil {
		err = errors.Join(u.work(ctx, matches), u.close(context.WithoutCancel(ctx)))
	}
	var fatal *ledgerError
	if !errors.As(err, &fatal) {
		err = errors.Join(err, u.lastWords(ctx))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Failed += int64(len(u.left))
	if errors.As(err, &fatal) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		r.report.note("user %s: %v", name, err)
	}
	return nil
}

// lastWords writes down what has not been yet; nothing when the ledger is in
// somebody else's hands.
func (u *user) lastWords(ctx context.Context) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		return nil
	}
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer stop()
	if ctx.Err() == nil {
		late = ctx
	}
	return u.put(late)
}

// A user is one whose mail is redelivered.
type user struct {
	*run
	name string
	live mailstore.Live
	post mailstore.Poster
	// owner says whose message stands where, by the ledger.
	owner map[spot]owner
	// taken are the messages of the server that this run has counted as delivered.
	taken map[spot]bool
	// pending are claims that have changed and are not in the vault yet.
	pending map[int64]catalog.Claim
	left    map[int64]bool // found, and not settled
	cleared []*match       // were on their way, and surely did not arrive
	targets map[string]target
	full    string // why the server takes nothing more of this user
}

// An owner is a claim whose message stands somewhere, or stood there once.
type owner struct {
	id int64
	// sure: it was put there. Otherwise it stood there before the disaster, and is
	// there again when its content is: a new message may have come under its UID.
	sure bool
	sum  chunk.SHA1
}

// A spot is where a message stands.
type spot struct {
	folder   string
	validity uint32
	uid      mailstore.UID
}

func (u *user) open(ctx context.Context) error {
	live, err := u.o.Server.Live(ctx, u.name)
	if errors.Is(err, mailstore.ErrNoAccount) && !u.o.DryRun {
		return errors.Join(err, u.refuseAll(ctx, "the destination has no account of this user"))
	}
	if err != nil {
		return err
	}
	post, ok := live.(mailstore.Poster)
	if !ok {
		return errors.Join(errors.New("nothing can be appended to this account"), live.Close(ctx))
	}
	u.live, u.post = live, post
	return nil
}

// reopen is open for an account whose connection broke off.
func (u *user) reopen(ctx context.Context) error {
	u.close(ctx) // it is broken, and says so
	live, err := u.o.Server.Live(ctx, u.name)
	if err != nil {
		return err
	}
	u.live, u.post = live, live.(mailstore.Poster)
	return nil
}

// close ends the account, and passes on what it has noted: a keyword that the
// server does not take, a message that it has changed.
func (u *user) close(ctx context.Context) error {
	err := u.live.Close(ctx)
	if noter, ok := u.live.(mailstore.Noter); ok {
		for _, n := range noter.Notes() {
			u.note("user %s: folder %q: %s", u.name, n.Mailbox, n.What)
		}
	}
	return err
}

// refuseAll notes for all that was found why nothing of it is delivered.
func (u *user) refuseAll(ctx context.Context, why string) error {
	for id := range u.left {
		c, ok, err := u.claim(id)
		if err != nil {
			return err
		}
		if ok && c.State == catalog.ClaimOwed && !c.InFlight() {
			u.owe(&c, why)
		}
	}
	return u.put(ctx)
}

// claim reads a claim as it is now.
func (u *user) claim(id int64) (catalog.Claim, bool, error) {
	if c, ok := u.pending[id]; ok {
		return c, true, nil
	}
	return u.l.Catalog().Claim(u.o.Name, id)
}

// change remembers a claim for the next commit.
func (u *user) change(c *catalog.Claim) {
	u.pending[c.ID] = *c
	if c.State != catalog.ClaimOwed && u.left[c.ID] {
		delete(u.left, c.ID)
		u.o.Meter.Add(1, c.Size)
	}
}

// put writes what has changed, and more, in one commit.
func (u *user) put(ctx context.Context, more ...catalog.Claim) error {
	if u.o.DryRun {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(u.pending)) {
		if !slices.ContainsFunc(more, func(c catalog.Claim) bool { return c.ID == id }) {
			more = append(more, u.pending[id])
		}
	}
	if err := u.book.put(ctx, more); err != nil {
		return &ledgerError{err}
	}
	clear(u.pending)
	return nil
}

// owe leaves a message owed, for a reason.
func (u *user) owe(c *catalog.Claim, why string) {
	unsent(c)
	c.Reason = why
	u.change(c)
}

// unsent takes an intention back.
func unsent(c *catalog.Claim) {
	c.SentAt, c.SentStore, c.SentFolder, c.SentValidity, c.SentNext, c.SentOrder, c.Grade = time.Time{}, "", "", 0, 0, 0, ""
	clear(c.SentSum[:])
}

// stands says that a message is at the server.
func (u *user) stands(c *catalog.Claim, at spot, grade catalog.Grade, why string) {
	unsent(c)
	c.State, c.Doubt, c.Reason, c.Grade = catalog.ClaimRedelivered, false, why, grade
	c.NowStore, c.NowFolder, c.NowValidity, c.NowUID = u.o.Store, at.folder, at.validity, uint32(at.uid)
	if was := original(c); u.owner[was].id == c.ID && !u.owner[was].sure {
		delete(u.owner, was) // it stands here now, and nowhere else
	}
	if at.uid != 0 {
		u.owner[at], u.taken[at] = owner{id: c.ID, sure: true}, true
	}
	u.change(c)
}

// An item is an owed message and its content.
type item struct {
	*match
	catalog.Claim
	stored, lf, wire []byte // while it is looked at or sent
	forms            [][]byte
	copies           []copied
}

// sure is how sure it is that the content is the owed message's.
func (it *item) sure() catalog.Grade {
	if it.match != nil {
		return it.grade
	}
	return orElse(it.Claim.Grade, catalog.GradeCertain)
}

// Bounds on what is looked at together.
const (
	lookMessages = 64
	lookBytes    = 32 << 20
)

// work delivers what was found for the user, after what an earlier run left open
// was cleared up.
func (u *user) work(ctx context.Context, matches []*match) error {
	if err := u.learn(ctx); err != nil {
		return err
	}
	if !u.o.DryRun {
		if err := u.resume(ctx); err != nil {
			return err
		}
		matches = append(matches, u.cleared...)
	}
	slices.SortFunc(matches, func(a, b *match) int {
		if (a.folder == folder.Inbox) != (b.folder == folder.Inbox) {
			if a.folder == folder.Inbox {
				return -1
			}
			return 1
		}
		return orElse(strings.Compare(a.folder, b.folder), int(a.claim-b.claim))
	})
	for try := 0; len(matches) > 0 && try < maxTries; try++ {
		var again []*match
		for len(matches) > 0 {
			n := together(matches)
			unsent, err := u.some(ctx, matches[:n])
			if err != nil {
				return err
			}
			again, matches = append(again, unsent...), matches[n:]
		}
		matches = again
	}
	if len(matches) > 0 {
		return fmt.Errorf("%d messages were not sent: the connection broke off again and again", len(matches))
	}
	return nil
}

// maxTries is how often a message is sent in one run, when it is certain each time
// that it did not arrive.
const maxTries = 3

// together is how many matches are of one folder and not too large to be looked at
// together.
func together(matches []*match) int {
	n, bytes := 0, int64(0)
	for n < len(matches) && n < lookMessages && matches[n].folder == matches[0].folder && (n == 0 || bytes < lookBytes) {
		bytes += matches[n].content.wire
		n++
	}
	return n
}

// learn reads whose messages stand where.
func (u *user) learn(ctx context.Context) error {
	return u.l.Claims(ctx, catalog.ClaimQuery{User: u.name}, func(c *catalog.Claim) error {
		if at := original(c); at.uid != 0 && c.NowStore == "" && !u.owner[at].sure {
			u.owner[at] = owner{id: c.ID, sum: c.SHA1, sure: c.SHA1.IsZero() && c.State == catalog.ClaimPresent}
		}
		if c.NowUID != 0 {
			u.owner[spot{c.NowFolder, c.NowValidity, mailstore.UID(c.NowUID)}] = owner{id: c.ID, sure: true}
		}
		return nil
	})
}

// original is where a message stood before the disaster; UID 0: unknown.
func original(c *catalog.Claim) spot {
	if c.UIDValidity == 0 {
		return spot{}
	}
	return spot{c.Folder, c.UIDValidity, mailstore.UID(c.UID)}
}

// ownerOf gives the claim whose message, with this SHA-1, stands somewhere; 0 is
// none. A restore notes no UIDVALIDITY.
func (u *user) ownerOf(at spot, sum chunk.SHA1) int64 {
	o, ok := u.owner[at]
	if !ok {
		at.validity = 0
		o = u.owner[at]
	}
	if o.sure || !o.sum.IsZero() && o.sum == sum {
		return o.id
	}
	return 0
}
