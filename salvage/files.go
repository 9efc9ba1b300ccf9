package salvage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"path"
	"strings"

	"salvor/salvage/carve"
	"salvor/salvage/fsys"

	"zombiezen.com/go/sqlite"
)

// What became of a file that was noted.
const (
	fileLeft      = 0 // not looked at yet
	fileSeen      = 1 // looked at; its blocks may be something else's as well
	fileExplained = 2 // its blocks are surely its own
	fileLater     = 3 // it is judged once more, when more directories are known
)

// files reads every file that any record describes, and judges those that are mail.
func (s *scan) files(ctx context.Context) (err error) {
	if err := errors.Join(s.contest(ctx), s.openOwed(ctx)); err != nil {
		return err
	}
	defer func() { s.owed = nil }() // less is owed by then
	defer func() { err = errors.Join(err, s.contested.close(), s.claimed.close()) }()
	halves, err := s.notes.number("SELECT EXISTS (SELECT 1 FROM name WHERE volume = ? AND low = 1)", s.note.id)
	if err != nil {
		return err
	}
	s.halves = halves != 0
	left, err := s.notes.number("SELECT count(*) FROM file WHERE volume = ? AND done = 0", s.note.id)
	if err != nil {
		return err
	}
	all, err := s.notes.number("SELECT count(*) FROM file WHERE volume = ?", s.note.id)
	if err != nil {
		return err
	}
	s.afresh = left == all && s.alone
	s.o.Progress.Total(left, 0)
	if err := s.crew(ctx, s.nextFiles, func(ctx context.Context, j job) error { return s.readFile(ctx, j, true) }); err != nil {
		return err
	}
	if err := s.notes.put("UPDATE file SET done = ? WHERE volume = ? AND done = ?", fileLeft, s.note.id, fileLater); err != nil {
		return err
	}
	return s.crew(ctx, s.nextFiles, func(ctx context.Context, j job) error { return s.readFile(ctx, j, false) })
}

// contest finds the blocks that several live files claim: a file system that does
// not write a removed file's inode again leaves it looking alive, and its blocks are
// another's by now. Only a hash can tell which of them is right.
func (s *scan) contest(ctx context.Context) (err error) {
	if s.contested, err = newGround(s.o.Work, s.v.Size(), s.block()); err != nil {
		return err
	}
	if s.claimed, err = newGround(s.o.Work, s.v.Size(), s.block()); err != nil {
		return err
	}
	return s.eachFile(ctx, "class = 0", func(f *fsys.File) error {
		for _, e := range fsys.Pieces(f.Extents, f.Size) {
			for off := e.Off; off < e.Off+e.Len; off += s.block() {
				twice, err := s.claimed.explained(off)
				if err == nil && twice && off < s.v.Size() {
					err = s.contested.explain(off, 1)
				}
				if err != nil {
					return err
				}
			}
			if err := s.claimed.explain(e.Off, e.Len); err != nil {
				return err
			}
		}
		return nil
	})
}

// disputed tells whether another file claims some of the same blocks: another one in
// the tables, if this one stands there itself, else any.
func (s *scan) disputed(extents []fsys.Extent, table bool) (bool, error) {
	by := s.contested
	if !table {
		by = s.claimed
	}
	for _, e := range extents {
		for off := e.Off; off < e.Off+e.Len && off < s.v.Size(); off += s.block() {
			if is, err := by.explained(off); is || err != nil {
				return is, err
			}
		}
	}
	return false, nil
}

// eachFile walks over noted files.
func (s *scan) eachFile(ctx context.Context, where string, do func(*fsys.File) error) error {
	for after := int64(0); ; {
		var batch []fsys.File
		err := s.notes.ask("SELECT id, fact FROM file WHERE volume = ? AND id > ? AND "+where+" ORDER BY id"+limit(fileBatch), []any{s.note.id, after},
			func(st *sqlite.Stmt) error {
				after = st.ColumnInt64(0)
				var f fsys.File
				if err := json.Unmarshal(column(st, 1), &f); err != nil {
					return err
				}
				batch = append(batch, f)
				return nil
			})
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := each(ctx, batch, do); err != nil {
			return err
		}
	}
}

// noteFile notes the file that a trace describes. The same places and size said by
// several records are one file.
func (s *scan) noteFile(t fsys.Trace, f *fsys.File) error {
	if len(f.Extents) == 0 && len(f.Inline) == 0 {
		return nil
	}
	if mostlyHole(f) && (f.Trace.Origin == fsys.Loose || f.Size > largeHole) {
		s.note.nonsense++
		if f.Trace.Origin == fsys.Loose || !untilHole(f) {
			return nil
		}
	}
	if f.Size > LongestMessage {
		return nil
	}
	f.Trace.Raw = nil
	first := t.Off
	if len(f.Extents) > 0 {
		first = f.Extents[0].Off
	}
	r := rank(f)
	return s.notes.put("INSERT INTO file (volume, digest, rank, class, first, inode, generation, fact) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "+
		"rank = excluded.rank, class = excluded.class, inode = excluded.inode, generation = excluded.generation, fact = excluded.fact WHERE excluded.rank < file.rank",
		s.note.id, digest(f), r, min(r, 1), first, int64(f.Inode), int64(f.Generation), encode(f))
}

// mostlyHole tells whether a record names places for less than half of the bytes
// that it claims. Mail has no holes; what merely looks like a record, anywhere on a
// disk, would cost as many bytes as it cares to claim.
func mostlyHole(f *fsys.File) bool {
	there := int64(len(f.Inline))
	for _, e := range f.Extents {
		if !e.Unwritten {
			there += e.Len
		}
	}
	return there < f.Size/2
}

// largeHole is the size, in bytes, from which on a file in the tables is not believed
// either that is mostly a hole.
const largeHole = 16 << 20

// untilHole cuts a file off where its first hole begins; false: there is nothing
// before that.
func untilHole(f *fsys.File) bool {
	end := int64(0)
	for i, e := range f.Extents {
		if e.Logical != end || e.Unwritten {
			f.Extents = f.Extents[:i]
			break
		}
		end += e.Len
	}
	f.Size = end
	f.Lost++ // its size is a guess
	return end > 0
}

// rank orders records by how much they are to be believed: 0 is best. Copies in a
// log come in the order of their age, the newest first.
func rank(f *fsys.File) int64 {
	switch {
	case f.Trace.Kind == fsys.Map:
		return 5 << rankShift
	case f.Trace.Origin == fsys.Table && !f.Deleted:
		return 0
	case f.Trace.Origin == fsys.Table:
		return 1 << rankShift
	case f.Trace.Origin == fsys.Log:
		return 3<<rankShift - int64(min(f.Trace.Seq, 1<<rankShift))
	default:
		return 4 << rankShift
	}
}

const rankShift = 40

func digest(f *fsys.File) []byte {
	h := sha256.New()
	word := func(v int64) { h.Write(binary.LittleEndian.AppendUint64(nil, uint64(v))) }
	word(f.Size)
	for _, e := range f.Extents {
		word(e.Logical)
		word(e.Off)
		word(e.Len)
		word(flag(e.Unwritten))
	}
	h.Write(f.Inline)
	return h.Sum(nil)[:16]
}

// A job is a file to be read.
type job struct {
	id   int64
	file fsys.File
	// current: no better record of the same inode names other places.
	current bool
	links   []link // its names
}

// A cursor is how far a walk over files is. Files of class 0 are live.
type cursor struct{ class, first, id int64 }

const fileBatch = 1000

// nextFiles gives the next files to be read: live ones first, and then in the
// order of the volume, so that a disk's arm moves little.
func (s *scan) nextFiles(after *cursor) (jobs []job, err error) {
	err = s.notes.ask("SELECT id, class, first, fact, inode <> 0 AND EXISTS (SELECT 1 FROM file better WHERE better.volume = file.volume "+
		"AND better.inode = file.inode AND better.generation = file.generation AND better.rank < file.rank) "+
		"FROM file WHERE volume = ? AND done = 0 AND (class, first, id) > (?, ?, ?) ORDER BY class, first, id"+limit(fileBatch),
		[]any{s.note.id, after.class, after.first, after.id}, func(st *sqlite.Stmt) error {
			j := job{id: st.ColumnInt64(0), current: st.ColumnInt64(4) == 0}
			*after = cursor{st.ColumnInt64(1), st.ColumnInt64(2), j.id}
			if err := json.Unmarshal(column(st, 3), &j.file); err != nil {
				return err
			}
			jobs = append(jobs, j)
			return nil
		})
	if err != nil {
		return nil, err
	}
	inodes := make([]uint64, len(jobs))
	for i := range jobs {
		inodes[i] = jobs[i].file.Inode
	}
	links, err := s.allLinks(inodes)
	for i := range jobs {
		jobs[i].links = links[inodes[i]]
	}
	return jobs, err
}

// readFile reads one file and judges it.
func (s *scan) readFile(ctx context.Context, j job, mayWait bool) error {
	state, err := s.takeFile(ctx, &j, mayWait)
	if errors.Is(err, errLater) {
		state, err = fileLater, nil
	}
	if err != nil {
		return err
	}
	if state == fileExplained {
		if err := s.explain(fsys.Pieces(j.file.Extents, j.file.Size)); err != nil {
			return err
		}
	}
	return s.notes.put("UPDATE file SET done = ? WHERE id = ?", state, j.id)
}

func (s *scan) takeFile(ctx context.Context, j *job, mayWait bool) (state int, err error) {
	f := &j.file
	if f.Size < 0 {
		if skip, err := s.measure(ctx, j); skip || err != nil {
			return fileSeen, err
		}
	}
	o, err := s.fileObject(j)
	if errors.Is(err, fsys.ErrUnlikely) {
		return fileSeen, nil
	}
	if err != nil {
		return 0, err
	}
	defer o.drop()
	o.mayWait = mayWait
	table := f.Trace.Origin == fsys.Table && !f.Deleted
	twice, err := s.disputed(o.extents, table)
	if err != nil {
		return 0, err
	}
	o.sound = table && !twice
	if twice {
		o.live, o.guess, o.taken = false, true, !table
	}
	is, err := s.mayBeMail(o)
	if err != nil {
		return 0, err
	}
	sure := table && !twice && (f.Sure || o.named)
	if is {
		proved, err := s.takeObject(ctx, o)
		if err == nil && !proved && o.ready != nil {
			err = s.otherLength(ctx, f)
		}
		if err != nil {
			return 0, err
		}
		sure = sure || proved || table && !twice && o.closes()
	}
	if sure {
		return fileExplained, nil
	}
	return fileSeen, nil
}

// mayBeMail tells whether an object begins as mail does, or stands where mail
// stands: then what is not there of it is a loss.
func (s *scan) mayBeMail(o *object) (bool, error) {
	if o.named && isIndex(o.paths[0]) {
		return false, nil // it begins with a copy of a header, maybe
	}
	if singular(o.paths) {
		return true, nil
	}
	if len(o.paths) > 0 && isIndex(o.paths[0]) {
		return false, nil // it begins with a copy of a header, maybe
	}
	head, err := o.head()
	if err != nil {
		return false, err
	}
	_, ok := carve.Head(head)
	return ok, nil
}

// isIndex tells whether a path is that of a mail server's own file.
func isIndex(p string) bool {
	name := path.Base(p)
	for _, prefix := range []string{"cyrus.", "dovecot.", "dovecot-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// howOf says how a file was found.
func howOf(f *fsys.File) string {
	switch {
	case f.Trace.Kind == fsys.Map:
		return "block map"
	case f.Trace.Origin == fsys.Log:
		return "log"
	case f.Deleted:
		return "deleted file"
	}
	return "file"
}

// measure finds out how long a file is whose record does not say so: by what is
// owed, else by the zeros behind its end. skip: another record of the same file
// says it.
func (s *scan) measure(ctx context.Context, j *job) (skip bool, err error) {
	f := &j.file
	if len(f.Extents) == 0 || f.Extents[0].Logical != 0 {
		return true, nil
	}
	known, err := s.notes.number("SELECT EXISTS (SELECT 1 FROM file WHERE volume = ? AND class = 0 AND first = ? AND id <> ?)", s.note.id, f.Extents[0].Off, j.id)
	if known != 0 || err != nil {
		return true, err
	}
	if proved, err := s.proveAny(ctx, f); proved || err != nil {
		return true, err
	}
	return s.trim(f)
}

// proveAny looks for an owed message of any length where a file begins.
func (s *scan) proveAny(ctx context.Context, f *fsys.File) (proved bool, err error) {
	if s.owed == nil {
		return false, nil
	}
	run, err := s.owed.Extents(ctx, s.v, s.block(), f.Extents)
	if err != nil || len(run.Matches) == 0 {
		return false, err
	}
	return true, s.takeProof(ctx, &run.Matches[0], howOf(f))
}

// otherLength finds the message in a file whose record tells a wrong length: nothing
// else would find it, as the file explains its blocks.
func (s *scan) otherLength(ctx context.Context, f *fsys.File) error {
	if len(f.Extents) == 0 || f.Extents[0].Logical != 0 {
		return nil
	}
	_, err := s.proveAny(ctx, f)
	return err
}

// trim cuts a file down to where its last zeros begin.
func (s *scan) trim(f *fsys.File) (skip bool, err error) {
	last := f.Extents[len(f.Extents)-1]
	for last.Len > 0 {
		n := min(last.Len, 64<<10)
		b := make([]byte, n)
		if _, err := s.v.ReadAt(b, last.Off+last.Len-n); err != nil {
			return false, err
		}
		if kept := int64(len(bytes.TrimRight(b, "\x00"))); kept > 0 {
			f.Size = last.Logical + last.Len - n + kept
			f.Lost++ // its size is a guess
			return false, nil
		}
		last.Len -= n
	}
	return true, nil
}
