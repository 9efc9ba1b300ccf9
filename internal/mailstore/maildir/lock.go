package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Dovecot guards dovecot-uidlist, dovecot-keywords and subscriptions by lock
// files, NAME.lock, which hold "PID:HOST". It takes over one that has not
// changed for two minutes.
const (
	lockStale = 2 * time.Minute
	lockWait  = 3 * time.Minute
	lockPause = 20 * time.Millisecond
)

// lock makes a lock file, waiting for its holder.
func lock(ctx context.Context, root *os.Root, name string) (unlock func(), err error) {
	name += ".lock"
	for deadline := time.Now().Add(lockWait); ; {
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, "%d:%s", os.Getpid(), hostOnce)
			if err = errors.Join(err, f.Close()); err != nil {
				root.Remove(name)
				return nil, err
			}
			return func() { root.Remove(name) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if abandoned(root, name) {
			root.Remove(name)
			continue
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s/%s is held by another program", root.Name(), name)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// abandoned tells whether a lock's holder is dead.
func abandoned(root *os.Root, name string) bool {
	info, err := root.Lstat(name)
	if err != nil {
		return false
	}
	if age := time.Since(info.ModTime()); age > lockStale {
		return true
	}
	f, err := openFile(root, name)
	if err != nil {
		return false
	}
	defer f.Close()
	buf := make([]byte, 300)
	n, _ := f.Read(buf)
	pid, host, ok := strings.Cut(string(buf[:n]), ":")
	num, err := strconv.Atoi(pid)
	return ok && err == nil && host == hostOnce && num != os.Getpid() && !alive(num)
}

// alive tells whether a process of this host exists.
func alive(pid int) bool {
	return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// owner is to whom new files are given; nobody unless root writes.
type owner struct {
	uid, gid int
	give     bool
}

// ownerOf is the owner of a root, when it is not us: a user cannot read mail
// that belongs to root.
func ownerOf(root *os.Root) owner {
	if os.Geteuid() != 0 {
		return owner{}
	}
	d, err := root.Open(".")
	if err != nil {
		return owner{}
	}
	defer d.Close()
	var st unix.Stat_t
	if unix.Fstat(int(d.Fd()), &st) != nil || st.Uid == 0 {
		return owner{}
	}
	return owner{uid: int(st.Uid), gid: int(st.Gid), give: true}
}

// own gives a file to its owner.
func (o owner) own(f *os.File) error {
	if !o.give {
		return nil
	}
	return f.Chown(o.uid, o.gid)
}

// mkdir makes a directory and those above it, 0700, and tells whether it was
// missing.
func (o owner) mkdir(root *os.Root, dir string) (made bool, err error) {
	if dir == "." {
		return false, nil
	}
	err = root.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if i := strings.LastIndexByte(dir, '/'); i > 0 {
			if _, err = o.mkdir(root, dir[:i]); err == nil {
				err = root.Mkdir(dir, 0o700)
			}
		}
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case err != nil:
		return false, err
	case o.give:
		return true, root.Lchown(dir, o.uid, o.gid)
	}
	return true, nil
}

// replace writes a small file beside the messages under a temporary name; the
// caller syncs the file system and then calls commit.
func (o owner) replace(root *os.Root, name string, body []byte) (commit func() error, err error) {
	tmp := name + "." + tmpName()
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(body)
	if err = errors.Join(err, o.own(f), f.Close()); err != nil {
		root.Remove(tmp)
		return nil, err
	}
	return func() error { return root.Rename(tmp, name) }, nil
}
