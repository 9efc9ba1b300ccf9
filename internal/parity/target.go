package parity

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"salvor/internal/objstore"
)

// longestRetry bounds the time for which a target is left alone, which grows
// each time that it does not answer.
const longestRetry = time.Hour

// target is a store with what is known of its health.
type target struct {
	label string
	store objstore.Store
	blank bool
	retry time.Duration

	mu    sync.Mutex
	away  error     // why it is left alone; nil while it answers
	until time.Time // when it is asked again; zero: not by this process
	first error     // the first failure, for the report
}

func newTarget(o Target, retry time.Duration) *target {
	t := &target{label: o.Label, store: o.Store, blank: o.Blank, retry: retry}
	if o.Store == nil {
		t.away = o.Err
		if t.away == nil {
			t.away = objstore.ErrUnavailable
		}
		t.first = t.away
		t.away = awayError{t.away}
	}
	if o.Blank && t.away == nil {
		t.away = fmt.Errorf("%w: it is empty and waits to be filled (salvor check --repair)", objstore.ErrUnavailable)
	}
	return t
}

// awayError is that of a target that could not be opened. Why (the directory
// does not exist, say) must not be taken for the answer to another question.
type awayError struct{ cause error }

func (e awayError) Error() string { return brief(e.cause).Error() }

// Is makes it ErrUnavailable.
func (e awayError) Is(target error) bool { return target == objstore.ErrUnavailable }

// up says why the target is not to be used now; nil when it is.
func (t *target) up() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away != nil && !t.until.IsZero() && time.Now().After(t.until) {
		t.away = nil
	}
	return t.away
}

// note looks at the result of an operation and remembers what is the target's
// fault. It returns the error.
func (t *target) note(err error) error {
	if err == nil || canceled(err) {
		return err
	}
	for _, answer := range []error{objstore.ErrNotExist, objstore.ErrExists, objstore.ErrName, io.ErrUnexpectedEOF, errStop} {
		if errors.Is(err, answer) {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == nil {
		t.first = err
	}
	if errors.Is(err, objstore.ErrUnavailable) && t.away == nil {
		// A store tries again by itself before it says so. To wait for that
		// with every object, or every minute, would stop a night.
		t.away, t.until = err, time.Now().Add(t.retry)
		t.retry = min(2*t.retry, longestRetry)
	}
	return err
}

func (t *target) troubled() (Trouble, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.blank {
		return Trouble{Target: t.label, Blank: true}, true
	}
	return Trouble{Target: t.label, Err: t.first}, t.first != nil
}
