package chunk

import (
	"bytes"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/restic/chunker"
)

// Params says how messages and parts are cut. It is fixed for the life of a
// vault: the same bytes cut by other Params give other chunks, and nothing is
// shared between them.
type Params struct {
	// Polynomial is the irreducible polynomial of degree 53 of the rolling
	// hash. A secret one keeps chunk lengths from telling which known file is
	// in a vault.
	Polynomial uint64
	// Min and Max are the bounds of a chunk's length in bytes; Average, a power
	// of two, is how many bytes after Min a cut is to be expected.
	Min, Average, Max int
	// Whole is the length in bytes up to which a part is one chunk.
	Whole int
	// Inline is the length in bytes below which a leaf body stays in the
	// message's own chunk.
	Inline int
}

const defaultPolynomial = 0x3DA3358B4DC173

// Bounds of what Validate accepts.
const (
	minChunk  = 1 << 10
	maxChunk  = 16 << 20
	minInline = 64
	maxInline = 4 << 10
)

// DefaultParams has the bounds that suit mail best, and a polynomial that
// everybody knows.
func DefaultParams() Params {
	return Params{
		Polynomial: defaultPolynomial,
		Min:        128 << 10,
		Average:    256 << 10,
		Max:        1 << 20,
		Whole:      256 << 10,
		Inline:     768,
	}
}

// NewParams is DefaultParams with a polynomial of its own, from crypto/rand.
func NewParams() (Params, error) {
	p := DefaultParams()
	pol, err := chunker.RandomPolynomial()
	if err != nil {
		return p, fmt.Errorf("draw a random polynomial: %w", err)
	}
	p.Polynomial = uint64(pol)
	return p, nil
}

// Validate says what is wrong with p.
func (p Params) Validate() error {
	pol := chunker.Pol(p.Polynomial)
	switch {
	case pol.Deg() != 53 || !pol.Irreducible():
		return fmt.Errorf("cutting polynomial %x: want an irreducible one of degree 53", p.Polynomial)
	case p.Min < minChunk || p.Max > maxChunk || p.Min > p.Max:
		return fmt.Errorf("chunk bounds %d to %d: want them between %d and %d", p.Min, p.Max, minChunk, maxChunk)
	case p.Average < minChunk || p.Average > p.Max || bits.OnesCount(uint(p.Average)) != 1:
		return fmt.Errorf("average chunk length %d: want a power of two between %d and %d", p.Average, minChunk, p.Max)
	case p.Whole < 0 || p.Whole > maxChunk:
		return fmt.Errorf("length of whole parts %d: want at most %d", p.Whole, maxChunk)
	case p.Inline < minInline || p.Inline > maxInline:
		return fmt.Errorf("length of inline parts %d: want it between %d and %d", p.Inline, minInline, maxInline)
	}
	return nil
}

// String gives the text form: "polynomial=3da3358b4dc173 min=... average=...
// max=... whole=... inline=...", the polynomial hexadecimal, the rest in bytes.
func (p Params) String() string {
	return fmt.Sprintf("polynomial=%x min=%d average=%d max=%d whole=%d inline=%d",
		p.Polynomial, p.Min, p.Average, p.Max, p.Whole, p.Inline)
}

// MarshalText gives the same as String, for valid Params.
func (p Params) MarshalText() ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return []byte(p.String()), nil
}

// UnmarshalText reads what MarshalText wrote: every field once, in any order.
func (p *Params) UnmarshalText(b []byte) error {
	var q Params
	ints := map[string]*int{"min": &q.Min, "average": &q.Average, "max": &q.Max, "whole": &q.Whole, "inline": &q.Inline}
	seen := map[string]bool{}
	for _, field := range bytes.Fields(b) {
		name, value, _ := bytes.Cut(field, []byte("="))
		if seen[string(name)] {
			return fmt.Errorf("cutting parameter %.40q: given twice", name)
		}
		seen[string(name)] = true
		var err error
		if dst := ints[string(name)]; dst != nil {
			*dst, err = strconv.Atoi(string(value))
		} else if string(name) == "polynomial" {
			q.Polynomial, err = strconv.ParseUint(string(value), 16, 64)
		} else {
			return fmt.Errorf("cutting parameter %.40q: unknown", name)
		}
		if err != nil {
			return fmt.Errorf("cutting parameter %.40q: %w", field, err)
		}
	}
	if len(seen) != len(ints)+1 {
		return fmt.Errorf("cutting parameters %.200q: want polynomial, min, average, max, whole and inline", b)
	}
	if err := q.Validate(); err != nil {
		return err
	}
	*p = q
	return nil
}
