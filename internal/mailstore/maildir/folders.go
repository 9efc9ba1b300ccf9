package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// Bounds on what is believed of one user's folders.
const (
	maxFolders = 100_000
	maxDepth   = 64
)

// racy is how young a change may be to make a state useless: another change
// within the same tick of the file system's clock would not show.
const racy = 2 * time.Second

// Mailboxes lists the user's folders, INBOX first, the others by name. It
// costs a few stats and two small reads a folder and opens no message.
func (s *Source) Mailboxes(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox) error) error {
	return s.with(user.Name, func(a *account) error {
		l := folderLister{s: s, a: a, ids: map[string]bool{}}
		places := l.find(ctx)
		l.subscribed = l.subscriptions()
		for _, p := range places {
			if err := ctx.Err(); err != nil {
				return err
			}
			box, ok := l.inspect(p)
			if !ok {
				continue
			}
			if err := yield(box); err != nil {
				return err
			}
		}
		return addProblems(nil, l.problems)
	})
}

type folderLister struct {
	s          *Source
	a          *account
	subscribed map[string]bool
	ids        map[string]bool
	problems   []*mailstore.Problem
	count      int
}

func (l *folderLister) problem(mailbox, path string, err error) {
	l.problems = append(l.problems, &mailstore.Problem{User: l.a.user, Mailbox: mailbox, Path: path, Err: err})
}

// find gives the places where folders may be, sorted.
func (l *folderLister) find(ctx context.Context) []place {
	var names []string
	if l.s.opt.Layout == PlusPlus {
		names = l.dotted()
	} else {
		l.nested(ctx, ".", nil, func(dir string) {
			names = append(names, l.s.opt.Encoding.DecodePath(dir))
		})
	}
	sort.Strings(names)
	out := []place{l.s.opt.placeOf(folder.Inbox)}
	for _, n := range names {
		out = append(out, l.s.opt.placeOf(n))
	}
	return out
}

// dotted lists the folders of a Maildir++.
func (l *folderLister) dotted() (names []string) {
	for _, e := range l.readDir(".") {
		if len(e.name) > 1 && e.name[0] == '.' && mayBeDir(e.kind) {
			names = append(names, l.s.opt.Encoding.DecodeDotted(e.name[1:]))
		}
	}
	if len(names) > maxFolders {
		l.problem("", l.a.root.Name(), fmt.Errorf("more than %d folders", maxFolders))
		names = names[:maxFolders]
	}
	return names
}

// nested walks the directories of LAYOUT=fs. above holds those on the way
// down, so that links in a circle end.
func (l *folderLister) nested(ctx context.Context, dir string, above []unix.Stat_t, yield func(string)) {
	if len(above) > maxDepth {
		l.problem("", path.Join(l.a.root.Name(), dir), fmt.Errorf("folders are nested more than %d deep", maxDepth))
		return
	}
	st, err := l.statDir(dir)
	if err != nil {
		l.problem("", path.Join(l.a.root.Name(), dir), err)
		return
	}
	for _, a := range above {
		if a.Ino == st.Ino && a.Dev == st.Dev {
			return
		}
	}
	above = append(above[:len(above):len(above)], st)
	for _, e := range l.readDir(dir) {
		if ctx.Err() != nil || reserved(e.name) || !mayBeDir(e.kind) {
			continue
		}
		sub := path.Join(dir, e.name)
		if e.kind != unix.DT_DIR && !l.isDir(sub) {
			continue
		}
		if l.count++; l.count > maxFolders {
			if l.count == maxFolders+1 {
				l.problem("", l.a.root.Name(), fmt.Errorf("more than %d folders", maxFolders))
			}
			return
		}
		yield(sub)
		l.nested(ctx, sub, above, yield)
	}
}

// reserved tells the names that are no folders in LAYOUT=fs.
func reserved(name string) bool {
	return name == "cur" || name == "new" || name == "tmp"
}

func mayBeDir(kind byte) bool {
	return kind == unix.DT_DIR || kind == unix.DT_LNK || kind == unix.DT_UNKNOWN
}

func (l *folderLister) isDir(dir string) bool {
	info, err := l.a.root.Stat(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.problem("", path.Join(l.a.root.Name(), dir), err)
		}
		return false
	}
	return info.IsDir()
}

func (l *folderLister) statDir(dir string) (st unix.Stat_t, err error) {
	d, err := l.a.root.OpenFile(dir, deliver.DirFlags, 0)
	if err != nil {
		return st, err
	}
	defer d.Close()
	return st, unix.Fstat(int(d.Fd()), &st)
}

func (l *folderLister) readDir(dir string) []dirent {
	d, err := l.a.root.OpenFile(dir, deliver.DirFlags, 0)
	if err == nil {
		defer d.Close()
		var out []dirent
		if out, err = readDir(d); err == nil {
			return out
		}
	}
	l.problem("", path.Join(l.a.root.Name(), dir), err)
	return nil
}

// inspect describes the folder at a place; ok is false where there is none.
func (l *folderLister) inspect(p place) (box mailstore.Mailbox, ok bool) {
	box = mailstore.Mailbox{User: l.a.user, Name: p.name, Subscribed: l.subscribed[p.name]}
	look, err := l.s.look(l.a, p)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) || p.name == folder.Inbox {
			l.problem(p.name, l.a.path(p), err)
		}
		return box, false
	}
	if !look.isFolder(p.name == folder.Inbox) {
		return box, false
	}
	box.UIDValidity, box.State, box.Lost = look.uids.validity, look.state, look.lost()
	if box.UIDValidity != 0 {
		box.UIDNext = look.uids.uidNext()
	}
	for _, pr := range look.problems {
		l.problem(p.name, pr.Path, pr.Err)
	}
	box.ObjectID = look.guid()
	if l.ids[box.ObjectID] { // a copied folder brings its original's GUID along
		box.ObjectID = look.dirID
	}
	l.ids[box.ObjectID] = true
	return box, true
}

// subscriptions reads the names that the user has subscribed.
func (l *folderLister) subscriptions() map[string]bool {
	if l.a.control == nil {
		return nil
	}
	f, err := deliver.OpenRegular(l.a.control, subscriptionsName)
	if err == nil {
		defer f.Close()
		var subs map[string]bool
		if subs, err = readSubscriptions(f, &l.s.opt); err == nil {
			return subs
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		l.problem("", path.Join(l.a.control.Name(), subscriptionsName), err)
	}
	return nil
}
