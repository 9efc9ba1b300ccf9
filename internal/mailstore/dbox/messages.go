package dbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dovecot/index"
)

// Messages lists a folder by UID. Of each message the metadata is read, not the
// mail.
func (s *Source) Messages(ctx context.Context, m mailstore.Mailbox, yield func(mailstore.Message) error) error {
	return s.with(m.User, func(a *account) error {
		l := listing{ctx: ctx, box: a.box(m.Name), yield: yield}
		defer l.leave()
		if a.opt.Kind == Single {
			defer l.openMails()()
		}
		ix, err := l.box.readIndex()
		switch {
		case err == nil:
			if err = l.indexed(ix); err == nil {
				err = l.unindexed(ix)
			}
		case a.opt.Kind == Multi:
			l.lost(err)
			err = l.unclaimed()
		default:
			l.lost(err)
			err = l.files()
		}
		if err != nil {
			return err
		}
		return incomplete(l.problems)
	})
}

// A listing lists one folder once.
type listing struct {
	ctx      context.Context
	box      box
	yield    func(mailstore.Message) error
	problems []*mailstore.Problem

	messages *index.Index   // mdbox's map; nil: it cannot be read
	mails    []*os.Root     // the directories of an sdbox folder's files
	copies   map[string]int // of mdbox's messages in the folder, by key

	file  *os.File // the mdbox file that was read last
	id    uint32
	close func()
}

func (l *listing) problem(path string, err error) {
	l.problems = append(l.problems, l.box.a.problem(l.box.name, path, err))
}

// lost reports that the folder's index cannot be read; one that is missing makes
// the folder Lost and no more.
func (l *listing) lost(err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		l.problem(l.box.indexPath(), err)
	}
}

// indexed lists what the folder's index names. A message that is not there, or
// not whole, is listed all the same: it was not deleted.
func (l *listing) indexed(ix *index.Index) error {
	if l.box.a.opt.Kind == Multi && len(ix.Records) > 0 {
		// After the folder's index: the map names a message before a folder does.
		var err error
		if l.messages, err = l.box.a.loadMap(); err != nil {
			l.problem(l.box.a.mapPath(), fmt.Errorf("messages are looked for in all files: %w", err))
		}
	}
	l.copies = map[string]int{}
	for i := range ix.Records {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		r := &ix.Records[i]
		m := mailstore.Message{UID: mailstore.UID(r.UID), Flags: ix.Names(r), Size: -1, Promised: -1}
		if l.box.a.opt.Kind == Single {
			l.single(&m)
		} else {
			l.multi(&m, r)
		}
		if err := l.yield(m); err != nil {
			return err
		}
	}
	return nil
}

// openMails opens the directories of the folder's files; one that cannot be
// opened has none.
func (l *listing) openMails() (closeMails func()) {
	for _, root := range l.box.a.roots() {
		if d, err := root.OpenRoot(l.box.mails()); err == nil {
			l.mails = append(l.mails, d)
		}
	}
	return func() {
		for _, d := range l.mails {
			d.Close()
		}
	}
}

// single fills in what the file of an sdbox message tells. What is wrong with it
// is told when it is opened.
func (l *listing) single(m *mailstore.Message) {
	m.Key = fmt.Sprintf("u.%d", m.UID)
	m.Place = m.Key
	f, closeFile, err := open(l.mails, m.Key)
	if err != nil {
		return
	}
	defer closeFile()
	info, err := f.Stat()
	if err != nil {
		return
	}
	if st, ok := statOf(info); ok {
		m.State = fmt.Sprintf("%d:%d:%d", info.Size(), info.ModTime().UnixNano(), st.Ino)
	}
	m.InternalDate = info.ModTime()
	d, err := openFile(f, info.Size())
	if err != nil {
		return
	}
	if e, err := d.entry(d.first); err == nil {
		describe(m, e, f)
	}
}

// multi does so for a message in an mdbox file. Its key is its GUID, which both
// the folder's index and the file name.
func (l *listing) multi(m *mailstore.Message, r *index.Record) {
	guid := guidOf(r)
	var e entry
	at, err := l.box.a.find(l.ctx, l.messages, mapUID(r), guid)
	if err == nil {
		e, err = l.entry(at)
	}
	if guid == "" && err == nil && objectID(e.guid) != "" {
		guid = strings.ToLower(e.guid)
	}
	whole := err == nil && (guid == "" || strings.EqualFold(e.guid, guid))
	if whole {
		describe(m, e, l.file)
	}
	if m.Key = guid; guid == "" {
		m.Key = fmt.Sprintf("uid.%d", m.UID)
	}
	m.Place = place{location: at, mapUID: mapUID(r), guid: guid}.String()
	if whole { // what has a GUID never changes; what is not there has no state
		m.State = m.Key
	}
	if l.copies[m.Key]++; l.copies[m.Key] > 1 {
		m.Key += "/" + strconv.Itoa(l.copies[m.Key])
	}
}

// entry reads a message's metadata in an mdbox file.
func (l *listing) entry(at location) (entry, error) {
	if l.file == nil || l.id != at.file {
		l.leave()
		f, closeFile, err := l.box.a.open(path.Join(storageDir, fmt.Sprintf("m.%d", at.file)))
		if err != nil {
			return entry{}, err
		}
		l.file, l.id, l.close = f, at.file, closeFile
	}
	d, err := openFile(l.file, sizeOf(l.file))
	if err != nil && !errors.Is(err, mailstore.ErrDamaged) {
		return entry{}, err
	}
	return d.entry(at.offset)
}

func (l *listing) leave() {
	if l.file != nil {
		l.close()
		l.file = nil
	}
}

// files lists the files of an sdbox folder whose index cannot be read.
func (l *listing) files() error {
	uids := map[uint32]bool{}
	for _, root := range l.box.a.roots() {
		entries, err := readDir(root, l.box.mails())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.problem(filepath.Join(root.Name(), l.box.mails()), err)
		}
		for _, e := range entries {
			if uid, ok := numbered(e.Name(), "u."); ok {
				uids[uid] = true
			}
		}
	}
	return l.numbered(slices.Sorted(maps.Keys(uids)))
}

// unindexed lists what is there and not in an index that has lost something.
func (l *listing) unindexed(ix *index.Index) error {
	switch {
	case l.box.a.opt.Kind == Single:
		return l.numbered(l.box.unlisted(l.ctx, ix))
	case ix.Torn != "":
		return l.unclaimed()
	}
	return nil
}

// numbered lists files of an sdbox folder without the help of an index.
func (l *listing) numbered(uids []uint32) error {
	for _, uid := range uids {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		m := mailstore.Message{UID: mailstore.UID(uid), NoFlags: true, Size: -1, Promised: -1}
		l.single(&m)
		if err := l.yield(m); err != nil {
			return err
		}
	}
	return nil
}

// describe takes over what a message's metadata tells.
func describe(m *mailstore.Message, e entry, f *os.File) {
	m.InternalDate, m.ObjectID = received(e, f), objectID(e.guid)
	m.Promised = e.promised()
	// Nobody shall make a backup wait for a size that is only promised.
	m.Size = min(m.Promised, compression*e.size)
}

// compression is how many times longer than its file a compressed message is
// believed to be before it was read.
const compression = 64

func compactSorted(ids []uint32) []uint32 {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// statOf is what the system says of a file.
func statOf(info fs.FileInfo) (*syscall.Stat_t, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	return st, ok
}

func sizeOf(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// roots are where the user's mail is.
func (a *account) roots() []*os.Root {
	if a.alt == nil {
		return []*os.Root{a.root}
	}
	return []*os.Root{a.root, a.alt}
}

// open opens a file below the root or, where it is not there, below the
// alternative one.
func (a *account) open(name string) (*os.File, func(), error) { return open(a.roots(), name) }

// open opens a file below the first root that has it. Its access time is left
// alone where the kernel lets us.
func open(roots []*os.Root, name string) (*os.File, func(), error) {
	var last error = fs.ErrNotExist
	for _, root := range roots {
		const flags = os.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW
		f, err := root.OpenFile(name, flags|unix.O_NOATIME, 0)
		if errors.Is(err, fs.ErrPermission) {
			f, err = root.OpenFile(name, flags, 0)
		}
		if err == nil {
			info, err := f.Stat()
			if err == nil && info.Mode().IsRegular() {
				return f, func() { f.Close() }, nil
			}
			f.Close()
			return nil, nil, fmt.Errorf("%s is no regular file", name)
		}
		if last = err; !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, nil, last
}
