// Package deliver puts message files into directories so that a name in the
// store always stands for a whole message: a batch is written under temporary
// names, one syncfs makes it durable, then each file gets its own name, which
// is never taken from another file. Syncing every file by itself would make a
// restore many times slower.
//
// The destinations maildir, mbox and eml use it. It chooses no names for
// messages and knows no format.
package deliver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DirFlags open a directory, and never wait for a pipe that stands in its
// place.
const DirFlags = os.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK

// Write makes a new file, 0600, with the given modification time (the zero time
// is now). Nothing is left of it after an error.
func (o Owner) Write(dir *os.File, name string, body []byte, mtime time.Time) error {
	defer runtime.KeepAlive(dir)
	at := int(dir.Fd())
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := Retry(func() (int, error) { return unix.Openat(at, name, flags, 0o600) })
	if err != nil {
		return err
	}
	for rest := body; len(rest) > 0 && err == nil; {
		var n int
		n, err = Retry(func() (int, error) { return unix.Write(fd, rest) })
		rest = rest[max(n, 0):]
	}
	if err == nil && o.give {
		err = unix.Fchown(fd, o.uid, o.gid)
	}
	if err == nil && !mtime.IsZero() {
		ts := unix.Timespec{Sec: mtime.Unix(), Nsec: int64(mtime.Nanosecond())}
		err = unix.UtimesNanoAt(at, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && len(body) >= 256<<10 {
		// Let the disk begin now, so that the batch's sync finds little to wait
		// for. It is no promise, so its error is none either.
		_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		unix.Unlinkat(at, name, 0)
	}
	return err
}

// Publish gives a file its name. When the name is taken the error is
// fs.ErrExist and nothing has happened.
func Publish(from *os.File, tmp string, to *os.File, name string) error {
	defer runtime.KeepAlive(from)
	defer runtime.KeepAlive(to)
	src, dst := int(from.Fd()), int(to.Fd())
	err := unix.Renameat2(src, tmp, dst, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not on this file system
		if err = unix.Linkat(src, tmp, dst, name, 0); err == nil {
			err = unix.Unlinkat(src, tmp, 0)
		}
	}
	return err
}

// Sync makes durable what was written to the file systems of these roots.
func Sync(roots ...*os.Root) error {
	done := map[uint64]bool{}
	for _, r := range roots {
		d, err := r.Open(".")
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err = unix.Fstat(int(d.Fd()), &st); err == nil && !done[st.Dev] {
			err = unix.Syncfs(int(d.Fd()))
			done[st.Dev] = true
		}
		if err = errors.Join(err, d.Close()); err != nil {
			return fmt.Errorf("sync the file system of %s: %w", r.Name(), err)
		}
	}
	return nil
}

// Retry repeats a call that a signal has interrupted.
func Retry(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// An Owner is to whom new files are given. The zero value leaves them to the
// process.
type Owner struct {
	uid, gid int
	give     bool
}

// OwnerOf is the owner of a directory, when root writes and it is somebody
// else's: a user cannot read mail that belongs to root.
func OwnerOf(root *os.Root) Owner {
	d, err := root.Open(".")
	if err != nil {
		return Owner{}
	}
	defer d.Close()
	return ownerOf(d)
}

// ownerOf is OwnerOf for an open directory.
func ownerOf(d *os.File) Owner {
	var st unix.Stat_t
	if os.Geteuid() != 0 || unix.Fstat(int(d.Fd()), &st) != nil || st.Uid == 0 {
		return Owner{}
	}
	return Owner{uid: int(st.Uid), gid: int(st.Gid), give: true}
}

// Own gives a file to its owner.
func (o Owner) Own(f *os.File) error {
	if !o.give {
		return nil
	}
	return f.Chown(o.uid, o.gid)
}

// Mkdir makes a directory and those above it, 0700, and tells whether it was
// missing. An empty one of root's, which somebody who was killed has not given
// away any more, is given to the owner.
func (o Owner) Mkdir(root *os.Root, dir string) (made bool, err error) {
	if dir == "." {
		return false, nil
	}
	err = root.Mkdir(dir, 0o700)
	if above := path.Dir(dir); errors.Is(err, fs.ErrNotExist) && above != "." {
		if _, err = o.Mkdir(root, above); err == nil {
			err = root.Mkdir(dir, 0o700)
		}
	}
	switch {
	case errors.Is(err, fs.ErrExist) && o.give && emptyOfRoot(root, dir):
		return false, root.Lchown(dir, o.uid, o.gid)
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case err != nil:
		return false, err
	case o.give:
		return true, root.Lchown(dir, o.uid, o.gid)
	}
	return true, nil
}

func emptyOfRoot(root *os.Root, dir string) bool {
	d, err := root.OpenFile(dir, DirFlags, 0)
	if err != nil {
		return false
	}
	defer d.Close()
	var st unix.Stat_t
	if unix.Fstat(int(d.Fd()), &st) != nil || st.Uid != 0 {
		return false
	}
	_, err = d.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// Replace writes a small file under a temporary name beside name; the caller
// syncs the file system and then calls commit, which renames it.
func (o Owner) Replace(root *os.Root, name string, body []byte) (commit func() error, err error) {
	tmp := path.Join(path.Dir(name), TmpName())
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(body)
	if err = errors.Join(err, o.Own(f), f.Close()); err != nil {
		root.Remove(tmp)
		return nil, err
	}
	return func() error { return root.Rename(tmp, name) }, nil
}

// OpenRegular opens a file below a root for reading. It must be a regular one:
// pipes are not waited for, links only followed inside the root.
func OpenRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no regular file", strings.TrimPrefix(name, "./"))
	}
	return f, nil
}
