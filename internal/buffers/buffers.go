// Package buffers keeps long byte slices for the next who needs one. Making
// them anew costs more than it seems: the runtime clears them, and the kernel
// has to find the pages again that the garbage collector gave back to it.
package buffers

import (
	"math/bits"
	"sync"
)

// Buffers of 64 KiB to 4 MiB are kept, by powers of two; shorter ones are not
// worth keeping, longer ones too rare.
const (
	minBits = 16
	maxBits = 22
)

var pools [maxBits + 1]sync.Pool

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
	if b, ok := pools[class].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// Put keeps b for Get, or leaves it to the garbage collector. Nobody may use it
// any more.
func Put(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class >= minBits && class <= maxBits && cap(b) == 1<<class {
		pools[class].Put(&b)
	}
}
