// Package durable is the one place where files are written so that they
// survive a power cut: write under a temporary name, sync the file, give it
// its name, sync the directory. The directory store uses it through FS, and
// everybody who keeps keys, identities or settings in files through WriteFile
// and CreateFile.
//
// It does not read files, lock them or clean up after a crash: a writer that
// dies leaves at most a file with a temporary name.
//
// Invariants: a name that this package gives always stands for a whole, synced
// file; when a function returns nil, the file and its name are on the disk;
// permissions are exactly those asked for, whatever the umask says, and never
// wider in between.
package durable

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// stride is how many bytes are written between two looks at the context.
const stride = 1 << 20

// WriteFile makes path hold data, with exactly the permissions perm. What
// stood there is replaced in one step: after a crash path holds the old bytes
// or the new ones. A symbolic link at path is replaced, not followed.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, FS.Replace)
}

// CreateFile is WriteFile for a path that must not exist yet: when it does, it
// is left alone and the error is fs.ErrExist. Of several callers at once
// exactly one succeeds.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, FS.Publish)
}

func write(path string, data []byte, perm fs.FileMode, name func(FS, string, string) error) error {
	dir, base := filepath.Split(path)
	if base == "" {
		return fmt.Errorf("write %q: %w", path, fs.ErrInvalid)
	}
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer root.Close()
	if err := place(NewRoot(root), base, data, perm, name); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func place(fsys FS, base string, data []byte, perm fs.FileMode, name func(FS, string, string) error) error {
	// In the same directory, because a rename does not cross file systems.
	tmp := ".salvor-" + rand.Text() + ".tmp"
	if err := Fill(context.Background(), fsys, tmp, data, perm); err != nil {
		return err
	}
	if err := name(fsys, tmp, base); err != nil {
		return errors.Join(err, fsys.Remove(tmp))
	}
	// The rename lives in the directory: without this sync a power cut may
	// take back the new name, and with it a key that was already used.
	return fsys.Sync(".")
}

// Fill makes a new file with exactly the permissions perm, writes data and
// syncs it; its name is not yet durable. On any error, ctx's included, the
// file is removed again. The error is fs.ErrExist when name is taken.
func Fill(ctx context.Context, fsys FS, name string, data []byte, perm fs.FileMode) error {
	f, err := fsys.Create(name, perm)
	if err != nil {
		return err
	}
	err = fill(ctx, f, data)
	if cerr := f.Close(); err == nil {
		err = cerr // NFS and quotas may report a failed write only here
	}
	if err != nil {
		return errors.Join(err, fsys.Remove(name))
	}
	return nil
}

func fill(ctx context.Context, f File, data []byte) error {
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Write(data[:min(len(data), stride)])
		if err != nil {
			return err
		}
		data = data[n:]
	}
	// Before the file gets its name: a file system may order the rename ahead
	// of the data, and after a power cut the name would stand for a hole.
	return f.Sync()
}

// MkdirAll makes the directory path and its missing parents, each with
// exactly the permissions perm, so that all of them survive a power cut.
// Directories that were there keep their permissions.
func MkdirAll(path string, perm fs.FileMode) error {
	info, err := os.Stat(path)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("is not a directory")}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(filepath.Clean(path))
	if err := MkdirAll(parent, perm); err != nil {
		return err
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return err
	}
	defer root.Close()
	r := NewRoot(root)
	if err := r.Mkdir(filepath.Base(path), perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A directory's own name is an entry of its parent; what is synced inside
	// is lost all the same when that entry is.
	return r.Sync(".")
}
