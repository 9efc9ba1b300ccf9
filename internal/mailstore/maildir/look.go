package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

// A look is what a few stats tell of a folder.
type look struct {
	cur, new, uidlist, keywords fileStat
	marker                      bool // maildirfolder is there
	indexed                     bool // dovecot.index* are there; only asked when the uidlist is not
	noControl                   bool // CONTROL= is set and the user has no such directory
	dirID                       string
	uids                        uidSummary
	uidErr                      error
	state                       string
	problems                    []*mailstore.Problem
}

// A fileStat is a stat that may have found nothing.
type fileStat struct {
	unix.Stat_t
	there bool
}

// look stats a folder's directories and the files beside them.
func (s *Source) look(a *account, p place) (*look, error) {
	root := a.rootOf(p)
	dir, err := root.OpenFile(p.dir, deliver.DirFlags, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l := &look{dirID: directoryID(dir)}
	if l.cur, err = l.statDir(root, dir, p, "cur"); err != nil {
		return nil, err
	}
	if l.new, err = l.statDir(root, dir, p, "new"); err != nil {
		return nil, err
	}
	control, err := sideDir(a.controlOf(p), p.control, dir, root)
	if err != nil {
		return nil, err
	}
	l.noControl = a.control == nil
	if control != nil {
		if control != dir {
			defer control.Close()
		}
		l.lookControl(a, p, control)
	}
	if !l.cur.there {
		st, err := statAt(dir, "maildirfolder")
		l.marker = err == nil && isRegular(&st)
	}
	if !l.uidlist.there || l.uidErr != nil {
		l.indexed = a.hasIndex(p)
	}
	l.state = l.token(s.opt.now())
	return l, nil
}

// sideDir opens the folder's directory below CONTROL=; nil where it is missing.
func sideDir(side *os.Root, name string, dir *os.File, root *os.Root) (*os.File, error) {
	if side == nil {
		return nil, nil
	}
	if side == root {
		return dir, nil
	}
	d, err := side.OpenFile(name, deliver.DirFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return d, err
}

// lookControl stats dovecot-uidlist and dovecot-keywords and reads what it
// needs of the first.
func (l *look) lookControl(a *account, p place, control *os.File) {
	name := uidlistName
	for _, name = range uidlistNames {
		if l.lookFile(a, p, control, name, &l.uidlist); l.uidlist.there {
			break
		}
	}
	l.lookFile(a, p, control, keywordsName, &l.keywords)
	if !l.uidlist.there {
		return
	}
	f, err := deliver.OpenRegular(a.controlOf(p), path.Join(p.control, name))
	if err == nil {
		defer f.Close()
		l.uids, err = peekUIDList(f, l.uidlist.Size)
	}
	if l.uidErr = err; err != nil && !errors.Is(err, errNoUIDList) {
		l.problem(a, p, path.Join(a.controlOf(p).Name(), p.control, name), err)
	}
}

func (l *look) lookFile(a *account, p place, control *os.File, name string, f *fileStat) {
	var err error
	f.Stat_t, err = statAt(control, name)
	f.there = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.problem(a, p, path.Join(a.controlOf(p).Name(), p.control, name), err)
	}
}

func (l *look) problem(a *account, p place, path string, err error) {
	l.problems = append(l.problems, &mailstore.Problem{User: a.user, Mailbox: p.name, Path: path, Err: err})
}

// statDir stats cur or new; a link that stays inside the root is followed.
func (l *look) statDir(root *os.Root, dir *os.File, p place, name string) (f fileStat, err error) {
	f.Stat_t, err = statAt(dir, name)
	if err == nil && isLink(&f.Stat_t) {
		var d *os.File
		if d, err = root.OpenFile(path.Join(p.dir, name), deliver.DirFlags, 0); err == nil {
			defer d.Close()
			err = unix.Fstat(int(d.Fd()), &f.Stat_t)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	f.there = err == nil && isDir(&f.Stat_t)
	return f, err
}

// hasIndex tells whether Dovecot has an index of the folder, and so has seen
// its messages.
func (a *account) hasIndex(p place) bool {
	root := a.indexOf(p)
	if root == nil {
		return false
	}
	for _, name := range []string{"dovecot.index", "dovecot.index.log"} {
		if _, err := root.Lstat(path.Join(p.index, name)); err == nil {
			return true
		}
	}
	return false
}

// isFolder tells folders from other directories (.ssh, a parent that was never
// created). INBOX always is one.
func (l *look) isFolder(inbox bool) bool {
	return inbox || l.cur.there || l.new.there || l.uidlist.there || l.marker
}

// lost says why absence from this folder is no evidence of deletion.
func (l *look) lost() string {
	switch {
	case !l.cur.there:
		return "directory cur is missing"
	case l.noControl:
		return "control directory is missing"
	case !l.uidlist.there && l.indexed:
		return "dovecot-uidlist is missing"
	case errors.Is(l.uidErr, errNoUIDList):
		return l.uidErr.Error()
	case l.uidErr != nil:
		return "dovecot-uidlist cannot be read"
	}
	return ""
}

// guid is the folder's identity: Dovecot's GUID, else its directory's.
func (l *look) guid() string {
	if l.uids.guid != "" {
		return l.uids.guid
	}
	return l.dirID
}

// directoryID identifies a directory by inode and birth time: both survive
// renaming, and device numbers, which may change with every boot, are left out.
func directoryID(dir *os.File) string {
	var st unix.Statx_t
	if err := unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return ""
	}
	id := fmt.Sprintf("dir:%d", st.Ino)
	if st.Mask&unix.STATX_BTIME != 0 {
		id += fmt.Sprintf(":%d.%09d", st.Btime.Sec, st.Btime.Nsec)
	}
	return id
}

// token is the folder's state: "" when something changed so lately that a
// further change might not show.
func (l *look) token(now time.Time) string {
	var b strings.Builder
	for _, f := range []*fileStat{&l.cur, &l.new, &l.uidlist, &l.keywords} {
		if !f.there {
			b.WriteString("-;")
			continue
		}
		if now.Sub(mtime(&f.Stat_t)) < racy || now.Sub(ctime(&f.Stat_t)) < racy {
			return ""
		}
		fmt.Fprintf(&b, "%x.%x.%x.%x;", f.Dev, f.Ino, mtime(&f.Stat_t).UnixNano(), ctime(&f.Stat_t).UnixNano())
	}
	return b.String()
}
