package raid

import (
	"crypto/subtle"
	"slices"
	"sync"

	"salvor/internal/buffers"
	"salvor/salvage/volume"
)

// maxBand is how many bytes of all members together are held for solving.
const maxBand = 8 << 20

// A band is what all slots have in a stretch of rows; of a single row it may be
// a part.
type band struct {
	s      *stripes
	at, n  int64    // in every slot, bytes
	bytes  [][]byte // per slot
	holes  [][]volume.Range
	shards [][]byte // scratch of recover
	needed []bool
}

// solve derives the wanted ranges from the rows they are in, and gives what cannot
// be derived.
func (a *Array) solve(p []byte, off int64, want []volume.Range, tier int) (left []volume.Range) {
	s := a.stripes
	for len(want) > 0 {
		at, n, count := s.nextBand(want)
		b := a.readBand(at, n, tier)
		for i := range want[:count] {
			left = append(left, a.solveRange(b, p, off, want[i])...)
		}
		b.free()
		// What reaches beyond the band is asked for again.
		var rest []volume.Range
		for _, w := range want[:count] {
			rest = append(rest, s.outside(w, b)...)
		}
		want = append(rest, want[count:]...)
	}
	return tidy(left)
}

// nextBand plans the band for the first of the wanted ranges: where it lies in
// every slot, and how many of the ranges it touches. Those it covers in part come
// again with the rest.
func (s *stripes) nextBand(want []volume.Range) (at, n int64, count int) {
	width := s.chunk * int64(s.nd)
	rows := max(1, maxBand/(s.chunk*int64(s.n)))
	first := want[0].Off / width
	last := min((want[0].End()-1)/width, first+rows-1)
	for count = 1; count < len(want); count++ {
		w := want[count]
		if w.Off/width > min(last+1, first+rows-1) {
			break
		}
		last = max(last, min((w.End()-1)/width, first+rows-1))
	}
	if last > first {
		return first * s.chunk, (last - first + 1) * s.chunk, count
	}
	// A part of one row: only the columns that are wanted, and of those as many
	// as fit.
	from, to := s.chunk, int64(0)
	for _, w := range want[:count] {
		w = clip(w, first*width, (first+1)*width)
		if w.Len <= 0 {
			continue
		}
		a, b := w.Off%s.chunk, (w.End()-1)%s.chunk+1
		if w.Len >= s.chunk || a >= b {
			a, b = 0, s.chunk
		}
		from, to = min(from, a), max(to, b)
	}
	to = min(to, from+max(512, maxBand/int64(s.n)&^4095))
	return first*s.chunk + from, to - from, count
}

// outside gives what of a range of the volume the band does not hold.
func (s *stripes) outside(w volume.Range, b *band) (rest []volume.Range) {
	for at := w.Off; at < w.End(); {
		pc := s.locate(at, 0)
		pc.n = min(pc.n, w.End()-at)
		in := clip(volume.Range{Off: pc.off, Len: pc.n}, b.at, b.at+b.n)
		if in.Len <= 0 {
			rest = append(rest, volume.Range{Off: at, Len: pc.n})
		} else {
			if in.Off > pc.off {
				rest = append(rest, volume.Range{Off: at, Len: in.Off - pc.off})
			}
			if end := pc.off + pc.n; in.End() < end {
				rest = append(rest, volume.Range{Off: at + in.End() - pc.off, Len: end - in.End()})
			}
		}
		at += pc.n
	}
	return rest
}

// readBand reads the same stretch of all slots, side by side.
func (a *Array) readBand(at, n int64, tier int) *band {
	s := a.stripes
	b := &band{
		s: s, at: at, n: n,
		bytes: make([][]byte, s.n), holes: make([][]volume.Range, s.n),
		shards: make([][]byte, s.nd+2), needed: make([]bool, s.nd),
	}
	var g sync.WaitGroup
	for i, slot := range a.slots {
		b.bytes[i] = buffers.Get(int(n))[:n]
		work := func() { b.holes[i] = slot.read(b.bytes[i], at, tier) }
		if n*int64(s.n) < parallel {
			work()
			continue
		}
		g.Go(work)
	}
	g.Wait()
	return b
}

func (b *band) free() {
	for _, p := range b.bytes {
		buffers.Put(p)
	}
}

// solveRange derives what the band holds of a wanted range.
func (a *Array) solveRange(b *band, p []byte, off int64, w volume.Range) (left []volume.Range) {
	s := b.s
	for at := w.Off; at < w.End(); {
		pc := s.locate(at, 0)
		pc.n = min(pc.n, w.End()-at)
		in := clip(volume.Range{Off: pc.off, Len: pc.n}, b.at, b.at+b.n)
		if in.Len > 0 {
			to := at + in.Off - pc.off // of the volume
			dst := p[to-off : to-off+in.Len]
			holes, solved := b.recoverAll(pc.slot, in, dst)
			a.solved.Add(solved)
			left = append(left, shift(holes, to-in.Off)...)
		}
		at += pc.n
	}
	return left
}

// recoverAll fills dst with the stretch r of a slot: what is known as it is, the
// rest by parity, cut where the set of those who know changes. It gives what
// remains unknown, and how many bytes it derived.
func (b *band) recoverAll(slot int, r volume.Range, dst []byte) (left []volume.Range, solved int64) {
	own := within(b.holes[slot], r.Off, r.End())
	if total(own) < r.Len {
		copy(dst, b.bytes[slot][r.Off-b.at:r.End()-b.at])
	}
	if len(own) == 0 {
		return nil, 0
	}
	rl := b.s.roles(r.Off / b.s.chunk)
	for _, hole := range own {
		for _, seg := range b.cut(hole) {
			if b.recover(rl, slot, seg, dst[seg.Off-r.Off:seg.End()-r.Off]) {
				solved += seg.Len
			} else {
				left = append(left, seg)
			}
		}
	}
	return left, solved
}

// cut parts a range where the set of slots that know it changes.
func (b *band) cut(r volume.Range) []volume.Range {
	edges := []int64{r.Off, r.End()}
	for _, hs := range b.holes {
		for _, h := range within(hs, r.Off, r.End()) {
			edges = append(edges, h.Off, h.End())
		}
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	segs := make([]volume.Range, 0, len(edges)-1)
	for i, from := range edges[:len(edges)-1] {
		segs = append(segs, volume.Range{Off: from, Len: edges[i+1] - from})
	}
	return segs
}

// recover derives a stretch of a data chunk, in all of which every slot is either
// known or not.
func (b *band) recover(rl *roles, slot int, seg volume.Range, dst []byte) bool {
	lost := 0
	for i, d := range rl.data {
		b.shards[i] = b.known(d, seg)
		b.needed[i] = d == slot
		if b.shards[i] == nil {
			lost++
		}
		if d == slot {
			b.shards[i] = dst[:0:len(dst)]
		}
	}
	p := b.known(rl.p, seg)
	if lost == 1 && p != nil {
		copy(dst, p)
		for _, s := range b.shards[:b.s.nd] {
			if len(s) > 0 {
				subtle.XORBytes(dst, dst, s)
			}
		}
		return true
	}
	if rl.q < 0 {
		return false
	}
	q := b.known(rl.q, seg)
	if p == nil {
		lost++
	}
	if q == nil || lost > 2 {
		return false
	}
	b.shards[b.s.nd], b.shards[b.s.nd+1] = p, q
	code, err := rl.code.get()
	return err == nil && code.ReconstructSome(b.shards, b.needed) == nil
}

// known gives a slot's bytes of a stretch, nil when they are unknown.
func (b *band) known(slot int, seg volume.Range) []byte {
	if covered(b.holes[slot], seg.Off) {
		return nil
	}
	return b.bytes[slot][seg.Off-b.at : seg.End()-b.at]
}
