package deliver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mail programs guard files by lock files, NAME.lock, which hold "PID:HOST":
// mboxes, and Dovecot its dovecot-uidlist, dovecot-keywords and subscriptions.
// One that has not changed for two minutes counts as abandoned.
const (
	lockStale = 2 * time.Minute
	lockWait  = 3 * time.Minute
	lockPause = 20 * time.Millisecond
)

// Lock makes the lock file of a file, waiting for its holder.
func Lock(ctx context.Context, root *os.Root, name string) (unlock func(), err error) {
	name += ".lock"
	// Written first and linked then, as Dovecot does: who is killed in between
	// leaves no lock without a holder's name, which nobody could tell from a
	// living one before lockStale is over.
	draft := name + "." + rand.Text()
	if err := writeLock(root, draft); err != nil {
		return nil, err
	}
	defer root.Remove(draft)
	for deadline := time.Now().Add(lockWait); ; {
		now := time.Now() // the lock's age counts from when it is taken
		err := errors.Join(root.Chtimes(draft, now, now), root.Link(draft, name))
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) {
			err = writeLock(root, name) // a file system without hard links
		}
		if err == nil {
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

// writeLock makes a new file that names this process.
func writeLock(root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d:%s", os.Getpid(), Host)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, root.Remove(name))
	}
	return err
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
	f, err := OpenRegular(root, name)
	if err != nil {
		return false
	}
	defer f.Close()
	buf := make([]byte, 300)
	n, _ := f.Read(buf)
	pid, host, ok := strings.Cut(string(buf[:n]), ":")
	num, err := strconv.Atoi(pid)
	return ok && err == nil && host == Host && num != os.Getpid() && !Alive(num)
}
