// Package dir is an object store in a directory: every object is a file whose
// path is the object's name, readable with ordinary tools.
//
// An object is written to a file under .tmp, synced, renamed to its name
// without replacing, and the directory is synced; so it is there whole or not
// at all, and for good once Put has returned. Directories are 0700, files
// 0600. Files that a crashed writer left under .tmp are removed by a later Put
// when they are a day old. Every path is opened below the directory (os.Root):
// no symbolic link leads out.
//
// Files whose path is no object name are not ours: they are neither listed nor
// touched. Only objstore.Open and tests call this package.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"salvor/internal/durable"
	"salvor/internal/objstore/object"
)

const (
	dirPerm  = 0o700
	filePerm = 0o600
	// tmpDir holds unfinished files; no object's name begins with a dot.
	tmpDir = ".tmp"
	// pageSize bounds how many names of one directory a listing holds.
	pageSize = 1 << 15
)

// Store is an object store in a directory. It implements object.Store, Stater,
// Clock, Space and Mover.
type Store struct {
	root  *os.Root   // for reading
	write durable.FS // for everything that changes the directory
	label string
	page  int

	mu      sync.Mutex
	settled map[string]bool // directories whose own entry is known to be durable
	swept   bool            // whether old temporary files were looked for
}

// Options says how Open opens. The zero value opens what exists.
type Options struct {
	// Create makes the directory, with its parents, when it is not there.
	Create bool
}

// Open opens the store in the directory path. It writes nothing but the
// directory itself, so a vault on a read-only medium can be opened.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	root, err := openRoot(ctx, path, o)
	if err != nil {
		return nil, explain("open", "", path, err)
	}
	return New(root, durable.NewRoot(root), path), nil
}

func openRoot(ctx context.Context, path string, o Options) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if path == "" {
		return nil, fmt.Errorf("%w: it is empty", object.ErrURL)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if o.Create {
		if err := durable.MkdirAll(abs, dirPerm); err != nil {
			return nil, err
		}
	}
	info, err := os.Stat(abs)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%w: it is no directory", object.ErrURL)
	}
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(abs)
}

// New is a store that reads from root and changes it only through write,
// which must stand for the same directory; label names it in messages.
func New(root *os.Root, write durable.FS, label string) *Store {
	return &Store{root: root, write: write, label: label, page: pageSize, settled: map[string]bool{".": true}}
}

// String is the directory's path as it was given to Open.
func (s *Store) String() string { return s.label }

func (s *Store) explain(op, name string, err error) error {
	return explain(op, name, s.label, err)
}

// explain gives err the operation and place, and the kind and hint that an
// operator needs.
func explain(op, name, label string, err error) error {
	if err == nil {
		return nil
	}
	e := &object.Error{Op: op, Name: name, Store: label, Err: err}
	switch {
	case isAny(err, object.ErrNotExist, object.ErrExists, object.ErrName, object.ErrURL, object.ErrUnavailable):
		// It says so itself.
	case isAny(err, fs.ErrNotExist, syscall.ENOTDIR):
		e.Kind = object.ErrNotExist
		if op == "open" {
			e.Hint = "is the disk mounted and the path right? a new vault is made with \"salvor init\""
		}
	case isAny(err, syscall.ENOSPC, syscall.EDQUOT):
		e.Kind, e.Hint = object.ErrFull, "free space on that file system, or give the user a larger quota"
	case isAny(err, fs.ErrPermission, syscall.EROFS):
		e.Kind, e.Hint = object.ErrDenied, "check owner and permissions, and that the file system is not mounted read-only"
	case isAny(err, syscall.ESTALE, syscall.ENOTCONN, syscall.ENXIO, syscall.ENODEV, syscall.ETIMEDOUT, syscall.EHOSTDOWN):
		e.Kind, e.Hint = object.ErrUnavailable, "the file system has gone away: check the mount"
	}
	return e
}

func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
