package locked

import (
	"context"
	"errors"
	"sync"
	"time"

	"salvor/internal/objstore/object"
)

// Extension says which locks to extend.
type Extension struct {
	Until time.Time
	// From is the name to begin with; "" is the first.
	From string
	// Limit is how many objects at most; 0: all.
	Limit int
	// Before leaves out objects that were put then or later.
	Before time.Time
	// Keep tells which objects are needed; the locks of others run out.
	Keep func(name string) bool
}

// Extended is what was done.
type Extended struct {
	Objects int    // that are locked until Extension.Until now, or longer
	Left    int    // that were not reached
	Next    string // where to go on; "" when nothing is left
}

// workers ask the server at the same time: nearly all is waiting.
const workers = 8

// Extend locks objects until a later time, in the order of their names. Only
// the version that a name stands for is locked. After an error, Next is where
// it began.
func (s *Store) Extend(ctx context.Context, o Extension) (Extended, error) {
	done := Extended{Next: o.From}
	var due []object.Version
	left, next := 0, ""
	err := s.each(ctx, "", func(v object.Version) error {
		switch {
		case v.Name < o.From, !s.rules.Locked(v.Name), !o.Keep(v.Name), !o.Before.IsZero() && !v.Modified.Before(o.Before):
		case o.Limit == 0 || len(due) < o.Limit:
			due = append(due, v)
		default:
			if left++; next == "" {
				next = v.Name
			}
		}
		return nil
	})
	if err == nil {
		err = s.extendAll(ctx, due, o.Until.UTC().Truncate(time.Second))
	}
	if err != nil {
		return done, err
	}
	return Extended{Objects: len(due), Left: left, Next: next}, nil
}

func (s *Store) extendAll(ctx context.Context, due []object.Version, until time.Time) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan object.Version)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for v := range next {
				if err := s.extend(ctx, v, until); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, v := range due {
		next <- v
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func (s *Store) extend(ctx context.Context, v object.Version, until time.Time) error {
	l, err := s.under.LockOf(ctx, v)
	if err == nil && l.Until.Before(until) {
		err = s.under.Extend(ctx, v, object.Lock{Mode: s.rules.Mode, Until: until})
	}
	if errors.Is(err, object.ErrNotExist) {
		return nil // erased meanwhile
	}
	return err
}
