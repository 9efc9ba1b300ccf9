package catalog

import (
	"context"
	"time"

	"salvor/chunk"
)

const runColumns = `number, kind, source, started, finished, clock, host, users, mailboxes, seen, new, gone, failed,
	bytes_read, bytes_new, bytes_stored, held, problems, partial`

func scanRun(r row) *Run {
	return &Run{Number: uint64(r.int(0)), Kind: r.text(1), Source: r.text(2), Started: r.time(3), Finished: r.time(4),
		Clock: r.text(5), Host: r.text(6), Users: int(r.int(7)), Mailboxes: int(r.int(8)), Seen: r.int(9), New: r.int(10),
		Gone: r.int(11), Failed: r.int(12), BytesRead: r.int(13), BytesNew: r.int(14), BytesStored: r.int(15),
		Held: unpackTexts(r.blob(16)), Problems: unpackTexts(r.blob(17)), Partial: r.bool(18)}
}

// Run gives the run with this number; ok is false when there is none.
func (q queries) Run(number uint64) (r Run, ok bool, err error) {
	err = q.look("read run from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + runColumns + " FROM run WHERE number = ?").int(int64(number)).
			one(func(q row) { r = *scanRun(q) })
		return err
	})
	return r, ok, err
}

// Runs lists the last runs, the newest first: n of them, or all when n is 0.
func (q queries) Runs(ctx context.Context, n int, yield func(*Run) error) error {
	if n <= 0 {
		n = -1 // SQLite's "no limit"
	}
	return q.list("list runs of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+runColumns+" FROM run ORDER BY number DESC LIMIT ?",
			func(st *stmt) { st.int(int64(n)) }, scanRun, yield)
	})
}

// FirstRunSince gives the number of the first run that started at t or later;
// ok is false when there is none.
func (q queries) FirstRunSince(t time.Time) (number uint64, ok bool, err error) {
	err = q.look("look for run in catalog", func(c *conn) error {
		_, err := c.prep("SELECT min(number) FROM run WHERE started >= ?").time(utc(t)).
			one(func(r row) { number, ok = uint64(r.int(0)), !r.null(0) })
		return err
	})
	return number, ok, err
}

func scanHold(r row) *Hold {
	return &Hold{ID: r.int(0), User: r.text(1), Run: uint64(r.int(2)), Reason: r.text(3), Records: r.int(4),
		Verdict: r.text(5), VerdictAt: r.timep(6), VerdictBy: r.text(7)}
}

const holdColumns = "id, user, run, reason, records, verdict, verdict_at, verdict_by"

// Holds lists all holds by id, decided ones too.
func (q queries) Holds(ctx context.Context, yield func(*Hold) error) error {
	return q.list("list holds of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+holdColumns+" FROM hold ORDER BY id", noBind, scanHold, yield)
	})
}

// OpenHolds lists the holds without a verdict, by id.
func (q queries) OpenHolds(ctx context.Context, yield func(*Hold) error) error {
	return q.list("list open holds of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+holdColumns+" FROM hold WHERE verdict = '' ORDER BY id", noBind, scanHold, yield)
	})
}

func scanTombstone(r row) *Tombstone {
	return &Tombstone{User: r.text(0), Content: r.id(1), LastSeen: r.time(2), ExpiredAt: r.time(3), Until: r.time(4)}
}

const tombstoneColumns = "user, content, last_seen, expired_at, until"

// Tombstone gives the tombstone of this user and content; ok is false when
// there is none. It does not ask whether the content is live again.
func (q queries) Tombstone(user string, content chunk.ID) (t Tombstone, ok bool, err error) {
	err = q.look("read tombstone from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + tombstoneColumns + " FROM tombstone WHERE user = ? AND content = ?").
			text(user).blob(content[:]).one(func(r row) { t = *scanTombstone(r) })
		return err
	})
	return t, ok, err
}

// Tombstones lists a user's tombstones, with "" those of all users.
func (q queries) Tombstones(ctx context.Context, user string, yield func(*Tombstone) error) error {
	query, bind := "SELECT "+tombstoneColumns+" FROM tombstone", noBind
	if user != "" {
		query += " WHERE user = ?"
		bind = func(st *stmt) { st.text(user) }
	}
	return q.list("list tombstones of catalog", func(c *conn) error {
		return stream(ctx, c, query+" ORDER BY user, content", bind, scanTombstone, yield)
	})
}

// Acks lists the acknowledged problems by name.
func (q queries) Acks(ctx context.Context, yield func(*Ack) error) error {
	return q.list("list acknowledgements of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT attention, at, by FROM ack ORDER BY attention", noBind,
			func(r row) *Ack { return &Ack{Attention: r.text(0), At: r.time(1), By: r.text(2)} }, yield)
	})
}

// Lock gives the state of the vault's locks; ok is false when there is none.
func (q queries) Lock() (l Lock, ok bool, err error) {
	err = q.look("read locks of catalog", func(c *conn) (err error) {
		l, ok, err = c.lock()
		return err
	})
	return l, ok, err
}

func (c *conn) lock() (l Lock, ok bool, err error) {
	ok, err = c.prep("SELECT until, target, began, next, left, waiting, waiting_bytes, waiting_until FROM lock").one(func(r row) {
		l = Lock{Until: r.time(0), Target: r.time(1), Began: r.time(2), Next: r.text(3), Left: r.int(4),
			Waiting: r.int(5), WaitingBytes: r.int(6), WaitingUntil: r.time(7)}
	})
	return l, ok, err
}

// Stats are the sums that status shows.
type Stats struct {
	Users     int64 // not gone
	Mailboxes int64 // in scope, not gone
	Live      int64 // records of messages that are at the source
	Deleted   int64 // records of messages that are not, and still kept
	Contents  int64
	// ContentBytes is the size of all contents in wire form, each once.
	ContentBytes int64
	Packs        int64
	StoredBytes  int64 // size of all packs
	ToErase      int64 // estimate of the stored bytes that nothing needs
	OpenHolds    int64
}

// Stats gives the sums without reading every row.
func (q queries) Stats(context.Context) (s Stats, err error) {
	err = q.lookSettled("read sums of catalog", func(c *conn) error {
		for _, sum := range []struct {
			query string
			into  []*int64
		}{
			{"SELECT count(*) FROM user WHERE gone_run = 0", []*int64{&s.Users}},
			{"SELECT count(*) FROM mailbox WHERE gone_run = 0 AND excluded = ''", []*int64{&s.Mailboxes}},
			{"SELECT count(*) FROM hold WHERE verdict = ''", []*int64{&s.OpenHolds}},
			{`SELECT count(*), coalesce(sum(size), 0),
				coalesce(sum(CASE WHEN live <= 0 OR condemned <> 0 THEN size ELSE max(0, stored - live) END), 0) FROM pack`,
				[]*int64{&s.Packs, &s.StoredBytes, &s.ToErase}},
		} {
			if _, err := c.prep(sum.query).one(func(r row) {
				for i, v := range sum.into {
					*v = r.int(i)
				}
			}); err != nil {
				return err
			}
		}
		return c.totals(&s)
	})
	return s, err
}

func (c *conn) totals(s *Stats) error {
	var records int64
	for i, v := range [totals]*int64{&s.Contents, &s.ContentBytes, &records, &s.Deleted} {
		n, err := c.counter(totalNames[i])
		if err != nil {
			return err
		}
		*v = n
	}
	s.Live = records - s.Deleted
	return nil
}
