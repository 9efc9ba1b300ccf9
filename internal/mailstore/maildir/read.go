package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/atrest"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// Open opens a message's file, under its present name if its flags have
// changed since it was listed.
func (s *Source) Open(ctx context.Context, box mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, done, err := s.boxes.get(boxKey{box.User, box.Name}, func() (b *openBox, err error) {
		err = s.with(box.User, func(a *account) error {
			b, err = a.openBox(s.opt.placeOf(box.Name))
			return err
		})
		return b, err
	})
	if err != nil {
		return nil, err
	}
	defer done()
	r, where, err := b.open(m)
	switch {
	case err == nil:
		return newMail(r, m.Promised, mailstore.Problem{User: box.User, Mailbox: box.Name, Path: path.Join(b.path, where)}), nil
	case errors.Is(err, mailstore.ErrVanished):
		return nil, err
	}
	return nil, &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: path.Join(b.path, where), Err: err}
}

// open opens a message where it was listed, or where it is now.
func (b *openBox) open(m mailstore.Message) (*reader, string, error) {
	dir, name, _ := strings.Cut(m.Place, "/")
	inNew := dir == "new"
	base, ino, err := splitKey(m.Key)
	if err != nil || name == "" || strings.Contains(name, "/") {
		return nil, m.Place, fmt.Errorf("message %q was not listed by this source", m.Key)
	}
	for range maxScans {
		r, err := b.openFile(name, inNew)
		if !errors.Is(err, fs.ErrNotExist) {
			return r, path.Join(dirName(inNew), name), err
		}
		if name, inNew, err = b.find(base, ino); err != nil {
			return nil, m.Place, err
		}
	}
	return nil, m.Place, mailstore.ErrVanished
}

// splitKey parts a key into base name and inode (0 for any).
func splitKey(key string) (base string, ino uint64, err error) {
	base, mark, ok := strings.Cut(folder.UTF8.EncodeLevel(key), inodeMark)
	if ok {
		ino, err = strconv.ParseUint(mark, 10, 64)
	}
	return base, ino, err
}

// openFile opens a regular file; a pipe or a link in its place is not waited
// for or followed.
func (b *openBox) openFile(name string, inNew bool) (*reader, error) {
	dir := b.cur
	if inNew {
		dir = b.new
	}
	if dir == nil {
		return nil, fs.ErrNotExist
	}
	defer runtime.KeepAlive(dir)
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := deliver.Retry(func() (int, error) { return openNoAtime(int(dir.Fd()), name, flags) })
	if errors.Is(err, unix.ELOOP) {
		return nil, errors.New("a symbolic link stands where a message should")
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if !isRegular(&st) {
		unix.Close(fd)
		return nil, fmt.Errorf("a %s stands where a message should", kindWord(&st))
	}
	return &reader{fd: fd}, nil
}

// openNoAtime leaves the access time alone where the kernel lets us: a backup
// should not write to every inode it reads.
func openNoAtime(dir int, name string, flags int) (int, error) {
	fd, err := unix.Openat(dir, name, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		return unix.Openat(dir, name, flags, 0)
	}
	return fd, err
}

// A mail reads one message, out of a file that may be compressed.
type mail struct {
	*atrest.Reader
	file    *reader
	problem mailstore.Problem
}

// newMail reads a message out of its file. The problem names it, for people.
func newMail(file *reader, promised int64, problem mailstore.Problem) *mail {
	return &mail{Reader: atrest.NewReader(file, promised), file: file, problem: problem}
}

// Read reads on; an error of the disk, or of a compressed file, names the file.
func (m *mail) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	pr := m.problem
	pr.Err = err
	return n, &pr
}

// Close closes the file.
func (m *mail) Close() error { return errors.Join(m.Reader.Close(), m.file.Close()) }

// A reader reads one file. It goes to the kernel directly, as package os would
// first ask whether the file can be polled.
type reader struct{ fd int }

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.fd < 0 {
		return 0, os.ErrClosed
	}
	n, err := deliver.Retry(func() (int, error) { return unix.Read(r.fd, p) })
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Seek goes to another place in the file.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	if r.fd < 0 {
		return 0, os.ErrClosed
	}
	return unix.Seek(r.fd, offset, whence)
}

// Close closes the file.
func (r *reader) Close() error {
	if r.fd < 0 {
		return os.ErrClosed
	}
	fd := r.fd
	r.fd = -1
	return unix.Close(fd)
}

// A rescan remembers the names of a folder as they were at a certain state of
// its directories, so that thousands of renamed messages cost one reading.
type rescan struct {
	mu    sync.Mutex
	stats dirStats
	names map[string][]found
}

type found struct {
	name  string
	inNew bool
	ino   uint64
}

// find gives the present name of a message. It returns ErrVanished when a
// reading that nothing disturbed does not show it.
func (b *openBox) find(base string, ino uint64) (name string, inNew bool, err error) {
	b.rescan.mu.Lock()
	defer b.rescan.mu.Unlock()
	for range maxScans {
		if now := b.stats(); b.rescan.names == nil || b.rescan.stats != now {
			if err := settle(context.Background(), now); err != nil {
				return "", false, err
			}
			if err := b.readNames(); err != nil {
				return "", false, err
			}
		}
		for _, f := range b.rescan.names[base] {
			if ino == 0 || f.ino == ino {
				return f.name, f.inNew, nil
			}
		}
		if b.rescan.stats == b.stats() {
			break
		}
	}
	return "", false, mailstore.ErrVanished
}

func (b *openBox) readNames() error {
	b.rescan.stats = b.stats()
	b.rescan.names = map[string][]found{}
	for _, inNew := range []bool{true, false} {
		d := b.cur
		if inNew {
			d = b.new
		}
		if d == nil {
			continue
		}
		names, err := readDir(d)
		if err != nil {
			b.rescan.names = nil
			return err
		}
		for _, de := range names {
			base := baseName(de.name)
			// cur last and in front: a message in both has moved to it.
			b.rescan.names[base] = append([]found{{de.name, inNew, de.ino}}, b.rescan.names[base]...)
		}
	}
	return nil
}
