package backup

import (
	"context"
	"time"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// fresh handles a message that the catalog does not know in this mailbox. Where
// the source knows contents by an identity of its own, one that the user had
// before (a move, a copy, a folder that was rebuilt) is not read again.
func (r *run) fresh(ctx context.Context, read submit, b *boxState, m mailstore.Message) error {
	twin, found, err := r.twin(b.src.User, m)
	if err != nil {
		return err
	}
	if !found {
		return r.submit(ctx, read, b, m, 0)
	}
	rec := r.newRecord(b, m)
	rec.Content, rec.Stored, rec.StoredSize, rec.LineEnds = twin.Content, twin.Stored, twin.StoredSize, twin.LineEnds
	if rec.ID, err = r.tx.NextID(catalog.RecordIDs); err != nil {
		return err
	}
	r.tally(func(rep *Report) { rep.Messages.New++ })
	r.o.Meter.Add(1, 0)
	return r.tx.Put(rec)
}

// twin finds a message of the user with the same bytes, by what the source says
// of them. A SHA-1 counts only together with the length and inside the user's
// own mail: whoever makes two messages of one SHA-1 shall not have one of them
// kept in place of the other for somebody else.
func (r *run) twin(user string, m mailstore.Message) (twin catalog.Record, found bool, err error) {
	switch {
	case m.ObjectID == "":
		return twin, false, nil
	case m.SHA1.IsZero():
		twin, found, err = r.tx.SameObject(user, m.ObjectID)
	default:
		twin, found, err = r.tx.Twin(user, m.SHA1, m.Size)
	}
	if err != nil || !found || m.Size >= 0 && twin.StoredSize != m.Size {
		return twin, false, err
	}
	// A content that a check found damaged is stored anew.
	whole, err := r.tx.HasContent(twin.Content)
	return twin, whole, err
}

// newRecord is the record of a message that was not seen before, without its
// id and content.
func (r *run) newRecord(b *boxState, m mailstore.Message) catalog.Record {
	rec := catalog.Record{Mailbox: b.row.ID, UID: uint32(m.UID), Key: m.Key, Flags: m.Flags, InternalDate: m.InternalDate,
		ModSeq: m.ModSeq, SourceState: m.State, FirstRun: r.number, FirstSeen: r.clock.Now, Expunged: m.Expunged}
	if m.NoFlags {
		r.tally(func(rep *Report) { rep.FlagsUnknown++ })
		rec.Flags = nil
	}
	if m.SHA1.IsZero() {
		rec.ObjectID = m.ObjectID // with a SHA-1, the content itself is found by it
	}
	if !m.Expunged.IsZero() {
		rec.GoneRun = r.number
	}
	return rec
}

// expunged handles a message that the source names as removed by its user. One
// that came and was removed since the last run is worth its week all the same,
// if its content is still there.
func (r *run) expunged(ctx context.Context, read submit, b *boxState, known *listing, m mailstore.Message) error {
	if _, live := known.live[m.Key]; live {
		known.expunged[m.Key] = m.Expunged
		return nil
	}
	if known.gone[m.Key] || m.Expunged.Before(r.clock.Now.Add(-r.o.Policy.For(b.src.User))) {
		return nil
	}
	return r.submit(ctx, read, b, m, 0)
}

// goneAt is when a vanished record's week begins: now or, where the source says
// when its user removed it, then; but never before the run that still saw it.
func (r *run) goneAt(rec catalog.Record, before time.Time) *time.Time {
	at := r.clock.Now
	if e := rec.Expunged; !e.IsZero() && e.Before(at) {
		at = e
		if at.Before(before) {
			at = before
		}
	}
	return &at
}

// runBefore is when the last run of this source began; zero for the first one.
func (r *run) runBefore(ctx context.Context) (began time.Time, err error) {
	err = r.tx.Runs(ctx, 20, func(run *catalog.Run) error {
		if began.IsZero() && run.Source == r.o.Name && run.Number < r.number {
			began = run.Started
		}
		return nil
	})
	return began, err
}
