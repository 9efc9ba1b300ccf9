// Package maildir reads and writes Maildir and Maildir++ as Dovecot keeps them
// on disk: folders, UIDs and UIDVALIDITY (dovecot-uidlist), keywords
// (dovecot-keywords), flags in file names, subscriptions.
//
// The Source is strictly read-only and works while the mail server does: it
// takes no lock, and finds a message again whose name a flag change has
// altered. Maildirs belong to their users, salvor mostly runs as root: nothing
// is opened outside the user's root (os.Root), and no message that is not a
// regular file.
//
// It is called by package stores, which parses store URLs; the engines see
// only the interfaces of package mailstore. It does not read Dovecot's binary
// indexes: what stands only there (MODSEQ, keywords beyond the 26th) is out of
// its reach. An Index is the other way round: it reads Dovecot's files alone,
// when the messages are lost. Files that Dovecot keeps compressed are read as the mail in them
// (package atrest).
package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/userpath"
)

// Layout says how folders lie below a user's root.
type Layout int

// The layouts of Dovecot's LAYOUT= parameter.
const (
	PlusPlus Layout = iota // Work/2024 is the directory .Work.2024
	FS                     // Work/2024 is the directory Work/2024
)

// Options say where Maildirs are and how they are laid out.
type Options struct {
	Root     *userpath.Template // users' Maildirs
	Control  *userpath.Template // uidlists, keywords, subscriptions; nil: in Root
	Index    *userpath.Template // dovecot.index*; nil: in Root
	Inbox    *userpath.Template // INBOX; nil: Root itself
	Layout   Layout
	Encoding folder.Encoding
	// User names the only user of a Root without variables.
	User string
	// Offline says that the mail server is stopped, or the users are locked out.
	// A destination keeps original UIDs then in folders that Dovecot has indexed,
	// too, and puts Dovecot's indexes of them aside.
	Offline bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

func (o *Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Files that Dovecot keeps beside the messages.
const (
	uidlistName       = "dovecot-uidlist"
	keywordsName      = "dovecot-keywords"
	subscriptionsName = "subscriptions"
)

// uidlistNames are the files that hold UIDs, by precedence. Courier's has the
// form of Dovecot's version 1, which was made to take it over.
var uidlistNames = []string{uidlistName, "courierimapuiddb"}

// A Source reads Maildirs. It may be used by several goroutines.
type Source struct {
	opt     Options
	mounts  mounts
	boxes   *cache[boxKey, *openBox]
	account *cache[string, *account]
}

var (
	_ mailstore.Source  = (*Source)(nil)
	_ mailstore.Counter = (*Source)(nil)
)

// Limits on open directories: a few users at a time, and their folders.
const (
	cachedAccounts = 16
	cachedBoxes    = 32
)

// Open opens Maildirs for reading. The fixed part of the root must be there; a
// root without variables must be a Maildir.
func Open(o Options) (*Source, error) {
	for _, t := range []*userpath.Template{o.Root, o.Control, o.Index, o.Inbox} {
		if t == nil {
			continue
		}
		if info, err := os.Stat(t.Fixed()); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%s is not a directory", t.Fixed())
		}
	}
	s := &Source{opt: o, mounts: readMounts(), boxes: newCache[boxKey, *openBox](cachedBoxes), account: newCache[string, *account](cachedAccounts)}
	if o.Root.Variable() {
		return s, nil
	}
	is, err := s.isMaildir(userpath.Place{User: o.User, Path: o.Root.Fixed(), Dir: true})
	if err == nil && !is {
		err = fmt.Errorf("%s is no Maildir: it has no directory cur", o.Root.Fixed())
	}
	return s, err
}

// Close closes the directories that are kept open.
func (s *Source) Close() error {
	return errors.Join(s.boxes.close(), s.account.close())
}

// Users lists the users whose Maildir is there.
func (s *Source) Users(ctx context.Context, yield func(mailstore.User) error) error {
	if !s.opt.Root.Variable() {
		return yield(mailstore.User{Name: s.opt.User, Partition: s.mounts.of(s.opt.Root.Fixed())})
	}
	var problems []*mailstore.Problem
	err := s.opt.Root.Discover(ctx, func(p userpath.Place) error {
		is, err := s.isMaildir(p)
		if err != nil {
			problems = append(problems, &mailstore.Problem{User: p.User, Path: p.Path, Err: err})
		}
		if !is {
			return nil
		}
		return yield(mailstore.User{Name: p.User, Partition: s.mounts.of(p.Path)})
	})
	return addProblems(err, problems)
}

// isMaildir tells whether a user's mail stands in a directory. A root that lost
// its cur, but still has what Dovecot keeps beside it, is one: its INBOX is
// reported as lost, not its user as gone.
func (s *Source) isMaildir(p userpath.Place) (bool, error) {
	if !p.Dir {
		return false, nil
	}
	for _, name := range []string{"cur", "new", uidlistName} {
		_, err := os.Lstat(filepath.Join(p.Path, name))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// addProblems adds problems to the error of a listing.
func addProblems(err error, problems []*mailstore.Problem) error {
	if len(problems) == 0 {
		return err
	}
	var inc *mailstore.Incomplete
	if err == nil {
		return &mailstore.Incomplete{Problems: problems}
	}
	if errors.As(err, &inc) {
		return &mailstore.Incomplete{Problems: append(problems, inc.Problems...)}
	}
	return err
}

// An account is one user's open roots.
type account struct {
	user                  string
	root                  *os.Root
	control, index, inbox *os.Root // root where the option is not set; control and index nil where the directory is missing
}

func (a *account) Close() error {
	var err error
	if a.root != nil {
		err = a.root.Close()
	}
	for _, r := range []*os.Root{a.control, a.index, a.inbox} {
		if r != nil && r != a.root {
			err = errors.Join(err, r.Close())
		}
	}
	return err
}

// openAccount opens the user's roots.
func (s *Source) openAccount(user string) (*account, error) {
	root, err := s.opt.Root.OpenRoot(user)
	if err != nil {
		return nil, err
	}
	a := &account{user: user, root: root, inbox: root}
	a.control, err = s.side(s.opt.Control, a)
	if err == nil {
		a.index, err = s.side(s.opt.Index, a)
	}
	if err == nil && s.opt.Inbox != nil {
		a.inbox, err = s.opt.Inbox.OpenRoot(user)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// side opens a root beside the main one; nil where it is missing.
func (s *Source) side(t *userpath.Template, a *account) (*os.Root, error) {
	if t == nil {
		return a.root, nil
	}
	r, err := t.OpenRoot(a.user)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, err
}

// with calls f with the user's open roots.
func (s *Source) with(user string, f func(*account) error) error {
	a, done, err := s.account.get(user, func() (*account, error) { return s.openAccount(user) })
	if err != nil {
		return &mailstore.Problem{User: user, Path: s.opt.Root.String(), Err: err}
	}
	defer done()
	return f(a)
}

// A place says where a folder's directories are.
type place struct {
	name           string
	dir            string // below the root, or below inbox for INBOX
	control, index string // below the roots of these names
	inboxRoot      bool   // INBOX itself
}

// placeOf says where a folder is. It is the inverse of the listing's naming.
func (o *Options) placeOf(name string) place {
	if name == folder.Inbox {
		p := place{name: name, dir: ".", control: ".", index: ".", inboxRoot: true}
		if o.Control != nil {
			p.control = o.inboxSide()
		}
		if o.Index != nil {
			p.index = o.inboxSide()
		}
		return p
	}
	dir := o.dirOf(name)
	return o.besidesInbox(place{name: name, dir: dir, control: dir, index: dir})
}

// besidesInbox keeps a folder whose directory is called INBOX from taking the
// uidlist that Dovecot keeps under this name for the true INBOX.
func (o *Options) besidesInbox(p place) place {
	if p.dir == o.inboxSide() {
		if o.Control != nil {
			p.control = path.Join(p.dir, "none")
		}
		if o.Index != nil {
			p.index = path.Join(p.dir, "none")
		}
	}
	return p
}

// inboxSide is INBOX's directory below INDEX= and CONTROL=.
func (o *Options) inboxSide() string {
	if o.Layout == FS {
		return "INBOX"
	}
	return ".INBOX"
}

func (o *Options) dirOf(name string) string {
	if o.Layout == PlusPlus {
		return "." + o.Encoding.EncodeDotted(name)
	}
	return o.Encoding.EncodePath(name)
}

// rootOf is the root that a folder's messages lie in.
func (a *account) rootOf(p place) *os.Root {
	if p.inboxRoot {
		return a.inbox
	}
	return a.root
}

// controlOf is the root that a folder's uidlist and keywords lie in, nil where
// it is missing.
func (a *account) controlOf(p place) *os.Root { return a.besides(a.control, p) }

// indexOf is the root that a folder's dovecot.index* lie in.
func (a *account) indexOf(p place) *os.Root { return a.besides(a.index, p) }

func (a *account) besides(side *os.Root, p place) *os.Root {
	if side == a.root {
		return a.rootOf(p)
	}
	return side
}

// path is the folder's path for messages to people.
func (a *account) path(p place, below ...string) string {
	return filepath.Join(a.rootOf(p).Name(), path.Join(append([]string{p.dir}, below...)...))
}
