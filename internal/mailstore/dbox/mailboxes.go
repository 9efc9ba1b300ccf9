package dbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/dovecot/index"
	"salvor/internal/mailstore/folder"
)

// A box is one folder's places.
type box struct {
	a    *account
	name string
	disk string // its path below mailboxes/
}

func (a *account) box(name string) box {
	b := box{a: a, name: name, disk: folder.Inbox}
	if name != folder.Inbox {
		b.disk = a.opt.Encoding.EncodePath(name)
	}
	return b
}

// mails is the directory of the folder's files, below the root.
func (b box) mails() string { return path.Join(mailboxesDir, b.disk, mailsDir) }

// index is the directory of the folder's index, below the index root. With
// INDEX= it is not dbox-Mails but the one above.
func (b box) index() string {
	if b.a.index == b.a.root {
		return b.mails()
	}
	return path.Join(mailboxesDir, b.disk)
}

// path is a path of the folder for people.
func (b box) path(below ...string) string {
	return filepath.Join(b.a.root.Name(), path.Join(append([]string{b.mails()}, below...)...))
}

// indexPath is that of its index.
func (b box) indexPath() string {
	if b.a.index == nil {
		return b.a.opt.Index.String()
	}
	return filepath.Join(b.a.index.Name(), b.index(), indexName)
}

// readIndex reads the folder's index, unless it was the last one to be read and
// has not changed since.
func (b box) readIndex() (*index.Index, error) {
	if b.a.index == nil {
		return nil, fs.ErrNotExist
	}
	last := &b.a.last
	last.mu.Lock()
	defer last.mu.Unlock()
	var state strings.Builder
	settled := b.statIndex(&state)
	if settled && last.disk == b.disk && last.state == state.String() {
		return last.index, nil
	}
	var wanted []string
	if b.a.opt.Kind == Multi {
		wanted = []string{"mdbox", "guid"}
	}
	ix, err := index.Read(b.a.index, b.index(), indexName, wanted...)
	if last.disk, last.state, last.index = "", "", nil; err == nil && settled {
		last.disk, last.state, last.index = b.disk, state.String(), ix
	}
	return ix, err
}

// lastIndex is the index that was read last.
type lastIndex struct {
	mu          sync.Mutex
	disk, state string
	index       *index.Index
}

// Mailboxes lists the user's folders, INBOX first, the others by name. The index
// of each is read, no message, and whether it lists all mail that is there.
func (s *Source) Mailboxes(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox) error) error {
	return s.with(user.Name, func(a *account) error {
		l := lister{a: a}
		boxes, err := l.describeAll(ctx)
		if err != nil {
			return err
		}
		for _, m := range boxes {
			if err := yield(m); err != nil {
				return err
			}
		}
		return incomplete(l.problems)
	})
}

// lister finds the folders of a user.
type lister struct {
	a        *account
	found    map[string]bool
	problems []*mailstore.Problem
	full     bool
	lacking  string // see account.lacking

	claimed map[uint32]bool // messages of mdbox's map that are in a folder
	anyLost bool            // of the indexes
}

func (l *lister) problem(mailbox, path string, err error) {
	l.problems = append(l.problems, l.a.problem(mailbox, path, err))
}

// folders gives the names of all folders, INBOX first, the others sorted.
func (l *lister) folders(ctx context.Context) []string {
	l.found = map[string]bool{}
	l.walk(ctx, l.a.root, mailboxesDir, "", 0)
	if l.a.index != nil && l.a.index != l.a.root {
		l.walk(ctx, l.a.index, mailboxesDir, "", 0)
	}
	if _, err := l.a.root.Lstat(mailboxesDir); errors.Is(err, fs.ErrNotExist) && l.a.opt.Kind == Multi {
		l.named(ctx)
	}
	delete(l.found, folder.Inbox)
	names := make([]string, 0, len(l.found)+1)
	for n := range l.found {
		names = append(names, n)
	}
	sort.Strings(names)
	return append([]string{folder.Inbox}, names...)
}

// named adds the folders that mdbox's messages name, where nothing is left of
// the folders themselves.
func (l *lister) named(ctx context.Context) {
	s, err := l.a.scan(ctx)
	if err != nil {
		l.problem("", filepath.Join(l.a.root.Name(), storageDir), err)
		return
	}
	for _, e := range s.entries {
		l.found[l.a.nameOf(e.mailbox)] = true
	}
}

// nameOf is the name of a folder by its path below mailboxes/; INBOX for a path
// that no folder can have.
func (a *account) nameOf(disk string) string {
	if disk == folder.Inbox || !filepath.IsLocal(disk) {
		return folder.Inbox
	}
	if name := a.opt.Encoding.DecodePath(disk); a.box(name).disk == disk {
		return name
	}
	return folder.Inbox
}

// walk notes every directory that is a folder: it holds dbox-Mails or an index.
func (l *lister) walk(ctx context.Context, root *os.Root, dir, disk string, depth int) {
	if ctx.Err() != nil || l.full {
		return
	}
	entries, err := readDir(root, dir)
	if err != nil {
		if disk != "" || !errors.Is(err, fs.ErrNotExist) || root == l.a.root {
			l.problem("", filepath.Join(root.Name(), dir), err)
		}
		return
	}
	if depth > maxDepth {
		l.problem("", filepath.Join(root.Name(), dir), fmt.Errorf("folders are nested more than %d deep", maxDepth))
		return
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case disk != "" && (name == mailsDir || name == indexName || name == indexName+".log"):
			l.add(disk)
		case e.IsDir() && name != mailsDir && !strings.HasPrefix(name, "..DOVECOT"):
			l.walk(ctx, root, path.Join(dir, name), path.Join(disk, name), depth+1)
		}
	}
}

func (l *lister) add(disk string) {
	l.found[l.a.nameOf(disk)] = true
	if len(l.found) > maxFolders {
		l.problem("", l.a.root.Name(), fmt.Errorf("more than %d folders", maxFolders))
		l.full = true
	}
}

// readDir reads a directory below a root, sorted.
func readDir(root *os.Root, dir string) ([]os.DirEntry, error) {
	d, err := root.OpenFile(dir, deliver.DirFlags, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	list, err := d.ReadDir(maxFiles)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name() < list[j].Name() })
	return list, err
}

// describe says what is known of a folder. Its state is taken first: what
// changes from then on changes it.
func (l *lister) describe(ctx context.Context, b box) mailstore.Mailbox {
	m := mailstore.Mailbox{User: l.a.user, Name: b.name, State: b.state(l.lacking)}
	ix, err := b.readIndex()
	if err != nil {
		m.Lost, l.anyLost = lost(err), true
		if !errors.Is(err, fs.ErrNotExist) {
			l.problem(b.name, b.indexPath(), err)
		}
		return m
	}
	m.Lost = l.judge(ctx, b, ix)
	m.UIDValidity, m.UIDNext = ix.UIDValidity(), ix.UIDNext()
	m.ObjectID = guidOfBox(l.a.opt.Kind, ix)
	return m
}

// guidOfBox is the GUID of a folder, "" where its index has none.
func guidOfBox(kind Kind, ix *index.Index) string {
	extension := "dbox-hdr" // a counter or a UIDVALIDITY, and the GUID
	if kind == Multi {
		extension = "mdbox-hdr"
	}
	if h := ix.Header(extension); len(h) >= 20 && strings.Trim(string(h[4:20]), "\x00") != "" {
		return fmt.Sprintf("%x", h[4:20])
	}
	return ""
}

// lost says why absence from a folder is no evidence of deletion.
func lost(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "dovecot.index is missing"
	}
	return "dovecot.index cannot be read"
}

// racy is how young a change may be to make a state useless: another change
// within the same tick of the file system's clock would not show.
const racy = 2 * time.Second

// state is a token of the folder's index and of what would tell of lost mail: the
// directories that the files of an sdbox are in, the files that an mdbox lacks.
// It is "" when something changed so lately that a further change might not show.
func (b box) state(lacking string) string {
	var s strings.Builder
	if b.a.index == nil || !b.statIndex(&s) {
		return ""
	}
	if b.a.opt.Kind == Multi {
		return s.String() + lacking
	}
	for _, root := range b.a.roots() {
		if !b.stat(&s, root, b.mails()) {
			return ""
		}
	}
	return s.String()
}

// statIndex adds what identifies the folder's index as it is now.
func (b box) statIndex(s *strings.Builder) (settled bool) {
	return b.stat(s, b.a.index, path.Join(b.index(), indexName)) && b.stat(s, b.a.index, path.Join(b.index(), indexName+".log"))
}

// stat adds what identifies a file as it is now.
func (b box) stat(s *strings.Builder, root *os.Root, name string) (settled bool) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		s.WriteString("-;")
		return true
	}
	if err != nil {
		return false
	}
	st, ok := statOf(info)
	if !ok || b.a.opt.now().Sub(info.ModTime()) < racy {
		return false
	}
	fmt.Fprintf(s, "%x.%x.%x.%x;", st.Ino, info.Size(), info.ModTime().UnixNano(), unix.TimespecToNsec(unix.Timespec(st.Ctim)))
	return true
}

// subscriptions reads the names that the user has subscribed: lines of levels
// that are parted by tabs after "V\t2", and by "/" without it.
func (l *lister) subscriptions() map[string]bool {
	subs := map[string]bool{}
	if l.a.control == nil {
		return subs
	}
	f, err := deliver.OpenRegular(l.a.control, "subscriptions")
	if err == nil {
		defer f.Close()
		err = readSubscriptions(io.LimitReader(f, 4<<20), l.a.opt.Encoding, subs)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.problem("", filepath.Join(l.a.control.Name(), "subscriptions"), err)
	}
	return subs
}

// tabUnescape undoes Dovecot's str_tabescape.
var tabUnescape = strings.NewReplacer("\x010", "\x00", "\x011", "\x01", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n")

func readSubscriptions(r io.Reader, e folder.Encoding, subs map[string]bool) error {
	in := bufio.NewScanner(r)
	separator := "/"
	for n := 0; in.Scan(); n++ {
		line := in.Text()
		if n == 0 && strings.HasPrefix(line, "V\t") {
			separator = "\t"
			continue
		}
		if line == "" {
			continue
		}
		levels := strings.Split(line, separator)
		for i, level := range levels {
			if separator == "\t" {
				level = tabUnescape.Replace(level)
			}
			levels[i] = e.DecodeLevel(level)
		}
		name := strings.Join(levels, "/")
		if strings.EqualFold(name, folder.Inbox) {
			name = folder.Inbox
		}
		subs[name] = true
	}
	return in.Err()
}
