package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sort"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

// Renaming a file while its directory is read may hide it from the reading.
// So new is read before cur (messages move that way), directories that changed
// meanwhile are read again, and what was seen in any reading counts.
const (
	maxScans = 6
	// tick is more than the coarsest clock of a local file system: changes
	// further apart have different times.
	tick = 20 * time.Millisecond
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
	sort.Slice(l.entries, func(i, j int) bool { return before(l.entries[i], l.entries[j]) })
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

func before(a, b *entry) bool {
	if a.uid != b.uid {
		return a.uid != 0 && (b.uid == 0 || a.uid < b.uid)
	}
	return a.name < b.name
}

func (e *entry) message(key string, k *keywords) mailstore.Message {
	if key == "" {
		key = e.base
	}
	m := mailstore.Message{
		Key: key, UID: e.uid, Size: e.size, Promised: e.promised,
		InternalDate: time.Unix(0, e.mtime),
		State:        strconv.FormatInt(e.size, 10) + ":" + strconv.FormatInt(e.mtime, 10) + ":" + strconv.FormatUint(e.ino, 10),
		Place:        "cur/" + e.name,
	}
	if e.inNew {
		m.Place = "new/" + e.name
	}
	m.Flags = flagsOf(e.name, k)
	return m
}

// scan reads new and cur until a reading was not disturbed by a change.
func (l *lister) scan(ctx context.Context) error {
	found, problems := map[entryKey]*entry{}, len(l.problems)
	for range maxScans {
		before := l.box.stats()
		if err := settle(ctx, before); err != nil {
			return err
		}
		l.problems = l.problems[:problems]
		l.scanDir(l.box.new, true, found)
		l.scanDir(l.box.cur, false, found)
		if before == l.box.stats() {
			break
		}
	}
	l.entries = make([]*entry, 0, len(found))
	for _, e := range found {
		l.entries = append(l.entries, e)
	}
	return nil
}

// dirStats are the times of cur and new.
type dirStats struct{ cur, new [2]unix.Timespec }

func (b *openBox) stats() dirStats {
	var s dirStats
	for d, times := range map[*os.File]*[2]unix.Timespec{b.cur: &s.cur, b.new: &s.new} {
		var st unix.Stat_t
		if d != nil && unix.Fstat(int(d.Fd()), &st) == nil {
			*times = [2]unix.Timespec{st.Mtim, st.Ctim}
		}
	}
	return s
}

// settle waits until a further change would get another time than the last.
func settle(ctx context.Context, s dirStats) error {
	var last time.Time
	for _, t := range []unix.Timespec{s.cur[0], s.cur[1], s.new[0], s.new[1]} {
		if at := time.Unix(t.Sec, t.Nsec); at.After(last) {
			last = at
		}
	}
	wait := tick - time.Since(last)
	if wait <= 0 || wait > tick {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

func (l *lister) scanDir(d *os.File, inNew bool, found map[entryKey]*entry) {
	if d == nil {
		return
	}
	names, err := readDir(d)
	if err != nil {
		l.problem(dirName(inNew), err)
	}
	for _, de := range names {
		if de.name[0] == '.' {
			continue
		}
		key := entryKey{de.name, inNew}
		if found[key] == nil {
			found[key] = &entry{name: de.name, base: baseName(de.name), inNew: inNew, ino: de.ino}
		}
	}
}

func dirName(inNew bool) string {
	if inNew {
		return "new"
	}
	return "cur"
}

// stat finds out, in the order of the inodes, which files exist and what they
// are. A name that is gone may have been changed since: it is looked for.
func (l *lister) stat(ctx context.Context) error {
	sort.Slice(l.entries, func(i, j int) bool { return l.entries[i].ino < l.entries[j].ino })
	kept, there := l.entries[:0], map[string]bool{}
	var gone []*entry
	for i, e := range l.entries {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch ok, vanished := l.statEntry(e); {
		case ok:
			kept = append(kept, e)
			there[e.base] = true
		case vanished:
			gone = append(gone, e)
		}
	}
	l.entries = kept
	for _, e := range gone {
		if !there[e.base] {
			there[e.base] = true
			l.findAgain(e)
		}
	}
	return nil
}

// statEntry fills in what lstat says. Only regular files are messages.
func (l *lister) statEntry(e *entry) (ok, vanished bool) {
	dir := l.box.cur
	if e.inNew {
		dir = l.box.new
	}
	st, err := statAt(dir, e.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, true
	case err != nil:
		l.problem(path.Join(dirName(e.inNew), e.name), err)
		return false, false
	case !isRegular(&st):
		l.problem(path.Join(dirName(e.inNew), e.name), fmt.Errorf("a %s stands where a message should", kindWord(&st)))
		return false, false
	}
	e.ino, e.size, e.mtime = st.Ino, st.Size, mtime(&st).UnixNano()
	e.promised = promised(e.base)
	return true, false
}

// findAgain looks for a message whose name has changed since the scan.
func (l *lister) findAgain(e *entry) {
	for range maxScans {
		name, inNew, err := l.box.find(e.base, 0)
		if err != nil {
			if !errors.Is(err, mailstore.ErrVanished) {
				l.problem("", err)
			}
			return
		}
		again := &entry{name: name, base: baseName(name), inNew: inNew}
		if ok, vanished := l.statEntry(again); ok {
			l.entries = append(l.entries, again)
			return
		} else if !vanished {
			return
		}
	}
}

// distinct gives keys to files that share their base name with another: the
// one with the lowest inode keeps it. One file with two names is listed once.
func (l *lister) distinct() map[*entry]string {
	first := make(map[string]*entry, len(l.entries))
	var shared map[string][]*entry
	for _, e := range l.entries {
		f := first[e.base]
		if f == nil {
			first[e.base] = e
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
		sort.Slice(group, func(i, j int) bool {
			if group[i].ino != group[j].ino {
				return group[i].ino < group[j].ino
			}
			if group[i].inNew != group[j].inNew {
				return group[j].inNew
			}
			return group[i].name < group[j].name
		})
		for i, e := range group[1:] {
			if e.ino == group[i].ino {
				drop[e] = true
			} else {
				keys[e] = base + inodeMark + strconv.FormatUint(e.ino, 10)
			}
		}
	}
	kept := l.entries[:0]
	for _, e := range l.entries {
		if !drop[e] {
			kept = append(kept, e)
		}
	}
	l.entries = kept
	return keys
}

// inodeMark parts a base name from an inode in the key of a message that is
// not the only one of its base name. No base name holds a colon.
const inodeMark = ":"

// number gives the messages the UIDs of dovecot-uidlist. It is read after the
// directories: what they show and it does not is unnumbered yet. Of several
// files of one base name the first gets the UID. Of two lines with one base
// name the later counts, as in Dovecot.
func (l *lister) number() {
	control := l.a.controlOf(l.box.place)
	if control == nil {
		return
	}
	name := path.Join(l.box.place.control, uidlistName)
	f, err := deliver.OpenRegular(control, name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		defer f.Close()
		byBase := l.byBase()
		var sum uidSummary
		sum, err = readUIDList(f, func(u uidLine) {
			if e := byBase[string(u.base)]; e != nil {
				e.uid = u.uid
				if e.promised < 0 {
					e.promised = u.size
				}
			}
		})
		if err == nil && sum.bad != "" {
			err = errors.New(sum.bad)
		}
	}
	if err != nil && !errors.Is(err, errNoUIDList) { // that one makes the folder Lost
		l.problems = append(l.problems, &mailstore.Problem{
			User: l.a.user, Mailbox: l.box.place.name, Path: path.Join(control.Name(), name), Err: err,
		})
	}
}

// byBase gives the entry that a base name of the uidlist means.
func (l *lister) byBase() map[string]*entry {
	m := make(map[string]*entry, len(l.entries))
	for _, e := range l.entries {
		if f := m[e.base]; f == nil || e.ino < f.ino {
			m[e.base] = e
		}
	}
	return m
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
