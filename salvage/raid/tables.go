package raid

import "crypto/subtle"

// maxStep is how many rows the next chunk of a volume is away at most: one, and
// two where a copy of every row follows it.
const maxStep = 2

// A table holds the evidence of a survey for one chunk size, one beginning of the
// data and one number of rows after which a layout repeats itself. All values are
// logarithms of likelihoods; those of independent pieces of evidence add up.
type table struct {
	base float64 // what is the same for every order: blocks within chunks
	// join[step][phase][a][b]: chunk b, step rows further, continues chunk a.
	join [maxStep + 1][][][]float64
	// same[step][phase][a][b]: chunk b, step rows further, is a copy of chunk a.
	same [maxStep + 1][][][]float64
	p    [][]float64 // [phase][member]: this chunk is parity
	q    [][]float64 // [phase][member]: this chunk is Q; the last is a missing one
}

// newTable collects the evidence; start is the beginning of the data in bytes from
// where the survey counts, chunk is in bytes. Of an array whose members hold far copies
// only the first of so many parts lies as its layout says.
func (s *survey) newTable(start, chunk int64, period, parts int, k kinship) *table {
	n := len(s.members)
	t := &table{p: grid(period, n), q: grid(period, n+1)}
	for i := range t.join {
		t.join[i] = make([][][]float64, period)
		t.same[i] = make([][][]float64, period)
		for ph := range period {
			t.join[i][ph] = grid(n, n)
			t.same[i][ph] = grid(n, n)
		}
	}
	per := int(chunk / block)
	end := start + (s.end-start)/int64(parts)
	for sample, from := range s.starts {
		for b := range s.blocks {
			off := from + int64(b)*block - start
			if off < 0 {
				continue
			}
			phase := int(off / chunk % int64(period))
			s.parityAt(t, sample, b, phase, k)
			if off%chunk != 0 {
				for m := range n {
					if before := s.at(m, sample, b-1); before != nil {
						t.base += follows(before, s.at(m, sample, b))
					}
				}
				continue
			}
			if from+int64(b)*block >= end {
				continue
			}
			for step := range maxStep + 1 {
				// b begins a chunk; the chunks of the same row end per-1 blocks on.
				row := off/chunk - int64(step)
				if row < 0 {
					break
				}
				phase := int(row % int64(period))
				s.compare(t.join[step][phase], sample, b-(step-1)*per-1, b, step, follows)
				s.compare(t.same[step][phase], sample, b-step*per, b, step, copied)
			}
		}
	}
	return t
}

// compare adds to sums[x][y] how block a of member x goes with block b of member y,
// which lies step rows further.
func (s *survey) compare(sums [][]float64, sample, a, b, step int, how func(a, b *glance) float64) {
	if s.at(0, sample, a) == nil {
		return
	}
	for x := range s.members {
		for y := range s.members {
			if x != y || step > 0 {
				sums[x][y] += how(s.at(x, sample, a), s.at(y, sample, b))
			}
		}
	}
}

// copied says how much likelier b is a copy of a than not.
func copied(a, b *glance) float64 {
	switch {
	case !a.known || !b.known || a.zero && b.zero:
		return 0
	case a.fold == b.fold:
		return 1
	}
	return -1
}

// parityAt adds what a place tells about who holds parity there. Parity of text is
// no text, and there is no parity without data; Q is the sum of everything else and
// so, since P makes the sum of the others zero, the sum of all.
func (s *survey) parityAt(t *table, sample, b, phase int, k kinship) {
	texts, nonzero, known := 0, 0, true
	var sum [16]byte
	for m := range s.members {
		g := s.at(m, sample, b)
		known = known && g.known
		if g.text {
			texts++
		}
		if !g.zero {
			nonzero++
		}
		subtle.XORBytes(sum[:], sum[:], g.fold[:])
	}
	if nonzero < 3 {
		return
	}
	if known {
		n := len(s.members)
		for m := range s.members {
			if s.at(m, sample, b).fold == sum {
				t.q[phase][m] += 3
			}
		}
		if k.zero < 0.9 && sum == ([16]byte{}) {
			t.q[phase][n] += 3
		}
	}
	if texts < 2 {
		return
	}
	for m := range s.members {
		if g := s.at(m, sample, b); g.text {
			t.p[phase][m] -= 0.7
		}
	}
}

func grid(rows, columns int) [][]float64 {
	g := make([][]float64, rows)
	for i := range g {
		g[i] = make([]float64, columns)
	}
	return g
}

// A shape is a layout without its order: which chunk follows which.
type shape struct {
	level  Level
	layout int
	n      int // slots
	period int // rows
	steps  []step
	copies []step  // from every chunk to its copies
	roles  []roles // by phase, for parity
}

type step struct{ phase, from, rows, to int }

// newShape walks through a layout once, until it repeats itself.
func newShape(level Level, layout, n int) (*shape, error) {
	const far = 1 << 20 // chunks: more than is walked
	d := &decision{level: level, layout: layout, chunk: block, room: far * block}
	for range n {
		d.slots = append(d.slots, &slot{sources: []*source{{room: far * block}}})
	}
	a := &Array{}
	if err := d.placement(a); err != nil {
		return nil, err
	}
	sh := &shape{level: level, layout: layout, n: n, period: n}
	switch {
	case a.stripes != nil:
		sh.roles = a.stripes.period
		sh.period = len(sh.roles)
	case level == RAID0:
		sh.period = 1
	default:
		sh.period = 2 * n * (layout & 0xff)
	}
	for i := int64(0); ; i++ {
		first := a.place.locate(i*block, 0)
		row := first.off / block
		if row >= int64(sh.period) {
			return sh, nil
		}
		for k := range a.place.copies() {
			x, y := a.place.locate(i*block, k), a.place.locate((i+1)*block, k)
			if far := x.off/block - row; far <= maxStep {
				phase := int(x.off / block % int64(sh.period))
				sh.steps = append(sh.steps, step{phase, x.slot, int(y.off-x.off) / block, y.slot})
				if k > 0 {
					sh.copies = append(sh.copies, step{int(row), first.slot, int(far), x.slot})
				}
			}
		}
	}
}

// parts is in how many parts each member is divided, of which all but the first hold
// far copies.
func (sh *shape) parts() int {
	if sh.level != RAID10 || sh.layout&farOffset != 0 {
		return 1
	}
	return max(1, sh.layout>>8&0xff)
}

// score is the evidence for an order: order[slot] is a member, or -1.
func (sh *shape) score(t *table, order []int) float64 {
	sum := t.base
	for _, st := range sh.steps {
		if a, b := order[st.from], order[st.to]; a >= 0 && b >= 0 && st.rows >= 0 && st.rows <= maxStep {
			sum += t.join[st.rows][st.phase][a][b]
		}
	}
	for _, st := range sh.copies {
		if a, b := order[st.from], order[st.to]; a >= 0 && b >= 0 && st.rows <= maxStep {
			sum += t.same[st.rows][st.phase][a][b]
		}
	}
	for phase, r := range sh.roles {
		if m := order[r.p]; m >= 0 {
			sum += t.p[phase][m]
		}
		if r.q < 0 {
			continue
		}
		if m := order[r.q]; m >= 0 {
			sum += t.p[phase][m] + t.q[phase][m]
		} else {
			sum += t.q[phase][len(t.q[phase])-1]
		}
	}
	return sum
}
