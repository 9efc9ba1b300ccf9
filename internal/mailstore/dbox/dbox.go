// Package dbox reads Dovecot's own mailbox formats on disk: sdbox, one message
// in a file, and mdbox, many. It is a source only: what is restored for Dovecot
// goes to it over IMAP or as a Maildir.
//
// Content, GUID, date of receipt and original folder stand in the message files;
// UIDs, flags and keywords only in Dovecot's indexes (package index), and so does
// which message of an mdbox file stands in which folder, or was removed by its
// user. So:
//
//   - Where a folder's index can be read, everything is exactly as IMAP shows it.
//     A message of which the index knows and the file is not there, or is broken,
//     is listed and is damaged at the source.
//   - Where mdbox's map of its storage cannot be read, the storage is searched for
//     the GUIDs that the folders' indexes name. That is reported.
//   - Where a log was cut off, or mail is there that no index lists, an index has
//     lost changes: absence is no evidence of deletion then, in an mdbox from none
//     of the user's folders. What is there is listed as far as its folder is
//     known: sdbox's files, and in an mdbox what a log that was cut inside of a
//     record lacks. A server that is just changing something is waited for.
//   - Where a folder's index cannot be read, sdbox lists the folder's files, and
//     mdbox the messages that no other folder has and that its map does not know
//     as removed; without a map, be they removed or not. Flags are unknown then,
//     and absence from the folder is no evidence of deletion (Mailbox.Lost).
//
// Folders lie as Dovecot lays them out for these formats unless told otherwise
// (LAYOUT=fs): mailboxes/Work/2024/dbox-Mails. Other layouts are not read.
//
// Compressed messages are read as mail (package atrest). Messages whose
// attachments Dovecot keeps in files of their own (mail_attachment_dir) are
// reported as damaged, never given without them.
//
// The Source is strictly read-only and takes no lock. Nothing is opened outside
// of a user's roots (os.Root). Package stores calls it.
package dbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/userpath"
)

// A Kind is one of the two formats.
type Kind int

// The formats.
const (
	Single Kind = iota // sdbox
	Multi              // mdbox
)

// Options say where dboxes are, in the words of Dovecot's mail_location.
type Options struct {
	Kind     Kind
	Root     *userpath.Template // users' directories, which hold mailboxes/
	Index    *userpath.Template // INDEX=; nil: in Root
	Control  *userpath.Template // CONTROL=, for subscriptions; nil: in Root
	Alt      *userpath.Template // ALT=; nil: there is none
	Encoding folder.Encoding    // UTF8 with Dovecot's parameter UTF-8
	// User names the only user of a Root without variables.
	User string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

func (o *Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Names that Dovecot gives its directories and files.
const (
	mailboxesDir = "mailboxes"
	mailsDir     = "dbox-Mails"
	storageDir   = "storage"
	indexName    = "dovecot.index"
	mapName      = "dovecot.map.index"
	altLink      = "dbox-alt-root" // where Dovecot notes its ALT=
)

// Bounds on what is believed of one user.
const (
	maxFolders  = 100_000
	maxDepth    = 64
	maxMessages = 4 << 20
	maxFiles    = 4 << 20 // in one directory
)

// A Source reads dboxes. It may be used by several goroutines.
type Source struct {
	opt Options

	mu     sync.Mutex
	recent []*account // the latest last
}

var _ mailstore.Source = (*Source)(nil)

// maxRecent is how many users' directories are kept open.
const maxRecent = 8

// Open opens dboxes for reading. The fixed part of the root must be there; a
// root without variables must be a dbox.
func Open(o Options) (*Source, error) {
	for _, t := range []*userpath.Template{o.Root, o.Index, o.Control, o.Alt} {
		if t == nil {
			continue
		}
		if info, err := os.Stat(t.Fixed()); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%s is not a directory", t.Fixed())
		}
	}
	if !o.Root.Variable() && !isDbox(o.Root.Fixed()) {
		return nil, fmt.Errorf("%s is no dbox: it has no directory %s", o.Root.Fixed(), mailboxesDir)
	}
	return &Source{opt: o}, nil
}

// isDbox tells whether a user's mail stands in a directory.
func isDbox(dir string) bool {
	for _, name := range []string{mailboxesDir, storageDir} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// Users lists the users whose dbox is there.
func (s *Source) Users(ctx context.Context, yield func(mailstore.User) error) error {
	partition := s.opt.Root.Fixed()
	if !s.opt.Root.Variable() {
		return yield(mailstore.User{Name: s.opt.User, Partition: partition})
	}
	return s.opt.Root.Discover(ctx, func(p userpath.Place) error {
		if !p.Dir || !isDbox(p.Path) {
			return nil
		}
		return yield(mailstore.User{Name: p.User, Partition: partition})
	})
}

// Close closes the directories that are kept open.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, a := range s.recent {
		err = errors.Join(err, a.retire())
	}
	s.recent = nil
	return err
}

// An account is one user's open directories.
type account struct {
	opt                       *Options
	user                      string
	root, index, control, alt *os.Root // index and control are root where the option is not set; nil: missing
	store                     storage
	last                      lastIndex

	users   int  // by whom it is used, under Source.mu
	retired bool // to be closed by the last of them
}

// with calls f with the user's open directories.
func (s *Source) with(user string, f func(*account) error) error {
	a, err := s.account(user)
	if err != nil {
		return &mailstore.Problem{User: user, Path: s.opt.Root.String(), Err: err}
	}
	defer s.done(a)
	return f(a)
}

func (s *Source) account(user string) (*account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.recent, func(a *account) bool { return a.user == user }); i >= 0 {
		a := s.recent[i]
		s.recent = append(slices.Delete(s.recent, i, i+1), a)
		a.users++
		return a, nil
	}
	a, err := openAccount(&s.opt, user)
	if err != nil {
		return nil, err
	}
	a.users++
	if a.index == nil || a.control == nil || a.alt == nil && s.opt.Alt != nil {
		a.retired = true // what is missing may be made any time
		return a, nil
	}
	s.recent = append(s.recent, a)
	if len(s.recent) > maxRecent {
		err = s.recent[0].retire()
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	return a, err
}

func (s *Source) done(a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.users--; a.users == 0 && a.retired {
		a.close()
	}
}

func (a *account) retire() error {
	a.retired = true
	if a.users > 0 {
		return nil
	}
	return a.close()
}

func openAccount(o *Options, user string) (a *account, err error) {
	a = &account{opt: o, user: user}
	if a.root, err = o.Root.OpenRoot(user); err != nil {
		return nil, err
	}
	a.index, a.control = a.root, a.root
	for _, side := range []struct {
		t    *userpath.Template
		root **os.Root
	}{{o.Index, &a.index}, {o.Control, &a.control}, {o.Alt, &a.alt}} {
		if side.t == nil {
			continue
		}
		if *side.root, err = side.t.OpenRoot(user); errors.Is(err, fs.ErrNotExist) {
			*side.root, err = nil, nil
		}
		if err != nil {
			*side.root = nil
			return nil, errors.Join(err, a.close())
		}
	}
	return a, nil
}

func (a *account) close() error {
	var err error
	for i, r := range []*os.Root{a.root, a.index, a.control, a.alt} {
		if r != nil && (i == 0 || r != a.root) {
			err = errors.Join(err, r.Close())
		}
	}
	return err
}

// problem names something of this user that could not be read.
func (a *account) problem(mailbox, path string, err error) *mailstore.Problem {
	return &mailstore.Problem{User: a.user, Mailbox: mailbox, Path: path, Err: err}
}

// incomplete is the error of a listing with problems, nil without.
func incomplete(problems []*mailstore.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &mailstore.Incomplete{Problems: problems}
}
