package deliver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
)

// A Batch is files on their way to names that they had before. They are written
// beside these under temporary names, and get their own when all of them are
// durable. The zero value is empty.
type Batch struct {
	files []waiting
	roots []*os.Root
	clean map[directory]bool // nothing is left there of who was killed
	known map[twin]entry     // what may get another link
}

// A twin names files that may be one.
type twin struct {
	root *os.Root
	same string
}

// An entry is where a file is: under its temporary name, or its own.
type entry struct{ tmp, own string }

type directory struct {
	root *os.Root
	name string
}

type waiting struct {
	directory
	tmp, file string
	wrong     Wrong
}

// Wrong is what stands in the way of a file, at the zero value nothing: Name, in
// the directory Dir below the same root, gets the name Aside there.
type Wrong struct{ Dir, Name, Aside string }

// Add writes a file, 0600, that is to be called name in a directory below root.
// It belongs to whom the directory belongs. Directories that are missing are
// made, 0700, for the owner of root. What is wrong is put aside at Commit. Files
// below one root that have the same identity, "" for none, become links to one:
// they must have the same bytes and times.
func (b *Batch) Add(root *os.Root, dir, name string, wrong Wrong, body []byte, mtime time.Time, same string) error {
	d, err := root.OpenFile(dir, DirFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = OwnerOf(root).Mkdir(root, dir); err == nil {
			d, err = root.OpenFile(dir, DirFlags, 0)
		}
	}
	if err != nil {
		return err
	}
	defer d.Close()
	at := directory{root, dir}
	if !b.clean[at] {
		if err := ClearStale(d); err != nil {
			return err
		}
		if b.clean == nil || len(b.clean) > maxClean {
			b.clean = map[directory]bool{}
		}
		b.clean[at] = true
	}
	w := waiting{directory: at, tmp: TmpName(), file: name, wrong: wrong}
	if linked := b.link(root, same, path.Join(dir, w.tmp)); !linked {
		if err := ownerOf(d).Write(d, w.tmp, body, mtime); err != nil {
			return fmt.Errorf("write into %s: %w", path.Join(root.Name(), dir), err)
		}
		b.remember(twin{root, same}, entry{path.Join(dir, w.tmp), path.Join(dir, name)})
	}
	b.files = append(b.files, w)
	if !slices.Contains(b.roots, root) {
		b.roots = append(b.roots, root)
	}
	return nil
}

// link makes a link to a file that was added before; false where there is none,
// or it has enough of them.
func (b *Batch) link(root *os.Root, same, to string) bool {
	e, ok := b.known[twin{root, same}]
	return ok && same != "" && (root.Link(e.tmp, to) == nil || root.Link(e.own, to) == nil)
}

func (b *Batch) remember(t twin, e entry) {
	if b.known == nil || len(b.known) >= maxKnown {
		b.known = map[twin]entry{}
	}
	if t.same != "" {
		b.known[t] = e
	}
}

// Commit makes the files durable, gives them their names, and makes these
// durable. failed are those that could not get theirs, for reasons of their own;
// with an error nothing is known. The batch is empty afterwards.
func (b *Batch) Commit() (failed []*Unplaced, err error) {
	defer b.Drop()
	if len(b.files) == 0 {
		return nil, nil
	}
	if err := Sync(b.roots...); err != nil {
		return nil, err
	}
	left := b.files[:0]
	for _, w := range b.files {
		if err := w.publish(); err != nil {
			failed = append(failed, &Unplaced{path.Join(w.root.Name(), w.name, w.file), err})
			left = append(left, w)
		}
	}
	b.files = left
	return failed, Sync(b.roots...)
}

// An Unplaced is a file that did not get its name.
type Unplaced struct {
	Path string
	Err  error
}

func (w *waiting) publish() error {
	d, err := w.root.OpenFile(w.name, DirFlags, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	if w.wrong.Name != "" {
		err = w.putAside()
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = Publish(d, w.tmp, d, w.file)
	}
	return err
}

func (w *waiting) putAside() error {
	d, err := w.root.OpenFile(w.wrong.Dir, DirFlags, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return Publish(d, w.wrong.Name, d, w.wrong.Aside)
}

// Drop removes what has not got its name.
func (b *Batch) Drop() {
	if len(b.files) > 0 { // under their names stands something else, if anything
		b.known = nil
	}
	for _, w := range b.files {
		_ = w.root.Remove(path.Join(w.name, w.tmp)) // the next one clears what stays
	}
	b.files, b.roots = nil, nil
}

// ClearStale removes what salvors that are dead have left in a directory under
// temporary names.
func ClearStale(d *os.File) error {
	if _, err := d.Seek(0, 0); err != nil {
		return err
	}
	for {
		names, err := d.Readdirnames(4096)
		for _, name := range names {
			if !Stale(name) {
				continue
			}
			if err := unix.Unlinkat(int(d.Fd()), name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return &fs.PathError{Op: "remove", Path: path.Join(d.Name(), name), Err: err}
			}
		}
		if len(names) == 0 || err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
	}
}

// AsideName is a name under which something is put aside that stands where a
// message's file should. Every mail server passes it over, and so does ClearStale.
func AsideName(name string, now time.Time) string {
	const longest = 200 // with the rest a file system takes it
	return fmt.Sprintf("%sdamaged-%s-%d-%s", tmpPrefix, now.UTC().Format("20060102T150405Z"), Next(), name[:min(len(name), longest)])
}

// How many directories are remembered as clean, and files as known.
const (
	maxClean = 4096
	maxKnown = 100_000
)

// FitOwner says why files that are put below root would not belong to the user
// whom those below other belong to, nil when they would.
func FitOwner(root, other *os.Root) error {
	here, err := uidOf(root)
	if err != nil {
		return err
	}
	there, err := uidOf(other)
	if err != nil {
		return err
	}
	switch me := uint32(os.Geteuid()); {
	case here != there:
		return fmt.Errorf("%s belongs to user %d, %s to user %d: give it to the mail server's user", root.Name(), here, other.Name(), there)
	case me != 0 && me != here:
		return fmt.Errorf("%s belongs to user %d: run salvor as that user, or as root", root.Name(), here)
	}
	return nil
}

// FitFile says why the user whom what lies below root belongs to cannot read an open
// file; nil when he can.
func FitFile(fd int, root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	var file, dir unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &file), unix.Fstat(int(d.Fd()), &dir)); err != nil {
		return err
	}
	bits := uint32(0o004)
	switch {
	case dir.Uid == 0:
		return nil
	case file.Uid == dir.Uid:
		bits = 0o400
	case file.Gid == dir.Gid:
		bits = 0o040
	}
	if file.Mode&bits != 0 {
		return nil
	}
	return fmt.Errorf("%w: it belongs to user %d with mode %04o, the mail to user %d (hint: chown and chmod it)", mailstore.ErrUnfit, file.Uid, file.Mode&0o7777, dir.Uid)
}

func uidOf(root *os.Root) (uint32, error) {
	d, err := root.Open(".")
	if err != nil {
		return 0, err
	}
	defer d.Close()
	var st unix.Stat_t
	err = unix.Fstat(int(d.Fd()), &st)
	return st.Uid, err
}
