package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FS is what a durable write is made of. Names are relative and separated by
// slashes. Nothing is durable until it is synced: a file's bytes by syncing
// the file, its name by syncing the directory that holds it.
type FS interface {
	// Create makes a new file, empty and open for writing, with exactly the
	// permissions perm; fs.ErrExist when the name is taken.
	Create(name string, perm fs.FileMode) (File, error)
	// Mkdir makes one directory, likewise.
	Mkdir(name string, perm fs.FileMode) error
	// Publish renames a file to a name that must be free; fs.ErrExist when it
	// is not. Of several callers at once exactly one succeeds.
	Publish(from, to string) error
	// Replace renames a file; what stood under the new name is gone.
	Replace(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Sync makes a file's bytes, or a directory's entries, survive a power cut.
	Sync(name string) error
}

// File is a file that is being written.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// Root is the FS of a real directory. No name leads outside of it, not even
// through symbolic links. It is safe for concurrent use.
type Root struct{ root *os.Root }

// NewRoot is the FS of the directory root; the caller closes root.
func NewRoot(root *os.Root) *Root { return &Root{root} }

// Create implements FS.
func (r *Root) Create(name string, perm fs.FileMode) (File, error) {
	f, err := r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	// The umask may have taken bits away, the owner's right to read among them.
	if err := f.Chmod(perm); err != nil {
		return nil, errors.Join(err, f.Close(), r.root.Remove(name))
	}
	return f, nil
}

// Mkdir implements FS.
func (r *Root) Mkdir(name string, perm fs.FileMode) error {
	if err := r.root.Mkdir(name, perm); err != nil {
		return err
	}
	return r.root.Chmod(name, perm) // because of the umask
}

// Replace implements FS.
func (r *Root) Replace(from, to string) error { return r.root.Rename(from, to) }

// Remove implements FS.
func (r *Root) Remove(name string) error { return r.root.Remove(name) }

// Sync implements FS.
func (r *Root) Sync(name string) error {
	f, err := r.root.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	// Some network and FUSE file systems have no way to sync a directory; on
	// those a name is as durable as the other side makes it.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// link is Publish for file systems that know no rename without replacing: a
// hard link is refused, too, when its name is taken.
func (r *Root) link(from, to string) error {
	if err := r.root.Link(from, to); err != nil {
		return err
	}
	return r.root.Remove(from)
}
