package maildir

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore/deliver"
)

// maxEntries bounds what is believed of one directory.
const maxEntries = 16 << 20

// dirent is one directory entry as getdents64(2) gives it.
type dirent struct {
	name string
	ino  uint64
	kind byte // unix.DT_*
}

// readDir reads a whole directory from its start. Package os would not tell
// the inode without a stat; stats in inode order are many times faster on a
// cold disk. With an error it gives what it could read.
func readDir(d *os.File) ([]dirent, error) {
	defer runtime.KeepAlive(d)
	fd := int(d.Fd())
	// An own description: several goroutines may read the same directory.
	own, err := deliver.Retry(func() (int, error) {
		return unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	defer unix.Close(own)
	var out []dirent
	buf := make([]byte, 64<<10)
	for {
		n, err := deliver.Retry(func() (int, error) { return unix.Getdents(own, buf) })
		if err != nil || n <= 0 {
			return out, err
		}
		out = parseDirents(out, buf[:n])
		if len(out) > maxEntries {
			return out, fmt.Errorf("more than %d names in one directory", maxEntries)
		}
	}
}

// parseDirents reads struct linux_dirent64: inode, offset (8 bytes each),
// length of the entry (2), type (1), name with a final NUL.
func parseDirents(out []dirent, buf []byte) []dirent {
	for len(buf) >= 19 {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size < 19 || size > len(buf) {
			return out
		}
		name := buf[19:size]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if s := string(name); s != "." && s != ".." {
			out = append(out, dirent{name: s, ino: binary.NativeEndian.Uint64(buf), kind: buf[18]})
		}
		buf = buf[size:]
	}
	return out
}

// statAt is lstat(2) of a name in a directory.
func statAt(d *os.File, name string) (st unix.Stat_t, err error) {
	defer runtime.KeepAlive(d)
	fd := int(d.Fd())
	_, err = deliver.Retry(func() (int, error) {
		return 0, unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, err
}

func isDir(st *unix.Stat_t) bool     { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
func isLink(st *unix.Stat_t) bool    { return st.Mode&unix.S_IFMT == unix.S_IFLNK }
func isRegular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

func mtime(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Sec, st.Mtim.Nsec) }
func ctime(st *unix.Stat_t) time.Time { return time.Unix(st.Ctim.Sec, st.Ctim.Nsec) }

// kindWord names what a file is, where it is no regular one.
func kindWord(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFIFO:
		return "named pipe"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "device"
}
