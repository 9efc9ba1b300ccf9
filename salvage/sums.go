package salvage

import (
	"crypto/sha256"
	"hash"

	"salvor/chunk"
)

// sums takes a message's bytes as they stand, and gives what identifies them and
// their wire form.
type sums struct {
	raw  hash.Hash
	wire *chunk.WireHasher
	size int64
}

func newSums() *sums { return &sums{raw: sha256.New(), wire: chunk.NewWireHasher()} }

func (s *sums) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	s.raw.Write(p)
	return s.wire.Write(p)
}

func (s *sums) stored() (id chunk.ID) {
	s.raw.Sum(id[:0])
	return id
}
