package maildir

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// An openBox is a folder with its directories open.
type openBox struct {
	place    place
	path     string // of the folder, for messages to people
	cur, new *os.File
	rescan   rescan
}

type boxKey struct{ user, name string }

// Close closes the directories.
func (b *openBox) Close() error {
	var err error
	for _, d := range []*os.File{b.cur, b.new} {
		if d != nil {
			err = errors.Join(err, d.Close())
		}
	}
	return err
}

// openBox opens cur and new; a missing one is nil.
func (a *account) openBox(p place) (*openBox, error) {
	b := &openBox{place: p, path: a.path(p)}
	for name, d := range map[string]**os.File{"cur": &b.cur, "new": &b.new} {
		f, err := a.rootOf(p).OpenFile(path.Join(p.dir, name), deliver.DirFlags, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			b.Close()
			return nil, &mailstore.Problem{User: a.user, Mailbox: p.name, Path: path.Join(b.path, name), Err: err}
		}
		*d = f
	}
	return b, nil
}

// entry is one file of a folder.
type entry struct {
	name                  string
	base                  string // part of name
	inNew                 bool
	ino                   uint64
	size, mtime, promised int64 // mtime in nanoseconds
	uid                   mailstore.UID
}

type entryKey struct {
	name  string
	inNew bool
}

// Messages lists a folder: unnumbered messages last, the others by UID. No
// message is opened.
func (s *Source) Messages(ctx context.Context, box mailstore.Mailbox, yield func(mailstore.Message) error) error {
	return s.with(box.User, func(a *account) error {
		p := s.opt.placeOf(box.Name)
		b, err := a.openBox(p)
		if err != nil {
			return incomplete(err)
		}
		item := s.boxes.put(boxKey{box.User, box.Name}, b)
		defer s.boxes.done(item)
		l := lister{a: a, box: b}
		return l.list(ctx, yield)
	})
}

// incomplete makes the problem that stopped a listing its only result.
func incomplete(err error) error {
	var p *mailstore.Problem
	if errors.As(err, &p) {
		return &mailstore.Incomplete{Problems: []*mailstore.Problem{p}}
	}
	return err
}

// lister lists one folder once.
type lister struct {
	a        *account
	box      *openBox
	entries  []*entry
	byBase   map[string]*entry // the one that a base name means
	problems []*mailstore.Problem
}

func (l *lister) newProblem(below string, err error) *mailstore.Problem {
	return &mailstore.Problem{User: l.a.user, Mailbox: l.box.place.name, Path: path.Join(l.box.path, below), Err: err}
}

func (l *lister) problem(below string, err error) {
	l.problems = append(l.problems, l.newProblem(below, err))
}

func (l *lister) list(ctx context.Context, yield func(mailstore.Message) error) error {
	if l.box.cur == nil { // its messages have not been deleted one by one
		l.problem("cur", fs.ErrNotExist)
	}
	if err := l.scan(ctx); err != nil {
		return err
	}
	if err := l.stat(ctx); err != nil {
		return err
	}
	keywords, keys := l.keywords(), l.distinct()
	l.number()
	slices.SortFunc(l.entries, inOrder)
	for _, e := range l.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := yield(e.message(keys[e], keywords)); err != nil {
			return err
		}
	}
	return addProblems(nil, l.problems)
}

// inOrder sorts by UID, messages without one last and by name.
func inOrder(a, b *entry) int {
	if a.uid != b.uid {
		return cmp.Compare(a.uid-1, b.uid-1) // 0 becomes the highest
	}
	return cmp.Compare(a.name, b.name)
}

func (e *entry) message(key string, k *keywords) mailstore.Message {
	if key == "" {
		key = e.base
	}
	key = folder.Clean(key) // a file name may be anything, a key is text
	m := mailstore.Message{
		Key: key, UID: e.uid, Size: e.sizeToRead(), Promised: e.promised, InternalDate: time.Unix(0, e.mtime), State: e.state(), Place: "cur/" + e.name,
	}
	if e.inNew {
		m.Place = "new/" + e.name
	}
	m.Flags = flagsOf(e.name, k)
	return m
}

// compression is how many times longer than its file a compressed message is
// believed to be: nobody shall make a backup wait for a size that only a name
// promises.
const compression = 64

// sizeToRead is the size of the stored bytes as far as the listing knows it: a
// file that is shorter than its name promises may be compressed.
func (e *entry) sizeToRead() int64 {
	if e.promised <= e.size {
		return e.size
	}
	return min(e.promised, compression*e.size)
}

// state is the file's token.
func (e *entry) state() string {
	b := make([]byte, 0, 64)
	b = append(strconv.AppendInt(b, e.size, 10), ':')
	b = append(strconv.AppendInt(b, e.mtime, 10), ':')
	return string(strconv.AppendUint(b, e.ino, 10))
}

// distinct gives keys to files that share their base name with another: the
// one with the lowest inode keeps it. One file with two names is listed once.
func (l *lister) distinct() map[*entry]string {
	l.byBase = make(map[string]*entry, len(l.entries))
	var shared map[string][]*entry
	for _, e := range l.entries {
		f := l.byBase[e.base]
		if f == nil {
			l.byBase[e.base] = e
			continue
		}
		if shared == nil {
			shared = map[string][]*entry{}
		}
		if len(shared[e.base]) == 0 {
			shared[e.base] = []*entry{f}
		}
		shared[e.base] = append(shared[e.base], e)
	}
	if shared == nil {
		return nil
	}
	keys, drop := map[*entry]string{}, map[*entry]bool{}
	for base, group := range shared {
		slices.SortFunc(group, byFile)
		l.byBase[base] = group[0]
		for i, e := range group[1:] {
			if e.ino == group[i].ino {
				drop[e] = true
			} else {
				keys[e] = base + inodeMark + strconv.FormatUint(e.ino, 10)
			}
		}
	}
	l.entries = slices.DeleteFunc(l.entries, func(e *entry) bool { return drop[e] })
	return keys
}

// byFile puts names of one file together, those in cur first.
func byFile(a, b *entry) int {
	switch {
	case a.ino != b.ino:
		return cmp.Compare(a.ino, b.ino)
	case a.inNew && !b.inNew:
		return 1
	case b.inNew && !a.inNew:
		return -1
	}
	return cmp.Compare(a.name, b.name)
}

// inodeMark parts a base name from an inode in the key of a message that is
// not the only one of its base name. No base name holds a colon.
const inodeMark = ":"

// number gives the messages the UIDs of the uidlist. It is read after the
// directories: what they show and it does not is unnumbered yet. Of several
// files of one base name the first gets the UID. Of two lines with one base
// name the later counts, as in Dovecot.
func (l *lister) number() {
	control := l.a.controlOf(l.box.place)
	if control == nil {
		return
	}
	for _, name := range uidlistNames {
		name = path.Join(l.box.place.control, name)
		err := l.readUIDs(control, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil && !errors.Is(err, errNoUIDList) { // that one makes the folder Lost
			l.problems = append(l.problems, &mailstore.Problem{
				User: l.a.user, Mailbox: l.box.place.name, Path: path.Join(control.Name(), name), Err: err,
			})
		}
		return
	}
}

// readUIDs reads one uidlist, a second time if its end is just being written.
func (l *lister) readUIDs(control *os.Root, name string) error {
	for again := true; ; again = false {
		f, err := deliver.OpenRegular(control, name)
		if err != nil {
			return err
		}
		sum, err := readUIDList(f, func(u uidLine) {
			if e := l.byBase[string(u.base)]; e != nil {
				e.uid = u.uid
				if e.promised < 0 {
					e.promised = u.size
				}
			}
		})
		f.Close()
		if err == nil && sum.torn && again {
			time.Sleep(tick)
			continue
		}
		if err == nil && sum.bad != "" {
			err = errors.New(sum.bad)
		}
		return err
	}
}

func (l *lister) keywords() *keywords {
	control := l.a.controlOf(l.box.place)
	if control == nil {
		return nil
	}
	name := path.Join(l.box.place.control, keywordsName)
	f, err := deliver.OpenRegular(control, name)
	if err == nil {
		defer f.Close()
		var k *keywords
		if k, err = readKeywords(f); err == nil {
			return k
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		l.problems = append(l.problems, &mailstore.Problem{
			User: l.a.user, Mailbox: l.box.place.name, Path: path.Join(control.Name(), name), Err: err,
		})
	}
	return nil
}

// Count counts the messages without looking at them.
func (s *Source) Count(ctx context.Context, box mailstore.Mailbox) (int, error) {
	n := 0
	err := s.with(box.User, func(a *account) error {
		b, err := a.openBox(s.opt.placeOf(box.Name))
		if err != nil {
			return err
		}
		defer b.Close()
		for _, d := range []*os.File{b.new, b.cur} {
			if d == nil {
				continue
			}
			names, err := readDir(d)
			if err != nil {
				return &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: d.Name(), Err: err}
			}
			for _, de := range names {
				if de.name[0] != '.' {
					n++
				}
			}
		}
		return ctx.Err()
	})
	return n, err
}
