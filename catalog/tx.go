package catalog

import (
	"context"
	"errors"
	"fmt"
	"math"

	"salvor/chunk"
)

// Tx is the one transaction that writes. Its methods may be called by several
// goroutines at once; its queries see its own rows. It ends with Commit or
// Rollback.
//
// After an error of Put, Delete or Apply the transaction is dead: rows may have
// been applied by half, so every later call gives the same error and only
// Rollback is left. The file is then as it was before Begin.
type Tx struct {
	queries
	c       *Catalog
	w       *conn
	journal func(line []byte) error
	line    []byte // reused for the journal
	err     error  // why the transaction is dead
	ended   bool

	seq     [sequences]sequence
	totals  [totals]int64
	changed bool             // seq or totals
	written map[string]int64 // counters as the file has them

	nextRow, nextFrame int64             // the next ids of chunk and frame rows
	frameUse           map[int64]int64   // changes of frame.live, by frame
	packUse            map[int64]packUse // changes of pack.stored and live, by pack

	users     lastID[string]
	incidents lastID[string]
	packs     lastID[chunk.ID]
	contents  lastID[chunk.ID]
	mailbox   int64 // known to be there
}

// Begin waits for its turn to write and begins. ErrBusy says that another
// process has it.
func (c *Catalog) Begin(ctx context.Context) (*Tx, error) {
	if err := c.await(ctx); err != nil {
		return nil, wrap(err, "begin catalog transaction")
	}
	t := &Tx{c: c, w: c.writer}
	t.queries = queries{t}
	if err := t.begin(); err != nil {
		c.turn <- struct{}{}
		return nil, wrap(err, "begin catalog transaction")
	}
	return t, nil
}

func (t *Tx) begin() error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.c.isClosed() {
		return ErrClosed
	}
	if err := t.w.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := t.reset(); err != nil {
		t.w.cache = nil
		return errors.Join(err, t.w.exec("ROLLBACK"))
	}
	t.w.settle, t.c.tx = t.settle, t
	return nil
}

// settle is flush for the queries, which is as fatal as any change when it
// fails.
func (t *Tx) settle() error {
	if t.ended || t.err != nil {
		return t.usable()
	}
	t.err = t.flush()
	return t.err
}

// reset has everything that is kept in memory agree with the file.
func (t *Tx) reset() (err error) {
	t.w.cache = newChunkCache(t)
	t.frameUse, t.packUse, t.written = map[int64]int64{}, map[int64]packUse{}, map[string]int64{}
	t.users.id, t.incidents.id, t.packs.id, t.contents.id, t.mailbox = 0, 0, 0, 0, 0
	for i := range t.seq {
		if t.seq[i].last, err = t.w.counter(sequenceNames[i]); err != nil {
			return err
		}
		t.seq[i].given = t.seq[i].last
	}
	for i := range t.totals {
		if t.totals[i], err = t.w.counter(totalNames[i]); err != nil {
			return err
		}
	}
	if _, err = t.w.prep("SELECT coalesce(max(id), 0) + 1 FROM chunk").one(func(r row) { t.nextRow = r.int(0) }); err != nil {
		return err
	}
	_, err = t.w.prep("SELECT coalesce(max(id), 0) + 1 FROM frame").one(func(r row) { t.nextFrame = r.int(0) })
	return err
}

// do runs fn as a change: under the lock, and fatal to the transaction when it
// fails.
func (t *Tx) do(fn func() error) error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if err := t.usable(); err != nil {
		return err
	}
	t.err = fn()
	return t.err
}

func (t *Tx) usable() error {
	if t.ended {
		return ErrClosed
	}
	return t.err
}

// Journal has every row that is put or deleted from now on written to w too, as
// one JSON line with its newline, in the order in which they are applied. The
// line is only valid during the call. An error of w kills the transaction.
func (t *Tx) Journal(w func(line []byte) error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.journal = w
}

// Put inserts the rows, or updates those whose keys are there already.
func (t *Tx) Put(rows ...Row) error {
	for _, r := range rows {
		r, err := r.normal()
		if err = t.do(func() error {
			if err != nil {
				return fmt.Errorf("%w: %w", ErrRow, err)
			}
			return t.change(verbPut, r)
		}); err != nil {
			return wrap(err, "put into catalog")
		}
	}
	return nil
}

// Delete removes the rows with the keys of these; other fields do not matter.
// A row that is not there is no error, one that others need is.
func (t *Tx) Delete(rows ...Row) error {
	for _, r := range rows {
		if err := t.do(func() error { return t.change(verbDelete, r) }); err != nil {
			return wrap(err, "delete from catalog")
		}
	}
	return nil
}

// change applies one row and journals it.
func (t *Tx) change(verb string, r Row) error {
	if err := t.apply(verb, r); err != nil || t.journal == nil {
		return err
	}
	t.line = appendLine(t.line[:0], verb, r)
	if len(t.line) > MaxLine {
		return rowError(r, "%d bytes as a line, the limit is %d", len(t.line), MaxLine)
	}
	if err := t.journal(t.line); err != nil {
		return fmt.Errorf("journal %s row: %w", r.rowName(), err)
	}
	return nil
}

func (t *Tx) apply(verb string, r Row) error {
	if verb == verbPut {
		return r.put(t)
	}
	return r.remove(t)
}

// Apply does what a journal line says; the line may end in a newline or not.
// Lines may come from a hostile vault: what is not a valid row, or does not fit
// the rows that are there, is ErrRow. Applied lines are not journaled again.
func (t *Tx) Apply(line []byte) error {
	r, del, err := decodeLine(line)
	verb := verbPut
	if del {
		verb = verbDelete
	}
	err = t.do(func() error {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRow, err)
		}
		return t.apply(verb, r)
	})
	return wrap(err, "apply journal line to catalog")
}

// Commit makes all changes and the new head durable as one. Head.Number must
// not be lower than before, and Head.Vault the same (ErrForeign). When Commit
// fails, the transaction is rolled back.
func (t *Tx) Commit(h Head) error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.ended {
		return wrap(ErrClosed, "commit catalog transaction")
	}
	err := t.err
	if err == nil {
		err = t.finish(h)
	}
	if err != nil {
		return wrap(errors.Join(err, t.end("ROLLBACK")), "commit catalog transaction")
	}
	if err := t.end("COMMIT"); err != nil {
		return wrap(err, "commit catalog transaction")
	}
	return nil
}

func (t *Tx) finish(h Head) error {
	old, err := t.w.head()
	if err != nil {
		return err
	}
	switch {
	case h.Vault == "" || h.Number == 0 || h.Number > math.MaxInt64:
		return fmt.Errorf("%w: head without vault or number", ErrRow)
	case old.Vault != "" && old.Vault != h.Vault:
		return fmt.Errorf("%w: it is of vault %q, not %q", ErrForeign, old.Vault, h.Vault)
	case h.Number < old.Number || (h.Number == old.Number && h.Hash != old.Hash):
		return fmt.Errorf("%w: head goes from commit %d back to %d", ErrRow, old.Number, h.Number)
	}
	if err := t.flush(); err != nil {
		return err
	}
	return t.w.prep("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?)").
		text(h.Vault).int(int64(h.Number)).blob(h.Hash[:]).run()
}

// Rollback drops all changes. After Commit or Rollback it does nothing, so it
// can be deferred.
func (t *Tx) Rollback() error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.ended {
		return nil
	}
	return wrap(t.end("ROLLBACK"), "roll back catalog transaction")
}

// end ends the transaction with COMMIT or ROLLBACK and passes the turn on.
// SQLite rolls back by itself after some errors (a full disk among them); then
// nothing is left to do.
func (t *Tx) end(how string) error {
	var err error
	if how == "COMMIT" {
		if err = t.w.exec(how); err == nil {
			t.shrink()
		}
	}
	if !t.w.db.AutocommitEnabled() {
		err = errors.Join(err, t.w.exec("ROLLBACK"))
	}
	t.ended = true
	t.w.cache, t.w.settle = nil, nil
	t.c.turn <- struct{}{}
	return err
}

// shrink moves the log into the file and empties it: deleted rows shall not
// stand in the log until it is used again. The commit is done by then; a reader
// that is still busy with the log, or a full disk, only puts this off to the
// next commit or to Close, so its error says nothing that matters.
func (t *Tx) shrink() {
	t.w.db.SetBusyTimeout(0)
	defer t.w.db.SetBusyTimeout(t.c.wait)
	_ = t.w.exec("PRAGMA wal_checkpoint(TRUNCATE)")
}

// source for the queries.
func (t *Tx) snapshot(fn func(*conn) error) error {
	t.w.mu.Lock()
	err := t.usable()
	t.w.mu.Unlock()
	if err != nil {
		return err
	}
	return fn(t.w)
}

// Sequence is a series of ids that are given only once.
type Sequence int

// The sequences.
const (
	MailboxIDs Sequence = iota
	RecordIDs
	HoldIDs
	ClaimIDs
	sequences
)

var sequenceNames = [sequences]string{"mailbox", "record", "hold", "claim"}

func sequenceNamed(table string) (Sequence, bool) {
	for i, name := range sequenceNames {
		if name == table {
			return Sequence(i), true
		}
	}
	return 0, false
}

// sequence: last is the highest id of a row that was put, which all catalogs
// of a vault know alike; given the highest that NextID gave.
type sequence struct{ last, given int64 }

// NextID gives an id that no row has or had.
func (t *Tx) NextID(s Sequence) (id int64, err error) {
	if s < 0 || s >= sequences {
		return 0, fmt.Errorf("no such sequence: %d", s)
	}
	err = t.do(func() error {
		t.seq[s].given++
		id = t.seq[s].given
		return nil
	})
	return id, wrap(err, "next id")
}

// used notes that a row with this id was put, and tells whether it must be new.
func (t *Tx) used(s Sequence, id int64) (fresh bool) {
	q := &t.seq[s]
	q.given = max(q.given, id)
	if id <= q.last {
		return false
	}
	q.last, t.changed = id, true
	return true
}

// The totals that status shows; derived from the rows.
const (
	totalContents = iota
	totalBytes
	totalRecords
	totalGone
	totals
)

var totalNames = [totals]string{"contents", "content bytes", "records", "gone records"}

func (t *Tx) add(total int, n int64) {
	t.totals[total] += n
	t.changed = true
}

// flush writes everything that is only in memory.
func (t *Tx) flush() error {
	if err := t.w.cache.flush(); err != nil {
		return err
	}
	if err := t.flushLive(); err != nil {
		return err
	}
	if !t.changed {
		return nil
	}
	for i, s := range t.seq {
		if err := t.setCounter(sequenceNames[i], s.last); err != nil {
			return err
		}
	}
	for i, n := range t.totals {
		if err := t.setCounter(totalNames[i], n); err != nil {
			return err
		}
	}
	t.changed = false
	return nil
}

func (c *conn) counter(name string) (n int64, err error) {
	_, err = c.prep("SELECT value FROM counter WHERE name = ?").text(name).one(func(r row) { n = r.int(0) })
	return n, err
}

// setCounter writes a counter that this transaction has changed since it wrote
// it last: what is put between two look-ups changes few of them.
func (t *Tx) setCounter(name string, n int64) error {
	if old, known := t.written[name]; known && old == n {
		return nil
	}
	t.written[name] = n
	return t.w.prep("INSERT OR REPLACE INTO counter VALUES (?, ?)").text(name).int(n).run()
}

func (c *conn) head() (h Head, err error) {
	_, err = c.prep("SELECT vault, number, hash FROM head").one(func(r row) {
		h = Head{Vault: r.text(0), Number: uint64(r.int(1)), Hash: r.id(2)}
	})
	return h, err
}

// lastID remembers the id of the row that was looked up last.
type lastID[K comparable] struct {
	key K
	id  int64 // 0: none
}

func (l *lastID[K]) get(key K, look func() (int64, error)) (int64, error) {
	if l.id != 0 && l.key == key {
		return l.id, nil
	}
	id, err := look()
	if err != nil {
		return 0, err
	}
	*l = lastID[K]{key, id}
	return id, nil
}
