package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"salvor/internal/objstore/object"
)

// stride is how many bytes are read between two looks at the context.
const stride = 1 << 20

// open opens an object's file. It does not wait for the other end of a pipe; a
// symbolic link is followed as long as it stays inside the directory.
func (s *Store) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("is no regular file but %s", info.Mode().Type())
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// notThere makes ErrNotExist of the ways in which a path can lead nowhere.
func notThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return object.ErrNotExist
	}
	return err
}

// Get implements object.Store.
func (s *Store) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	err := object.CheckName(name)
	if err == nil {
		err = object.CheckRange(off, n)
	}
	var data []byte
	if err == nil {
		err = s.get(ctx, name, off, n, func(n int64) []byte {
			data = make([]byte, n)
			return data
		})
	}
	if err != nil {
		return nil, s.explain("get", name, err)
	}
	return data, nil
}

// Fill implements object.Near.
func (s *Store) Fill(ctx context.Context, name string, off int64, p []byte) error {
	err := object.CheckName(name)
	if err == nil {
		err = object.CheckRange(off, int64(len(p)))
	}
	if err == nil {
		err = s.get(ctx, name, off, int64(len(p)), func(int64) []byte { return p })
	}
	return s.explain("get", name, err)
}

// get reads n bytes, or all below zero, into memory that room gives.
func (s *Store) get(ctx context.Context, name string, off, n int64, room func(n int64) []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, info, err := s.open(name)
	if err != nil {
		return notThere(err)
	}
	defer f.Close()
	if n < 0 {
		if err := object.CheckSize(info.Size()); err != nil {
			return err
		}
		n = info.Size() - off
	}
	if n < 0 || off+n > info.Size() {
		return fmt.Errorf("%w: it has %d bytes", io.ErrUnexpectedEOF, info.Size())
	}
	return read(ctx, io.NewSectionReader(f, off, n), room(n))
}

func read(ctx context.Context, r io.Reader, into []byte) error {
	for len(into) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := into[:min(len(into), stride)]
		if _, err := io.ReadFull(r, part); err != nil {
			if err == io.EOF { // the file shrank
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		into = into[len(part):]
	}
	return nil
}

// Stat implements object.Stater.
func (s *Store) Stat(ctx context.Context, name string) (object.Info, error) {
	err := object.CheckName(name)
	if err == nil {
		err = ctx.Err()
	}
	var f *os.File
	var info fs.FileInfo
	if err == nil {
		f, info, err = s.open(name)
	}
	if err != nil {
		return object.Info{}, s.explain("stat", name, notThere(err))
	}
	_ = f.Close() // nothing was written
	return object.Info{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	err := object.CheckName(name)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = s.remove(name)
	}
	return s.explain("delete", name, err)
}

func (s *Store) remove(name string) error {
	err := s.write.Remove(name)
	if errors.Is(notThere(err), object.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// Erased mail must not come back with the power: without this sync the
	// entry may still be there after a cut, and with it the bytes.
	return s.write.Sync(path.Dir(name))
}

// Free implements object.Space.
func (s *Store) Free(ctx context.Context) (int64, error) {
	free, err := int64(0), ctx.Err()
	if err == nil {
		free, err = s.free()
	}
	return free, s.explain("ask the free space of", "", err)
}

func (s *Store) free() (int64, error) {
	d, err := s.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer d.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// yieldError marks an error that List's caller made, to hand it back as it is.
type yieldError struct{ err error }

func (e yieldError) Error() string { return e.err.Error() }

// List implements object.Store.
func (s *Store) List(ctx context.Context, prefix string, yield func(object.Info) error) error {
	err := object.CheckPrefix(prefix)
	if err == nil {
		err = s.walk(ctx, s.root, "", prefix, yield)
	}
	if ye, ok := err.(yieldError); ok {
		return ye.err
	}
	return s.explain("list", prefix, err)
}

// walk lists the directory d, whose path is dir: "" or ending with a slash.
func (s *Store) walk(ctx context.Context, d *os.Root, dir, prefix string, yield func(object.Info) error) error {
	after := ""
	for {
		keys, more, err := s.readPage(ctx, d, dir, prefix, after)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := s.visit(ctx, d, dir, key, prefix, yield); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		after = keys[len(keys)-1]
	}
}

func (s *Store) visit(ctx context.Context, d *os.Root, dir, key, prefix string, yield func(object.Info) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if base, ok := strings.CutSuffix(key, "/"); ok {
		sub, err := d.OpenRoot(base)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		defer sub.Close()
		return s.walk(ctx, sub, dir+key, prefix, yield)
	}
	info, err := d.Lstat(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if err := yield(object.Info{Name: dir + key, Size: info.Size(), Modified: info.ModTime()}); err != nil {
		return yieldError{err}
	}
	return nil
}

// readPage returns the first keys of the directory d after the key after, in
// order, at most s.page of them, and whether there may be more. A directory's
// key ends with a slash: that is its place in the order of the objects' names.
func (s *Store) readPage(ctx context.Context, d *os.Root, dir, prefix, after string) (keys []string, more bool, err error) {
	f, err := d.Open(".")
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			if key, ok := candidate(e, dir, prefix); ok && key > after {
				keys = append(keys, key)
			}
		}
		if len(keys) > 2*s.page {
			keys, more = s.smallest(keys), true
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	more = more || len(keys) > s.page
	return s.smallest(keys), more, nil
}

func (s *Store) smallest(keys []string) []string {
	slices.Sort(keys)
	return keys[:min(len(keys), s.page)]
}

// candidate tells whether an entry is, or can hold, objects with the prefix.
func candidate(e fs.DirEntry, dir, prefix string) (key string, ok bool) {
	full := dir + e.Name()
	if object.CheckName(full) != nil {
		return "", false
	}
	switch {
	case e.IsDir():
		full += "/"
		return e.Name() + "/", strings.HasPrefix(full, prefix) || strings.HasPrefix(prefix, full)
	case e.Type().IsRegular():
		return e.Name(), strings.HasPrefix(full, prefix)
	}
	return "", false
}
