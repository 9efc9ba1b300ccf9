package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
)

// A run restores one user. Everything here runs on one goroutine, which alone
// talks to the destination; entries are streamed to it by another, and messages
// rebuilt by the engine's workers.
type run struct {
	*engine
	name     string
	report   *Report
	choice   *selection
	account  Account               // nil in a dry run
	comparer Comparer              // nil where the destination lists what it has
	aside    *aside                // nil before the first message was refused
	boxes    map[string]*box       // by name at the destination
	pending  []*job                // in the order in which they are added
	closed   map[chunk.ID]*Problem // by pack: failures that look like a vault closed to us
	opened   bool                  // something could be read
}

// patience is in how many packs messages may fail as if the vault were closed
// to us, before the first one was read, until that is taken for the truth. A
// pack that was tampered with may look just so.
const patience = 3

func (r *run) restore(ctx context.Context) (err error) {
	if r.choice, err = r.choose(ctx); err != nil {
		return fmt.Errorf("restore user %q: %w", r.name, err)
	}
	r.boxes, r.closed = map[string]*box{}, map[chunk.ID]*Problem{}
	if err := r.announce(ctx); err != nil {
		return err
	}
	if r.DryRun {
		return r.preview(ctx)
	}
	if r.account, err = r.Destination.Account(ctx, r.name); err != nil {
		return r.destination(ctx, "", err)
	}
	r.comparer, _ = r.account.(Comparer)
	// Also when the context has ended: what was added shall last.
	defer func() { err = r.close(context.WithoutCancel(ctx), err) }()
	return r.transfer(ctx)
}

// preview is a dry run.
func (r *run) preview(ctx context.Context) (err error) {
	p, ok := r.Destination.(Previewer)
	if !ok {
		return r.transfer(ctx)
	}
	preview, err := p.Preview(ctx, r.name)
	if err != nil {
		return r.destination(ctx, "", err)
	}
	defer func() { err = errors.Join(err, preview.Close(context.WithoutCancel(ctx))) }()
	r.comparer = preview
	return r.transfer(ctx)
}

// close makes durable what was added.
func (r *run) close(ctx context.Context, err error) error {
	if e := r.aside.close(ctx); e != nil {
		err = errors.Join(err, &DestinationError{User: r.name, Err: fmt.Errorf("%s: %w", r.RefusedTo, e)})
	}
	cause := r.account.Close(ctx)
	if e := cause; e != nil {
		r.uncount()
		if !errors.Is(err, e) {
			e = &DestinationError{User: r.name, Err: e}
			if err == nil {
				err = e
			} else {
				err = fmt.Errorf("%w; %w", err, e)
			}
		}
	}
	if n, ok := r.account.(Noter); ok {
		for _, note := range n.Notes() {
			if len(r.report.Notes) < MaxProblems {
				r.report.Notes = append(r.report.Notes, fmt.Sprintf("user %q: folder %q: %s", r.name, note.Mailbox, note.What))
			}
		}
	}
	return errors.Join(err, r.settleAdded(ctx, cause))
}

func (r *run) transfer(ctx context.Context) error {
	// Nothing of this user is under way any more when it returns.
	ctx, stop := context.WithCancel(ctx)
	entries, listing := r.stream(ctx)
	defer func() {
		stop()
		for range entries {
		}
		for _, j := range r.pending {
			<-j.ready
			r.budget.give(j.weight)
		}
	}()
	if err := r.makeEmpty(ctx); err != nil {
		return err
	}
	for e := range entries {
		if err := r.take(ctx, e); err != nil {
			return err
		}
	}
	for len(r.pending) > 0 {
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	if err := <-listing; err != nil {
		return fmt.Errorf("restore user %q: %w", r.name, err)
	}
	return r.conclude()
}

// stream lists what was selected, in the order of the packs, or what was wished
// for.
func (r *run) stream(ctx context.Context) (<-chan *item, <-chan error) {
	items, listing := make(chan *item, window), make(chan error, 1)
	send := func(i *item) error {
		select {
		case items <- i:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	go func() {
		defer close(items)
		if r.Choose != nil {
			listing <- r.wishes(ctx, send)
			return
		}
		listing <- r.choice.list(ctx, r.Catalog, func(e *catalog.Entry) error {
			return send(&item{Entry: e, maybe: undecided(e)})
		})
	}()
	return items, listing
}

// take decides about one entry and has it rebuilt if it is needed.
func (r *run) take(ctx context.Context, e *item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.choice.met(e.Entry)
	b, err := r.box(ctx, e)
	if err != nil {
		return err
	}
	there, err := r.present(ctx, b, e)
	switch {
	case err != nil:
		return err
	case there:
		r.report.Skipped++
		r.skipped(e)
		return r.decided(ctx, e, Present, nil)
	case r.DryRun:
		r.count(b, e, 0)
	default:
		return r.dispatch(ctx, b, e)
	}
	return nil
}

func (r *run) dispatch(ctx context.Context, b *box, e *item) error {
	// The LF form and the stored bytes; sizes out of a catalog may be anything.
	weight := min(e.Size, r.budget.size) + min(e.StoredSize, r.budget.size)
	j := &job{ctx: ctx, item: e, box: b, weight: weight, ready: make(chan struct{})}
	if err := r.reserve(ctx, j.weight); err != nil {
		return err
	}
	r.pending = append(r.pending, j)
	r.jobs <- j
	if len(r.pending) < window {
		return nil
	}
	return r.settle(ctx)
}

// reserve takes memory for a message. As long as this user holds some, it adds
// messages until there is enough; it waits for others only with empty hands.
func (r *run) reserve(ctx context.Context, n int64) error {
	for !r.budget.try(n) {
		if len(r.pending) == 0 {
			return r.budget.wait(ctx, n)
		}
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle adds the oldest message under way.
func (r *run) settle(ctx context.Context) error {
	j := r.pending[0]
	if err := ctx.Err(); err != nil { // select would toss a coin
		return err
	}
	select {
	case <-j.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.pending[0] = nil // its bytes count as gone from now on
	r.pending = r.pending[1:]
	defer r.budget.give(j.weight)
	if j.err != nil {
		return r.failed(j)
	}
	r.opened = true
	defer j.body.release()
	return r.add(ctx, j)
}

func (r *run) add(ctx context.Context, j *job) error {
	e := j.item
	if r.Wait != nil {
		if err := r.Wait(ctx, 1, e.StoredSize); err != nil {
			return err
		}
	}
	d := Delivery{
		Mailbox: j.box.name,
		Stored:  j.body.stored,
		LF:      j.body.lf,
		Content: e.Content,
		SHA1:    e.SHA1,
		Key:     e.Key,
		ModSeq:  e.ModSeq,
		Flags:   e.Flags, InternalDate: e.InternalDate,
	}
	// A UID means nothing under another UIDVALIDITY: of two folders of the
	// same name, one deleted long ago, only one keeps its numbers.
	if e.UIDValidity == j.box.validity {
		d.UID = UID(e.UID)
	}
	begun := time.Now()
	uid, err := r.account.Add(ctx, d)
	if r.Took != nil {
		r.Took(e.StoredSize, time.Since(begun))
	}
	var refusal *Refusal
	switch {
	case err == nil:
		r.count(j.box, e, uid)
	case errors.Is(err, mailstore.ErrPresent):
		r.report.Skipped++
		r.skipped(e)
		return r.decided(ctx, e, Present, nil)
	case errors.As(err, &refusal):
		return r.refused(ctx, j, d, refusal)
	default:
		return r.destination(ctx, j.box.name, err)
	}
	return nil
}

func (r *run) count(b *box, e *item, uid UID) {
	a := addition{bytes: e.StoredSize, maybeDeleted: e.maybe, tag: e.tag, uid: uid}
	b.added.add(a)
	r.report.add(b.name, 1, a)
	r.progress(e)
}

// uncount takes back what went down with a batch of the destination.
func (r *run) uncount() {
	d, ok := r.account.(Dropper)
	if !ok {
		return
	}
	for name, n := range d.Dropped() {
		b := r.boxes[name]
		if b == nil {
			continue
		}
		kept := b.added.n - n
		_ = b.added.each(func(a addition) error {
			if kept--; kept < 0 {
				r.report.add(name, -1, a)
			}
			return nil
		})
	}
}

func (r *run) progress(e *item) {
	if r.Meter != nil {
		r.Meter.Add(1, e.StoredSize)
	}
}

// failed counts a message that could not be rebuilt, or ends the restore where
// the others would fare no better.
func (r *run) failed(j *job) error {
	e := j.item
	p := &Problem{User: r.name, Folder: e.Folder, UID: e.UID, Key: e.Key, Content: e.Content, Err: j.err}
	switch {
	case endless(j.err) && context.Cause(j.ctx) != nil:
		return j.err
	case endless(j.err):
		return p
	}
	r.report.Failed++
	r.progress(e)
	r.problem(p)
	if err := r.decided(j.ctx, e, Failed, j.err); err != nil {
		return err
	}
	if r.opened || !shut(j.err) {
		return nil
	}
	r.closed[e.Where.Pack] = p
	if len(r.closed) < patience {
		return nil
	}
	return p
}

// conclude says what is left to say when everything was looked at.
func (r *run) conclude() error {
	for _, uid := range r.choice.missing() {
		r.report.Failed++
		r.problem(&Problem{User: r.name, Folder: r.choice.folders(), UID: uid, Err: errNoMessage})
	}
	for _, p := range r.closed {
		if !r.opened && r.report.Skipped == 0 {
			return p
		}
	}
	return nil
}

func (r *run) problem(p *Problem) {
	if len(r.report.Problems) < MaxProblems {
		r.report.Problems = append(r.report.Problems, p.Error())
	}
	if r.Problem != nil {
		r.problems.Lock()
		defer r.problems.Unlock()
		r.Problem(p)
	}
}

func (r *run) destination(ctx context.Context, folder string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &DestinationError{User: r.name, Folder: folder, Err: err}
}
