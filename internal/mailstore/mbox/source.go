package mbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/userpath"
)

// Bounds on what is believed of one user's directory.
const (
	maxFolders = 100_000
	maxDepth   = 32
)

// racy is how young a change may be to make a state useless.
const racy = 2 * time.Second

// A Source reads mboxes. It may be used by several goroutines.
type Source struct {
	opt   Options
	lists lists
}

var (
	_ mailstore.Source  = (*Source)(nil)
	_ mailstore.Counter = (*Source)(nil)
)

// Open opens mboxes for reading. The fixed part of the root must be there.
func Open(o Options) (*Source, error) {
	fixed := o.Root.Fixed()
	info, err := os.Stat(fixed)
	if err != nil {
		return nil, err
	}
	if o.Root.Variable() && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", fixed)
	}
	if !info.IsDir() {
		f, err := os.OpenFile(fixed, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if is, err := looksLikeMbox(f); err != nil {
			return nil, err
		} else if !is {
			return nil, fmt.Errorf("%s: %w", fixed, errNotMbox)
		}
	}
	return &Source{opt: o}, nil
}

// looksLikeMbox looks at the first line; an empty file is an mbox.
func looksLikeMbox(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	line, err := firstLine(f)
	if err != nil {
		return false, err
	}
	_, ok := parseSeparator([]byte(line))
	return ok || line == "", nil
}

// firstLine is the first line of a file that is not empty, or its beginning.
func firstLine(f *os.File) (string, error) {
	buf := make([]byte, maxSeparator+1)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line, _, _ := strings.Cut(strings.TrimLeft(string(buf[:n]), "\r\n"), "\n")
	return line, nil
}

// Users lists the users whose file or directory is there.
func (s *Source) Users(ctx context.Context, yield func(mailstore.User) error) error {
	if !s.opt.Root.Variable() {
		return yield(mailstore.User{Name: s.opt.User, Partition: filepath.Dir(s.opt.Root.Fixed())})
	}
	return s.opt.Root.Discover(ctx, func(p userpath.Place) error {
		if info, err := os.Lstat(p.Path); !p.Dir && (err != nil || !info.Mode().IsRegular() || strings.HasSuffix(p.Path, ".lock")) {
			return nil
		}
		return yield(mailstore.User{Name: p.User, Partition: s.opt.Root.Fixed()})
	})
}

// home is where one user's mboxes are.
type home struct {
	user string
	root *os.Root // the directory, or the one that the file is in
	file string   // the only file in it, "" for a directory of files
}

// home opens a user's place.
func (s *Source) home(user string) (*home, error) {
	h, err := openHome(&s.opt, user)
	if err != nil {
		return nil, &mailstore.Problem{User: user, Path: s.opt.Root.String(), Err: err}
	}
	return h, nil
}

func openHome(o *Options, user string) (*home, error) {
	p := userpath.Place{User: user, Path: o.Root.Fixed()}
	if o.Root.Variable() {
		var err error
		if p, err = o.Root.Find(user); err != nil {
			return nil, err
		}
	} else if info, err := os.Stat(p.Path); err != nil {
		return nil, err
	} else {
		p.Dir = info.IsDir()
	}
	h := &home{user: user}
	dir := p.Path
	if !p.Dir {
		dir, h.file = filepath.Split(p.Path)
	}
	var err error
	if o.Root.Variable() && p.Dir {
		h.root, err = o.Root.OpenRoot(user)
	} else {
		h.root, err = os.OpenRoot(dir)
	}
	return h, err
}

// single is the name of the folder in a place that is one file: INBOX where
// the file is called as its user or as an inbox is, else as the file is.
func (h *home) single(e folder.Encoding) string {
	name := strings.TrimSuffix(h.file, ".mbox")
	if name == h.user || name == "mbox" || strings.EqualFold(name, folder.Inbox) || strings.HasPrefix(h.user, name+"@") {
		return folder.Inbox
	}
	return e.DecodeLevel(name)
}

// A place is a folder's file.
type place struct{ name, file string }

// Mailboxes lists the user's folders, INBOX first.
func (s *Source) Mailboxes(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox) error) error {
	h, err := s.home(user.Name)
	if err != nil {
		return err
	}
	defer h.root.Close()
	places, problems := h.places(s.opt.Encoding)
	for _, p := range places {
		if err := ctx.Err(); err != nil {
			return err
		}
		box, err := h.inspect(p)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				problems = append(problems, h.problem(p, err))
			}
			continue
		}
		if err := yield(box); err != nil {
			return err
		}
	}
	return incomplete(problems)
}

func incomplete(problems []*mailstore.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &mailstore.Incomplete{Problems: problems}
}

func (h *home) problem(p place, err error) *mailstore.Problem {
	return &mailstore.Problem{User: h.user, Mailbox: p.name, Path: filepath.Join(h.root.Name(), p.file), Err: err}
}

// inspect describes a folder from its file's stat.
func (h *home) inspect(p place) (box mailstore.Mailbox, err error) {
	f, err := deliver.OpenRegular(h.root, p.file)
	if err != nil {
		return box, err
	}
	defer f.Close()
	box = mailstore.Mailbox{User: h.user, Name: p.name}
	is, err := looksLikeMbox(f)
	if err != nil {
		return box, err
	}
	if !is {
		box.Lost = errNotMbox.Error()
		line, err := firstLine(f)
		if err != nil {
			return box, err
		}
		box.Foreign = !strings.HasSuffix(p.file, ".mbox") && !strings.HasPrefix(line, string(fromPrefix))
	}
	st, err := stat(f)
	if err != nil {
		return box, err
	}
	box.ObjectID = fmt.Sprintf("file:%d", st.Ino)
	if h.file != "" || strings.EqualFold(p.name, folder.Inbox) {
		box.ObjectID = "" // a spool file is replaced whenever mail is removed
	}
	box.State = token(st, time.Now())
	return box, nil
}

func stat(f *os.File) (st unix.Stat_t, err error) {
	return st, unix.Fstat(int(f.Fd()), &st)
}

// token is the state of a file, "" when it changed so lately that a further
// change might not show.
func token(st unix.Stat_t, now time.Time) string {
	m, c := time.Unix(st.Mtim.Sec, st.Mtim.Nsec), time.Unix(st.Ctim.Sec, st.Ctim.Nsec)
	if now.Sub(m) < racy || now.Sub(c) < racy {
		return ""
	}
	return fmt.Sprintf("%x.%x.%x.%x.%x", st.Dev, st.Ino, st.Size, m.UnixNano(), c.UnixNano())
}

// places finds the folders' files, INBOX first.
func (h *home) places(e folder.Encoding) ([]place, []*mailstore.Problem) {
	if h.file != "" {
		return []place{{h.single(e), h.file}}, nil
	}
	w := walk{h: h, e: e, seen: map[string]bool{}}
	w.dir(".", "", 0)
	sort.Slice(w.out, func(i, j int) bool {
		a, b := w.out[i], w.out[j]
		if (a.name == folder.Inbox) != (b.name == folder.Inbox) {
			return a.name == folder.Inbox
		}
		return a.name < b.name
	})
	return w.out, w.problems
}

// walk goes through a directory of mboxes.
type walk struct {
	h        *home
	e        folder.Encoding
	out      []place
	seen     map[string]bool
	problems []*mailstore.Problem
}

// dir lists the files of one directory; prefix is the name of the folder above
// with its "/".
func (w *walk) dir(dir, prefix string, depth int) {
	entries, err := w.read(dir)
	if err == nil && depth > maxDepth {
		err = fmt.Errorf("folders are nested more than %d deep", maxDepth)
	}
	if err != nil {
		w.problems = append(w.problems, w.h.problem(place{file: dir}, err))
		return
	}
	for _, entry := range entries {
		name, file := entry.Name(), path.Join(dir, entry.Name())
		switch {
		case strings.HasPrefix(name, "."), len(w.out) >= maxFolders:
		case entry.IsDir():
			level := w.e.DecodeLevel(strings.TrimSuffix(name, childSuffix))
			w.dir(file, prefix+level+"/", depth+1)
		case entry.Type().IsRegular() && !foreign(name):
			w.add(place{w.nameOf(prefix, name), file})
		}
	}
}

func (w *walk) read(dir string) ([]fs.DirEntry, error) {
	d, err := w.h.root.OpenFile(dir, deliver.DirFlags, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	return entries, err
}

func (w *walk) nameOf(prefix, file string) string {
	if prefix == "" && (strings.EqualFold(file, folder.Inbox) || file == "mbox") && !w.seen[folder.Inbox] {
		return folder.Inbox
	}
	level := w.e.DecodeLevel(file)
	if prefix == "" {
		level = folder.NotInbox(level)
	}
	return prefix + level
}

func (w *walk) add(p place) {
	if w.seen[p.name] { // Work/x beside Work.sbd/x
		w.problems = append(w.problems, w.h.problem(p, errors.New("another file has the same folder name")))
		return
	}
	if len(w.out)+1 == maxFolders {
		w.problems = append(w.problems, w.h.problem(p, fmt.Errorf("more than %d folders", maxFolders)))
	}
	w.seen[p.name] = true
	w.out = append(w.out, p)
}

// foreign tells the files that mail programs keep beside mboxes.
func foreign(name string) bool {
	for _, s := range []string{".msf", ".dat", ".json", ".html", ".lock", ".sqlite", ".log"} {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return strings.HasPrefix(name, "dovecot") || name == "subscriptions"
}

// find gives the place of a folder that was listed.
func (s *Source) find(h *home, name string) (place, error) {
	places, _ := h.places(s.opt.Encoding)
	for _, p := range places {
		if p.name == name {
			return p, nil
		}
	}
	return place{}, &mailstore.Problem{User: h.user, Mailbox: name, Path: h.root.Name(), Err: fs.ErrNotExist}
}
