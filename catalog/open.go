package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"salvor/chunk"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// defaultWait is how long a writer of another process is waited for. Its
// transaction may last for a whole backup, so waiting longer is no help.
const defaultWait = 10 * time.Second

// maxIdle is how many read connections are kept open for later queries.
const maxIdle = 4

// Options say how to open a catalog. The zero value is right for a writer.
type Options struct {
	// MustExist refuses to make a new file.
	MustExist bool
	// CacheBytes bounds the writer's page cache; 0 means 32 MiB.
	CacheBytes int64
	// Wait is how long Begin waits for a writer in another process before it
	// gives ErrBusy; 0 means 10 seconds.
	Wait time.Duration
}

func (o Options) withDefaults() Options {
	if o.CacheBytes <= 0 {
		o.CacheBytes = 32 << 20
	}
	if o.Wait <= 0 {
		o.Wait = defaultWait
	}
	return o
}

// Catalog is an open catalog file. Its methods may be called by several
// goroutines at once.
type Catalog struct {
	queries
	path   string
	wait   time.Duration
	writer *conn
	turn   chan struct{} // holds a token while nobody writes
	tx     *Tx           // the last one that began; guarded by writer.mu

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

// Head is the vault's last commit that was applied. The zero Head is that of
// an empty catalog.
type Head struct {
	Vault  string   `json:"vault"` // the vault's id
	Number uint64   `json:"number"`
	Hash   chunk.ID `json:"hash"`
}

// Open opens the catalog at path and makes it, with mode 0600, when it is not
// there. The errors to decide about are ErrNotExist, ErrSchema, ErrDamaged and
// ErrBusy.
func Open(path string, o Options) (*Catalog, error) {
	c, err := openFile(path, o)
	if err != nil {
		return nil, wrap(err, "open catalog "+path)
	}
	return c, nil
}

func openFile(path string, o Options) (*Catalog, error) {
	if err := ensureFile(path, o); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	db, err := connect(path, o.CacheBytes, o.Wait)
	if err != nil {
		return nil, err
	}
	if err := migrate(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c := &Catalog{path: path, wait: o.Wait, writer: newConn(db), turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	c.queries = queries{c}
	return c, nil
}

// ensureFile makes the file before SQLite does, so that it is never readable by
// others: SQLite gives its log and index the same mode. The mode of a file that
// was copied here by hand is narrowed. A file that is there is not opened: to
// close it again would drop the locks that SQLite may hold on it in this
// process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
func ensureFile(path string, o Options) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.MustExist:
		return ErrNotExist
	case errors.Is(err, fs.ErrNotExist):
		return create(path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: not a file", ErrDamaged)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if err := narrow(name); err != nil {
			return err
		}
	}
	return nil
}

// create makes an empty file, which SQLite takes for an empty database.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was faster, and made it in the same way
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func narrow(name string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() == 0o600 {
		return err
	}
	return os.Chmod(name, 0o600)
}

// connect opens one connection, unless the file is somebody else's. See the
// package comment for synchronous.
func connect(path string, cache int64, wait time.Duration) (*sqlite.Conn, error) {
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	db.SetBusyTimeout(wait)
	if _, err := version(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for _, p := range []string{
		"page_size = 8192",
		"journal_mode = wal",
		"synchronous = normal",
		"secure_delete = on",
		"trusted_schema = off",
		fmt.Sprintf("cache_size = -%d", cache>>10),
	} {
		if err := sqlitex.ExecuteTransient(db, "PRAGMA "+p, nil); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

// Path is the file's path, as it was given to Open.
func (c *Catalog) Path() string { return c.path }

// Close closes the file. A transaction that is still open is rolled back.
func (c *Catalog) Close() error {
	if !c.shut() {
		return nil
	}
	c.writer.mu.Lock() // after this, no transaction begins
	tx := c.tx
	c.writer.mu.Unlock()
	var errs []error
	if tx != nil {
		errs = append(errs, tx.Rollback())
	}
	c.mu.Lock()
	for _, r := range c.idle {
		errs = append(errs, r.close())
	}
	c.idle = nil
	c.mu.Unlock()
	c.writer.mu.Lock()
	defer c.writer.mu.Unlock()
	return wrap(errors.Join(append(errs, c.writer.close())...), "close catalog "+c.path)
}

// shut marks the catalog as closed, and tells whether it was open.
func (c *Catalog) shut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	open := !c.closed
	c.closed = true
	return open
}

func (c *Catalog) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// take gives a connection to read with.
func (c *Catalog) take() (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if n := len(c.idle); n > 0 {
		r := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return r, nil
	}
	db, err := connect(c.path, 4<<20, c.wait)
	if err != nil {
		return nil, err
	}
	r := newConn(db)
	if err := r.exec("PRAGMA query_only = on"); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// give takes a connection back.
func (c *Catalog) give(r *conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= maxIdle {
		return r.close()
	}
	c.idle = append(c.idle, r)
	return nil
}

// snapshot has fn see one state of the file, whatever is committed meanwhile.
func (c *Catalog) snapshot(fn func(*conn) error) (err error) {
	r, err := c.take()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.give(r)) }()
	if err := r.exec("BEGIN"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.exec("ROLLBACK")) }()
	return fn(r)
}

// await waits for the turn to write.
func (c *Catalog) await(ctx context.Context) error {
	select {
	case <-c.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
