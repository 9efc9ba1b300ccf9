package userpath

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
)

// Limits of what is believed of a file system.
const (
	maxLinks   = 40      // symbolic links in one path, as in Linux
	maxEntries = 2 << 20 // names in one directory of users
)

// errLink says that a symbolic link was not followed.
var errLink = errors.New("symbolic link made by a user is not followed")

// A Place is what a template gave for one user.
type Place struct {
	User string
	Path string // with links resolved
	Dir  bool   // a directory; else something else
}

// Find looks up the user's place without looking at any other user's. It
// returns an error that is fs.ErrNotExist when there is none.
func (t *Template) Find(user string) (Place, error) {
	elems, err := t.expand(user, strict)
	if err != nil {
		return Place{}, err
	}
	w := walker{}
	if err := w.start(t.fixed); err != nil {
		return Place{}, err
	}
	defer w.close()
	for i, e := range elems {
		if err := w.step(e, i == len(elems)-1); err != nil {
			return Place{}, err
		}
	}
	return Place{User: user, Path: w.path, Dir: w.dir}, nil
}

// OpenRoot opens a place that is a directory, making sure that it is still
// the one that the way from the template's fixed part leads to.
func (t *Template) OpenRoot(user string) (*os.Root, error) {
	elems, err := t.expand(user, strict)
	if err != nil {
		return nil, err
	}
	w := walker{}
	if err := w.start(t.fixed); err != nil {
		return nil, err
	}
	defer w.close()
	for _, e := range elems {
		if err := w.step(e, false); err != nil {
			return nil, err
		}
	}
	return w.root()
}

// CreateRoot is OpenRoot for a place that is to be written: what is missing is
// made, 0700, and belongs to whom the directory above belongs. A part of a user
// name that no file can have gets a readable name with a hash.
func (t *Template) CreateRoot(user string) (*os.Root, error) {
	elems, err := t.expand(user, lenient)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(t.fixed, 0o700); err != nil {
		return nil, err
	}
	w := walker{}
	if err := w.start(t.fixed); err != nil {
		return nil, err
	}
	defer w.close()
	for _, e := range elems {
		var above unix.Stat_t
		if err := unix.Fstat(w.fd, &above); err != nil {
			return nil, err
		}
		err := w.step(e, false)
		if errors.Is(err, fs.ErrNotExist) {
			if err = w.mkdir(e); err == nil {
				err = w.step(e, false)
			}
		}
		if err == nil {
			err = w.own(above)
		}
		if err != nil {
			return nil, err
		}
	}
	return w.root()
}

// CreateParent is CreateRoot for the directory above the place; it also gives
// the place's own name there.
func (t *Template) CreateParent(user string) (root *os.Root, name string, err error) {
	if len(t.elems) == 0 {
		dir, name := filepath.Split(t.fixed)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, "", err
		}
		root, err := os.OpenRoot(dir)
		return root, name, err
	}
	elems, err := t.expand(user, lenient)
	if err != nil {
		return nil, "", err
	}
	above := *t
	above.elems = t.elems[:len(elems)-1]
	root, err = above.CreateRoot(user)
	return root, elems[len(elems)-1], err
}

// Discover finds all users' places: whatever stands at the template's path,
// directory or not, sorted within each directory. What cannot be read comes
// back as *mailstore.Incomplete. Names that no user can have are left out.
func (t *Template) Discover(ctx context.Context, yield func(Place) error) error {
	w := walker{}
	if err := w.start(t.fixed); err != nil {
		return err
	}
	defer w.close()
	d := discovery{ctx: ctx, yield: yield}
	if err := d.walk(&w, t.elems, binding{}); err != nil {
		return err
	}
	if len(d.problems) > 0 {
		return &mailstore.Incomplete{Problems: d.problems}
	}
	return nil
}

type discovery struct {
	ctx      context.Context
	yield    func(Place) error
	problems []*mailstore.Problem
}

func (d *discovery) problem(path string, err error) {
	d.problems = append(d.problems, &mailstore.Problem{Path: path, Err: err})
}

// walk follows the elements from where w stands.
func (d *discovery) walk(w *walker, elems []element, b binding) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	if len(elems) == 0 {
		user, ok := b.user()
		if !ok {
			return nil
		}
		return d.yield(Place{User: user, Path: w.path, Dir: w.dir})
	}
	if elems[0].pattern == nil {
		return d.enter(w, elems[0].literal(), elems, b)
	}
	names, err := w.names()
	if err != nil {
		d.problem(w.path, err)
	}
	for _, name := range names {
		nb, ok := elems[0].match(name, b)
		if !ok {
			continue
		}
		if err := d.enter(w, name, elems, nb); err != nil {
			return err
		}
	}
	return nil
}

// enter goes one name down and on from there. A name that is not there, or is
// no directory where one is needed, is not a user.
func (d *discovery) enter(w *walker, name string, elems []element, b binding) error {
	next, err := w.clone()
	if err != nil {
		return fmt.Errorf("list users in %s: %w", w.path, err)
	}
	defer next.close()
	err = next.step(name, len(elems) == 1)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil
	case err != nil:
		d.problem(filepath.Join(w.path, name), err)
		return nil
	}
	return d.walk(next, elems[1:], b)
}

// A walker stands at a path, which it has opened step by step.
type walker struct {
	fd    int
	path  string
	dir   bool
	links int
}

// start opens the operator's part of the path.
func (w *walker) start(path string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	*w = walker{fd: fd, path: path, dir: true, links: w.links}
	return nil
}

func (w *walker) close() { unix.Close(w.fd) }

func (w *walker) clone() (*walker, error) {
	fd, err := unix.FcntlInt(uintptr(w.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	c := *w
	c.fd = fd
	return &c, nil
}

// step goes to the name below. Only the last element may be no directory.
func (w *walker) step(name string, last bool) error {
	path := filepath.Join(w.path, name)
	var st unix.Stat_t
	fd, err := unix.Openat(w.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		defer unix.Close(fd)
		return w.follow(fd, path, st.Uid, last)
	case kind != unix.S_IFDIR && !last:
		unix.Close(fd)
		return &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
	}
	unix.Close(w.fd)
	w.fd, w.path, w.dir = fd, path, st.Mode&unix.S_IFMT == unix.S_IFDIR
	return nil
}

// follow goes where a link leads, if one may trust who made it.
func (w *walker) follow(fd int, path string, owner uint32, last bool) error {
	if owner != 0 && int(owner) != os.Geteuid() {
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w (it belongs to uid %d)", errLink, owner)}
	}
	if w.links++; w.links > maxLinks {
		return &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	target := string(buf[:n])
	if strings.HasPrefix(target, "/") {
		old := w.fd
		if err := w.start("/"); err != nil {
			return err
		}
		unix.Close(old)
	}
	elems := strings.FieldsFunc(target, func(r rune) bool { return r == '/' })
	for i, e := range elems {
		if err := w.step(e, last && i == len(elems)-1); err != nil {
			return err
		}
	}
	return nil
}

// mkdir makes a directory below, unless it is there.
func (w *walker) mkdir(name string) error {
	err := unix.Mkdirat(w.fd, name, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return &fs.PathError{Op: "mkdir", Path: filepath.Join(w.path, name), Err: err}
	}
	return nil
}

// own gives an empty directory of root's to whom the one above belongs: this
// process has made it, or one that was killed before it could give it away.
func (w *walker) own(above unix.Stat_t) error {
	var st unix.Stat_t
	if os.Geteuid() != 0 || above.Uid == 0 || unix.Fstat(w.fd, &st) != nil || st.Uid != 0 {
		return nil
	}
	if names, err := w.names(); err != nil || len(names) > 0 {
		return nil
	}
	if err := unix.Fchownat(w.fd, "", int(above.Uid), int(above.Gid), unix.AT_EMPTY_PATH); err != nil {
		return &fs.PathError{Op: "chown", Path: w.path, Err: err}
	}
	return nil
}

// names reads the directory, sorted; with an error, those which it could read.
func (w *walker) names() ([]string, error) {
	fd, err := unix.Openat(w.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), w.path)
	defer f.Close()
	names, err := f.Readdirnames(maxEntries)
	switch {
	case errors.Is(err, io.EOF):
		err = nil
	case err == nil && len(names) == maxEntries:
		err = fmt.Errorf("more than %d names in one directory", maxEntries)
	}
	sort.Strings(names)
	return names, err
}

// root opens what the walker stands at as a root. The kernel has no call for
// that, so the path is opened and compared.
func (w *walker) root() (*os.Root, error) {
	root, err := os.OpenRoot(w.path)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(w.fd, &st)
	}
	if err == nil && !sameFile(info, &st) {
		err = fmt.Errorf("open %s: it changed while it was opened", w.path)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

func sameFile(info fs.FileInfo, st *unix.Stat_t) bool {
	got, ok := info.Sys().(*syscall.Stat_t)
	return ok && got.Dev == st.Dev && got.Ino == st.Ino
}
