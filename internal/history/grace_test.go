package history

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestGrace(t *testing.T) {
	const d = 150 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ctx, stop := withGrace(ctx, d)
	defer stop()
	// However deep inside, it is the same grace: each does not get its own.
	inner := context.WithoutCancel(ctx)
	late := Grace(inner)
	if Grace(ctx) != late || late.Err() != nil {
		t.Fatal("not one grace for all")
	}
	cancel()
	time.Sleep(d / 5)
	if late.Err() != nil {
		t.Error("the grace ended with the context")
	}
	select {
	case <-late.Done():
	case <-time.After(20 * d):
		t.Fatal("the grace has no end")
	}
	if err := context.Cause(late); !errors.Is(err, errGraceOver) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestGraceEndsWithTheWork(t *testing.T) {
	ctx, stop := withGrace(t.Context(), time.Hour)
	late := Grace(ctx)
	stop()
	if late.Err() == nil {
		t.Error("still there")
	}
	if Grace(t.Context()).Done() != nil {
		t.Error("outside of Exclusive there is no bound")
	}
}
