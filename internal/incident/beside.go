package incident

import (
	"context"
	"sync"
)

// Beside calls fn for each user with the user's place in the list, n of them at a
// time. The first error ends the context of the others, and is returned when all
// have come back.
func Beside(ctx context.Context, n int, users []string, fn func(ctx context.Context, at int, user string) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	next := make(chan int)
	for range min(max(n, 1), len(users)) {
		all.Go(func() {
			for at := range next {
				if err := fn(ctx, at, users[at]); err != nil {
					stop(err)
				}
			}
		})
	}
hand:
	for at := range users {
		select {
		case next <- at:
		case <-ctx.Done():
			break hand
		}
	}
	close(next)
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
