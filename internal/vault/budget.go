package vault

import (
	"context"
	"math/bits"
	"sync"
)

// A budget bounds the bytes on their way between one goroutine that takes and
// others that give back.
type budget struct {
	mu    sync.Mutex
	max   int64
	used  int64
	freed chan struct{}
}

func newBudget(max int64) *budget {
	return &budget{max: max, freed: make(chan struct{}, 1)}
}

// take waits until n bytes fit; more than max fit when nothing else is taken.
func (b *budget) take(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= b.max {
			b.used += n
			b.mu.Unlock()
			return nil
		}
		b.mu.Unlock()
		select {
		case <-b.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.used -= n
	b.mu.Unlock()
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// buffers keeps the memory of frames for the next ones.
var buffers bufferPool

// Buffers of 64 KiB to 2 MiB are kept, by powers of two; others are not worth
// keeping, or too long to.
const (
	minBufferBits = 16
	maxBufferBits = 21
)

type bufferPool [maxBufferBits + 1]sync.Pool

// get gives an empty buffer with room for n bytes.
func (p *bufferPool) get(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minBufferBits)
	if class > maxBufferBits {
		return make([]byte, 0, n)
	}
	if b, ok := p[class].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// put keeps b for get. Nobody may use it any more.
func (p *bufferPool) put(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class >= minBufferBits && class <= maxBufferBits {
		p[class].Put(&b)
	}
}
