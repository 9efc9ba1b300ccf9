package maildir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
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

// scan reads new and cur until a reading was not disturbed by a change.
func (l *lister) scan(ctx context.Context) error {
	var known map[entryKey]bool // nil while one reading is enough
	problems := len(l.problems)
	for range maxScans {
		before := l.box.stats()
		if err := settle(ctx, before); err != nil {
			return err
		}
		l.problems = l.problems[:problems]
		l.scanDir(l.box.new, true, known)
		l.scanDir(l.box.cur, false, known)
		if before == l.box.stats() {
			break
		}
		known = make(map[entryKey]bool, len(l.entries))
		for _, e := range l.entries {
			known[entryKey{e.name, e.inNew}] = true
		}
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

func (l *lister) scanDir(d *os.File, inNew bool, known map[entryKey]bool) {
	if d == nil {
		return
	}
	names, err := readDir(d)
	if err != nil {
		l.problem(dirName(inNew), err)
	}
	entries := make([]entry, len(names))
	for i, de := range names {
		if de.name[0] == '.' || known[entryKey{de.name, inNew}] {
			continue
		}
		entries[i] = entry{name: de.name, base: baseName(de.name), inNew: inNew, ino: de.ino}
		l.entries = append(l.entries, &entries[i])
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
	slices.SortFunc(l.entries, func(a, b *entry) int { return cmp.Compare(a.ino, b.ino) })
	kept := l.entries[:0]
	var gone []*entry
	for i, e := range l.entries {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch ok, vanished := l.statEntry(e); {
		case ok:
			kept = append(kept, e)
		case vanished:
			gone = append(gone, e)
		}
	}
	l.entries = kept
	l.findVanished(gone)
	return nil
}

// findVanished looks for the messages whose names were gone, but for those that
// the scan has seen under another name, too.
func (l *lister) findVanished(gone []*entry) {
	if len(gone) == 0 {
		return
	}
	there := make(map[string]bool, len(l.entries))
	for _, e := range l.entries {
		there[e.base] = true
	}
	for _, e := range gone {
		if !there[e.base] {
			there[e.base] = true
			l.findAgain(e)
		}
	}
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
