package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

// How much is written into tmp before it is synced and given its names.
const (
	batchMessages = 4000
	batchBytes    = 256 << 20
	batchTime     = 10 * time.Second // at a slow pace, too, a kill costs no more
)

// A writer is the account of one user at a destination.
type writer struct {
	opt     *Options
	account *account
	owner   deliver.Owner
	boxes   map[string]*box // by directory
	byName  map[string]*box // the same
	open    []*box          // those with open directories, the latest last
	guids   map[string]bool // of all folders; nil before they were looked at
	notes   []mailstore.Note
	pending int
	bytes   int64
	dropped map[string]int
	err     error     // what made the account useless
	began   time.Time // when the batch did
}

var (
	_ mailstore.Noter   = (*writer)(nil)
	_ mailstore.Dropper = (*writer)(nil)
)

// Notes are what the operator should know.
func (w *writer) Notes() []mailstore.Note { return w.notes }

// Dropped is what a batch that failed took with it.
func (w *writer) Dropped() map[string]int { return w.dropped }

func (w *writer) note(mailbox, format string, args ...any) {
	w.notes = append(w.notes, mailstore.Note{User: w.account.user, Mailbox: mailbox, What: fmt.Sprintf(format, args...)})
}

// A box is a folder that is written.
type box struct {
	place    place
	cur, tmp *os.File        // nil while closed
	used     map[string]bool // base names
	uids     *uidWriter      // nil where Dovecot numbers the messages
	pending  []delivery
	lost     map[string]bool // keywords that were not kept
}

// delivery is a message that waits in tmp.
type delivery struct {
	mailbox         string
	tmp, base, name string // the name is made when the keywords are known
	flags           []string
}

// Mailbox makes a folder, or looks at what is there.
func (w *writer) Mailbox(ctx context.Context, m mailstore.Mailbox) error {
	if w.err != nil {
		return w.err
	}
	if w.byName[m.Name] != nil {
		return nil
	}
	p := w.opt.targetOf(m.Name)
	if b := w.boxes[p.dir]; b != nil { // inbox is INBOX
		w.byName[m.Name] = b
		return nil
	}
	b := &box{place: p}
	created, err := w.makeFolder(b)
	if err == nil {
		err = w.enter(b)
	}
	if err == nil {
		err = w.survey(b)
	}
	if err == nil {
		err = w.chooseUIDs(b, m)
	}
	if err == nil && created && m.Subscribed {
		err = w.subscribe(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("make folder %q of %q: %w", m.Name, w.account.user, err)
	}
	if shown := w.opt.nameAt(p); shown != m.Name && !isInbox(m.Name) {
		w.note(m.Name, "the folder is called %q there, as the layout has no name for it", shown)
	}
	w.boxes[p.dir], w.byName[m.Name] = b, b
	return nil
}

// nameAt is the name under which a Source of the same options lists a place.
func (o *Options) nameAt(p place) string {
	switch {
	case p.inboxRoot:
		return p.name
	case o.Layout == PlusPlus:
		return o.Encoding.DecodeDotted(p.dir[1:])
	}
	return o.Encoding.DecodePath(p.dir)
}

// makeFolder makes the directories and tells whether the folder is new.
func (w *writer) makeFolder(b *box) (created bool, err error) {
	root, p := w.account.rootOf(b.place), b.place
	if _, err := w.owner.Mkdir(root, p.dir); err != nil {
		return false, err
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if created, err = w.owner.Mkdir(root, path.Join(p.dir, sub)); err != nil {
			return false, err
		}
	}
	if w.account.control != w.account.root {
		if _, err := w.owner.Mkdir(w.account.control, p.control); err != nil {
			return false, err
		}
	}
	if created && w.opt.Layout == PlusPlus && !p.inboxRoot {
		f, err := root.OpenFile(path.Join(p.dir, "maildirfolder"), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return false, err
		}
		return true, errors.Join(w.owner.Own(f), f.Close())
	}
	return created, nil
}

// maxOpen bounds the folders that are kept open, of one user.
const maxOpen = 8

// enter opens a folder's directories.
func (w *writer) enter(b *box) error {
	if b.cur != nil {
		return nil
	}
	root := w.account.rootOf(b.place)
	cur, err := root.OpenFile(path.Join(b.place.dir, "cur"), deliver.DirFlags, 0)
	if err != nil {
		return err
	}
	tmp, err := root.OpenFile(path.Join(b.place.dir, "tmp"), deliver.DirFlags, 0)
	if err != nil {
		cur.Close()
		return err
	}
	b.cur, b.tmp = cur, tmp
	w.open = append(w.open, b)
	if len(w.open) > maxOpen {
		w.open[0].leave()
		w.open = w.open[1:]
	}
	return nil
}

// leave closes a folder's directories.
func (b *box) leave() {
	if b.cur != nil {
		b.cur.Close()
		b.tmp.Close()
		b.cur, b.tmp = nil, nil
	}
}

// survey finds the names in use, and clears what a killed salvor left in tmp.
func (w *writer) survey(b *box) error {
	var err error
	if b.used, err = w.account.used(b.place); err != nil {
		return err
	}
	p := b.place
	return errors.Join(clearStale(w.account.rootOf(p), path.Join(p.dir, "tmp")), clearStale(w.account.controlOf(p), p.control))
}

// clearStale removes what a killed salvor left in a directory.
func clearStale(root *os.Root, dir string) error {
	d, err := root.OpenFile(dir, deliver.DirFlags, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	left, err := readDir(d)
	if err != nil {
		return err
	}
	for _, e := range left {
		if deliver.Stale(e.name) {
			if err := unix.Unlinkat(int(d.Fd()), e.name, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// Add writes a message into tmp; it gets its name with its batch.
func (w *writer) Add(ctx context.Context, d mailstore.Delivery) (mailstore.UID, error) {
	if err := errors.Join(w.err, ctx.Err()); err != nil {
		return 0, err
	}
	b := w.byName[d.Mailbox]
	if b == nil {
		return 0, fmt.Errorf("folder %q was not opened", d.Mailbox)
	}
	uid, err := w.add(b, d)
	if err != nil {
		return 0, fmt.Errorf("add a message to folder %q of %q: %w", d.Mailbox, w.account.user, err)
	}
	w.pending++
	w.bytes += int64(len(d.Stored))
	if w.pending == 1 {
		w.began = time.Now()
	}
	if w.pending >= batchMessages || w.bytes >= batchBytes || time.Since(w.began) >= batchTime {
		return uid, w.flush(ctx)
	}
	return uid, nil
}

func (w *writer) add(b *box, d mailstore.Delivery) (mailstore.UID, error) {
	if err := w.enter(b); err != nil {
		return 0, err
	}
	p := delivery{mailbox: d.Mailbox, tmp: deliver.TmpName(), flags: d.Flags}
	p.base = baseFor(d.Key, d.Stored, b.used)
	if err := w.owner.Write(b.tmp, p.tmp, d.Stored, d.InternalDate); err != nil {
		return 0, err
	}
	b.used[p.base] = true
	b.pending = append(b.pending, p)
	if b.uids == nil {
		return 0, nil
	}
	return b.uids.take(d.UID, p.base), nil
}

// wireSize is the size with CRLF line ends.
func wireSize(stored []byte) int64 {
	return int64(len(stored) + bytes.Count(stored, []byte("\n")) - bytes.Count(stored, []byte("\r\n")))
}

// flush makes what waits in tmp durable, then visible. The uidlist goes first:
// a line without a file is ordinary, a file without a line would be numbered
// anew.
func (w *writer) flush(ctx context.Context) error {
	var busy []*box
	for _, b := range w.boxes {
		if len(b.pending) > 0 || b.uids != nil && b.uids.changed {
			busy = append(busy, b)
		}
	}
	if len(busy) == 0 {
		return nil
	}
	sort.Slice(busy, func(i, j int) bool { return busy[i].place.dir < busy[j].place.dir })
	if w.bytes > batchBytes/16 { // locks should not be held for that long
		if err := w.sync(); err != nil {
			return w.fail(err)
		}
	}
	if err := w.flushBoxes(ctx, busy); err != nil {
		return w.fail(err)
	}
	w.pending, w.bytes = 0, 0
	return nil
}

// fail makes the account useless: what it holds in tmp may not be whole.
func (w *writer) fail(err error) error {
	w.err = fmt.Errorf("write to the Maildir of %q: %w", w.account.user, err)
	return w.err
}

func (w *writer) flushBoxes(ctx context.Context, busy []*box) error {
	var commits []func() error
	for _, b := range busy {
		control := w.account.controlOf(b.place)
		for _, name := range []string{uidlistName, keywordsName} {
			unlock, err := deliver.Lock(ctx, control, path.Join(b.place.control, name))
			if err != nil {
				return err
			}
			defer unlock()
		}
		for _, write := range []func(*box) (func() error, error){w.writeUIDs, w.writeKeywords} {
			commit, err := write(b)
			if err != nil {
				return err
			}
			if commit != nil {
				commits = append(commits, commit)
			}
		}
	}
	if err := w.sync(); err != nil {
		return err
	}
	for _, commit := range commits {
		if err := commit(); err != nil {
			return err
		}
	}
	for _, b := range busy {
		if err := w.publish(b); err != nil {
			return err
		}
	}
	return nil
}

// sync makes durable what was written to the file systems of the account.
func (w *writer) sync() error {
	return deliver.Sync(w.account.root, w.account.inbox, w.account.control)
}

// publish moves a folder's messages from tmp to cur. No name is ever taken
// from another file.
func (w *writer) publish(b *box) error {
	if err := w.enter(b); err != nil {
		return err
	}
	for len(b.pending) > 0 {
		p := b.pending[0]
		if err := deliver.Publish(b.tmp, p.tmp, b.cur, p.name); err != nil {
			return fmt.Errorf("move %s to cur: %w", path.Join(b.place.dir, p.name), err)
		}
		b.pending = b.pending[1:]
	}
	b.pending = nil
	return nil
}

// Close gives the rest its names and makes everything durable.
func (w *writer) Close(ctx context.Context) error {
	err := w.err
	if err == nil {
		err = w.flush(ctx)
	}
	if err == nil {
		err = w.sync()
	}
	if err != nil {
		w.discard()
	}
	for _, b := range w.boxes {
		b.leave()
	}
	w.account.Close()
	w.err = errors.Join(err, fs.ErrClosed)
	return err
}

// discard takes back what has not got its name.
func (w *writer) discard() {
	w.dropped = map[string]int{}
	for _, b := range w.boxes {
		for _, p := range b.pending {
			w.dropped[p.mailbox]++
		}
		if len(b.pending) == 0 || w.enter(b) != nil {
			continue
		}
		for _, p := range b.pending {
			unix.Unlinkat(int(b.tmp.Fd()), p.tmp, 0)
		}
	}
}
