package deliver

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
	for deadline := time.Now().Add(lockWait); ; {
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, "%d:%s", os.Getpid(), Host)
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
