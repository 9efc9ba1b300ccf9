package chunk

import (
	"bytes"
	"math/bits"

	"github.com/restic/chunker"
)

// splitter cuts by content. It keeps one chunker, because each holds half a
// megabyte.
type splitter struct {
	params  Params
	chunker *chunker.Chunker
	reader  bytes.Reader
	copy    []byte // the chunker insists on copying
	pieces  [][]byte
}

func (s *splitter) split(part []byte) [][]byte {
	s.pieces = s.pieces[:0]
	if len(part) <= max(s.params.Whole, s.params.Min) {
		return append(s.pieces, part)
	}
	s.reset(part)
	for rest := part; len(rest) > 0; {
		c, err := s.chunker.Next(s.copy[:0])
		if err != nil || c.Length == 0 || int(c.Length) > len(rest) {
			// A bytes.Reader gives no errors; whatever happened, cutting at
			// other places is right too.
			n := min(s.params.Max, len(rest))
			s.pieces, rest = append(s.pieces, rest[:n:n]), rest[n:]
			continue
		}
		s.pieces = append(s.pieces, rest[:c.Length:c.Length])
		rest = rest[c.Length:]
	}
	return s.pieces
}

// forget lets go of the last part.
func (s *splitter) forget() {
	s.reader.Reset(nil)
	clear(s.pieces[:cap(s.pieces)])
}

func (s *splitter) reset(part []byte) {
	s.reader.Reset(part)
	pol, lo, hi := chunker.Pol(s.params.Polynomial), uint(s.params.Min), uint(s.params.Max)
	if s.chunker == nil {
		s.chunker = chunker.NewWithBoundaries(&s.reader, pol, lo, hi)
		s.copy = make([]byte, 0, s.params.Max)
	} else {
		s.chunker.ResetWithBoundaries(&s.reader, pol, lo, hi)
	}
	// Every reset sets the mask back to 20 bits.
	s.chunker.SetAverageBits(bits.TrailingZeros(uint(s.params.Average)))
}
