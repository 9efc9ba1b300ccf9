package salvage

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
)

// crew does jobs side by side, a batch at a time: all of a batch is done before the
// next one is asked for. The first error stops it.
func (s *scan) crew(ctx context.Context, next func(*cursor) ([]job, error), do func(context.Context, job) error) error {
	after := &cursor{class: -1}
	for {
		jobs, err := next(after)
		if err != nil || len(jobs) == 0 {
			return err
		}
		if err := together(ctx, jobs, do); err != nil {
			return err
		}
		s.o.Progress.Add(int64(len(jobs)), 0)
		if err := s.notes.commit(); err != nil {
			return err
		}
	}
}

func together[T any](ctx context.Context, jobs []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan T)
	var crew sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		crew.Go(func() {
			for j := range queue {
				if err := do(ctx, j); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, j := range jobs {
		select {
		case queue <- j:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	crew.Wait()
	return context.Cause(ctx)
}

// readFull fills p as far as there is something.
func readFull(r io.Reader, p []byte) (int, error) {
	n, err := io.ReadFull(r, p)
	if isEOF(err) {
		err = nil
	}
	return n, err
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// each yields what is in a batch, until it is told to stop.
func each[T any](ctx context.Context, batch []T, yield func(*T) error) error {
	for i := range batch {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := yield(&batch[i]); err != nil {
			return err
		}
	}
	return nil
}
