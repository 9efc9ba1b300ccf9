package restore

import (
	"context"
	"slices"

	"salvor/catalog"
)

// An Extent is how much there is to restore.
type Extent struct {
	Messages, Bytes int64 // as the source stored them
}

// Whole tells whether a query chooses all live mail of its users, whose extent is
// known beforehand.
func Whole(q catalog.Query) bool { return whole(q) && len(q.Folders) == 0 && q.AsOf.IsZero() }

// expect tells the meter, as soon as it is known, how much there is. That of a
// narrower selection is known only when it is done.
func (e *engine) expect(ctx context.Context, users []string) {
	if e.Meter == nil {
		return
	}
	if e.fleet != nil && len(users) > 1 {
		e.count = int64(len(slices.Compact(slices.Sorted(slices.Values(users)))))
		e.fleet.Users(0, e.count)
	}
	if e.Expected != (Extent{}) {
		e.Meter.Total(e.Expected.Messages, e.Expected.Bytes)
		return
	}
	if e.Choose != nil || !Whole(e.Query) {
		return
	}
	e.done.Go(func() {
		var all Extent
		for _, user := range users {
			// An error is met again, and told, by the restore itself.
			_ = e.Catalog.Loads(ctx, user, func(l *catalog.Load) error {
				all.Messages += l.Messages
				all.Bytes += l.Bytes
				return nil
			})
		}
		if ctx.Err() == nil {
			e.Meter.Total(all.Messages, all.Bytes)
		}
	})
}

// userDone tells the meter that one more user is done.
func (e *engine) userDone() {
	e.ended++
	if e.fleet != nil {
		e.fleet.Users(e.ended, e.count)
	}
}

// skipped tells the meter of a message that is there already.
func (r *run) skipped(i *item) {
	if r.fleet != nil {
		r.fleet.Skip(1, i.StoredSize)
		return
	}
	r.progress(i)
}
