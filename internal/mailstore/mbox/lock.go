package mbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// restoreWait is how long a restore waits for another one into the same place.
const restoreWait = time.Minute

// lockHome keeps other restores out, from before this one looks at what is
// there until all it adds is there: two that look at the same time would both
// add everything. The locks of mail programs are no use for that: they would
// hold up deliveries for as long as a restore takes, and count as abandoned
// after two minutes. So the lock is one on a file of our own, which the kernel
// releases when its holder dies.
func (a *account) lockHome(ctx context.Context, wait time.Duration) (unlock func(), err error) {
	name := ".salvor-restore.lock"
	if a.home.file != "" {
		name = fmt.Sprintf(".salvor-restore-%x.lock", sha256.Sum256([]byte(a.home.file)))
	}
	deadline := time.Now().Add(wait)
	f, err := a.tryLock(ctx, name, deadline)
	for errors.Is(err, errLockGone) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
		f, err = a.tryLock(ctx, name, deadline)
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, errLockGone) {
		return nil, fmt.Errorf("another restore is writing to %s: start this one again when that has ended", filepath.Join(a.home.root.Name(), a.home.file))
	}
	if err != nil {
		return nil, fmt.Errorf("lock the mboxes of %q: %w", a.home.user, err)
	}
	return func() { // removed first, so that nobody locks a file that is going
		a.home.root.Remove(name)
		f.Close()
	}, nil
}

// errLockGone says that the lock's last holder has removed its file meanwhile.
var errLockGone = errors.New("the lock's file was removed while it was waited for")

func (a *account) tryLock(ctx context.Context, name string, deadline time.Time) (*os.File, error) {
	f, err := a.openLock(name)
	if err != nil {
		return nil, err
	}
	if err = lockExclusive(ctx, f, deadline); err == nil && !a.stands(f, name) {
		err = errLockGone
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openLock opens the lock file, made where it is not there.
func (a *account) openLock(name string) (*os.File, error) {
	f, err := a.home.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		if err = a.owner.Own(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err = a.home.root.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = errLockGone
	}
	return f, err
}

// stands tells whether a file is the one of that name: its last holder may have
// removed it.
func (a *account) stands(f *os.File, name string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := a.home.root.Lstat(name)
	return err == nil && os.SameFile(mine, there)
}
