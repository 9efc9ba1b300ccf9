package chunk

import (
	"bytes"
	"math/bits"
	"sync"

	"github.com/restic/chunker"
)

// splitter cuts by content.
type splitter struct {
	params Params
	pieces [][]byte
}

// A knife is a chunker, and what it works on. It takes more than a megabyte, so that
// there are only as many as parts are cut at the same time, whoever has a splitter.
type knife struct {
	chunker *chunker.Chunker
	reader  bytes.Reader
	copy    []byte // the chunker insists on copying
}

var knives = sync.Pool{New: func() any { return new(knife) }}

func (s *splitter) split(part []byte) [][]byte {
	s.pieces = s.pieces[:0]
	if len(part) <= max(s.params.Whole, s.params.Min) {
		return append(s.pieces, part)
	}
	k := knives.Get().(*knife)
	defer knives.Put(k)
	k.begin(part, s.params)
	defer k.reader.Reset(nil)
	for rest := part; len(rest) > 0; {
		c, err := k.chunker.Next(k.copy[:0])
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
func (s *splitter) forget() { clear(s.pieces[:cap(s.pieces)]) }

func (k *knife) begin(part []byte, p Params) {
	k.reader.Reset(part)
	pol, lo, hi := chunker.Pol(p.Polynomial), uint(p.Min), uint(p.Max)
	if k.chunker == nil {
		k.chunker = chunker.NewWithBoundaries(&k.reader, pol, lo, hi)
	} else {
		k.chunker.ResetWithBoundaries(&k.reader, pol, lo, hi)
	}
	if cap(k.copy) < p.Max {
		k.copy = make([]byte, 0, p.Max)
	}
	// Every reset sets the mask back to 20 bits.
	k.chunker.SetAverageBits(bits.TrailingZeros(uint(p.Average)))
}
