package raid

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// The kernel's numbers of the layouts of RAID 5 and 6 (raid5.h).
const (
	leftAsymmetric  = 0
	rightAsymmetric = 1
	leftSymmetric   = 2
	rightSymmetric  = 3
	parityFirst     = 4
	parityLast      = 5
	ddfZeroRestart  = 8
	ddfNRestart     = 9
	ddfNContinue    = 10
	lastIsQ         = 16 // a layout of RAID 5 on all slots but the last, which holds Q
)

// maxRAID6 is how many members a RAID 6 can have: no two of its data chunks may
// have the same factor in Q, and the library has bytes for shards.
const maxRAID6 = 255

// roles says what the chunks of one row are.
type roles struct {
	p, q int   // slots of P and Q, -1 for none
	data []int // slots of the data chunks, in the order of the volume
	exp  []int // the exponents of the data chunks' factors in Q, powers of 2
	code *code
}

// A stripes is an array of level 4, 5 or 6: rows of one chunk from every slot, at
// the same offset in each.
type stripes struct {
	n, nd  int   // slots, and how many of a row's chunks are data
	chunk  int64 // bytes
	rows   int64
	period []roles // row r looks like period[r % len(period)]
}

func newStripes(level Level, layout, n int, chunk, rows int64) (*stripes, error) {
	s := &stripes{n: n, nd: n - 1, chunk: chunk, rows: rows}
	period := n
	switch {
	case level == RAID6:
		s.nd = n - 2
		if n > maxRAID6 {
			return nil, fmt.Errorf("a raid6 of %d members: at most %d work", n, maxRAID6)
		}
		if layout >= lastIsQ {
			period = n - 1
		}
	case level == RAID4:
		layout = parityLast
	}
	if s.nd < 1 {
		return nil, fmt.Errorf("a %s of %d members has no room for data", level, n)
	}
	codes := map[string]*code{}
	for row := range period {
		var r roles
		if level == RAID6 {
			r = place6(layout, n, row)
			key := fmt.Sprint(r.exp)
			if codes[key] == nil {
				codes[key] = &code{exp: r.exp}
			}
			r.code = codes[key]
		} else {
			r = place5(layout, n, row)
		}
		s.period = append(s.period, r)
	}
	return s, nil
}

// place5 is raid5_compute_sector for one parity chunk.
func place5(layout, n, row int) roles {
	r := roles{q: -1}
	first, after := 0, false // the first data chunk is in slot 0, or behind P
	switch layout {
	case leftAsymmetric:
		r.p = n - 1 - row%n
	case rightAsymmetric:
		r.p = row % n
	case leftSymmetric:
		r.p, after = n-1-row%n, true
	case rightSymmetric:
		r.p, after = row%n, true
	case parityFirst:
		r.p = 0
	default:
		r.p = n - 1
	}
	if after {
		first = r.p + 1
	}
	r.fill(n, first)
	return r
}

// place6 is raid5_compute_sector for P and Q.
func place6(layout, n, row int) roles {
	if layout >= lastIsQ {
		r := place5(layout-lastIsQ, n-1, row)
		r.q = n - 1
		r.count(n, 0, false)
		return r
	}
	var r roles
	first := 0
	switch layout {
	case leftAsymmetric:
		r.p = n - 1 - row%n
		r.q = (r.p + 1) % n
	case rightAsymmetric, ddfZeroRestart:
		r.p = row % n
		r.q = (r.p + 1) % n
	case ddfNRestart:
		r.p = n - 1 - (row+1)%n
		r.q = (r.p + 1) % n
	case leftSymmetric:
		r.p = n - 1 - row%n
		r.q = (r.p + 1) % n
		first = r.q + 1
	case rightSymmetric:
		r.p = row % n
		r.q = (r.p + 1) % n
		first = r.q + 1
	case ddfNContinue:
		r.p = n - 1 - row%n
		r.q = (r.p + n - 1) % n
		first = r.p + 1
	case parityFirst:
		r.p, r.q = 0, 1
	default:
		r.p, r.q = n-2, n-1
	}
	r.fill(n, first)
	ddf := layout >= ddfZeroRestart
	if ddf {
		r.count(n, 0, true)
	} else {
		r.count(n, (r.q+1)%n, false)
	}
	return r
}

// fill lists the data slots, going round from first.
func (r *roles) fill(n, first int) {
	for i := range n {
		if slot := (first + i) % n; slot != r.p && slot != r.q {
			r.data = append(r.data, slot)
		}
	}
}

// count gives every data chunk its exponent: md counts from the disk behind Q
// (raid6_d0), over the data chunks only; DDF counts from disk 0 and over all.
func (r *roles) count(n, first int, all bool) {
	exps, next := make([]int, n), 0
	for i := range n {
		slot := (first + i) % n
		parity := slot == r.p || slot == r.q
		exps[slot] = next
		if all || !parity {
			next++
		}
	}
	for _, slot := range r.data {
		r.exp = append(r.exp, exps[slot])
	}
}

// A code is the arithmetic of rows whose factors are the same: a row of ones for
// P, a row of powers of 2 for Q. It is made when it is first needed, for most
// arrays never need most of theirs.
type code struct {
	exp  []int
	once sync.Once
	enc  reedsolomon.Encoder
	err  error
}

func (c *code) get() (reedsolomon.Encoder, error) {
	c.once.Do(func() {
		ones, powers := make([]byte, len(c.exp)), make([]byte, len(c.exp))
		for i, e := range c.exp {
			ones[i], powers[i] = 1, power(e)
		}
		c.enc, c.err = reedsolomon.New(len(c.exp), 2, reedsolomon.WithCustomMatrix([][]byte{ones, powers}), reedsolomon.WithMaxGoroutines(1))
	})
	return c.enc, c.err
}

func (s *stripes) roles(row int64) *roles { return &s.period[row%int64(len(s.period))] }

func (s *stripes) size() int64 { return s.rows * s.chunk * int64(s.nd) }

func (s *stripes) copies() int { return 1 }

func (s *stripes) chunkSize() int64 { return s.chunk }

func (s *stripes) locate(off int64, _ int) piece {
	chunk, col := off/s.chunk, off%s.chunk
	row := chunk / int64(s.nd)
	slot := s.roles(row).data[chunk%int64(s.nd)]
	return piece{slot: slot, off: row*s.chunk + col, n: s.chunk - col}
}
