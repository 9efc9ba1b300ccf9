package backup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// A boxState follows one mailbox from its listing until its last message is
// safe. The scan fills it before it submits the mailbox's end; afterwards only
// the keeper touches it.
type boxState struct {
	user *userState
	src  mailstore.Mailbox
	row  catalog.Mailbox
	jobs int // messages submitted to be read
	seen keySet

	done, failed int  // the keeper's: messages finished, and failed of these
	ended        bool // the keeper's: the end was received
}

// A userState does the same for a user.
type userState struct {
	row    catalog.User
	run    uint64
	boxes  int         // mailboxes submitted
	open   []*boxState // the scan's: of these, the ones whose end is not submitted
	failed int         // mailboxes that could not be listed whole
	// unlisted: the list of mailboxes itself was not whole. Then the run counts
	// as no sighting of what is gone.
	unlisted bool

	done, unread int // the keeper's: mailboxes finished, messages not read
	ended        bool
}

// live is what the comparison needs to know of a record.
type live struct {
	id     int64
	uid    uint32
	modSeq uint64
	flags  string
	state  string
}

func joinFlags(flags []string) string { return strings.Join(flags, " ") }

func splitFlags(joined string) []string { return strings.Fields(joined) }

// mailbox compares one mailbox with its row and submits what must be read.
func (r *run) mailbox(ctx context.Context, us *userState, p *pair, read submit) error {
	if p.src.Foreign && p.row.ID == 0 {
		return nil
	}
	if p.why != "" {
		return r.leaveOut(ctx, p)
	}
	r.tally(func(rep *Report) { rep.Mailboxes++ })
	if r.unchanged(p) {
		r.tally(func(rep *Report) { rep.Messages.Seen += int64(p.row.Messages) })
		r.o.Meter.Add(int64(p.row.Messages), 0)
		return r.renamed(p)
	}
	b, err := r.openBox(us, p)
	if err != nil {
		return err
	}
	if err := r.compare(ctx, b, read); err != nil {
		return err
	}
	us.boxes++
	us.open, p.box = append(us.open, b), b
	return nil
}

func (r *run) unchanged(p *pair) bool {
	return p.row.ID != 0 && p.row.State != "" && p.row.State == p.src.State && p.row.Excluded == "" && p.src.Lost == ""
}

// renamed puts the row of an unchanged mailbox when something about the
// mailbox itself is new.
func (r *run) renamed(p *pair) error {
	row := p.row
	describe(&row, p.src)
	if row == p.row {
		return nil
	}
	return r.tx.Put(row)
}

// describe takes over what the source says of a mailbox, without its State.
func describe(row *catalog.Mailbox, src mailstore.Mailbox) {
	row.User, row.Name, row.ObjectID = src.User, src.Name, src.ObjectID
	row.SpecialUse, row.Subscribed = src.SpecialUse, src.Subscribed
	row.UIDValidity = src.UIDValidity
	row.UIDNext = max(row.UIDNext, src.UIDNext)
	row.HighestModSeq, row.ACL, row.Quota = src.HighestModSeq, src.ACL, src.Quota
}

// leaveOut records an excluded mailbox by name and count, and nothing of its
// mail. Records from before the exclusion stay live: leaving scope is no
// deletion.
func (r *run) leaveOut(ctx context.Context, p *pair) error {
	row := p.row
	if row.ID == 0 {
		row.FirstRun, row.FirstSeen = r.number, r.clock.Now
	}
	describe(&row, p.src)
	if row.State == "" || row.State != p.src.State || row.Excluded != p.why {
		if c, ok := r.o.Source.(mailstore.Counter); ok {
			n, err := c.Count(ctx, p.src)
			if err != nil {
				_, err = r.whole(err)
				return err
			}
			row.Messages = n
		}
	}
	row.State, row.Excluded = p.src.State, p.why
	r.tally(func(rep *Report) {
		rep.Excluded = append(rep.Excluded, Excluded{User: row.User, Folder: row.Name, Why: p.why, Messages: row.Messages})
	})
	if row == p.row {
		return nil
	}
	if row.ID == 0 {
		var err error
		if row.ID, err = r.tx.NextID(catalog.MailboxIDs); err != nil {
			return err
		}
	}
	return r.tx.Put(row)
}

// openBox makes sure that the mailbox's row stands before its records do.
func (r *run) openBox(us *userState, p *pair) (*boxState, error) {
	row := p.row
	if row.ID != 0 {
		r.judgeIndex(p)
		if row.Excluded == "" && p.src.Lost == "" {
			p.src.Since = row.State
		}
	} else {
		var err error
		if row.ID, err = r.tx.NextID(catalog.MailboxIDs); err != nil {
			return nil, err
		}
		row.FirstRun, row.FirstSeen = r.number, r.clock.Now
	}
	describe(&row, p.src)
	row.State, row.Excluded = "", ""
	if row != p.row {
		if err := r.tx.Put(row); err != nil {
			return nil, err
		}
	}
	return &boxState{user: us, src: p.src, row: row}, nil
}

// judgeIndex remembers why what vanished from this mailbox is no evidence that
// its user deleted it.
func (r *run) judgeIndex(p *pair) {
	switch {
	case p.src.Lost != "":
		r.doubt(p.src, p.src.Lost)
	case p.row.UIDValidity != 0 && p.row.UIDValidity != p.src.UIDValidity:
		r.doubt(p.src, fmt.Sprintf("its UIDVALIDITY changed from %d to %d", p.row.UIDValidity, p.src.UIDValidity))
	case p.src.HighestModSeq != 0 && p.src.HighestModSeq < p.row.HighestModSeq:
		r.doubt(p.src, fmt.Sprintf("its HIGHESTMODSEQ went back from %d to %d, so its index is an older one", p.row.HighestModSeq, p.src.HighestModSeq))
	}
}

// doubt remembers why what vanished from a user's mail may not have been
// removed by that user. The first reason counts.
func (r *run) doubt(box mailstore.Mailbox, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.suspect[box.User] == "" {
		r.suspect[box.User] = fmt.Sprintf("folder %q: %s", box.Name, why)
	}
}

// compare lists the mailbox and tells new, changed and vanished messages apart.
func (r *run) compare(ctx context.Context, b *boxState, read submit) error {
	known, err := r.knownRecords(ctx, b.row.ID)
	if err != nil {
		return err
	}
	next := max(b.row.UIDNext, known.top+1)
	seen := 0
	var unnumbered []mailstore.Message
	err = r.o.Source.Messages(ctx, b.src, func(m mailstore.Message) error {
		next = max(next, uint32(m.UID)+1)
		if !m.Expunged.IsZero() {
			return r.expunged(ctx, read, b, known, m)
		}
		seen++
		b.seen.add(m.Key)
		old, ok := known.live[m.Key]
		switch {
		case !ok && m.Unchanged:
			return &mailstore.Problem{User: b.src.User, Mailbox: b.src.Name,
				Err: fmt.Errorf("UID %d is said to be unchanged, but was never seen; the next run lists the folder in full", m.UID)}
		case !ok && m.UID == 0:
			unnumbered = append(unnumbered, m)
			return nil
		case !ok:
			return r.fresh(ctx, read, b, m)
		}
		delete(known.live, m.Key)
		return r.again(ctx, read, b, m, old)
	})
	r.tally(func(rep *Report) { rep.Messages.Seen += int64(seen) })
	b.row.Messages = seen
	whole, err := r.whole(err)
	if err != nil {
		return err
	}
	if !whole {
		b.user.failed++
		b.row.FailedRun = r.number
	}
	if b.row.UIDNext, err = r.renumber(ctx, read, b, unnumbered, next); err != nil || !whole {
		return err
	}
	return r.vanished(b.src, known)
}

// A listing is what the catalog knows of a mailbox, by the messages' keys. What
// is left of live after a whole listing has vanished.
type listing struct {
	live     map[string]live
	gone     map[string]bool
	expunged map[string]time.Time // when the source says that those of live were removed
	top      uint32               // highest UID
}

// knownRecords loads what the catalog knows of a mailbox.
func (r *run) knownRecords(ctx context.Context, mailbox int64) (*listing, error) {
	l := &listing{live: map[string]live{}, gone: map[string]bool{}, expunged: map[string]time.Time{}}
	err := r.tx.Records(ctx, mailbox, func(rec *catalog.Record) error {
		l.top = max(l.top, rec.UID)
		if rec.GoneRun == 0 {
			l.live[rec.Key] = live{rec.ID, rec.UID, rec.ModSeq, joinFlags(rec.Flags), rec.SourceState}
		} else {
			l.gone[rec.Key] = true
		}
		return nil
	})
	return l, err
}

// renumber submits messages that their store has not numbered, in the order in
// which it would: by their position, or by the names that tell their arrival.
// It returns the next free UID.
func (r *run) renumber(ctx context.Context, read submit, b *boxState, ms []mailstore.Message, next uint32) (uint32, error) {
	slices.SortFunc(ms, func(x, y mailstore.Message) int {
		if c := cmp.Compare(x.Position, y.Position); c != 0 {
			return c
		}
		if c := x.InternalDate.Compare(y.InternalDate); c != 0 {
			return c
		}
		return strings.Compare(x.Key, y.Key)
	})
	for _, m := range ms {
		m.UID = mailstore.UID(next)
		next++
		if err := r.fresh(ctx, read, b, m); err != nil {
			return next, err
		}
	}
	return next, nil
}

func (r *run) submit(ctx context.Context, read submit, b *boxState, m mailstore.Message, replaces int64) error {
	b.jobs++
	r.submitted += max(m.Size, 1)
	return read(ctx, job{box: b, msg: m, replaces: replaces})
}

// again handles a message that the catalog knows: flags and numbers may have
// changed, and a file that is not the same any more is read again.
func (r *run) again(ctx context.Context, read submit, b *boxState, m mailstore.Message, old live) error {
	if m.UID == 0 {
		m.UID = mailstore.UID(old.uid)
	}
	if old.state != m.State && !m.Unchanged {
		return r.submit(ctx, read, b, m, old.id)
	}
	r.o.Meter.Add(1, 0)
	if m.Unchanged {
		return nil
	}
	if m.NoFlags {
		r.tally(func(rep *Report) { rep.FlagsUnknown++ })
		m.Flags = splitFlags(old.flags)
	}
	if old.uid == uint32(m.UID) && old.modSeq == m.ModSeq && old.flags == joinFlags(m.Flags) {
		return nil
	}
	rec, err := r.recordOf(old.id)
	if err != nil {
		return err
	}
	rec.UID, rec.ModSeq, rec.Flags = uint32(m.UID), m.ModSeq, m.Flags
	return r.tx.Put(rec)
}

// recordOf reads a record that must be there.
func (r *run) recordOf(id int64) (catalog.Record, error) {
	rec, ok, err := r.tx.Record(id)
	if err == nil && !ok {
		err = fmt.Errorf("record %d is missing in the catalog", id)
	}
	return rec, err
}

// vanished marks what a whole listing did not show any more.
func (r *run) vanished(box mailstore.Mailbox, known *listing) error {
	if n := len(known.live) - len(known.expunged); n > 0 && box.TellsRemovals {
		r.doubt(box, fmt.Sprintf("%d messages are in its index no more, and it does not say that anybody removed them", n))
	}
	for _, key := range sortedKeys(known.live) {
		rec, err := r.recordOf(known.live[key].id)
		if err != nil {
			return err
		}
		rec.Expunged = known.expunged[key]
		if err := r.gone(rec); err != nil {
			return err
		}
	}
	return nil
}
