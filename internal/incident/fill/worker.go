package fill

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
)

// How much is put before it is made durable and noted.
const (
	syncMessages = 2000
	syncBytes    = 128 << 20
)

// A worker fills one user's mail.
type worker struct {
	*run
	f    mailstore.Filler
	user string

	claims  map[place]int64 // ids of the claims that wait
	held    map[place]bool  // of these, those whose content the vault has
	back    map[place]int64 // those that stood in their places already
	missing []job
	under   []job // put, and not durable yet
	bytes   int64 // of these
}

// A place is where a message was, and is in the store's index.
type place struct {
	folder        string
	validity, uid uint32
}

// A job is a message whose file is missing, or another one.
type job struct {
	id  int64
	box *mailstore.Mailbox
	m   mailstore.Message
}

func (w *worker) fill(ctx context.Context) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	whole, err := w.survey(ctx)
	if err != nil {
		return err
	}
	if err := w.recognise(ctx, whole); err != nil {
		return err
	}
	w.miss()
	for _, j := range w.missing {
		if err := w.put(ctx, &j); err != nil {
			return err
		}
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	if n, ok := w.f.(mailstore.Noter); ok {
		w.notes(n.Notes())
	}
	return nil
}

// load reads where the user's claims were.
func (w *worker) load(ctx context.Context) error {
	w.claims, w.held, w.back = map[place]int64{}, map[place]bool{}, map[place]int64{}
	return w.l.Claims(ctx, catalog.ClaimQuery{User: w.user}, func(c *catalog.Claim) error {
		at := place{c.Folder, c.UIDValidity, c.UID}
		if stood(c) {
			w.back[at] = c.ID
		}
		if !waits(c) {
			return nil
		}
		has := !c.Content.IsZero()
		if _, twice := w.claims[at]; twice || c.UID == 0 || c.UIDValidity == 0 {
			if has {
				w.count(func(r *Report) { r.Unnamed++ })
			}
			return nil
		}
		w.claims[at], w.held[at] = c.ID, has
		return nil
	})
}

// survey sorts the claims that the store's index names by how their files are.
// Those that are left in claims afterwards it does not name.
func (w *worker) survey(ctx context.Context) (whole []job, err error) {
	var box *mailstore.Mailbox
	err = w.f.Survey(ctx, mailstore.User{Name: w.user}, func(b mailstore.Mailbox, m mailstore.Message, state mailstore.FileState) error {
		at := place{b.Name, b.UIDValidity, uint32(m.UID)}
		id, waits := w.claims[at]
		if box == nil || box.Name != b.Name {
			box = &b
		}
		if again, stood := w.back[at]; stood && state != mailstore.FileWhole { // it was lost once more
			w.missing = append(w.missing, job{again, box, m})
			return nil
		}
		if !waits {
			return nil
		}
		delete(w.claims, at)
		switch {
		case state == mailstore.FileWhole:
			whole = append(whole, job{id, box, m})
		case w.held[at]:
			w.missing = append(w.missing, job{id, box, m})
		default:
			w.count(func(r *Report) { r.Owed++ })
		}
		return nil
	})
	var incomplete *mailstore.Incomplete
	var problem *mailstore.Problem
	switch {
	case errors.As(err, &incomplete):
		for _, p := range incomplete.Problems {
			w.count(func(r *Report) { r.problem(p.Error()) })
		}
	case errors.As(err, &problem):
		w.count(func(r *Report) { r.problem(problem.Error()) })
	case err != nil:
		return nil, err
	}
	return whole, nil
}

// miss counts the claims that the index did not name.
func (w *worker) miss() {
	for at := range w.claims {
		if w.held[at] {
			w.count(func(r *Report) { r.Unnamed++ })
			w.o.Meter.Add(1, 0)
		}
	}
}

// recognise reads the files that are there. Those that are right are noted as
// present, others are to be put.
func (w *worker) recognise(ctx context.Context, whole []job) error {
	var marks []mark
	for i := range whole {
		j := &whole[i]
		c, ok, err := w.l.Catalog().Claim(w.l.Incident.Name, j.id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		right := w.o.DryRun
		if !right {
			right, err = w.right(ctx, j, &c)
			if errors.Is(err, mailstore.ErrUnfit) { // as good as missing, and nothing to be put
				w.count(func(r *Report) {
					r.Failed++
					r.problem(oneLine(err))
				})
				continue
			}
			if err != nil {
				return err
			}
		}
		switch {
		case right:
			marks = append(marks, j.mark(false))
			w.count(func(r *Report) { r.Present++ })
			w.o.Meter.Add(1, 0)
		case !c.Content.IsZero():
			w.missing = append(w.missing, *j)
		default:
			w.count(func(r *Report) { r.Owed++ })
		}
	}
	if w.o.DryRun {
		return nil
	}
	return w.book.note(w.ctx, marks)
}

// right tells whether a file holds what the vault has of the message, or what the
// index promises of one that the vault does not have.
func (w *worker) right(ctx context.Context, j *job, c *catalog.Claim) (bool, error) {
	if err := w.o.Pace.Wait(ctx, 1, max(j.m.Size, 0)); err != nil {
		return false, err
	}
	f, err := w.f.Open(ctx, *j.box, j.m)
	if err == nil {
		defer f.Close()
	}
	wire, raw := chunk.NewWireHasher(), sha1.New()
	if err == nil {
		_, err = io.Copy(io.MultiWriter(wire, raw), f)
	}
	if err != nil {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if errors.Is(err, mailstore.ErrUnfit) {
			return false, err
		}
		return false, nil // what cannot be read is not there; Put says why
	}
	id, sum, _ := wire.Sums()
	switch {
	case !c.Content.IsZero():
		return id == c.Content, nil
	case !j.m.SHA1.IsZero():
		return sum == j.m.SHA1 || chunk.SHA1(raw.Sum(nil)) == j.m.SHA1, nil
	}
	return true, nil // its size is all that is known of it
}

// put puts a file back.
func (w *worker) put(ctx context.Context, j *job) error {
	c, ok, err := w.l.Catalog().Claim(w.l.Incident.Name, j.id)
	if err != nil || !ok || !waits(&c) && !stood(&c) {
		return err
	}
	w.o.Meter.Add(1, max(j.m.Promised, 0))
	if w.o.DryRun {
		w.count(func(r *Report) { r.Filled, r.Bytes = r.Filled+1, r.Bytes+max(j.m.Promised, 0) })
		return nil
	}
	if err := w.o.Pace.Wait(ctx, 1, max(j.m.Promised, 0)); err != nil {
		return err
	}
	if !c.InternalDate.IsZero() {
		j.m.InternalDate = c.InternalDate // a Maildir's index may only guess it
	}
	if j.m.NoFlags {
		j.m.Flags, j.m.NoFlags = c.Flags, false
	}
	stored, err := w.o.Read(ctx, &c)
	if err == nil {
		err = w.f.Put(ctx, *j.box, j.m, stored)
	}
	var gone bool
	switch {
	case err == nil:
		w.under, w.bytes = append(w.under, *j), w.bytes+int64(len(stored))
		if len(w.under) >= syncMessages || w.bytes >= syncBytes {
			return w.sync(ctx)
		}
		return nil
	case errors.Is(err, mailstore.ErrPresent):
		w.count(func(r *Report) { r.Present++ })
		return w.book.note(w.ctx, []mark{j.mark(false)})
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case hopeless(err):
		return err
	case errors.Is(err, mailstore.ErrVanished):
		gone = true
	}
	w.count(func(r *Report) {
		if gone {
			r.Unnamed++
			return
		}
		r.Failed++
		r.problem(fmt.Sprintf("%q: %q: UID %d was not put back: %s", w.user, j.box.Name, j.m.UID, oneLine(err)))
	})
	return nil
}

// hopeless tells the errors of a disk that has no room for anything.
func hopeless(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func (j *job) mark(put bool) mark {
	return mark{id: j.id, validity: j.box.UIDValidity, uid: uint32(j.m.UID), folder: j.box.Name, put: put}
}

// sync makes what was put durable, and notes it.
func (w *worker) sync(ctx context.Context) error {
	if len(w.under) == 0 {
		return nil
	}
	err := w.f.Sync(ctx)
	var incomplete *mailstore.Incomplete
	if err != nil && !errors.As(err, &incomplete) {
		return err
	}
	var marks []mark
	for i := range w.under {
		j := &w.under[i]
		if incomplete != nil { // some are there: each is looked at
			c, ok, err := w.l.Catalog().Claim(w.l.Incident.Name, j.id)
			if err != nil {
				return err
			}
			there := false
			if ok {
				if there, err = w.right(ctx, j, &c); err != nil && !errors.Is(err, mailstore.ErrUnfit) {
					return err
				}
			}
			if !there {
				continue
			}
		}
		marks = append(marks, j.mark(true))
	}
	n, failed, bytes := int64(len(marks)), int64(len(w.under)-len(marks)), w.bytes
	w.count(func(r *Report) {
		r.Filled, r.Bytes, r.Failed = r.Filled+n, r.Bytes+bytes, r.Failed+failed
		if incomplete != nil {
			for _, p := range incomplete.Problems {
				r.problem(p.Error())
			}
		}
	})
	w.under, w.bytes = nil, 0
	return w.book.note(w.ctx, marks)
}

// notes adds what a store has to say of this user.
func (w *worker) notes(notes []mailstore.Note) {
	for _, n := range notes {
		if n.User == w.user {
			w.count(func(r *Report) {
				if len(r.Notes) == maxNotes {
					return
				}
				r.Notes = append(r.Notes, fmt.Sprintf("%q: %q: %s", n.User, n.Mailbox, n.What))
			})
		}
	}
}
