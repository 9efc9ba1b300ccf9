package catalog

import "salvor/chunk"

// Wanted gives what it takes to rebuild a content, as an Entry of no mailbox:
// Content, Size, SHA1, the header's texts, Where, and a stored form: that of the
// record with this id where it holds the content (its Key, ModSeq and ObjectID
// come along), else that of any other record of it, else the wire form. ok is
// false when there is no such content.
func (q queries) Wanted(content chunk.ID, record int64) (e Entry, ok bool, err error) {
	err = q.lookSettled("look for a wanted content in catalog", func(c *conn) error {
		k, found, err := c.chunk(chunk.Ref{Kind: chunk.KindMessage, ID: content})
		if err != nil || !found {
			return err
		}
		r, found, err := c.content(k.id, content)
		if err != nil || !found {
			return err
		}
		e = Entry{Size: r.Size, SHA1: r.SHA1, From: r.From, To: r.To, Subject: r.Subject, MessageID: r.MessageID, Date: r.Date}
		e.Content, e.Stored, e.StoredSize, e.LineEnds = content, content, r.Size, chunk.EndsCRLF
		if err := c.storedForm(&e, k.id, record); err != nil {
			return err
		}
		e.Where, ok, err = c.location(k)
		return err
	})
	return e, ok, err
}

// storedForm takes over how a record's source stored the content.
func (c *conn) storedForm(e *Entry, content, record int64) error {
	if record != 0 {
		found, err := c.prep("SELECT " + recordColumns + recordTables + " WHERE r.id = ? AND r.content = ?").int(record).int(content).
			one(func(r row) { e.Record = *scanRecord(r) })
		if err != nil || found {
			return err
		}
	}
	_, err := c.prep("SELECT " + recordColumns + recordTables + " WHERE r.content = ? LIMIT 1").int(content).one(func(r row) {
		other := scanRecord(r)
		e.Stored, e.StoredSize, e.LineEnds = other.Stored, other.StoredSize, other.LineEnds
	})
	return err
}
