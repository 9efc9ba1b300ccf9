package cyrus

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore/cyrus/cyrusdb"
	"salvor/internal/mailstore/cyrus/header"
	"salvor/internal/mailstore/deliver"
)

// The files beside a mailbox's messages.
const (
	headerName  = "cyrus.header"
	indexName   = "cyrus.index"
	expungeName = "cyrus.expunge" // 2.3 only
)

// Limits of what is read into memory at once.
const (
	maxIndex    = 512 << 20 // more than four million messages
	maxDatabase = 512 << 20
)

// The server goes on while we read and we take no lock: what looks damaged may
// just be being written, and is read again after these pauses.
var pauses = []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond}

// quietAfter is how long ago a file was last written that is not being written.
const quietAfter = 5 * time.Second

// quiet tells whether nobody has written a file lately.
func (f fileID) quiet() bool { return time.Since(time.Unix(0, f.mtime)) > quietAfter }

// settle calls f until it says that nothing looks damaged, or that waiting will
// not help, or it has been called often enough.
func settle(f func() (fine bool)) {
	for _, p := range pauses {
		if f() {
			return
		}
		time.Sleep(p)
	}
	f()
}

// A fileID tells a state of a file from others.
type fileID struct {
	ino   uint64
	size  int64
	mtime int64 // nanoseconds
}

// String writes the identity into a token; "-" for no file.
func (f fileID) String() string {
	if f == (fileID{}) {
		return "-"
	}
	return fmt.Sprintf("%x.%x.%x", f.ino, f.size, f.mtime)
}

func identify(f *os.File) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileID{}, err
	}
	return idOf(&st), nil
}

func idOf(st *unix.Stat_t) fileID {
	return fileID{st.Ino, st.Size, time.Unix(st.Mtim.Unix()).UnixNano()}
}

// stat identifies a file without opening it; the zero fileID where it is not
// there.
func stat(root *os.Root, name string) (fileID, error) {
	info, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fileID{}, nil
	}
	if err != nil {
		return fileID{}, err
	}
	id := fileID{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.ino = st.Ino
	}
	return id, nil
}

// openFile opens a regular file below a root for reading, and leaves its access
// time alone where the kernel lets us.
func openFile(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOATIME, 0)
	if errors.Is(err, fs.ErrPermission) {
		return deliver.OpenRegular(root, name)
	}
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	return f, nil
}

// readFile reads a whole file, with the identity that it had before.
func readFile(root *os.Root, name string, limit int64) ([]byte, fileID, error) {
	f, err := openFile(root, name)
	if err != nil {
		return nil, fileID{}, err
	}
	defer f.Close()
	id, err := identify(f)
	if err != nil {
		return nil, id, err
	}
	if id.size > limit {
		return nil, id, fmt.Errorf("%s has %d bytes, more than any file of its kind", name, id.size)
	}
	b := make([]byte, id.size, id.size+512)
	n, err := io.ReadFull(f, b)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return b[:n], id, nil
	}
	if err == nil { // what was appended meanwhile
		more, err := io.ReadAll(io.LimitReader(f, limit-id.size))
		return append(b, more...), id, err
	}
	return nil, id, err
}

// readHeader reads a cyrus.header.
func readHeader(root *os.Root, name string) (*header.Header, error) {
	if root == nil {
		return nil, fs.ErrNotExist
	}
	b, _, err := readFile(root, name, header.MaxSize)
	if err != nil {
		return nil, err
	}
	return header.Parse(b)
}

// readDatabase reads a database file by its absolute path. Damage that lasts is
// in the DB.
func readDatabase(file string) (db *cyrusdb.DB, id fileID, err error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, id, err
	}
	defer root.Close()
	return readDatabaseIn(root, filepath.Base(file))
}

func readDatabaseIn(root *os.Root, name string) (db *cyrusdb.DB, id fileID, err error) {
	settle(func() bool {
		var b []byte
		if b, id, err = readFile(root, name, maxDatabase); err == nil {
			db, err = cyrusdb.Decode(b)
		}
		return err == nil && len(db.Damage) == 0 || err != nil && !errors.Is(err, cyrusdb.ErrFormat) || id.quiet()
	})
	return db, id, err
}

// identifyPath identifies a file by its absolute path; the zero fileID where it
// is not there.
func identifyPath(file string) fileID {
	var st unix.Stat_t
	if unix.Stat(file, &st) != nil {
		return fileID{}
	}
	return idOf(&st)
}
