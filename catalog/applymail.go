package catalog

import (
	"encoding/binary"

	"salvor/chunk"
)

func (c *conn) userID(name string) (id int64, found bool, err error) {
	found, err = c.prep("SELECT id FROM user WHERE name = ?").text(name).one(func(r row) { id = r.int(0) })
	return id, found, err
}

func (r User) put(t *Tx) error {
	return t.w.prep(`INSERT INTO user (name, source, partition, first_run, first_seen, last_run, last_good, last_good_at, failed, gone_run)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET source = excluded.source, partition = excluded.partition,
		first_run = excluded.first_run, first_seen = excluded.first_seen, last_run = excluded.last_run,
		last_good = excluded.last_good, last_good_at = excluded.last_good_at,
		failed = excluded.failed, gone_run = excluded.gone_run`).
		text(r.Name).text(r.Source).text(r.Partition).int(int64(r.FirstRun)).time(r.FirstSeen).
		int(int64(r.LastRun)).int(int64(r.LastGood)).time(r.LastGoodAt).int(int64(r.Failed)).int(int64(r.GoneRun)).run()
}

func (r User) remove(t *Tx) error {
	id, found, err := t.w.userID(r.Name)
	if err != nil || !found {
		return err
	}
	if err := t.free(r, "SELECT id FROM mailbox WHERE user = ? LIMIT 1", id, "mailbox"); err != nil {
		return err
	}
	t.users.id = 0
	return t.w.prep("DELETE FROM user WHERE id = ?").int(id).run()
}

// free wants that the query finds no row that needs r.
func (t *Tx) free(r Row, query string, id int64, what string) error {
	var other int64
	found, err := t.w.prep(query).int(id).one(func(q row) { other = q.int(0) })
	if err == nil && found {
		err = rowError(r, "%s %d needs it", what, other)
	}
	return err
}

func (r Mailbox) put(t *Tx) error {
	user, err := t.users.get(r.User, func() (int64, error) {
		id, found, err := t.w.userID(r.User)
		if err == nil && !found {
			err = rowError(r, "no user %q", r.User)
		}
		return id, err
	})
	if err != nil {
		return err
	}
	t.used(MailboxIDs, r.ID)
	return t.w.prep("INSERT OR REPLACE INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)").
		int(r.ID).int(user).text(r.Name).text(r.ObjectID).int(int64(r.UIDValidity)).int(int64(r.UIDNext)).
		text(r.SpecialUse).bool(r.Subscribed).text(r.State).int(int64(r.FirstRun)).time(r.FirstSeen).
		int(int64(r.FailedRun)).int(int64(r.GoneRun)).timep(r.GoneAt).text(r.Excluded).int(int64(r.Messages)).
		int(int64(r.HighestModSeq)).text(r.ACL).text(r.Quota).run()
}

func (r Mailbox) remove(t *Tx) error {
	if err := t.free(r, "SELECT id FROM record WHERE mailbox = ? LIMIT 1", r.ID, "record"); err != nil {
		return err
	}
	t.mailbox = 0
	return t.w.prep("DELETE FROM mailbox WHERE id = ?").int(r.ID).run()
}

// Where a row may be there already, INSERT OR REPLACE is needed. SQLite keeps a
// journal of its own for such a statement, so it takes longer.
const (
	intoRecord  = " INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	intoContent = " INTO content VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

func (r Record) put(t *Tx) error {
	if err := t.wantMailbox(r); err != nil {
		return err
	}
	content, err := t.wantContent(r, r.Content)
	if err != nil {
		return err
	}
	insert := "INSERT" + intoRecord
	if !t.used(RecordIDs, r.ID) {
		if err := t.uncount(r.ID); err != nil {
			return err
		}
		insert = "INSERT OR REPLACE" + intoRecord
	}
	t.count(r.GoneRun != 0, 1)
	st := t.w.prep(insert).
		int(r.ID).int(r.Mailbox).int(int64(r.UID)).int(content).
		int(int64(r.GoneRun)).timep(r.GoneAt).int(r.Hold).int(r.MovedTo).
		int(int64(r.FirstRun)).time(r.FirstSeen).time(r.InternalDate).int(int64(r.ModSeq))
	if r.Stored == r.Content {
		st.null()
	} else {
		st.blob(r.Stored[:])
	}
	return st.int(r.StoredSize).text(string(r.LineEnds)).blob(packTexts(r.Flags)).text(r.Key).text(r.SourceState).
		text(r.ObjectID).time(r.Expunged).run()
}

func (t *Tx) wantMailbox(r Record) error {
	if t.mailbox == r.Mailbox {
		return nil
	}
	found, err := t.w.prep("SELECT 1 FROM mailbox WHERE id = ?").int(r.Mailbox).one(func(row) {})
	if err == nil && !found {
		err = rowError(r, "no mailbox %d", r.Mailbox)
	}
	if err == nil {
		t.mailbox = r.Mailbox
	}
	return err
}

func (t *Tx) wantContent(r Row, content chunk.ID) (int64, error) {
	return t.contents.get(content, func() (int64, error) {
		k, found, err := t.w.chunk(chunk.Ref{Kind: chunk.KindMessage, ID: content})
		if err == nil && (!found || k.refs == 0) {
			err = rowError(r, "no content %s", content)
		}
		return k.id, err
	})
}

// uncount takes a record that is about to change out of the totals.
func (t *Tx) uncount(id int64) error {
	var gone bool
	found, err := t.w.prep("SELECT gone_run FROM record WHERE id = ?").int(id).one(func(q row) { gone = q.bool(0) })
	if found {
		t.count(gone, -1)
	}
	return err
}

func (t *Tx) count(gone bool, n int64) {
	t.add(totalRecords, n)
	if gone {
		t.add(totalGone, n)
	}
}

func (r Record) remove(t *Tx) error {
	if err := t.uncount(r.ID); err != nil {
		return err
	}
	return t.w.prep("DELETE FROM record WHERE id = ?").int(r.ID).run()
}

func (r Content) put(t *Tx) error {
	ref := chunk.Ref{Kind: chunk.KindMessage, ID: r.ID}
	k, err := t.w.cache.find(ref)
	if err != nil {
		return err
	}
	if k == nil {
		return rowError(r, "no %s", ref)
	}
	id, had := k.id, k.refs > 0
	var old []int64
	if had {
		size, parts, err := t.w.contentParts(id)
		if err != nil {
			return err
		}
		old = parts
		t.add(totalContents, -1)
		t.add(totalBytes, -size)
	} else if _, err := t.need(r, ref); err != nil {
		return err
	}
	parts, err := t.needParts(r)
	if err != nil {
		return err
	}
	if err := t.releaseAll(old); err != nil {
		return err
	}
	t.contents = lastID[chunk.ID]{r.ID, id}
	t.add(totalContents, 1)
	t.add(totalBytes, r.Size)
	insert := "INSERT" + intoContent
	if had {
		insert = "INSERT OR REPLACE" + intoContent
	}
	return t.w.prep(insert).
		int(id).int(r.Size).timep(r.Date).blob(r.SHA1[:]).blob(packInts(parts, id)).
		text(r.From).text(r.To).text(r.Subject).text(r.MessageID).run()
}

func (t *Tx) needParts(r Content) (parts []int64, err error) {
	parts = make([]int64, len(r.Parts))
	for i, p := range r.Parts {
		if parts[i], err = t.need(r, p); err != nil {
			return nil, err
		}
		if p.Kind != chunk.KindPart {
			continue
		}
		found, err := t.w.prep("SELECT 1 FROM part WHERE id = ?").int(parts[i]).one(func(row) {})
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, rowError(r, "no part row for %s", p)
		}
	}
	return parts, nil
}

func (c *conn) contentParts(id int64) (size int64, parts []int64, err error) {
	_, err = c.prep("SELECT size, parts FROM content WHERE id = ?").int(id).
		one(func(q row) { size, parts = q.int(0), unpackInts(q.blob(1), id) })
	return size, parts, err
}

func (r Content) remove(t *Tx) error {
	k, found, err := t.w.chunk(chunk.Ref{Kind: chunk.KindMessage, ID: r.ID})
	if err != nil || !found || k.refs == 0 {
		return err
	}
	if err := t.free(r, "SELECT id FROM record WHERE content = ? LIMIT 1", k.id, "record"); err != nil {
		return err
	}
	if err := t.free(r, "SELECT 0 FROM finding WHERE content = ? LIMIT 1", k.id, "finding"); err != nil {
		return err
	}
	size, parts, err := t.w.contentParts(k.id)
	if err != nil {
		return err
	}
	t.contents.id = 0
	t.add(totalContents, -1)
	t.add(totalBytes, -size)
	if err := t.w.prep("DELETE FROM content WHERE id = ?").int(k.id).run(); err != nil {
		return err
	}
	if err := t.releaseAll(parts); err != nil {
		return err
	}
	return t.release(k.id)
}

// packTexts writes a list of strings, each after its length.
func packTexts(list []string) []byte {
	var b []byte
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func unpackTexts(b []byte) (list []string) {
	for len(b) > 0 {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return list
		}
		list = append(list, string(b[k:k+int(n)]))
		b = b[k+int(n):]
	}
	return list
}
