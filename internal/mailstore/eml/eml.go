// Package eml is a destination for people: a directory for each folder, in it
// one .eml file for each message, named by its UID, with the internal date as
// modification time. Flags and keywords are not kept; nothing here is meant to
// be a mail store again.
//
// DIR/USER/FOLDER/UID.eml, or DIR/FOLDER/UID.eml where DIR holds %u, %n or %d.
// Package stores opens it. Invariants: nothing is overwritten; nothing is
// written outside DIR, whatever users and folders are called; a name that ends
// in .eml is a whole message.
package eml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/userpath"
)

const suffix = ".eml"

// batch is how many messages, and bytes, are synced together.
const (
	batchMessages = 4000
	batchBytes    = 256 << 20
)

// levels are the names that directories may have.
var levels = folder.Files{Encoding: folder.UTF8, Reserved: func(s string) bool {
	return strings.HasSuffix(s, suffix) || strings.HasPrefix(s, ".")
}}

// A Destination writes .eml files. Accounts of different users may be used at
// the same time, one account by one goroutine at a time.
type Destination struct{ root *userpath.Template }

var (
	_ mailstore.Destination = (*Destination)(nil)
	_ mailstore.Looker      = (*Destination)(nil)
	_ mailstore.Renumberer  = (*Destination)(nil)
)

// Create gives a destination below a directory, which is made when the first
// account is opened.
func Create(root *userpath.Template) (*Destination, error) {
	if info, err := os.Stat(root.Fixed()); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", root.Fixed())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &Destination{root}, nil
}

// dir is the path of a folder below the root that is opened for its user.
func (d *Destination) dir(user, mailbox string) string {
	var parts []string
	if !d.root.Variable() {
		parts = append(parts, levels.Name(user))
	}
	if folder.TooDeep(mailbox) {
		return path.Join(append(parts, levels.Hashed(mailbox))...)
	}
	for _, l := range strings.Split(mailbox, "/") {
		parts = append(parts, levels.Name(l))
	}
	return path.Join(parts...)
}

// Account opens a user's directory, and makes it where it is not there.
func (d *Destination) Account(ctx context.Context, user string) (mailstore.Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := d.root.CreateRoot(user)
	if err != nil {
		return nil, fmt.Errorf("make the directory of %q: %w", user, err)
	}
	return &account{dest: d, user: user, root: root, owner: deliver.OwnerOf(root), boxes: map[string]*box{}}, nil
}

// Look yields what a folder holds, without making anything.
func (d *Destination) Look(ctx context.Context, user, mailbox string, yield func(chunk.ID) error) error {
	root, err := d.root.OpenRoot(user)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := root.OpenFile(d.dir(user, mailbox), deliver.DirFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return present(ctx, root, dir, d.dir(user, mailbox), yield)
}

// Renumbers says that UIDs, although they give files their names, are not kept.
func (d *Destination) Renumbers(_ context.Context, _ string, m mailstore.Mailbox) (why string, err error) {
	if m.UIDValidity == 0 {
		return "", nil // there are none
	}
	return "an .eml file has no UID", nil
}

// account is one user's directory.
type account struct {
	dest    *Destination
	user    string
	root    *os.Root
	owner   deliver.Owner
	boxes   map[string]*box // by folder
	pending []pending
	bytes   int64
	dropped map[string]int
	err     error
}

var _ mailstore.Dropper = (*account)(nil)

// Dropped is what a batch that failed took with it.
func (a *account) Dropped() map[string]int { return a.dropped }

// box is a folder; its names are known, so that none is tried in vain.
type box struct {
	dir  string
	used map[string]bool
}

type pending struct {
	mailbox   string
	box       *box
	tmp, name string
}

// Mailbox makes a folder's directory.
func (a *account) Mailbox(ctx context.Context, m mailstore.Mailbox) error {
	if err := errors.Join(a.err, ctx.Err()); err != nil {
		return err
	}
	if a.boxes[m.Name] != nil {
		return nil
	}
	b := &box{dir: a.dest.dir(a.user, m.Name), used: map[string]bool{}}
	_, err := a.owner.Mkdir(a.root, b.dir)
	if err == nil {
		err = a.survey(b)
	}
	if err != nil {
		return fmt.Errorf("make folder %q of %q: %w", m.Name, a.user, err)
	}
	a.boxes[m.Name] = b
	return nil
}

// survey reads a folder's names, and clears what a killed salvor left.
func (a *account) survey(b *box) error {
	d, err := a.root.OpenFile(b.dir, deliver.DirFlags, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		b.used[n] = true
		if deliver.Stale(n) {
			if err := unix.Unlinkat(int(d.Fd()), n, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// Present yields what a folder holds.
func (a *account) Present(ctx context.Context, mailbox string, yield func(chunk.ID) error) error {
	if a.err != nil {
		return a.err
	}
	if err := a.flush(); err != nil {
		return err
	}
	dir := a.dest.dir(a.user, mailbox)
	d, err := a.root.OpenFile(dir, deliver.DirFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return present(ctx, a.root, d, dir, yield)
}

func present(ctx context.Context, root *os.Root, d *os.File, dir string, yield func(chunk.ID) error) error {
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	var problems []*mailstore.Problem
	h := chunk.NewWireHasher()
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !strings.HasSuffix(n, suffix) {
			continue
		}
		id, err := hash(root, path.Join(dir, n), h)
		if err != nil {
			problems = append(problems, &mailstore.Problem{Path: path.Join(root.Name(), dir, n), Err: err})
			continue
		}
		if err := yield(id); err != nil {
			return err
		}
	}
	if len(problems) > 0 {
		return &mailstore.Incomplete{Problems: problems}
	}
	return nil
}

func hash(root *os.Root, name string, h *chunk.WireHasher) (id chunk.ID, err error) {
	f, err := deliver.OpenRegular(root, name)
	if err != nil {
		return id, err
	}
	defer f.Close()
	h.Reset()
	if _, err := io.Copy(h, f); err != nil {
		return id, err
	}
	id, _, _ = h.Sums()
	return id, nil
}

// Add writes a message under a temporary name; it gets its own with its batch.
func (a *account) Add(ctx context.Context, d mailstore.Delivery) (mailstore.UID, error) {
	if err := errors.Join(a.err, ctx.Err()); err != nil {
		return 0, err
	}
	b := a.boxes[d.Mailbox]
	if b == nil {
		return 0, fmt.Errorf("folder %q was not opened", d.Mailbox)
	}
	p := pending{mailbox: d.Mailbox, box: b, tmp: deliver.TmpName(), name: b.name(d)}
	dir, err := a.root.OpenFile(b.dir, deliver.DirFlags, 0)
	if err == nil {
		err = a.owner.Write(dir, p.tmp, d.Stored, d.InternalDate)
		dir.Close()
	}
	if err != nil {
		return 0, fmt.Errorf("write a message of folder %q of %q: %w", d.Mailbox, a.user, err)
	}
	b.used[p.name] = true
	a.pending = append(a.pending, p)
	if a.bytes += int64(len(d.Stored)); a.bytes >= batchBytes || len(a.pending) >= batchMessages {
		return 0, a.flush()
	}
	return 0, nil
}

// name is a free name for a message: its UID, or some of its hash.
func (b *box) name(d mailstore.Delivery) string {
	stem := d.Content.String()[:12]
	if d.UID != 0 {
		stem = fmt.Sprint(d.UID)
	}
	name := stem + suffix
	for n := 2; b.used[name]; n++ {
		name = fmt.Sprintf("%s-%d%s", stem, n, suffix)
	}
	return name
}

// flush makes what was added durable and gives it its names.
func (a *account) flush() error {
	if len(a.pending) == 0 {
		return nil
	}
	err := deliver.Sync(a.root)
	for err == nil && len(a.pending) > 0 {
		p := a.pending[0]
		if err = a.publish(p); err == nil {
			a.pending = a.pending[1:]
		}
	}
	a.bytes = 0
	if err != nil {
		a.err = fmt.Errorf("write the mail of %q: %w", a.user, err)
	}
	return a.err
}

func (a *account) publish(p pending) error {
	dir, err := a.root.OpenFile(p.box.dir, deliver.DirFlags, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return deliver.Publish(dir, p.tmp, dir, p.name)
}

// Close makes everything durable. After an error it takes back what has not
// got its name.
func (a *account) Close(context.Context) error {
	err := a.err
	if err == nil {
		err = a.flush()
	}
	if err == nil {
		err = deliver.Sync(a.root)
	}
	a.dropped = map[string]int{}
	for _, p := range a.pending {
		a.dropped[p.mailbox]++
		a.root.Remove(path.Join(p.box.dir, p.tmp))
	}
	a.pending = nil
	a.err = errors.Join(a.err, fs.ErrClosed)
	if e := a.root.Close(); e != nil {
		return errors.Join(err, e)
	}
	return err // Add's own, so that nobody tells it twice
}
