package s3

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// tellAfter is for how long an operation is tried again before the caller
	// hears of it: shorter hiccups are nobody's business.
	tellAfter = 5 * time.Second
	// quiet is how long nothing moves before the caller hears of it.
	quiet = 12 * time.Second
)

// signs are the signs of life of a server, on all of a store's connections.
type signs struct {
	begin time.Time    // what moved is counted from, by the monotonic clock
	moved atomic.Int64 // when a byte last went either way, in ns since begin
	told  atomic.Bool  // the caller knows that the server does not answer
}

func newSigns() *signs { return &signs{begin: time.Now()} }

func (s *signs) move() { s.moved.Store(int64(time.Since(s.begin))) }

// idle is for how long nothing has moved, at most since start.
func (s *signs) idle(start time.Time) time.Duration {
	return min(time.Since(start), time.Since(s.begin)-time.Duration(s.moved.Load()))
}

// waiting tells the caller, once until the server works again.
func (s *Store) waiting(patience time.Duration, err error) {
	if s.o.Waiting != nil && s.signs.told.CompareAndSwap(false, true) {
		s.o.Waiting(patience, err)
	}
}

// listen watches over one attempt and tells the caller when nothing moves.
// The function it returns ends the watch.
func (s *Store) listen(ctx context.Context, patience time.Duration) (stop func()) {
	if s.o.Waiting == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	start := time.Now()
	var timer atomic.Pointer[time.Timer]
	var look func()
	look = func() {
		rest := s.o.quiet - s.signs.idle(start)
		if ctx.Err() != nil {
			return
		}
		if rest > 0 {
			timer.Store(time.AfterFunc(rest, look))
			return
		}
		s.waiting(patience, fmt.Errorf("no answer for %v", s.o.quiet))
	}
	timer.Store(time.AfterFunc(s.o.quiet, look))
	return func() {
		cancel()
		timer.Load().Stop()
	}
}

// plain is an error for the caller's ears, without secrets.
func (s *Store) plain(err error) error { return errors.New(printable(s.keys.hide(cause(err)))) }
