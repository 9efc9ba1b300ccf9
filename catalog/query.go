package catalog

import (
	"context"
	"errors"

	"salvor/chunk"
)

// queries are the methods that a Catalog and a Tx have in common. Those with a
// context call yield for each row, keep no rows, and stop at yield's first
// error, which they return (nil for ErrStop). Rows that yield itself changes in
// the same transaction may or may not be seen any more.
type queries struct{ from source }

// source gives a connection to read with. snapshot has several statements see
// one state of the catalog.
type source interface {
	snapshot(fn func(*conn) error) error
	borrow(fn func(*conn) error) error
}

func (c *Catalog) borrow(fn func(*conn) error) (err error) {
	r, err := c.take()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.give(r)) }()
	return fn(r)
}

func (t *Tx) borrow(fn func(*conn) error) error { return t.snapshot(fn) }

// look runs one look-up under the connection's lock.
func (q queries) look(what string, fn func(*conn) error) error {
	return wrap(q.from.borrow(func(c *conn) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		return fn(c)
	}), what)
}

// lookSettled is look for what a transaction may not have written yet.
func (q queries) lookSettled(what string, fn func(*conn) error) error {
	return q.look(what, func(c *conn) error {
		if c.settle != nil {
			if err := c.settle(); err != nil {
				return err
			}
		}
		return fn(c)
	})
}

// list runs a single listing.
func (q queries) list(what string, fn func(*conn) error) error {
	return wrap(unlessStop(q.from.borrow(fn)), what)
}

// walk runs several statements on one state of the catalog.
func (q queries) walk(what string, fn func(*conn) error) error {
	return wrap(unlessStop(q.from.snapshot(func(c *conn) error {
		c.mu.Lock()
		var err error
		if c.settle != nil {
			err = c.settle()
		}
		c.mu.Unlock()
		if err != nil {
			return err
		}
		return fn(c)
	})), what)
}

// locked runs one look-up in the middle of a walk.
func (c *conn) locked(fn func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fn()
}

// ErrStop ends a listing early without an error: a yield that returns it has
// seen enough.
var ErrStop = errors.New("enough")

func unlessStop(err error) error {
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

func noBind(*stmt) {}

// Head gives the vault's last commit that was applied.
func (q queries) Head() (h Head, err error) {
	err = q.look("read catalog head", func(c *conn) (err error) {
		h, err = c.head()
		return err
	})
	return h, err
}

const userColumns = "u.name, u.source, u.partition, u.first_run, u.first_seen, u.last_run, u.last_good, u.last_good_at, u.failed, u.gone_run"

func scanUser(r row) *User {
	return &User{Name: r.text(0), Source: r.text(1), Partition: r.text(2), FirstRun: uint64(r.int(3)), FirstSeen: r.time(4),
		LastRun: uint64(r.int(5)), LastGood: uint64(r.int(6)), LastGoodAt: r.time(7), Failed: int(r.int(8)), GoneRun: uint64(r.int(9))}
}

// User gives the user with this name; ok is false when there is none.
func (q queries) User(name string) (u User, ok bool, err error) {
	err = q.look("read user from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + userColumns + " FROM user u WHERE name = ?").text(name).
			one(func(r row) { u = *scanUser(r) })
		return err
	})
	return u, ok, err
}

// Users lists all users by name, also those that are gone.
func (q queries) Users(ctx context.Context, yield func(*User) error) error {
	return q.list("list users of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+userColumns+" FROM user u ORDER BY u.name", noBind, scanUser, yield)
	})
}

const mailboxColumns = `m.id, u.name, m.name, m.object_id, m.uid_validity, m.uid_next, m.special_use, m.subscribed, m.state,
	m.first_run, m.first_seen, m.failed_run, m.gone_run, m.gone_at, m.excluded, m.messages,
	m.highest_mod_seq, m.acl, m.quota`

func scanMailbox(r row) *Mailbox {
	return &Mailbox{ID: r.int(0), User: r.text(1), Name: r.text(2), ObjectID: r.text(3), UIDValidity: uint32(r.int(4)),
		UIDNext: uint32(r.int(5)), SpecialUse: r.text(6), Subscribed: r.bool(7), State: r.text(8),
		FirstRun: uint64(r.int(9)), FirstSeen: r.time(10), FailedRun: uint64(r.int(11)), GoneRun: uint64(r.int(12)),
		GoneAt: r.timep(13), Excluded: r.text(14), Messages: int(r.int(15)),
		HighestModSeq: uint64(r.int(16)), ACL: r.text(17), Quota: r.text(18)}
}

// Mailbox gives the mailbox with this id; ok is false when there is none.
func (q queries) Mailbox(id int64) (m Mailbox, ok bool, err error) {
	err = q.look("read mailbox from catalog", func(c *conn) (err error) {
		m, ok, err = c.mailbox(id)
		return err
	})
	return m, ok, err
}

func (c *conn) mailbox(id int64) (m Mailbox, ok bool, err error) {
	ok, err = c.prep("SELECT " + mailboxColumns + " FROM mailbox m JOIN user u ON u.id = m.user WHERE m.id = ?").int(id).
		one(func(r row) { m = *scanMailbox(r) })
	return m, ok, err
}

// Mailboxes lists a user's mailboxes by name, also excluded ones and those
// that are gone. With "" it lists those of all users, by user and name.
func (q queries) Mailboxes(ctx context.Context, user string, yield func(*Mailbox) error) error {
	return q.list("list mailboxes of catalog", func(c *conn) error { return c.mailboxes(ctx, user, yield) })
}

func (c *conn) mailboxes(ctx context.Context, user string, yield func(*Mailbox) error) error {
	query, bind := "SELECT "+mailboxColumns+" FROM user u CROSS JOIN mailbox m ON m.user = u.id", noBind
	if user != "" {
		query += " WHERE u.name = ?"
		bind = func(st *stmt) { st.text(user) }
	}
	return stream(ctx, c, query+" ORDER BY u.name, m.name, m.id", bind, scanMailbox, yield)
}

const recordColumns = `r.id, r.mailbox, r.uid, r.key, k.head, k.tail, r.stored, r.stored_size, r.line_ends, r.flags,
	r.internal_date, r.mod_seq, r.source_state, r.first_run, r.first_seen, r.gone_run, r.gone_at, r.hold, r.moved_to,
	r.object_id, r.expunged`

// recordWidth is the number of recordColumns.
const recordWidth = 21

const recordTables = " FROM record r CROSS JOIN chunk k ON k.id = r.content"

func scanRecord(r row) *Record {
	rec := &Record{ID: r.int(0), Mailbox: r.int(1), UID: uint32(r.int(2)), Key: r.text(3), Content: joinID(r.int(4), r, 5),
		StoredSize: r.int(7), LineEnds: chunk.LineEnds(r.text(8)), Flags: unpackTexts(r.blob(9)),
		InternalDate: r.time(10), ModSeq: uint64(r.int(11)), SourceState: r.text(12),
		FirstRun: uint64(r.int(13)), FirstSeen: r.time(14), GoneRun: uint64(r.int(15)), GoneAt: r.timep(16), Hold: r.int(17), MovedTo: r.int(18),
		ObjectID: r.text(19), Expunged: r.time(20)}
	rec.Stored = rec.Content
	if !r.null(6) {
		rec.Stored = r.id(6)
	}
	return rec
}

// Record gives the record with this id; ok is false when there is none.
func (q queries) Record(id int64) (r Record, ok bool, err error) {
	err = q.lookSettled("read record from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + recordColumns + recordTables + " WHERE r.id = ?").int(id).
			one(func(q row) { r = *scanRecord(q) })
		return err
	})
	return r, ok, err
}

// Records lists a mailbox's records by UID: live ones, and gone ones that have
// not expired.
func (q queries) Records(ctx context.Context, mailbox int64, yield func(*Record) error) error {
	return q.walk("list records of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+recordColumns+recordTables+" WHERE r.mailbox = ? ORDER BY r.uid, r.id",
			func(st *stmt) { st.int(mailbox) }, scanRecord, yield)
	})
}

// RecordsOf lists all records with this content, of all users.
func (q queries) RecordsOf(ctx context.Context, content chunk.ID, yield func(*Record) error) error {
	return q.walk("list records of a content", func(c *conn) error {
		k, found, err := c.chunkLocked(chunk.Ref{Kind: chunk.KindMessage, ID: content})
		if err != nil || !found {
			return err
		}
		return stream(ctx, c, "SELECT "+recordColumns+recordTables+" WHERE r.content = ? ORDER BY r.id",
			func(st *stmt) { st.int(k.id) }, scanRecord, yield)
	})
}

func (c *conn) chunkLocked(ref chunk.Ref) (k chunkRow, found bool, err error) {
	err = c.locked(func() (err error) {
		k, found, err = c.chunk(ref)
		return err
	})
	return k, found, err
}

// Twin finds a message of the user, live or not, whose wire form has this SHA-1
// and length; ok is false when there is none.
func (q queries) Twin(user string, sum chunk.SHA1, size int64) (r Record, ok bool, err error) {
	err = q.lookSettled("look for a user's message by its SHA-1", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + recordColumns + " FROM content c CROSS JOIN record r ON r.content = c.id CROSS JOIN chunk k ON k.id = c.id" +
			ofUser + " WHERE c.sha1 = ? AND c.size = ? AND u.name = ? LIMIT 1").blob(sum[:]).int(size).text(user).
			one(func(q row) { r = *scanRecord(q) })
		return err
	})
	return r, ok, err
}

// SameObject finds a message of the user, live or not, that its source knows
// under this object id; ok is false when there is none.
func (q queries) SameObject(user, objectID string) (r Record, ok bool, err error) {
	err = q.lookSettled("look for a user's message by its object id", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + recordColumns + recordTables + ofUser + " WHERE r.object_id = ? AND r.object_id <> '' AND u.name = ? LIMIT 1").
			text(objectID).text(user).one(func(q row) { r = *scanRecord(q) })
		return err
	})
	return r, ok, err
}

// BySHA1 finds a content of any user by the SHA-1 and the length of its wire
// form; ok is false when there is none.
func (q queries) BySHA1(sum chunk.SHA1, size int64) (id chunk.ID, ok bool, err error) {
	err = q.lookSettled("look for a content by its SHA-1", func(c *conn) (err error) {
		ok, err = c.prep("SELECT k.head, k.tail FROM content c CROSS JOIN chunk k ON k.id = c.id WHERE c.sha1 = ? AND c.size = ? LIMIT 1").
			blob(sum[:]).int(size).one(func(q row) { id = joinID(q.int(0), q, 1) })
		return err
	})
	return id, ok, err
}

// HasRecords tells whether any record has this content.
func (q queries) HasRecords(content chunk.ID) (has bool, err error) {
	err = q.look("look for records of a content", func(c *conn) error {
		k, found, err := c.chunk(chunk.Ref{Kind: chunk.KindMessage, ID: content})
		if err != nil || !found {
			return err
		}
		has, err = c.prep("SELECT 1 FROM record WHERE content = ? LIMIT 1").int(k.id).one(func(row) {})
		return err
	})
	return has, err
}
