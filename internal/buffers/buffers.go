// Package buffers keeps long byte slices for the next who needs one. Making
// them anew costs more than it seems: the runtime clears them, and the kernel
// has to find the pages again that the garbage collector gave back to it.
package buffers

import (
	"math/bits"
	"sync"
)

// Buffers of 64 KiB to 16 MiB are kept, by powers of two; shorter ones are not
// worth keeping, longer ones too rare. All that wait together have at most
// maxKept bytes.
const (
	minBits = 16
	maxBits = 24
	maxKept = 32 << 20
)

// shelf is where buffers wait. A sync.Pool would give them to the garbage
// collector, which under a limit of memory comes several times a second.
var shelf struct {
	sync.Mutex
	free [maxBits + 1][][]byte
	kept int // bytes
}

// Get gives an empty buffer with room for n bytes; below zero counts as zero.
func Get(n int) []byte {
	n = max(n, 0)
	if n < 1<<(minBits-2) {
		return make([]byte, 0, n)
	}
	class := max(bits.Len(uint(n-1)), minBits)
	if class > maxBits {
		return make([]byte, 0, n)
	}
	if b := take(class); b != nil {
		return b
	}
	return make([]byte, 0, 1<<class)
}

// Put keeps b for Get, or leaves it to the garbage collector. Nobody may use it
// any more.
func Put(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class >= minBits && class <= maxBits && cap(b) == 1<<class {
		leave(class, b[:0])
	}
}

func take(class int) []byte {
	shelf.Lock()
	defer shelf.Unlock()
	free := shelf.free[class]
	if len(free) == 0 {
		return nil
	}
	b := free[len(free)-1]
	free[len(free)-1] = nil
	shelf.free[class] = free[:len(free)-1]
	shelf.kept -= cap(b)
	return b
}

func leave(class int, b []byte) {
	shelf.Lock()
	defer shelf.Unlock()
	if shelf.kept+cap(b) <= maxKept {
		shelf.free[class] = append(shelf.free[class], b)
		shelf.kept += cap(b)
	}
}
