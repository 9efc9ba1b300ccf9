package backup

import (
	"context"
	"errors"
	"slices"

	"salvor/catalog"
	"salvor/internal/mailstore/folder"
	"salvor/internal/retention"
)

// settle decides, once the whole source has been seen, about everything that
// vanished and whose week has not begun: what only moved, what the brake
// holds, and what begins its week now. In a run whose clock is in doubt no
// week begins; the next trusted run catches up.
func (r *run) settle(ctx context.Context) error {
	if err := r.moves(ctx); err != nil {
		return err
	}
	if err := r.returns(ctx); err != nil {
		return err
	}
	verdicts, err := r.brake(ctx)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if err := r.hold(ctx, v); err != nil {
			return err
		}
	}
	if !r.clock.Trusted() {
		return nil
	}
	return r.startWeeks(ctx)
}

// unsettled loads the records whose week has not begun and that nothing holds.
func (r *run) unsettled(ctx context.Context, user string) (recs []catalog.Record, err error) {
	err = r.tx.Unsettled(ctx, user, collect(&recs))
	return recs, err
}

func collect(into *[]catalog.Record) func(*catalog.Record) error {
	return func(rec *catalog.Record) error {
		*into = append(*into, *rec)
		return nil
	}
}

// moves pairs each vanished record with a record of the same user and content
// that is new in the same run or the next one. Presence is counted: one new
// copy explains one that vanished.
func (r *run) moves(ctx context.Context) error {
	type vanished struct {
		user string // shared by all of the user's
		id   int64
	}
	var gone []vanished
	err := r.tx.GoneSince(ctx, r.number-1, func(user string, rec *catalog.Record) error {
		if n := len(gone); n > 0 && gone[n-1].user == user {
			user = gone[n-1].user
		}
		gone = append(gone, vanished{user, rec.ID})
		return nil
	})
	for i := 0; err == nil && i < len(gone); i++ {
		var rec catalog.Record
		if rec, err = r.recordOf(gone[i].id); err == nil {
			_, err = r.move(ctx, gone[i].user, rec)
		}
	}
	return err
}

// returns looks for held mail that is there again, however many runs later: a
// disk that was mounted at last brings back what it seemed to have lost. A hold
// that keeps nothing any more needs no verdict.
func (r *run) returns(ctx context.Context) error {
	var holds []catalog.Hold
	err := r.tx.Holds(ctx, func(h *catalog.Hold) error {
		if h.Verdict != catalog.Confirmed && h.Records > 0 {
			holds = append(holds, *h)
		}
		return nil
	})
	for i := 0; err == nil && i < len(holds); i++ {
		err = r.shrink(ctx, holds[i])
	}
	return err
}

// shrink takes out of a hold what has come back.
func (r *run) shrink(ctx context.Context, h catalog.Hold) error {
	var recs []catalog.Record
	if err := r.tx.Held(ctx, h.ID, collect(&recs)); err != nil {
		return err
	}
	var left int64
	for _, rec := range recs {
		moved, err := r.move(ctx, h.User, rec)
		if err != nil {
			return err
		}
		if !moved {
			left++
		}
	}
	switch {
	case left == h.Records:
		return nil
	case left == 0 && h.Verdict == "":
		return r.tx.Delete(h)
	}
	h.Records = left
	return r.tx.Put(h)
}

// move tells whether a vanished record has become another one, and notes it.
func (r *run) move(ctx context.Context, user string, rec catalog.Record) (bool, error) {
	var to int64
	err := r.tx.Arrivals(ctx, user, rec.Content, rec.GoneRun-1, func(c *catalog.Record) error {
		// The run before may have listed one folder before the move and the
		// other after it, and seen the message in both. A copy of its own has
		// another key.
		seenTwice := c.FirstRun < rec.GoneRun && rec.Key != "" && c.Key == rec.Key
		if to == 0 && c.ID != rec.ID && (c.FirstRun >= rec.GoneRun || seenTwice) {
			to = c.ID
		}
		return nil
	})
	if err != nil || to == 0 {
		return false, err
	}
	rec.MovedTo, rec.Hold = to, 0
	if rec.GoneRun == r.number { // counted when its mailbox was listed; a moved message is no deletion
		r.tally(func(rep *Report) { rep.Messages.Gone-- })
	}
	return true, r.tx.Put(rec)
}

// brake asks the retention rules whose deletions are to be held.
func (r *run) brake(ctx context.Context) ([]retention.Verdict, error) {
	counts, err := r.tx.Losses(ctx, catalog.LossQuery{Source: r.o.Name, Run: r.number,
		Since: r.clock.Now.Add(-r.o.Policy.For("")), Ignore: r.isTrash})
	if err != nil {
		return nil, err
	}
	partitions := map[string]retention.Partition{}
	var losses []retention.Loss
	for _, c := range counts {
		p := partitions[c.Partition]
		p.Messages += c.Live + c.Window
		p.Users++
		partitions[c.Partition] = p
		if c.Window > 0 {
			losses = append(losses, r.loss(c))
		}
	}
	return retention.Brake(r.o.Limits, losses, partitions), nil
}

func (r *run) loss(c catalog.Loss) retention.Loss {
	return retention.Loss{User: c.User, Partition: c.Partition, Live: c.Live, Now: c.Now, Window: c.Window,
		UserGone: c.UserGone && c.Now > 0, Suspect: r.suspect[c.User], Removed: r.removed[c.User]}
}

// hold keeps what vanished from starting its week until an operator decides.
func (r *run) hold(ctx context.Context, v retention.Verdict) error {
	recs, err := r.unsettled(ctx, v.User)
	if err == nil && v.Window {
		err = r.tx.Running(ctx, v.User, collect(&recs))
	}
	if err != nil {
		return err
	}
	recs = slices.DeleteFunc(recs, func(rec catalog.Record) bool { return rec.MovedTo != 0 })
	if len(recs) == 0 {
		return nil
	}
	id, err := r.tx.NextID(catalog.HoldIDs)
	if err != nil {
		return err
	}
	h := catalog.Hold{ID: id, User: v.User, Run: r.number, Reason: v.Reason, Records: int64(len(recs))}
	if err := r.tx.Put(h); err != nil {
		return err
	}
	for _, rec := range recs {
		rec.Hold, rec.GoneAt = h.ID, nil
		if err := r.tx.Put(rec); err != nil {
			return err
		}
	}
	r.report.HeldByBrake = append(r.report.HeldByBrake, Held{User: v.User, Reason: v.Reason, Messages: h.Records})
	return nil
}

// startWeeks begins the week of everything that vanished and is not held.
func (r *run) startWeeks(ctx context.Context) error {
	before, err := r.runBefore(ctx)
	if err != nil {
		return err
	}
	for {
		var batch []catalog.Record
		err := r.tx.Unsettled(ctx, "", func(rec *catalog.Record) error {
			if batch = append(batch, *rec); len(batch) == settleBatch {
				return catalog.ErrStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, catalog.ErrStop) {
			return err
		}
		for _, rec := range batch {
			rec.GoneAt = r.goneAt(rec, before)
			if err := r.tx.Put(rec); err != nil {
				return err
			}
		}
		if len(batch) < settleBatch {
			return nil
		}
	}
}

// settleBatch bounds the vanished records that are in memory at a time: a lost
// volume makes millions.
const settleBatch = 4096

// isTrash tells whether a mailbox is one that people empty.
func (r *run) isTrash(b catalog.Mailbox) bool {
	return folder.IsTrash(b.Name, b.SpecialUse)
}
