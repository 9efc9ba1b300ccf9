package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/dovecot/index"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/userpath"
)

// An Index lists Maildirs by what Dovecot keeps of them, whether or not the
// messages' files are there: by dovecot-uidlist (names, UIDs, sizes), and by
// dovecot.index (which of them there still are, flags, dates). It is for what
// CONTROL= and INDEX= had on another volume than the messages.
//
// A uidlist goes on naming messages that were removed, until it is rewritten: a
// line is a message when dovecot.index has its UID, or does not reach so far yet.
// Without a dovecot.index all lines are, each with a Doubt.
type Index struct {
	opt    Options
	mounts mounts
}

var _ mailstore.Source = (*Index)(nil)

// OpenIndex opens the indexes of Maildirs. Of the directories that the options
// name at least one must be there; the Maildirs themselves need not be.
func OpenIndex(o Options) (*Index, error) {
	var missing error
	for _, t := range o.sides() {
		info, err := os.Stat(t.Fixed())
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", t.Fixed())
		}
		if err == nil {
			return &Index{opt: o, mounts: readMounts()}, nil
		}
		missing = errors.Join(missing, err)
	}
	return nil, missing
}

// sides are where indexes are, each once.
func (o *Options) sides() []*userpath.Template {
	var out []*userpath.Template
	for _, t := range []*userpath.Template{o.Control, o.Index} {
		if t == nil {
			t = o.Root
		}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// Users lists the users of whom there is an index.
func (x *Index) Users(ctx context.Context, yield func(mailstore.User) error) error {
	if !x.opt.Root.Variable() {
		return yield(mailstore.User{Name: x.opt.User, Partition: x.mounts.of(x.opt.Root.Fixed())})
	}
	found := map[string]bool{}
	var problems []*mailstore.Problem
	for _, t := range x.opt.sides() {
		err := t.Discover(ctx, func(p userpath.Place) error {
			if !p.Dir || found[p.User] {
				return nil
			}
			is, err := x.isIndex(p.Path)
			if err != nil {
				problems = append(problems, &mailstore.Problem{User: p.User, Path: p.Path, Err: err})
			}
			found[p.User] = is
			return nil
		})
		var inc *mailstore.Incomplete
		switch {
		case errors.As(err, &inc):
			problems = append(problems, inc.Problems...)
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, &mailstore.Problem{Path: t.Fixed(), Err: err})
		case err != nil:
			return err
		}
	}
	for _, name := range sortedUsers(found) {
		if err := yield(mailstore.User{Name: name, Partition: x.mounts.of(x.opt.Root.Fixed())}); err != nil {
			return err
		}
	}
	return addProblems(nil, problems)
}

func sortedUsers(found map[string]bool) (out []string) {
	for name, is := range found {
		if is {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// isIndex tells whether a directory holds what Dovecot keeps of a user.
func (x *Index) isIndex(dir string) (bool, error) {
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if strings.HasPrefix(name, "dovecot") || name == subscriptionsName || name == x.opt.inboxSide() {
				return true, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// with calls f with the user's roots, of which those that are missing are nil.
func (x *Index) with(user string, f func(*account) error) error {
	a, err := x.openAccount(user)
	if err != nil {
		return &mailstore.Problem{User: user, Path: x.opt.sides()[0].String(), Err: err}
	}
	defer a.Close()
	return f(a)
}

func (x *Index) openAccount(user string) (*account, error) {
	a := &account{user: user}
	var err error
	if a.root, err = openSurvivor(x.opt.Root, user); err != nil {
		return nil, err
	}
	a.control, a.index, a.inbox = a.root, a.root, a.root
	for t, to := range map[*userpath.Template]**os.Root{x.opt.Control: &a.control, x.opt.Index: &a.index, x.opt.Inbox: &a.inbox} {
		if t == nil {
			continue
		}
		if *to, err = openSurvivor(t, user); err != nil {
			a.closeRoots()
			return nil, err
		}
	}
	return a, nil
}

// openSurvivor opens a user's place; nil where it is missing.
func openSurvivor(t *userpath.Template, user string) (*os.Root, error) {
	root, err := t.OpenRoot(user)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return root, err
}

// places are where the user's folders may be: what is left of one may lie below
// CONTROL=, below INDEX=, or below both.
func (x *Index) places(ctx context.Context, a *account) ([]place, []*mailstore.Problem) {
	found := map[string]bool{}
	var problems []*mailstore.Problem
	for _, side := range []*os.Root{a.control, a.index} {
		if side == nil {
			continue
		}
		l := folderLister{s: &Source{opt: x.opt}, a: &account{user: a.user, root: side}}
		for _, p := range l.find(ctx) {
			if apart := side != a.root; apart && p.dir == x.opt.inboxSide() {
				continue // INBOX itself
			}
			found[p.name] = true
		}
		problems = append(problems, l.problems...)
	}
	delete(found, folder.Inbox)
	out := []place{x.opt.placeOf(folder.Inbox)}
	for _, name := range sortedUsers(found) {
		out = append(out, x.opt.placeOf(name))
	}
	return out, problems
}

// Mailboxes lists the folders of which there is a uidlist or an index.
func (x *Index) Mailboxes(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox) error) error {
	return x.with(user.Name, func(a *account) error {
		places, problems := x.places(ctx, a)
		l := folderLister{s: &Source{opt: x.opt}, a: a}
		subscribed := l.subscriptions()
		guids := map[string]bool{}
		for _, p := range places {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := x.read(a, p)
			if !r.there() && p.name != folder.Inbox {
				continue
			}
			box := r.mailbox()
			box.Subscribed = subscribed[p.name]
			if guids[box.ObjectID] { // a copied folder brings its original's along
				box.ObjectID = ""
			}
			guids[box.ObjectID] = true
			if err := yield(box); err != nil {
				return err
			}
		}
		return addProblems(nil, append(problems, l.problems...))
	})
}

// Messages lists what the index of a folder says is there, by UID.
func (x *Index) Messages(ctx context.Context, box mailstore.Mailbox, yield func(mailstore.Message) error) error {
	return x.with(box.User, func(a *account) error {
		r := x.read(a, x.opt.placeOf(box.Name))
		if r.there() && box.UIDValidity != 0 && r.validity() != box.UIDValidity {
			return incomplete(r.problem(fmt.Errorf("UIDVALIDITY changed from %d to %d while it was read", box.UIDValidity, r.validity())))
		}
		cache, done := r.openCache()
		defer done()
		for _, l := range r.lines() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := yield(r.message(l, cache)); err != nil {
				return err
			}
		}
		return addProblems(nil, r.problems())
	})
}

// Open opens nothing: an index has no messages.
func (x *Index) Open(_ context.Context, box mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	return nil, &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: m.Place, Err: errors.New("an index holds no messages")}
}

// A reading is what is left of one folder.
type reading struct {
	a     *account
	place place
	// uids and named are the uidlist, uidErr why there is none: fs.ErrNotExist
	// when it is missing.
	uids   uidSummary
	named  []line
	uidErr error
	ix     *index.Index // nil where ixErr says why
	ixErr  error
}

// A line is what a uidlist says of a message.
type line struct {
	uid  mailstore.UID
	base string
	size int64 // S=, -1 for none
}

// read reads what is left of a folder.
func (x *Index) read(a *account, p place) *reading {
	r := &reading{a: a, place: p}
	r.uidErr = fs.ErrNotExist
	if control := a.controlOf(p); control != nil {
		for _, name := range uidlistNames {
			if r.uidErr = r.readUIDs(control, path.Join(p.control, name)); !errors.Is(r.uidErr, fs.ErrNotExist) {
				break
			}
		}
	}
	r.ixErr = fs.ErrNotExist
	if root := a.indexOf(p); root != nil {
		r.ix, r.ixErr = index.Read(root, p.index, indexName, index.CacheExt)
	}
	return r
}

// indexName is the name of Dovecot's indexes.
const indexName = "dovecot.index"

// readUIDs reads a uidlist. Of two lines with one name the later counts.
func (r *reading) readUIDs(control *os.Root, name string) error {
	f, err := deliver.OpenRegular(control, name)
	if err != nil {
		return err
	}
	defer f.Close()
	r.uids, err = readUIDList(f, func(u uidLine) {
		l := line{uid: u.uid, base: string(u.base), size: promised(string(u.base))}
		if l.size < 0 {
			l.size = u.size
		}
		r.named = append(r.named, l)
	})
	return err
}

// there tells whether anything is left of the folder.
func (r *reading) there() bool {
	return !errors.Is(r.uidErr, fs.ErrNotExist) || !errors.Is(r.ixErr, fs.ErrNotExist)
}

// validity is the folder's UIDVALIDITY, 0 where nothing tells it.
func (r *reading) validity() uint32 {
	if r.uids.validity == 0 && r.ix != nil {
		return r.ix.UIDValidity()
	}
	return r.uids.validity
}

// authority tells whether dovecot.index says which messages there are. Why it
// does not is in lost.
func (r *reading) authority() bool {
	return r.ix != nil && r.ix.UIDValidity() == r.validity()
}

// lost says why it is no evidence of a deletion that the folder's index does not
// name a message.
func (r *reading) lost() string {
	switch {
	case errors.Is(r.uidErr, fs.ErrNotExist) && r.ix != nil && len(r.ix.Records) == 0:
	case errors.Is(r.uidErr, fs.ErrNotExist):
		return "dovecot-uidlist is missing"
	case errors.Is(r.uidErr, errNoUIDList):
		return r.uidErr.Error()
	case r.uidErr != nil:
		return "dovecot-uidlist cannot be read: " + r.uidErr.Error()
	case r.uids.bad != "":
		return r.uids.bad
	case r.uids.torn:
		return "dovecot-uidlist is damaged: its last line has no end"
	case errors.Is(r.ixErr, fs.ErrNotExist):
		return "dovecot.index is missing"
	case r.ixErr != nil:
		return "dovecot.index cannot be read: " + r.ixErr.Error()
	case !r.authority():
		return fmt.Sprintf("dovecot.index has UIDVALIDITY %d, dovecot-uidlist %d", r.ix.UIDValidity(), r.uids.validity)
	case r.ix.Torn != "":
		return "dovecot.index is damaged: " + r.ix.Torn
	case r.nameless() > 0:
		return "dovecot-uidlist does not name all messages of dovecot.index"
	}
	return ""
}

// nameless counts the messages that the index has and the uidlist does not name.
func (r *reading) nameless() int {
	if !r.authority() {
		return 0
	}
	known := 0
	for _, l := range r.named {
		if r.ix.Find(uint32(l.uid)) != nil {
			known++
		}
	}
	return len(r.ix.Records) - known
}

func (r *reading) mailbox() mailstore.Mailbox {
	box := mailstore.Mailbox{User: r.a.user, Name: r.place.name, ObjectID: r.uids.guid, UIDValidity: r.validity(), Lost: r.lost()}
	if r.uids.validity != 0 {
		box.UIDNext = r.uids.uidNext()
	}
	if r.authority() {
		box.UIDNext = max(box.UIDNext, r.ix.UIDNext())
	}
	box.Written = r.written()
	return box
}

// written is when the folder's index was last written.
func (r *reading) written() (last time.Time) {
	for name, root := range map[string]*os.Root{
		path.Join(r.place.control, uidlistName):      r.a.controlOf(r.place),
		path.Join(r.place.index, indexName):          r.a.indexOf(r.place),
		path.Join(r.place.index, indexName+".log"):   r.a.indexOf(r.place),
		path.Join(r.place.index, indexName+".log.2"): r.a.indexOf(r.place),
	} {
		if root == nil {
			continue
		}
		if info, err := root.Stat(name); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

func (r *reading) problem(err error) *mailstore.Problem {
	p := &mailstore.Problem{User: r.a.user, Mailbox: r.place.name, Path: r.place.control, Err: err}
	if control := r.a.controlOf(r.place); control != nil {
		p.Path = filepath.Join(control.Name(), r.place.control)
	}
	return p
}

// problems are what a listing of the folder has to tell.
func (r *reading) problems() []*mailstore.Problem {
	if why := r.lost(); why != "" && r.there() {
		if n := r.nameless(); n > 0 {
			why += fmt.Sprintf(" (%d are not listed)", n)
		}
		return []*mailstore.Problem{r.problem(errors.New(why))}
	}
	return nil
}

// lines are the messages that are there, each name once.
func (r *reading) lines() []line {
	var out []line
	last := map[string]int{}
	for _, l := range r.named {
		if r.authority() && uint32(l.uid) < r.ix.UIDNext() && r.ix.Find(uint32(l.uid)) == nil {
			continue // removed
		}
		if at, twice := last[l.base]; twice {
			out[at].uid = 0
		}
		last[l.base] = len(out)
		out = append(out, l)
	}
	return slices.DeleteFunc(out, func(l line) bool { return l.uid == 0 })
}

// openCache opens Dovecot's cache of the folder, nil where there is none.
func (r *reading) openCache() (c *index.Cache, done func()) {
	if !r.authority() {
		return nil, func() {}
	}
	f, err := deliver.OpenRegular(r.a.indexOf(r.place), path.Join(r.place.index, indexName+".cache"))
	if err != nil {
		return nil, func() {}
	}
	c, _ = r.ix.OpenCache(f) // one that cannot be used is as good as none
	return c, func() { f.Close() }
}

// message is a line as mailstore tells it.
func (r *reading) message(l line, c *index.Cache) mailstore.Message {
	m := mailstore.Message{Key: folder.Clean(l.base), UID: l.uid, Size: l.size, Promised: l.size, InternalDate: deliveredAt(l.base), NoFlags: true}
	if !r.authority() {
		m.Doubt = "it is not known whether it was removed: " + r.lost()
		return m
	}
	if rec := r.ix.Find(uint32(l.uid)); rec != nil {
		m.Flags, m.NoFlags = r.ix.Names(rec), false
		if t := c.Received(rec, 0); !t.IsZero() {
			m.InternalDate = t
		}
	}
	return m
}
