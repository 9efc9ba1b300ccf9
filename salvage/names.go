package salvage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"

	"salvor/salvage/fsys"

	"zombiezen.com/go/sqlite"
)

// names notes every file that any record describes, and every name that stands in any
// directory: those whose inode is there, and blocks of directories that are found
// alone.
func (s *scan) names(ctx context.Context) error {
	for _, kind := range []fsys.Kind{fsys.Inode, fsys.Map} {
		if err := s.notes.eachTrace(ctx, s.note.id, kind, func(t fsys.Trace) error { return s.record(ctx, t) }); err != nil {
			return err
		}
	}
	return s.notes.eachTrace(ctx, s.note.id, fsys.Names, func(t fsys.Trace) error {
		if err := s.ownerOf(&t); err != nil {
			return err
		}
		return s.entries(ctx, t)
	})
}

// record notes what one record describes: a file, or a directory with its names.
func (s *scan) record(ctx context.Context, t fsys.Trace) error {
	f, err := s.system.File(ctx, t)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		s.note.nonsense++
		return nil
	case f.Type == fsys.Regular:
		return s.noteFile(t, f)
	case f.Type != fsys.Directory:
		return nil
	}
	if t.Number == 0 {
		t.Number = f.Inode
	}
	return errors.Join(s.noteKeys(f), s.entries(ctx, t))
}

// entries notes the names in one directory, or in one block of one.
func (s *scan) entries(ctx context.Context, t fsys.Trace) error {
	err := s.system.Entries(ctx, t, func(e fsys.Entry) error {
		if e.Parent == 0 {
			e.Parent = t.Number
		}
		return s.name(e, t.Origin == fsys.Log)
	})
	if err != nil && ctx.Err() == nil {
		s.note.nonsense++
		return s.notes.err
	}
	return err
}

// noteKeys notes by which keys blocks name a directory as the one they belong to.
func (s *scan) noteKeys(f *fsys.File) error {
	k, ok := s.system.(fsys.Keyed)
	if !ok || f.Inode == 0 {
		return nil
	}
	for _, key := range k.Keys(f.Inode, f.Generation) {
		if err := s.notes.put("INSERT OR IGNORE INTO dirkey (volume, key, inode) VALUES (?, ?, ?)", s.note.id, int64(key), int64(f.Inode)); err != nil {
			return err
		}
	}
	return nil
}

// ownerOf fills in the directory that a block belongs to.
func (s *scan) ownerOf(t *fsys.Trace) error {
	k, ok := s.system.(fsys.Keyed)
	if !ok || t.Number != 0 {
		return nil
	}
	key, err := k.Owner(*t)
	if err != nil {
		return nil // the block does not say
	}
	inode, err := s.notes.number("SELECT inode FROM dirkey WHERE volume = ? AND key = ?", s.note.id, int64(key))
	t.Number = uint64(inode)
	return err
}

// longestName is the longest name that is believed, in bytes: what ext4 and XFS
// can hold.
const longestName = 255

// name notes a name. One that stands in the log may have been taken away since, so
// that what stands in the directory itself is believed before it.
func (s *scan) name(e fsys.Entry, logged bool) error {
	if e.Child == 0 || e.Name == "" || len(e.Name) > longestName || strings.ContainsAny(e.Name, "/\x00") {
		return nil
	}
	gone := flag(e.Deleted)
	if logged {
		gone = 2
	}
	if s.said.again(e, gone) {
		return nil
	}
	return s.notes.put(`INSERT INTO name (volume, parent, name, child, low, deleted, off, up) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET deleted = min(deleted, excluded.deleted), up = max(up, excluded.up)`,
		s.note.id, int64(e.Parent), []byte(e.Name), int64(e.Child), flag(e.Low), gone, e.Off, int64(e.Up))
}

// A said remembers names that were noted already: a block of a directory is met as a
// part of it, alone, and in the log as often as it was changed.
type said struct {
	seed maphash.Seed
	seen map[uint64]struct{}
}

// saidKept is how many names are remembered, some 50 MiB at most.
const saidKept = 1 << 20

func (k *said) again(e fsys.Entry, gone int64) bool {
	if k.seen == nil || len(k.seen) >= saidKept {
		k.seed, k.seen = maphash.MakeSeed(), map[uint64]struct{}{}
	}
	var h maphash.Hash
	h.SetSeed(k.seed)
	h.WriteString(e.Name)
	for _, n := range []uint64{e.Parent, e.Child, e.Up, uint64(gone), uint64(flag(e.Low))} {
		maphash.WriteComparable(&h, n)
	}
	sum := h.Sum64()
	_, ok := k.seen[sum]
	k.seen[sum] = struct{}{}
	return ok
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// deepest is how many directories are in each other at most.
const deepest = 64

// maxPaths is how many paths are tried for one inode: hard links, and names that
// an earlier file of the same number had.
const maxPaths = 16

// paths gives the paths to which names lead, likely ones first: those without names
// that were removed, and whole ones before those that begin nowhere ("?"). named: one
// of them leads there from the root, and nothing on the way was removed.
func (s *scan) paths(links []link) (out []string, named bool, err error) {
	standing := map[string]bool{}
	for _, l := range links {
		dir, err := s.dir(l.parent, l.up)
		if err != nil {
			return nil, false, err
		}
		out = append(out, dir.path+"/"+l.name)
		if !l.gone && dir.there {
			named, standing[dir.path+"/"+l.name] = true, true
		}
	}
	if named { // a name that was removed was another file's of the same number
		out = slices.DeleteFunc(out, func(p string) bool { return !standing[p] })
	}
	return out, named, nil
}

// A link is a name for an inode.
type link struct {
	parent, up uint64
	name       string
	gone       bool // it was removed, or may have been
}

// links gives the names of an inode, likely ones first.
func (s *scan) links(inode uint64) ([]link, error) {
	all, err := s.allLinks([]uint64{inode})
	return all[inode], err
}

// allLinks gives the names of several inodes at once. A name in freed space of an XFS
// directory knows only the lower half of its inode's number.
func (s *scan) allLinks(inodes []uint64) (map[uint64][]link, error) {
	out := make(map[uint64][]link, len(inodes))
	if err := s.linksTo(inodes, false, func(inode uint64, l link) { out[inode] = append(out[inode], l) }); err != nil || !s.halves {
		return out, err
	}
	halves := map[uint64][]link{}
	var left []uint64
	for _, inode := range inodes {
		if len(out[inode]) == 0 {
			left = append(left, inode&0xffffffff)
		}
	}
	err := s.linksTo(left, true, func(half uint64, l link) { halves[half] = append(halves[half], l) })
	for _, inode := range inodes {
		if len(out[inode]) == 0 {
			out[inode] = halves[inode&0xffffffff]
		}
	}
	return out, err
}

// linksTo yields names, at most maxPaths for each number.
func (s *scan) linksTo(numbers []uint64, half bool, yield func(uint64, link)) error {
	list := make([]int64, 0, len(numbers))
	for _, n := range numbers {
		if n != 0 {
			list = append(list, int64(n))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return s.notes.ask(`SELECT child, parent, up, name, deleted FROM (SELECT *, row_number() OVER (PARTITION BY child ORDER BY deleted, parent = 0, off) AS place
		FROM name WHERE volume = ? AND child IN (SELECT value FROM json_each(?)) AND low = ?) WHERE place <= `+strconv.Itoa(maxPaths)+" ORDER BY child, place",
		[]any{s.note.id, encode(list), flag(half)}, func(st *sqlite.Stmt) error {
			yield(uint64(st.ColumnInt64(0)), link{parent: uint64(st.ColumnInt64(1)), up: uint64(st.ColumnInt64(2)), name: string(column(st, 3)), gone: st.ColumnInt64(4) != 0})
			return nil
		})
}

// dir gives a directory's path; up is its parent where only that is known.
func (s *scan) dir(inode, up uint64) (dir, error) {
	if d, ok := s.dirs.get(inode); ok {
		return d, nil
	}
	// below are the directories from inode upwards, each with its name, up to one whose
	// path is known: d.
	type step struct {
		inode uint64
		name  string
		there bool
	}
	var below []step
	d, sure := dir{path: "?"}, false
	seen := map[uint64]bool{}
	for at := inode; at != 0 && !seen[at] && len(below) <= deepest; {
		if at == s.system.Root() {
			d, sure = dir{there: true}, true
			break
		}
		if known, ok := s.dirs.get(at); ok {
			d, sure = known, true
			break
		}
		seen[at] = true
		links, err := s.links(at)
		if err != nil {
			return d, err
		}
		if len(links) == 0 {
			if d.path = fmt.Sprintf("?/#%d", at); up != 0 && at == inode {
				above, err := s.dir(up, 0)
				if err != nil {
					return d, err
				}
				d.path = above.path + fmt.Sprintf("/#%d", at)
			}
			break
		}
		below = append(below, step{at, links[0].name, !links[0].gone})
		at = links[0].parent
	}
	for _, b := range slices.Backward(below) {
		d = dir{path: d.path + "/" + b.name, there: d.there && b.there}
		if sure { // in a ring of directories, paths depend on where it was entered
			s.dirs.put(b.inode, d)
		}
	}
	s.dirs.put(inode, d)
	return d, nil
}

// A dir is what is known of a directory: its path, and whether that leads there from
// the root with nothing on the way removed.
type dir struct {
	path  string
	there bool
}

// dirs remembers the paths of some directories.
type dirs struct {
	mu    sync.Mutex
	paths map[uint64]dir
}

func (d *dirs) get(inode uint64) (dir, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path, ok := d.paths[inode]
	return path, ok
}

func (d *dirs) put(inode uint64, of dir) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.paths) > dirsKept || d.paths == nil {
		d.paths = map[uint64]dir{}
	}
	if inode != 0 {
		d.paths[inode] = of
	}
}

// dirsKept is how many directories' paths are in memory.
const dirsKept = 50000
