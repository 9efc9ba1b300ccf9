package salvage

import (
	"sync"

	"salvor/chunk"
)

// sums takes a message's bytes as they stand, and gives what identifies their wire
// form. The bytes themselves are hashed by who keeps them.
type sums struct {
	wire *chunk.WireHasher
	size int64
}

var hashers = sync.Pool{New: func() any { return &sums{wire: chunk.NewWireHasher()} }}

func newSums() *sums {
	s := hashers.Get().(*sums)
	s.wire.Reset()
	s.size = 0
	return s
}

func (s *sums) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	return s.wire.Write(p)
}
