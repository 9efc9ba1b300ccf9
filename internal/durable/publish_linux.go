package durable

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Publish implements FS.
func (r *Root) Publish(from, to string) error {
	err := r.renameNoReplace(from, to)
	// renameat2(2): EINVAL when the file system does not know the flag (NFS
	// and others), ENOSYS before Linux 3.15 and in some sandboxes.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return r.link(from, to)
	}
	return err
}

func (r *Root) renameNoReplace(from, to string) error {
	fromDir, err := r.root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer fromDir.Close()
	toDir, err := r.root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer toDir.Close()
	for {
		err = unix.Renameat2(int(fromDir.Fd()), path.Base(from), int(toDir.Fd()), path.Base(to), unix.RENAME_NOREPLACE)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
	}
}
