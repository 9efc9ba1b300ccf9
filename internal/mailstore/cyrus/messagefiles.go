package cyrus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

// messageFiles are the directories of one mailbox's message files, opened to
// look for the files of messages that are there. A file that is gone or cut
// short under a message whose record stays the same shows nowhere else.
type messageFiles struct {
	data, archive *filesDir // archive nil: none
}

// A filesDir is one of them. dir is nil where the directory, or its whole
// partition, is missing.
type filesDir struct {
	place *place
	name  string
	dir   *os.File
}

// openFiles opens a mailbox's directories. It gives nil when nothing can be said
// of the files: a partition is missing, which Users has told, or err says why.
func openFiles(p *partition, b *box) (*messageFiles, string, error) {
	s := &messageFiles{}
	for _, d := range []struct {
		place *place
		to    **filesDir
	}{{p.data, &s.data}, {p.archive, &s.archive}} {
		if d.place == nil {
			continue
		}
		if d.place.root == nil {
			s.close()
			return nil, "", nil
		}
		sd := &filesDir{place: d.place, name: b.dir}
		f, err := d.place.root.OpenFile(b.dir, deliver.DirFlags, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.close()
			return nil, filepath.Join(d.place.path, b.dir), fmt.Errorf("whether messages' files are there cannot be told: %w", err)
		}
		if err == nil {
			sd.dir = f
		}
		*d.to = sd
	}
	return s, "", nil
}

func (s *messageFiles) close() {
	for _, d := range []*filesDir{s.data, s.archive} {
		if d != nil && d.dir != nil {
			d.dir.Close()
		}
	}
}

// look says what is wrong with a message's file, as a suffix of its State; ""
// for a file of the right size. Like openMessage it looks in both directories:
// first where the file should be, as the server moves it by a copy.
func (s *messageFiles) look(uid uint32, archived bool, want int64) string {
	name := strconv.FormatUint(uint64(uid), 10) + "."
	dirs := [2]*filesDir{s.data, s.archive}
	if archived {
		dirs = [2]*filesDir{s.archive, s.data}
	}
	for _, d := range dirs {
		if d == nil || d.dir == nil {
			continue
		}
		size, err := d.size(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return " unreadable"
		case size != want:
			return " size " + strconv.FormatInt(size, 10)
		default:
			return ""
		}
	}
	return missingFile
}

// missingFile is what look says of a file that is not there.
const missingFile = " missing"

var errNoFile = errors.New("it is no regular file")

// size is a file's. Only a symbolic link needs the long way, which does not
// leave the partition.
func (d *filesDir) size(name string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(d.dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return st.Size, nil
	case unix.S_IFLNK:
		info, err := d.place.root.Stat(path.Join(d.name, name))
		if err != nil {
			return 0, err
		}
		if info.Mode().IsRegular() {
			return info.Size(), nil
		}
	}
	return 0, errNoFile
}

// mark changes what a listing says of a live message whose file is not as its
// record promises. The other State makes the engine open it, as does that it is
// given no identity: a copy of the content elsewhere does not make this one whole.
// It gives what is wrong.
func (s *messageFiles) mark(m *mailstore.Message, archived bool) (wrong string) {
	if wrong = s.look(uint32(m.UID), archived, m.Promised); wrong != "" {
		m.State += wrong
		m.ObjectID = ""
	}
	return wrong
}

// filesToken identifies the directories of a mailbox's files for its State: one
// that vanished, or is another one, makes it another. Nothing is opened, so
// their path is good enough for every mailbox of every night.
func (c *config) filesToken(b *box) string {
	p := c.partition(b.partition)
	if p == nil || !filepath.IsLocal(b.dir) {
		return ""
	}
	token := ";" + identifyPath(filepath.Join(p.data.path, b.dir)).String()
	if p.archive != nil {
		token += ";" + identifyPath(filepath.Join(p.archive.path, b.dir)).String()
	}
	return token
}
