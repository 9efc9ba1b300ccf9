package piece

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"

	"salvor/chunk"
)

// A Want is a message that somebody is owed, as an index promises it.
type Want struct {
	ID   int64      // the caller's
	Size int64      // of the wire form, in bytes
	SHA1 chunk.SHA1 // of the wire form
	// Stored is the size of the file; 0: nobody knows it. Piece finds messages
	// stored with LF more quickly where it is known.
	Stored int64
}

// Wanted is what is still missing. Its methods may be called from several
// goroutines at once.
type Wanted interface {
	// Each yields every message that is wanted, in any order.
	Each(ctx context.Context, yield func(Want) error) error
	// OfSize yields those whose wire form has this size.
	OfSize(ctx context.Context, size int64, yield func(Want) error) error
}

const (
	// exactSizes is below what sizes the filter knows each size; above, sizes share
	// bits.
	exactSizes = 64 << 20
	sumBits    = 27
)

// Owed is what is wanted, behind a filter that answers most questions without
// asking: 24 MiB, however much is wanted. Its methods may be called from several
// goroutines at once.
type Owed struct {
	wanted  Wanted
	sizes   []uint64 // a bit for each wire size
	sums    []uint64 // a bit for the first bits of each SHA-1
	largest int64
}

// Open reads once what is wanted. What is wanted later is not found; what is no
// longer wanted costs a little time.
func Open(ctx context.Context, w Wanted) (*Owed, error) {
	o := &Owed{wanted: w, sizes: make([]uint64, exactSizes/64), sums: make([]uint64, 1<<sumBits/64)}
	err := w.Each(ctx, func(want Want) error {
		if want.Size <= 0 || want.SHA1.IsZero() {
			return nil // nothing could prove it
		}
		o.put(want)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is owed: %w", err)
	}
	return o, nil
}

func (o *Owed) put(w Want) {
	o.largest = max(o.largest, w.Size)
	s, h := w.Size%exactSizes, prefix(w.SHA1)
	o.sizes[s/64] |= 1 << (s % 64)
	o.sums[h/64] |= 1 << (h % 64)
}

func prefix(sum chunk.SHA1) uint32 { return binary.BigEndian.Uint32(sum[:]) >> (32 - sumBits) }

// next is the smallest size above size that may be wanted, or one above most.
func (o *Owed) next(size, most int64) int64 {
	for s := size + 1; s <= most; {
		i := s % exactSizes
		if w := o.sizes[i/64] >> (i % 64); w != 0 {
			return min(s+int64(bits.TrailingZeros64(w)), most+1)
		}
		s += 64 - i%64
	}
	return most + 1
}

// few tells whether at most so many sizes above size and up to most are wanted.
func (o *Owed) few(size, most int64, number int) bool {
	for s := o.next(size, most); s <= most; s = o.next(s, most) {
		if number--; number < 0 {
			return false
		}
	}
	return true
}

func (o *Owed) hasSize(size int64) bool { return o.next(size-1, size) == size }

// find gives the wanted messages of this size and hash.
func (o *Owed) find(ctx context.Context, size int64, sum chunk.SHA1) ([]Want, error) {
	if h := prefix(sum); o.sums[h/64]&(1<<(h%64)) == 0 {
		return nil, nil
	}
	var list []Want
	err := o.wanted.OfSize(ctx, size, func(w Want) error {
		if w.Size == size && w.SHA1 == sum {
			list = append(list, w)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up what is owed of %d bytes: %w", size, err)
	}
	return list, nil
}
