package history

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// graceTime is how long an interrupted writer may go on, to make what it
	// has durable; service managers kill after a minute or so.
	graceTime = 10 * time.Second
	// releaseTime bounds the release of a lease, which runs out by itself.
	releaseTime = 3 * time.Second
)

// errGraceOver ends the work of an interrupted writer whose store is slow.
var errGraceOver = fmt.Errorf("the store did not take the last words in time: %w", context.Canceled)

type graceKey struct{}

// withGrace gives ctx a second context, to be had with Grace, that is
// cancelled d after ctx.
func withGrace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, func() { cancel(errGraceOver) })
		context.AfterFunc(late, func() { timer.Stop() })
	})
	return context.WithValue(ctx, graceKey{}, late), func() {
		stop()
		cancel(nil)
	}
}

// Grace gives the context for what has to be finished though ctx was
// cancelled: inside Exclusive one that lives some seconds longer than ctx, so
// that no store that hangs holds an interrupted writer for ever; elsewhere
// one without an end.
func Grace(ctx context.Context) context.Context {
	if late, ok := ctx.Value(graceKey{}).(context.Context); ok {
		return late
	}
	return context.WithoutCancel(ctx)
}

// Rehearse brings the catalog to the vault's head, runs fn on a change that
// can only be thrown away, and does so: it takes no lease, needs no writer key
// and writes nothing to the store.
func (h *History) Rehearse(ctx context.Context, fn func(context.Context, *Change) error) error {
	if _, err := h.Follow(ctx); err != nil {
		return err
	}
	head, err := h.Catalog.Head()
	if err != nil {
		return err
	}
	tx, err := h.Catalog.Begin(ctx)
	if err != nil {
		return err
	}
	c := &Change{Tx: tx, h: h}
	c.base.Number = head.Number
	return errors.Join(fn(ctx, c), c.Abandon())
}
