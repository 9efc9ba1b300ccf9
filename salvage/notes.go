package salvage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"salvor/salvage/fsys"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// notesVersion is the version of the scratch file's schema. Another version's file
// is thrown away: everything in it can be read from the sources again.
const notesVersion = 3

// notesSchema. Everything is keyed by the volume it was found on, so that several
// volumes share one file. done marks what a later run need not look at again.
const notesSchema = `
CREATE TABLE volume (
	id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mark BLOB NOT NULL, stamps BLOB NOT NULL,
	system TEXT NOT NULL DEFAULT '', swept INTEGER NOT NULL DEFAULT 0, stage INTEGER NOT NULL DEFAULT 0,
	unknown INTEGER NOT NULL DEFAULT 0, nonsense INTEGER NOT NULL DEFAULT 0);
CREATE TABLE trace (
	volume INTEGER NOT NULL, kind TEXT NOT NULL, off INTEGER NOT NULL, origin TEXT NOT NULL,
	seq INTEGER NOT NULL, number INTEGER NOT NULL, raw BLOB,
	PRIMARY KEY (volume, kind, off)) WITHOUT ROWID;
CREATE TABLE head (
	volume INTEGER NOT NULL, off INTEGER NOT NULL, sign TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (volume, off)) WITHOUT ROWID;
CREATE TABLE name (
	id INTEGER PRIMARY KEY, volume INTEGER NOT NULL, parent INTEGER NOT NULL, name BLOB NOT NULL, child INTEGER NOT NULL,
	low INTEGER NOT NULL, deleted INTEGER NOT NULL, off INTEGER NOT NULL, up INTEGER NOT NULL,
	UNIQUE (volume, child, low, parent, name));
CREATE TABLE file (
	id INTEGER PRIMARY KEY, volume INTEGER NOT NULL, digest BLOB NOT NULL, rank INTEGER NOT NULL, class INTEGER NOT NULL, first INTEGER NOT NULL,
	inode INTEGER NOT NULL, generation INTEGER NOT NULL, fact BLOB NOT NULL, done INTEGER NOT NULL DEFAULT 0,
	UNIQUE (volume, digest));
CREATE INDEX file_first ON file (volume, class, first, id);
CREATE INDEX file_inode ON file (volume, inode, generation, rank);
CREATE TABLE want (
	id INTEGER PRIMARY KEY, user TEXT NOT NULL, folder TEXT NOT NULL, uid INTEGER NOT NULL, size INTEGER NOT NULL,
	sha1 BLOB, name TEXT NOT NULL, message_id TEXT NOT NULL, date INTEGER NOT NULL, finding TEXT NOT NULL DEFAULT '');
CREATE INDEX want_size ON want (size) WHERE sha1 IS NOT NULL AND finding = '';
CREATE INDEX want_length ON want (size);
CREATE INDEX want_sum ON want (sha1) WHERE sha1 IS NOT NULL;
CREATE INDEX want_place ON want (user, folder, uid);
CREATE INDEX want_name ON want (name) WHERE name <> '';
CREATE INDEX want_message ON want (message_id) WHERE message_id <> '';
CREATE TABLE dirkey (
	volume INTEGER NOT NULL, key INTEGER NOT NULL, inode INTEGER NOT NULL, PRIMARY KEY (volume, key)) WITHOUT ROWID;
CREATE TABLE place (
	source TEXT NOT NULL, dir TEXT NOT NULL, user TEXT NOT NULL, folder TEXT NOT NULL, times INTEGER NOT NULL,
	PRIMARY KEY (source, dir, user, folder)) WITHOUT ROWID;
CREATE TABLE ledger (digest BLOB NOT NULL);
CREATE TABLE vault (head TEXT NOT NULL);
CREATE TABLE remains (claim INTEGER PRIMARY KEY, missing INTEGER NOT NULL);
CREATE TABLE tomb (content BLOB NOT NULL, user TEXT NOT NULL, PRIMARY KEY (content, user)) WITHOUT ROWID;
CREATE TABLE finding (
	id TEXT NOT NULL UNIQUE, sum TEXT NOT NULL UNIQUE, class TEXT NOT NULL, rank INTEGER NOT NULL, claim INTEGER NOT NULL,
	source TEXT NOT NULL, user TEXT NOT NULL, places INTEGER NOT NULL, missing INTEGER NOT NULL, how TEXT NOT NULL, user_by TEXT NOT NULL, fact BLOB NOT NULL);
CREATE INDEX finding_user ON finding (user_by, user);
CREATE INDEX finding_claim ON finding (claim) WHERE claim <> 0;
`

// notes is the scratch file of a salvage: what was seen so far, and how far the
// salvage came. It grows with what is on the volumes, not the memory.
type notes struct {
	mu   sync.Mutex
	db   *sqlite.Conn
	path string
	open bool  // a transaction is
	n    int   // rows put in it
	sums sieve // of findings, and their IDs
	// owing: something is owed, so that it is worth asking what.
	owing bool
	err   error
	// before makes durable what the rows speak of; it is called before each commit.
	before func() error
}

// openNotes opens or makes the scratch file at path.
func openNotes(path string) (*notes, error) {
	n, err := tryNotes(path)
	if errors.Is(err, errOldNotes) {
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
		n, err = tryNotes(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the salvage's notes %s (they can be removed: everything in them is read again): %w", path, err)
	}
	return n, nil
}

var errOldNotes = errors.New("another version's")

func tryNotes(path string) (*notes, error) {
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	n := &notes{db: db, path: path}
	if err := errors.Join(n.prepare(), n.sift()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return n, nil
}

func (n *notes) prepare() error {
	version := 0
	for _, q := range []string{"PRAGMA journal_mode = wal", "PRAGMA synchronous = normal", "PRAGMA cache_size = -16384", "PRAGMA secure_delete = on"} {
		if err := sqlitex.ExecuteTransient(n.db, q, nil); err != nil {
			return err
		}
	}
	err := sqlitex.ExecuteTransient(n.db, "PRAGMA user_version", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		version = s.ColumnInt(0)
		return nil
	}})
	switch {
	case err != nil || version == notesVersion:
		return err
	case version != 0:
		return errOldNotes
	}
	if err := os.Chmod(n.path, 0o600); err != nil {
		return err
	}
	return sqlitex.ExecScript(n.db, notesSchema+fmt.Sprintf("PRAGMA user_version = %d;", notesVersion))
}

// sift remembers which findings there are.
func (n *notes) sift() error {
	return n.ask("SELECT sum, id FROM finding", nil, func(s *sqlite.Stmt) error {
		n.sums.put(s.ColumnText(0))
		n.sums.put(s.ColumnText(1))
		return nil
	})
}

// notesBatch is how many rows a transaction takes before it is committed by itself.
const notesBatch = 20000

// put runs a statement that changes the notes. It becomes durable with the next
// commit.
func (n *notes) put(query string, args ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.begin(); err != nil {
		return err
	}
	if err := n.run(query, args, nil); err != nil {
		return err
	}
	if n.n++; n.n >= notesBatch {
		return n.end()
	}
	return nil
}

// commit makes everything durable that was put.
func (n *notes) commit() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.end()
}

func (n *notes) begin() error {
	if n.err != nil || n.open {
		return n.err
	}
	if n.err = n.run("BEGIN IMMEDIATE", nil, nil); n.err == nil {
		n.open = true
	}
	return n.err
}

func (n *notes) end() error {
	if n.err != nil || !n.open {
		return n.err
	}
	if n.before != nil {
		if err := n.before(); err != nil {
			return err
		}
	}
	n.open, n.n = false, 0
	n.err = n.run("COMMIT", nil, nil)
	return n.err
}

// ask runs a query and hands its rows over. each must not use the notes: a batch
// is collected first where it has to.
func (n *notes) ask(query string, args []any, each func(*sqlite.Stmt) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run(query, args, each)
}

// limit ends a query: SQLite would compile it anew for each call if the number were
// one of its parameters.
func limit(n int) string { return " LIMIT " + strconv.Itoa(n) }

// number runs a query that gives one number.
func (n *notes) number(query string, args ...any) (v int64, err error) {
	err = n.ask(query, args, func(s *sqlite.Stmt) error {
		v = s.ColumnInt64(0)
		return nil
	})
	return v, err
}

func (n *notes) run(query string, args []any, each func(*sqlite.Stmt) error) error {
	err := sqlitex.Execute(n.db, query, &sqlitex.ExecOptions{Args: args, ResultFunc: each})
	if err != nil {
		return fmt.Errorf("the salvage's notes %s: %w", n.path, err)
	}
	return nil
}

func (n *notes) close() error {
	return errors.Join(n.commit(), n.db.Close())
}

// A volumeNote is what is noted of a volume as a whole.
type volumeNote struct {
	id      int64
	swept   int64 // how far the sweep came, in bytes
	stage   stage // the stage to go on with
	unknown int64 // bytes that the sweep found to be unknown
	// nonsense counts what had the shape of something and made no sense.
	nonsense int64
	stamps   []byte // of the image files, when it was begun
}

// volume finds a volume's note. One of the same name that is another (by its size
// or the mark, see fingerprint) is forgotten with all its traces.
func (n *notes) volume(name string, size int64, mark, stamps []byte) (v volumeNote, err error) {
	known := false
	err = n.ask("SELECT id, size, mark, swept, stage, unknown, nonsense, stamps FROM volume WHERE name = ?", []any{name}, func(s *sqlite.Stmt) error {
		known = s.ColumnInt64(1) == size && sameMark(column(s, 2), mark)
		v = volumeNote{id: s.ColumnInt64(0), swept: s.ColumnInt64(3), stage: stage(s.ColumnInt64(4)), unknown: s.ColumnInt64(5), nonsense: s.ColumnInt64(6), stamps: column(s, 7)}
		return nil
	})
	if err != nil || known {
		return v, err
	}
	if v.id != 0 {
		for _, table := range []string{"trace", "head", "name", "file", "dirkey"} {
			if err := n.put("DELETE FROM "+table+" WHERE volume = ?", v.id); err != nil {
				return v, err
			}
		}
		if err := n.put("DELETE FROM volume WHERE id = ?", v.id); err != nil {
			return v, err
		}
		// What was whole is whole; what was not may be now.
		if err := n.put("DELETE FROM finding WHERE class = 'damaged' AND source = ?", name); err != nil {
			return v, err
		}
	}
	if err := n.put("INSERT INTO volume (name, size, mark, stamps) VALUES (?, ?, ?, ?)", name, size, mark, stamps); err != nil {
		return v, err
	}
	id, err := n.number("SELECT id FROM volume WHERE name = ?", name)
	return volumeNote{id: id, stamps: stamps}, errors.Join(err, n.commit())
}

func (n *notes) trace(volume int64, t fsys.Trace) error {
	return n.put(`INSERT INTO trace (volume, kind, off, origin, seq, number, raw) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET origin = excluded.origin, seq = excluded.seq, number = excluded.number, raw = excluded.raw
		WHERE excluded.number <> 0 AND (trace.number = 0 OR excluded.origin = 'log')`,
		volume, string(t.Kind), t.Off, string(t.Origin), int64(t.Seq), int64(t.Number), t.Raw)
}

// traces gives the next traces of a kind behind an offset.
func (n *notes) traces(volume int64, kind fsys.Kind, after int64, most int) (out []fsys.Trace, err error) {
	err = n.ask("SELECT off, origin, seq, number, raw FROM trace WHERE volume = ? AND kind = ? AND off > ? ORDER BY off"+limit(most),
		[]any{volume, string(kind), after}, func(s *sqlite.Stmt) error {
			t := fsys.Trace{Kind: kind, Off: s.ColumnInt64(0), Origin: fsys.Origin(s.ColumnText(1)), Seq: uint64(s.ColumnInt64(2)),
				Number: uint64(s.ColumnInt64(3)), Raw: make([]byte, s.ColumnLen(4))}
			s.ColumnBytes(4, t.Raw)
			out = append(out, t)
			return nil
		})
	return out, err
}

// traceBatch is how many traces are in memory at a time.
const traceBatch = 2000

// eachTrace walks over all traces of a kind.
func (n *notes) eachTrace(ctx context.Context, volume int64, kind fsys.Kind, fn func(fsys.Trace) error) error {
	for after := int64(-1); ; {
		batch, err := n.traces(volume, kind, after, traceBatch)
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := each(ctx, batch, func(t *fsys.Trace) error { return fn(*t) }); err != nil {
			return err
		}
		after = batch[len(batch)-1].Off
	}
}

// mark notes how far the salvage of a volume came, durably.
func (n *notes) mark(v *volumeNote) error {
	if err := n.put("UPDATE volume SET swept = ?, stage = ?, unknown = ?, nonsense = ? WHERE id = ?", v.swept, int64(v.stage), v.unknown, v.nonsense, v.id); err != nil {
		return err
	}
	return n.commit()
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types: they can be written
	}
	return b
}

// column copies a column that holds bytes.
func column(s *sqlite.Stmt, i int) []byte {
	b := make([]byte, s.ColumnLen(i))
	s.ColumnBytes(i, b)
	return b
}
