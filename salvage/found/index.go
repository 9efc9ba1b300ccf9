package found

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// An index tells in which frame a content may be: a scratch database, so that memory
// does not grow with the number of messages. It is made anew from the packs by each
// run, and knows contents by the first 8 bytes of their SHA-256 only: whoever asks
// it has to look.
type index struct {
	w        *Writer
	name     string
	db       *sqlite.Conn
	ask, add *sqlite.Stmt
}

// newIndex makes an empty index. Its name is a temporary one: of a run that is
// killed the next one removes it.
func (w *Writer) newIndex() (*index, error) {
	x := &index{w: w, name: tmpName()}
	f, err := w.disk.Create(x.name, 0o600)
	if err != nil {
		return nil, full(err)
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if x.db, err = sqlite.OpenConn(filepath.Join(w.dir, x.name), sqlite.OpenReadWrite); err != nil {
		return nil, errors.Join(x.explain(err), w.root.Remove(x.name))
	}
	for _, q := range []string{"PRAGMA journal_mode = off", "PRAGMA synchronous = off", "PRAGMA locking_mode = exclusive", "PRAGMA cache_size = -8192",
		"CREATE TABLE frame (key INTEGER PRIMARY KEY, pack INTEGER NOT NULL, at INTEGER NOT NULL)", "BEGIN"} {
		if err := sqlitex.ExecuteTransient(x.db, q, nil); err != nil {
			return nil, errors.Join(x.explain(err), x.close())
		}
	}
	x.ask, err = x.db.Prepare("SELECT pack, at FROM frame WHERE key = ?")
	if err == nil {
		x.add, err = x.db.Prepare("INSERT OR REPLACE INTO frame (key, pack, at) VALUES (?, ?, ?)")
	}
	if err != nil {
		return nil, errors.Join(x.explain(err), x.close())
	}
	return x, nil
}

func (x *index) explain(err error) error {
	if err == nil {
		return nil
	}
	if sqlite.ErrCode(err) == sqlite.ResultFull {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("the index of its packs, %s: %w", x.name, err)
}

func keyOf(sum string) (int64, error) {
	n, err := strconv.ParseUint(sum[:16], 16, 64)
	return int64(n), err
}

// get gives the pack and the place where a content with this SHA-256 (64 hex digits)
// may be.
func (x *index) get(sum string) (pack int, at int64, ok bool, err error) {
	key, err := keyOf(sum)
	if err != nil {
		return 0, 0, false, err
	}
	x.ask.BindInt64(1, key)
	if ok, err = x.ask.Step(); ok {
		pack, at = x.ask.ColumnInt(0), x.ask.ColumnInt64(1)
	}
	if reset := x.ask.Reset(); err == nil {
		err = reset
	}
	return pack, at, ok, x.explain(err)
}

// put says where a content is, instead of what was said of it before.
func (x *index) put(sum string, pack int, at int64) error {
	key, err := keyOf(sum)
	if err != nil {
		return err
	}
	x.add.BindInt64(1, key)
	x.add.BindInt64(2, int64(pack))
	x.add.BindInt64(3, at)
	_, err = x.add.Step()
	if reset := x.add.Reset(); err == nil {
		err = reset
	}
	return x.explain(err)
}

func (x *index) close() error {
	return errors.Join(x.explain(x.db.Close()), x.w.root.Remove(x.name))
}
