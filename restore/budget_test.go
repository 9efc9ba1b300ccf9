package restore

import (
	"context"
	"errors"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Many users take and give; at no moment is more out than there is, and in the
// end all of it is back.
func TestBudgetBound(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	const size = 100
	b := newBudget(size)
	var out atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		rnd := rand.New(rand.NewSource(seed + int64(i)))
		wg.Go(func() {
			for range 200 {
				n := rnd.Int63n(2 * size)
				ctx, stop := context.WithTimeout(t.Context(), time.Duration(1+rnd.Intn(2000))*time.Microsecond)
				got := b.try(n) || b.wait(ctx, n) == nil
				stop()
				if !got {
					continue
				}
				if now := out.Add(min(n, size)); now > size {
					t.Errorf("%d of %d taken", now, size)
				}
				time.Sleep(time.Duration(rnd.Intn(50)) * time.Microsecond)
				out.Add(-min(n, size))
				b.give(n)
			}
		})
	}
	wg.Wait()
	if b.free != size || len(b.queue) != 0 {
		t.Fatalf("%d of %d came back, %d wait", b.free, size, len(b.queue))
	}
}

// Nobody passes one who waits for much.
func TestBudgetOrder(t *testing.T) {
	b := newBudget(10)
	if !b.try(5) {
		t.Fatal("half of it must be free")
	}
	large := make(chan error)
	go func() { large <- b.wait(t.Context(), 30) }()
	for {
		b.mu.Lock()
		n := len(b.queue)
		b.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if b.try(1) {
		t.Fatal("a small one passed the large one that waits")
	}
	b.give(5)
	if err := <-large; err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := b.wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
	b.give(30)
	if !b.try(10) {
		t.Fatal("not all of it came back")
	}
}
