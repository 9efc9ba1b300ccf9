package raid

import (
	"context"
	"crypto/subtle"
	"slices"

	"salvor/salvage/volume"
)

// maxContradictions is how many contradictions are told one by one.
const maxContradictions = 100

// sector is the finest step of what is compared, bytes.
const sector = 512

// Checked is what comparing brought.
type Checked struct {
	Bytes  int64 `json:"bytes"`  // of every member, compared with the others
	Empty  int64 `json:"empty"`  // of these: parity or copy is zeros, which agrees with anything that is empty
	Unable int64 `json:"unable"` // of every member: too little is readable to compare
	// Contradicted is the bytes of every member that do not fit to the others';
	// Contradictions tells the first of them.
	Contradicted   int64           `json:"contradicted"`
	Contradictions []Contradiction `json:"contradictions,omitempty"`
}

func (c Checked) clone() Checked {
	c.Contradictions = slices.Clone(c.Contradictions)
	return c
}

func (c *Checked) add(d Checked) {
	c.Bytes += d.Bytes
	c.Empty += d.Empty
	c.Unable += d.Unable
	c.Contradicted += d.Contradicted
	c.Contradictions = append(c.Contradictions, d.Contradictions...)
	c.Contradictions = c.Contradictions[:min(len(c.Contradictions), maxContradictions)]
}

// A Contradiction is a stretch where members do not fit to each other. Nothing is
// corrected: what to believe is for the reader of the bytes to decide.
type Contradiction struct {
	// Range is of the members' data for parity, of the volume for copies.
	Range volume.Range `json:"range"`
	Row   int64        `json:"row,omitempty"` // of stripes, for parity
	// Slot is who must be wrong if only one is, which RAID 6 can tell, and copies
	// of which more agree than not; -1 if that cannot be told.
	Slot int `json:"slot"`
}

// CheckOptions choose what Check compares; the zero value is everything.
type CheckOptions struct {
	// Samples is how many stretches of Stretch bytes, evenly spread, are compared;
	// 0 is all.
	Samples int
}

// stretch is how much of every member is compared at once.
const stretch = 256 << 10

// Check compares what is there more than once: parity with data, copies with
// copies. Stale members do not take part. It returns early with ctx's error, and
// with what it has found until then.
func (a *Array) Check(ctx context.Context, o CheckOptions) (Checked, error) {
	var c Checked
	span := a.place.size()
	switch {
	case a.stripes != nil:
		span = a.stripes.rows * a.stripes.chunk
	case a.place.copies() < 2:
		return c, nil
	}
	all := (span + stretch - 1) / stretch
	step := int64(1)
	if o.Samples > 0 {
		step = max(1, all/int64(o.Samples))
	}
	var err error
	for i := int64(0); i < all; i += step {
		if err = ctx.Err(); err != nil {
			break
		}
		r := clip(volume.Range{Off: i * stretch, Len: stretch}, 0, span)
		if a.stripes == nil {
			a.checkCopies(r, &c)
			continue
		}
		n := max(sector, min(r.Len, maxBand/int64(a.stripes.n)&^4095))
		for at := r.Off; at < r.End(); at += n {
			a.checkRows(at, min(n, r.End()-at), &c)
		}
	}
	a.mu.Lock()
	a.report.Checked.add(c)
	a.mu.Unlock()
	return c, err
}

// found notes a contradiction, which may continue the last one.
func (c *Checked) found(r volume.Range, row int64, slot int) {
	c.Contradicted += r.Len
	if n := len(c.Contradictions); n > 0 {
		last := &c.Contradictions[n-1]
		if last.Range.End() == r.Off && last.Row == row && last.Slot == slot {
			last.Range.Len += r.Len
			return
		}
	}
	if len(c.Contradictions) < maxContradictions {
		c.Contradictions = append(c.Contradictions, Contradiction{r, row, slot})
	}
}

// checkRows compares parity with data in the same stretch of all slots.
func (a *Array) checkRows(at, n int64, c *Checked) {
	b := a.readBand(at, n, 0)
	defer b.free()
	p, q := make([]byte, n), make([]byte, n)
	for from := at; from < at+n; {
		row := from / b.s.chunk
		to := min(at+n, (row+1)*b.s.chunk)
		b.checkRow(volume.Range{Off: from, Len: to - from}, p, q, c)
		from = to
	}
}

// checkRow compares a part of one row; p and q are scratch. A RAID 6 that lacks one
// member can still be compared: what P derives must fit to Q.
func (b *band) checkRow(r volume.Range, p, q []byte, c *Checked) {
	row := r.Off / b.s.chunk
	rl := b.s.roles(row)
	for _, w := range b.cut(r) {
		lost, n := -1, 0
		for slot := range b.holes {
			if b.known(slot, w) == nil {
				lost = slot
				n++
			}
		}
		p, q := p[:w.Len], q[:w.Len]
		if n > 1 || n == 1 && rl.q < 0 || b.syndromes(rl, w, lost, p, q) != nil {
			c.Unable += w.Len
			continue
		}
		c.Bytes += w.Len
		if isZero(p) && isZero(q) {
			if lost != rl.p && isZero(b.known(rl.p, w)) {
				c.Empty += w.Len
			}
			continue
		}
		for at := int64(0); at < w.Len; {
			n := min(w.Len-at, sector-(w.Off+at)%sector)
			if ps, qs := p[at:at+n], q[at:at+n]; !isZero(ps) || !isZero(qs) {
				who := -1
				if lost < 0 {
					who = rl.suspect(ps, qs)
				}
				c.found(volume.Range{Off: w.Off + at, Len: n}, row, who)
			}
			at += n
		}
	}
}

// syndromes fills p and q with the difference between the parity that is there and
// the parity that the data asks for; with zeros where there is none. One slot of a
// RAID 6 may be lost (else -1): it is derived by P first.
func (b *band) syndromes(rl *roles, w volume.Range, lost int, p, q []byte) error {
	clear(p)
	clear(q)
	if rl.q < 0 {
		for slot := range b.holes {
			subtle.XORBytes(p, p, b.known(slot, w))
		}
		return nil
	}
	for i, d := range rl.data {
		b.shards[i] = b.known(d, w)
		if d == lost {
			b.shards[i] = make([]byte, w.Len)
			for slot := range b.holes {
				if slot != lost && slot != rl.q {
					subtle.XORBytes(b.shards[i], b.shards[i], b.known(slot, w))
				}
			}
		}
	}
	sums := [2][]byte{make([]byte, w.Len), make([]byte, w.Len)}
	b.shards[b.s.nd], b.shards[b.s.nd+1] = sums[0], sums[1]
	code, err := rl.code.get()
	if err == nil {
		err = code.Encode(b.shards)
	}
	if err != nil {
		return err
	}
	if lost != rl.p {
		subtle.XORBytes(p, sums[0], b.known(rl.p, w))
	}
	if lost != rl.q {
		subtle.XORBytes(q, sums[1], b.known(rl.q, w))
	}
	return nil
}

// suspect is the only slot that can explain both differences by being wrong alone,
// -1 if there is none: data that is wrong by e shows as e in P and as e times its
// factor in Q.
func (rl *roles) suspect(p, q []byte) int {
	switch {
	case rl.q < 0:
		return -1
	case isZero(p):
		return rl.q
	case isZero(q):
		return rl.p
	}
	exp := -1
	for i, e := range p {
		if e == 0 && q[i] == 0 {
			continue
		}
		if e == 0 || q[i] == 0 {
			return -1
		}
		x := ratio(e, q[i])
		if exp >= 0 && x != exp {
			return -1
		}
		exp = x
	}
	if i := slices.Index(rl.exp, exp); i >= 0 {
		return rl.data[i]
	}
	return -1
}

var zeros [64 << 10]byte

func isZero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), len(zeros))
		if string(p[:n]) != string(zeros[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}
