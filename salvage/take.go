package salvage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"

	"salvor/salvage/found"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"

	"zombiezen.com/go/sqlite"
)

// fileObject is a file of a file system.
func (s *scan) fileObject(j *job) (*object, error) {
	f := &j.file
	longest := min(LongestMessage, s.v.Size()) // whoever claims more than there is lies
	c, err := fsys.OpenContent(s.v, f, longest)
	if err != nil {
		return nil, err
	}
	o := &object{size: c.Size(), from: func() (io.Reader, func() []volume.Range, error) {
		c, err := fsys.OpenContent(s.v, f, longest)
		if err != nil {
			return nil, nil, err
		}
		return c, c.Missing, nil
	}}
	o.message = message{source: s.v.Name(), how: howOf(f), inode: f.Inode, offset: f.Trace.Off, block: s.block(), date: f.ModTime, current: j.current, sized: f.Size >= 0,
		guess: f.Lost > 0 || f.Size < 0, extents: fsys.Pieces(f.Extents, c.Size())}
	o.paths, o.named, err = s.paths(j.links)
	// An older record may be of another file that had the same number.
	o.named = o.named && f.Trace.Origin == fsys.Table && !f.Deleted
	o.live = o.named
	return o, err
}

// runObject is a run of blocks, or several, that no file explains.
func (s *scan) runObject(extents []fsys.Extent, size int64, how string) *object {
	f := &fsys.File{Size: size, Extents: extents}
	o := &object{size: size, from: func() (io.Reader, func() []volume.Range, error) {
		c, err := fsys.OpenContent(s.v, f, LongestMessage)
		if err != nil {
			return nil, nil, err
		}
		return c, c.Missing, nil
	}}
	o.message = message{source: s.v.Name(), how: how, offset: extents[0].Off, current: true, guess: true, extents: fsys.Pieces(extents, size)}
	return o
}

// take judges a message, notes what it is and keeps its bytes where they are
// wanted. sure: whole and nothing else, by hash or by structure and size.
func (e *engine) take(ctx context.Context, m *message, open func() (io.Reader, error)) (sure bool, err error) {
	f, keep, err := e.judge(ctx, m)
	if err != nil {
		return false, err
	}
	if !keep && f.Class.Kept() {
		return false, nil
	}
	if keep {
		if err := e.storedSum(&f, open); err != nil {
			return false, err
		}
	}
	e.telling.Lock()
	defer e.telling.Unlock()
	was, err := e.notes.known(&f)
	if err != nil {
		return false, err
	}
	if keep && (was == nil || was.worse(&f)) {
		if err := e.keep(ctx, &f, was, open); err != nil {
			return false, err
		}
	}
	return f.Grade == found.Verified || f.Grade == found.Consistent, e.note(&f, was, m)
}

// storedSum fills in the SHA-256 of the bytes as they were found, where their wire
// form is another.
func (e *engine) storedSum(f *found.Finding, open func() (io.Reader, error)) error {
	if f.SHA256Stored != "" {
		return nil
	}
	r, err := open()
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := copyTo(h, io.LimitReader(r, f.Size)); err != nil {
		return err
	}
	f.SHA256Stored = hex.EncodeToString(h.Sum(nil))
	return nil
}

// A known finding is what is noted of some bytes already.
type known struct{ found.Finding }

// known gives what is noted of the same bytes, by the SHA-256 of their wire form, nil
// where nothing is, and gives f its ID: the beginning of its bytes' SHA-256, which is
// too short to be nobody else's where somebody makes it so.
func (n *notes) known(f *found.Finding) (was *known, err error) {
	var others []string // whose ID would be the same
	look := func(query string, args ...any) error {
		return n.ask("SELECT id, sum, fact FROM finding WHERE "+query, args, func(s *sqlite.Stmt) error {
			if s.ColumnText(1) != f.SHA256 {
				others = append(others, s.ColumnText(0))
				return nil
			}
			was = &known{}
			return json.Unmarshal(column(s, 2), &was.Finding)
		})
	}
	sum := cmp.Or(f.SHA256Stored, f.SHA256)
	f.ID = found.NewID(sum, func(string) bool { return false })
	if !n.sums.mayHave(f.SHA256) && !n.sums.mayHave(f.ID) {
		return nil, nil
	}
	if err := look("sum = ? OR id = ?", f.SHA256, f.ID); err != nil || len(others) == 0 {
		return was, err
	}
	if err := look("id GLOB ?", f.ID+"-*"); err != nil {
		return nil, err
	}
	f.ID = found.NewID(sum, func(id string) bool { return slices.Contains(others, id) })
	return was, nil
}

// worse tells whether what is noted says less than f. Of what says as much always the
// same is told, whichever was read first.
func (k *known) worse(f *found.Finding) bool {
	return cmp.Or(cmp.Compare(gradeRank(&k.Finding), gradeRank(f)), cmp.Compare(k.Claim, f.Claim), cmp.Compare(ownerRank(&k.Finding), ownerRank(f)),
		cmp.Compare(k.Source, f.Source), cmp.Compare(k.User, f.User)) > 0
}

// keep keeps the bytes, unless an earlier place gave them.
func (e *engine) keep(ctx context.Context, f *found.Finding, was *known, open func() (io.Reader, error)) error {
	if was != nil && was.Class.Kept() { // maybe with other line ends: these are the bytes that are kept
		f.File, f.ID, f.SHA256Stored, f.Size = was.File, was.ID, was.SHA256Stored, was.Size
		return nil
	}
	r, err := open()
	if err != nil {
		return err
	}
	e.keeping.Lock()
	defer e.keeping.Unlock()
	if _, all := r.(found.Hashed); !all {
		r = io.LimitReader(r, f.Size)
	}
	return e.o.Keeper.Keep(ctx, f, r)
}

// note notes a finding, or one more place of it. The better grade is told.
func (e *engine) note(f *found.Finding, was *known, m *message) (err error) {
	r := gradeRank(f)
	e.notes.sums.put(f.SHA256)
	e.notes.sums.put(f.ID)
	switch {
	case was == nil:
		err = e.notes.put("INSERT INTO finding (id, sum, class, rank, claim, source, user, missing, how, user_by, fact, places) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
			f.ID, f.SHA256, string(f.Class), r, f.Claim, f.Source, f.User, total(f.Missing), f.How, f.UserBy, encode(f))
	case was.worse(f):
		err = e.notes.put("UPDATE finding SET id = ?, class = ?, rank = ?, claim = ?, source = ?, user = ?, missing = ?, how = ?, user_by = ?, fact = ?, places = places + 1 WHERE sum = ?",
			f.ID, string(f.Class), r, f.Claim, f.Source, f.User, total(f.Missing), f.How, f.UserBy, encode(f), f.SHA256)
	default:
		err = e.notes.put("UPDATE finding SET places = places + 1 WHERE sum = ?", f.SHA256)
	}
	if err == nil && f.Class == found.Damaged && f.Claim != 0 { // of two messages, the same may be left
		err = e.notes.put("INSERT INTO remains (claim, missing) VALUES (?, ?) ON CONFLICT DO UPDATE SET missing = max(missing, excluded.missing)", f.Claim, total(f.Missing))
	}
	if err != nil || f.Class != found.Matched {
		return err
	}
	err = e.notes.put("UPDATE want SET finding = ? WHERE sha1 = ? AND (size = ? OR size = ?)", f.ID, m.sha1[:], m.wire, m.size)
	if err != nil {
		return err
	}
	for _, id := range m.claims {
		if err := e.notes.put("UPDATE want SET finding = ? WHERE id = ?", f.ID, id); err != nil {
			return err
		}
	}
	return nil
}

// ownerRank orders how an owner is known: 0 is best.
func ownerRank(f *found.Finding) int {
	return slices.Index([]string{"ledger", "path", "vault", "header", ""}, f.UserBy)
}

// gradeRank orders what may be told of the same bytes: 0 is best.
func gradeRank(f *found.Finding) int64 {
	class := map[found.Class]int64{found.Matched: 0, found.Held: 1, found.Tombstoned: 2, found.Unknown: 3, found.Damaged: 4}[f.Class]
	grade := map[found.Grade]int64{found.Verified: 0, found.Consistent: 1, found.Plausible: 2, found.Partial: 3}[f.Grade]
	return class*10 + grade
}
