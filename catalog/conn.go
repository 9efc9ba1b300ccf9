package catalog

import (
	"bytes"
	"context"
	"sync"
	"time"

	"salvor/chunk"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// conn is one SQLite connection with its statements. mu guards both; it is
// held for one step or one look-up, never while a caller's function runs, so
// such a function may use the same transaction.
type conn struct {
	mu   sync.Mutex
	db   *sqlite.Conn
	idle map[string][]*sqlite.Stmt // prepared and not in use
	// cache holds chunk rows that may not be in the file yet; nil for readers.
	cache *chunkCache
	// settle writes what a transaction has not written yet; nil for readers.
	settle func() error
}

func newConn(db *sqlite.Conn) *conn {
	return &conn{db: db, idle: map[string][]*sqlite.Stmt{}}
}

func (c *conn) close() error {
	for _, list := range c.idle {
		for _, s := range list {
			if err := s.Finalize(); err != nil {
				return err
			}
		}
	}
	c.idle = nil
	return c.db.Close()
}

// exec runs SQL that has no parameters and whose rows do not matter.
func (c *conn) exec(query string) error {
	return sqlitex.ExecuteTransient(c.db, query, nil)
}

// stmt is a statement with its parameters bound one after the other. The first
// error sticks and comes out of run or next. Every stmt ends with done (run
// does it).
type stmt struct {
	c     *conn
	query string
	s     *sqlite.Stmt
	n     int
	err   error
}

// prep takes a statement of its own for query: several callers may be in the
// middle of the same query at once.
func (c *conn) prep(query string) *stmt {
	st := &stmt{c: c, query: query}
	if list := c.idle[query]; len(list) > 0 {
		st.s = list[len(list)-1]
		c.idle[query] = list[:len(list)-1]
		return st
	}
	st.s, _, st.err = c.db.PrepareTransient(query)
	return st
}

func (st *stmt) int(v int64) *stmt {
	if st.n++; st.err == nil {
		st.s.BindInt64(st.n, v)
	}
	return st
}

func (st *stmt) float(v float64) *stmt {
	st.n++
	st.s.BindFloat(st.n, v)
	return st
}

func (st *stmt) bool(v bool) *stmt {
	if v {
		return st.int(1)
	}
	return st.int(0)
}

func (st *stmt) text(v string) *stmt {
	if st.n++; st.err == nil {
		st.s.BindText(st.n, v)
	}
	return st
}

func (st *stmt) blob(v []byte) *stmt {
	if st.n++; st.err == nil {
		st.s.BindBytes(st.n, v)
	}
	return st
}

// blobz binds NULL for a hash that is all zeros.
func (st *stmt) blobz(v []byte) *stmt {
	if bytes.ContainsFunc(v, func(r rune) bool { return r != 0 }) {
		return st.blob(v)
	}
	return st.null()
}

func (st *stmt) null() *stmt {
	if st.n++; st.err == nil {
		st.s.BindNull(st.n)
	}
	return st
}

// time binds nanoseconds, or NULL for the zero time.
func (st *stmt) time(t time.Time) *stmt {
	if t.IsZero() {
		return st.null()
	}
	return st.int(t.UnixNano())
}

func (st *stmt) timep(t *time.Time) *stmt {
	if t == nil {
		return st.null()
	}
	return st.time(*t)
}

// next steps to the next row.
func (st *stmt) next() (bool, error) {
	if st.err != nil {
		return false, st.err
	}
	var more bool
	more, st.err = st.s.Step()
	return more, st.err
}

// done gives the statement back. It may be called more than once.
func (st *stmt) done() {
	if st.s == nil {
		return
	}
	if st.err != nil || st.s.Reset() != nil || st.c.idle == nil {
		// The error is known already; Finalize only repeats it.
		_ = st.s.Finalize()
	} else {
		st.c.idle[st.query] = append(st.c.idle[st.query], st.s)
	}
	st.s = nil
}

// run steps once, for a statement that returns no rows.
func (st *stmt) run() error {
	_, err := st.next()
	st.done()
	return err
}

// one steps to the only row and has scan read it.
func (st *stmt) one(scan func(row)) (found bool, err error) {
	defer st.done()
	found, err = st.next()
	if found {
		scan(row{st.s})
	}
	return found, err
}

// row reads the columns of a result.
type row struct{ s *sqlite.Stmt }

func (r row) int(col int) int64     { return r.s.ColumnInt64(col) }
func (r row) float(col int) float64 { return r.s.ColumnFloat(col) }
func (r row) bool(col int) bool     { return r.s.ColumnInt64(col) != 0 }
func (r row) text(col int) string   { return r.s.ColumnText(col) }
func (r row) null(col int) bool     { return r.s.ColumnIsNull(col) }

func (r row) blob(col int) []byte {
	n := r.s.ColumnLen(col)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	return b[:r.s.ColumnBytes(col, b)]
}

func (r row) id(col int) (id chunk.ID) {
	r.s.ColumnBytes(col, id[:])
	return id
}

func (r row) time(col int) time.Time {
	if r.null(col) {
		return time.Time{}
	}
	return time.Unix(0, r.int(col)).UTC()
}

func (r row) timep(col int) *time.Time {
	if r.null(col) {
		return nil
	}
	t := r.time(col)
	return &t
}

// stream runs a query and calls yield for every row that scan makes of it, and
// stops at the first error. scan runs under the lock, yield does not.
func stream[T any](ctx context.Context, c *conn, query string, bind func(*stmt), scan func(row) T, yield func(T) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.prep(query)
	defer st.done()
	bind(st)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := st.next()
		if err != nil || !more {
			return err
		}
		v := scan(row{st.s})
		c.mu.Unlock()
		err = yield(v)
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
}
