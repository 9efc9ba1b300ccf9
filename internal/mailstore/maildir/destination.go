package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// A Destination writes Maildirs. Accounts of different users may be used at
// the same time, one account by one goroutine at a time.
//
// Two ways of adding are told apart folder by folder. Where Dovecot has no
// index of a folder, salvor keeps the folder's dovecot-uidlist itself, with
// the original UIDVALIDITY and UIDs. Where it has one, the folder is in use:
// messages are put beside the others and Dovecot gives them new UIDs, as it
// would refuse old ones ("Expunged message reappeared, giving a new UID"). With
// Options.Offline the index of such a folder is put aside, and the original UIDs
// are kept where they do not contradict what is there.
type Destination struct {
	opt Options

	mu   sync.Mutex
	only string // the user of a root without variables
}

var (
	_ mailstore.Destination = (*Destination)(nil)
	_ mailstore.Looker      = (*Destination)(nil)
)

// Create gives a destination. Nothing is made before an account is opened.
func Create(o Options) (*Destination, error) {
	if info, err := os.Stat(o.Root.Fixed()); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", o.Root.Fixed())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &Destination{opt: o}, nil
}

// claim makes sure that the mail of two users never gets into one Maildir.
func (d *Destination) claim(user string) error {
	if d.opt.Root.Variable() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.only == "" {
		d.only = user
	}
	if d.only != user {
		return fmt.Errorf("%s is one Maildir and already holds the mail of %q: put %%u into the path", d.opt.Root, d.only)
	}
	return nil
}

// Account opens a user's Maildir, and makes it where it is not there.
func (d *Destination) Account(ctx context.Context, user string) (mailstore.Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := d.claim(user); err != nil {
		return nil, err
	}
	a := &account{user: user}
	var err error
	if a.root, err = d.opt.Root.CreateRoot(user); err != nil {
		return nil, fmt.Errorf("make the Maildir of %q: %w", user, err)
	}
	a.control, a.index, a.inbox = a.root, a.root, a.root
	if d.opt.Control != nil {
		a.control, err = d.opt.Control.CreateRoot(user)
	}
	if err == nil && d.opt.Index != nil {
		a.index, err = d.opt.Index.CreateRoot(user)
	}
	if err == nil && d.opt.Inbox != nil {
		a.inbox, err = d.opt.Inbox.CreateRoot(user)
	}
	if err != nil {
		a.closeRoots()
		return nil, fmt.Errorf("make the Maildir of %q: %w", user, err)
	}
	w := &writer{opt: &d.opt, account: a, boxes: map[string]*box{}, byName: map[string]*box{}}
	w.owner = deliver.OwnerOf(a.root)
	return w, nil
}

// closeRoots closes what was opened; roots that could not be are nil.
func (a *account) closeRoots() {
	for _, r := range []**os.Root{&a.control, &a.index, &a.inbox} {
		if *r == a.root {
			*r = nil
		}
	}
	a.Close()
}

// Look yields what a folder holds, without making anything.
func (d *Destination) Look(ctx context.Context, user, mailbox string, yield func(chunk.ID) error) error {
	root, err := d.opt.Root.OpenRoot(user)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	a := &account{user: user, root: root, inbox: root}
	defer a.Close()
	p := d.opt.targetOf(mailbox)
	if p.inboxRoot && d.opt.Inbox != nil {
		if a.inbox, err = d.opt.Inbox.OpenRoot(user); err != nil {
			return err
		}
	}
	if _, err := a.rootOf(p).Lstat(path.Join(p.dir, "cur")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return present(ctx, a, p, yield)
}

// targetOf says where a folder is written: under its own name where the layout
// has one for it, else under a readable one with a hash. It agrees with
// placeOf for all names that a Source of the same options lists.
func (o *Options) targetOf(name string) place {
	if isInbox(name) {
		return o.placeOf(folder.Inbox)
	}
	var dir string
	if o.Layout == PlusPlus {
		dir = "." + o.dottedFile(name)
	} else {
		dir = o.pathFile(name)
	}
	return place{name: name, dir: dir, control: dir, index: dir}
}
