package catalog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"salvor/chunk"
)

// Query chooses records. The zero value means all live ones.
type Query struct {
	User    string   // exact name; "" means all users
	Folders []string // exact names; none means all
	UIDs    []uint32 // none means all
	// Parts of the header's decoded texts, whatever their case.
	From, To, Subject, MessageID string
	Since, Before                time.Time // internal date: from Since on, before Before
	// AsOf wants what was there at that time: first seen by then, and not yet
	// found gone by then. It does not go with Deleted or DeletedSince.
	AsOf time.Time
	// Deleted wants only what is gone and still kept, and did not only move.
	Deleted bool
	// DeletedSince wants only what was found gone by a run that started then or
	// later. It implies Deleted.
	DeletedSince time.Time
	// InPacks wants only messages of which any piece lies in one of these packs.
	InPacks []chunk.ID
	Order   Order
}

// Order is the order in which Entries lists.
type Order int

// The orders of Entries.
const (
	ByFolder   Order = iota // user, folder, UID
	ByLocation              // where the message chunk lies in the vault: the fastest for reading
	// NewestFirst is for restores that people wait for: user by user, INBOX and
	// then the folders by their newest message; in a folder first what came in the
	// 14 days before the user's newest message, then in 90, in 365, and the rest,
	// each as it lies in the vault.
	NewestFirst
)

// Entry is a record with everything that is known of its message.
type Entry struct {
	Record
	User, Folder                 string
	UIDValidity                  uint32
	SpecialUse                   string
	Size                         int64 // wire form
	SHA1                         chunk.SHA1
	From, To, Subject, MessageID string
	Date                         *time.Time // of the header
	Where                        Location   // of the message chunk
}

// Entries lists the records that the query chooses.
func (q queries) Entries(ctx context.Context, w Query, yield func(*Entry) error) error {
	f, err := newFilter(w)
	if err != nil {
		return wrap(err, "search catalog")
	}
	return q.walk("search catalog", func(c *conn) error {
		switch w.Order {
		case ByLocation:
			return c.entriesByLocation(ctx, f, yield)
		case NewestFirst:
			return c.entriesByAge(ctx, f, yield)
		}
		return c.mailboxes(ctx, w.User, func(m *Mailbox) error {
			if !f.folder(m.Name) {
				return nil
			}
			return c.entriesOf(ctx, m, f, yield)
		})
	})
}

// filter is a Query made ready.
type filter struct {
	Query
	folders map[string]bool
	texts   [4]string // folded
	packs   map[chunk.ID]bool
	where   string // SQL on record r
	bind    func(*stmt)
}

func newFilter(w Query) (*filter, error) {
	if !w.AsOf.IsZero() && (w.Deleted || !w.DeletedSince.IsZero()) {
		return nil, errors.New("as-of and deleted exclude each other")
	}
	f := &filter{Query: w, texts: [4]string{fold(w.From), fold(w.To), fold(w.Subject), fold(w.MessageID)}}
	f.UIDs = slices.Compact(slices.Sorted(slices.Values(w.UIDs)))
	if len(w.Folders) > 0 {
		f.folders = map[string]bool{}
		for _, name := range w.Folders {
			f.folders[name] = true
		}
	}
	if len(w.InPacks) > 0 {
		f.packs = map[chunk.ID]bool{}
		for _, id := range w.InPacks {
			f.packs[id] = true
		}
	}
	f.conditions()
	return f, nil
}

// goneTime is when the run that found the record gone began. While that run is
// not finished its row may be missing; then the record counts as just gone.
const goneTime = "coalesce((SELECT started FROM run WHERE number = r.gone_run), 9223372036854775807)"

// conditions puts into SQL what can be decided on the record alone.
func (f *filter) conditions() {
	var where []string
	var times []time.Time
	add := func(sql string, t ...time.Time) {
		where = append(where, sql)
		for _, v := range t {
			times = append(times, utc(v))
		}
	}
	switch {
	case !f.AsOf.IsZero():
		add("r.first_seen <= ?", f.AsOf)
		add("(r.gone_run = 0 OR "+goneTime+" > ?)", f.AsOf)
	case !f.DeletedSince.IsZero():
		add("r.gone_run <> 0 AND r.moved_to = 0 AND "+goneTime+" >= ?", f.DeletedSince)
	case f.Deleted:
		add("r.gone_run <> 0 AND r.moved_to = 0")
	default:
		add("r.gone_run = 0")
	}
	if !f.Since.IsZero() {
		add("r.internal_date >= ?", f.Since)
	}
	if !f.Before.IsZero() {
		add("r.internal_date < ?", f.Before)
	}
	f.where = strings.Join(where, " AND ")
	f.bind = func(st *stmt) {
		for _, t := range times {
			st.time(t)
		}
	}
}

func (f *filter) folder(name string) bool { return f.folders == nil || f.folders[name] }

// uids gives the ranges of UIDs to look at.
func (f *filter) uids() [][2]uint32 {
	if len(f.UIDs) == 0 {
		return [][2]uint32{{0, 1<<32 - 1}}
	}
	var out [][2]uint32
	for _, u := range f.UIDs {
		out = append(out, [2]uint32{u, u})
	}
	return out
}

const entryColumns = recordColumns + ", c.size, c.sha1, c.date, c.sender, c.recipients, c.subject, c.message_id, k.id, k.frame, k.offset, k.size, c.parts"

// Where the columns after those of the record begin in entryColumns.
const (
	atContent = recordWidth
	atTexts   = atContent + 3
	atChunk   = atTexts + 4
)

const entryTables = recordTables + " CROSS JOIN content c ON c.id = r.content"

// found is an entry that is not complete yet, and what its filter needs.
type found struct {
	*Entry
	chunk chunkRow
	parts []int64
}

// scan reads an entry if its texts match.
func (f *filter) scan(r row) (e found) {
	for i, want := range f.texts {
		if want != "" && !contains(r.text(atTexts+i), want) {
			return e
		}
	}
	e.Entry = &Entry{Record: *scanRecord(r), Size: r.int(atContent), Date: r.timep(atContent + 2),
		From: r.text(atTexts), To: r.text(atTexts + 1), Subject: r.text(atTexts + 2), MessageID: r.text(atTexts + 3)}
	r.s.ColumnBytes(atContent+1, e.SHA1[:])
	e.chunk = chunkRow{id: r.int(atChunk), frame: r.int(atChunk + 1), offset: r.int(atChunk + 2), size: r.int(atChunk + 3)}
	if f.packs != nil {
		e.parts = unpackInts(r.blob(atChunk+4), e.chunk.id)
	}
	return e
}

func (c *conn) entriesOf(ctx context.Context, m *Mailbox, f *filter, yield func(*Entry) error) error {
	for _, uids := range f.uids() {
		err := stream(ctx, c, "SELECT "+entryColumns+entryTables+" WHERE r.mailbox = ? AND r.uid BETWEEN ? AND ? AND "+f.where+
			" ORDER BY r.uid, r.id",
			func(st *stmt) { f.bind(st.int(m.ID).int(int64(uids[0])).int(int64(uids[1]))) }, f.scan,
			func(e found) error { return c.complete(e, m, f, yield) })
		if err != nil {
			return err
		}
	}
	return nil
}

// complete adds what stands in other rows, and yields.
func (c *conn) complete(e found, m *Mailbox, f *filter, yield func(*Entry) error) error {
	if e.Entry == nil {
		return nil
	}
	e.User, e.Folder, e.UIDValidity, e.SpecialUse = m.User, m.Name, m.UIDValidity, m.SpecialUse
	wanted := f.packs == nil
	err := c.locked(func() (err error) {
		if e.Where, _, err = c.location(e.chunk); err == nil && !wanted {
			wanted, err = c.touches(e, f.packs)
		}
		return err
	})
	if err != nil || !wanted {
		return err
	}
	return yield(e.Entry)
}

// touches tells whether any piece of the message lies in one of the packs.
func (c *conn) touches(e found, packs map[chunk.ID]bool) (bool, error) {
	if packs[e.Where.Pack] {
		return true, nil
	}
	left := e.parts
	for len(left) > 0 {
		id := left[0]
		left = left[1:]
		var pack chunk.ID
		_, err := c.prep(`SELECT p.hash FROM chunk k CROSS JOIN frame f ON f.id = k.frame CROSS JOIN pack p ON p.id = f.pack
			WHERE k.id = ?`).int(id).one(func(r row) { pack = r.id(0) })
		if err != nil || packs[pack] {
			return packs[pack], err
		}
		more, _, _, err := c.part(id)
		if err != nil {
			return false, err
		}
		left = append(left, more...)
	}
	return false, nil
}

// entriesByLocation sorts only the numbers of records, so that no text gets
// into SQLite's temporary files, and reads each one then.
func (c *conn) entriesByLocation(ctx context.Context, f *filter, yield func(*Entry) error) error {
	query := "SELECT r.id FROM user u CROSS JOIN mailbox m ON m.user = u.id CROSS JOIN record r ON r.mailbox = m.id" +
		" CROSS JOIN chunk k ON k.id = r.content CROSS JOIN frame f ON f.id = k.frame CROSS JOIN pack p ON p.id = f.pack WHERE " + f.where
	if f.User != "" {
		query += " AND u.name = ?"
	}
	bind := func(st *stmt) {
		f.bind(st)
		if f.User != "" {
			st.text(f.User)
		}
	}
	query += " ORDER BY p.number, p.hash, f.offset, k.offset, r.id"
	return stream(ctx, c, query, bind, func(r row) int64 { return r.int(0) },
		func(id int64) error { return c.entry(id, f, yield) })
}

// entry reads one record and yields it if it matches what SQL did not decide.
func (c *conn) entry(id int64, f *filter, yield func(*Entry) error) error {
	var e found
	var m Mailbox
	err := c.locked(func() error {
		ok, err := c.prep("SELECT " + entryColumns + entryTables + " WHERE r.id = ?").int(id).
			one(func(r row) { e = f.scan(r) })
		if err == nil && ok && e.Entry != nil {
			m, _, err = c.mailbox(e.Mailbox)
		}
		return err
	})
	if err != nil || e.Entry == nil || !f.folder(m.Name) {
		return err
	}
	if _, ok := slices.BinarySearch(f.UIDs, e.UID); len(f.UIDs) > 0 && !ok {
		return nil
	}
	return c.complete(e, &m, f, yield)
}
