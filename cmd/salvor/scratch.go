package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A scratch is a private directory that is removed when the command ends. It
// holds mail that is not encrypted: what a command that was killed has left, the
// next one removes.
type scratch struct {
	path string
	keep bool
	lock *os.File // the directory; locked as long as it is in use
}

const (
	scratchPrefix = "salvor-drill-"
	keptPrefix    = "salvor-kept-drill-"
)

// newScratch makes a directory below beside; one that is kept is nobody's to
// remove.
func newScratch(beside string, keep bool) (*scratch, error) {
	if err := sweepScratch(beside); err != nil {
		return nil, err
	}
	prefix := scratchPrefix
	if keep {
		prefix = keptPrefix
	}
	path, err := os.MkdirTemp(beside, prefix) // only for its owner
	if err != nil {
		return nil, err
	}
	s := &scratch{path: path, keep: keep}
	if keep {
		return s, nil
	}
	if s.lock, err = lockDirectory(path); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return s, nil
}

func (s *scratch) close() error {
	if s.keep {
		return nil
	}
	return errors.Join(os.RemoveAll(s.path), s.lock.Close())
}

// sweepScratch removes what nobody uses any more.
func sweepScratch(beside string) error {
	entries, err := os.ReadDir(beside)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		path := filepath.Join(beside, e.Name())
		lock, err := lockDirectory(path)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue // another drill is at work, or has just ended
		}
		if err != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(path), lock.Close()); err != nil {
			return err
		}
	}
	return nil
}

// lockDirectory locks a directory until it is closed, or its process dies.
func lockDirectory(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
