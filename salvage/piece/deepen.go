package piece

import (
	"math"
	"slices"
)

// Measured on an aged ext4 (95 % full), with some 36 strands that fit for each
// joint: the true one is the first of them, in the order of unlikely, in 60 of 100
// cases, the second in 10, the third or fourth in 8, and so on. The costs are the
// binary logarithms of how unlikely that makes a rank.
var rankCosts = [...]float64{0.7, 3.3, 4.6, 5.3, 6.5, 9, 13}

// rankCost is what it costs to take the strand of this rank, in bits.
func rankCost(rank int) float64 {
	n := 0
	for ; rank > 0; rank >>= 1 {
		n++
	}
	if n < len(rankCosts) {
		return rankCosts[n]
	}
	return math.Inf(1)
}

const (
	firstBound = 6
	boundStep  = 2
	lastBound  = 60
	mostAfter  = 64      // strands that are tried for one joint
	mostKeyed  = 2048    // strands that begin within base64 and are judged for one joint, on each side
	mostOdd    = 256     // those that do not
	mostKnown  = 1 << 15 // lists that are remembered
)

// deepen follows the likely ways first: all ways that cost so many bits, then all
// that cost a bit more, and so on until the work is spent. Only whole strands are
// used.
func (s *search) deepen(cut int) error {
	d := deepening{search: s, cut: cut}
	last, rest := &s.front.looks[cut-1], s.want.Size-s.front.wires[cut-1]
	list := s.after(last, s.front.offs[cut-1]+s.blockSize, int32(cut))
	for d.bound = firstBound; d.bound <= lastBound; d.bound += boundStep {
		s.path, s.hashed = s.path[:0], 0
		d.dear = false
		if err := d.grow(list, last, rest, 0); err != nil || s.match != nil || !d.dear {
			return err
		}
	}
	return nil
}

// deepening is one such search.
type deepening struct {
	*search
	cut   int
	bound float64
	dear  bool // something was too dear
}

// grow tries the strands of a list behind a block. rest is what the message lacks,
// in bytes of the wire form; spent is what the path has cost.
func (d *deepening) grow(list []int32, last *look, rest int64, spent float64) error {
	rank := -1
	for _, i := range list {
		next := &d.list[i]
		if next.used {
			continue
		}
		rank++
		cost := spent + rankCost(rank)
		if cost > d.bound {
			d.dear = true
			return nil
		}
		if err := d.step(); err != nil {
			return err
		}
		left := rest - next.wire(d.blockSize) - joined(last, &next.first)
		if left <= 0 || len(d.path) > d.limits.Pieces-3 || slices.Contains(d.path, i) {
			continue
		}
		d.path = append(d.path, i)
		var err error
		// The way was tried with the last bound if it did not cost more than that.
		if cost > d.bound-boundStep || d.bound == firstBound {
			err = d.closeWhole(d.cut, &next.last, left)
		}
		if err == nil && d.match == nil {
			err = d.grow(d.afterStrand(i), &next.last, left, cost)
		}
		d.path = d.path[:len(d.path)-1]
		d.hashed = min(d.hashed, len(d.path))
		if err != nil || d.match != nil {
			return err
		}
	}
	return nil
}

// afterStrand gives the strands that can continue one.
func (p *Puzzle) afterStrand(i int32) []int32 {
	list, ok := p.known[i]
	if !ok {
		s := &p.list[i]
		list = p.after(&s.last, s.end(p.blockSize), s.blocks)
		if len(p.known) >= mostKnown {
			clear(p.known)
		}
		p.known[i] = list
	}
	return list
}

// after gives the strands that can continue a piece of so many blocks, the most
// likely first. Those that hold the end of a file are not among them.
func (p *Puzzle) after(last *look, end int64, blocks int32) []int32 {
	type ranked struct {
		i        int32
		unlikely float64
	}
	var all []ranked
	put := func(list []int32) {
		for _, i := range list {
			s := &p.list[i]
			if !s.used && !s.last.ended(p.blockSize) && fit(last, &s.first, p.blockSize) > misfit {
				all = append(all, ranked{i, unlikely(s.off-end, p.blockSize, blocks, s.blocks)})
			}
		}
	}
	for _, key := range keysAfter(last) {
		put(p.nearest(p.starting(key), end, mostKeyed))
	}
	put(p.nearest(p.starts[:p.odd], end, mostOdd))
	slices.SortFunc(all, func(a, b ranked) int {
		switch {
		case a.unlikely < b.unlikely:
			return -1
		case a.unlikely > b.unlikely:
			return 1
		}
		return int(a.i - b.i)
	})
	all = all[:min(len(all), mostAfter)]
	list := make([]int32, len(all))
	for n, r := range all {
		list[n] = r.i
	}
	return list
}

// unlikely orders pieces of so many blocks as continuations: near ones before far
// ones, forward before backward, those of like length first, since allocators take
// what free runs there are by their size. The weights are measured.
func unlikely(gap, blockSize int64, blocks, next int32) float64 {
	d := float64(gap) / float64(blockSize)
	if d < 0 {
		d *= -2
	}
	return math.Log2(d+1) + 2*math.Min(2, math.Abs(math.Log2(float64(blocks)/float64(next))))
}
