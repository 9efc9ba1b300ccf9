package volume

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Ranges are ranges in order, apart from each other (between two of them lies at
// least one byte), none of them empty. Normalise makes them of any others; the
// methods take such ranges, and give such.
type Ranges []Range

// Normalise sorts ranges and joins those that overlap or touch. Empty ones and
// those of negative length are left out; one that ends behind the largest offset
// ends there. The argument stays as it is.
func Normalise(rs []Range) Ranges {
	sorted := make(Ranges, 0, len(rs))
	for _, r := range rs {
		if r.Off > 0 {
			r.Len = min(r.Len, math.MaxInt64-r.Off)
		}
		if r.Len > 0 {
			sorted = append(sorted, r)
		}
	}
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.Off, b.Off) })
	joined := sorted[:0]
	for _, r := range sorted {
		joined = joined.push(r)
	}
	return joined
}

// push appends a range that begins no earlier than the last one.
func (a Ranges) push(r Range) Ranges {
	if n := len(a); n > 0 && r.Off <= a[n-1].End() {
		a[n-1].Len = max(a[n-1].End(), r.End()) - a[n-1].Off
		return a
	}
	return append(a, r)
}

// Total is how many bytes the ranges hold.
func (a Ranges) Total() (bytes int64) {
	for _, r := range a {
		bytes += r.Len
	}
	return bytes
}

// Add gives what lies in a or in b.
func (a Ranges) Add(b Ranges) Ranges {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	both := make(Ranges, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].Off <= b[0].Off {
			both, a = both.push(a[0]), a[1:]
		} else {
			both, b = both.push(b[0]), b[1:]
		}
	}
	return both
}

// Subtract gives what lies in a and not in b.
func (a Ranges) Subtract(b Ranges) Ranges {
	if len(a) == 0 || len(b) == 0 {
		return a
	}
	var rest Ranges
	for _, r := range a {
		at := r.Off
		for _, s := range b.over(r) {
			if s.Off > at {
				rest = append(rest, Range{at, s.Off - at})
			}
			at = s.End()
		}
		if at < r.End() {
			rest = append(rest, Range{at, r.End() - at})
		}
	}
	return rest
}

// Intersect gives what lies in a and in b.
func (a Ranges) Intersect(b Ranges) Ranges {
	var both Ranges
	for _, r := range a {
		both = append(both, b.Within(r)...)
	}
	return both
}

// Within gives what lies in a and in r.
func (a Ranges) Within(r Range) Ranges {
	over := a.over(r)
	if len(over) == 0 {
		return nil
	}
	cut := slices.Clone(over)
	for i, s := range cut {
		from, to := max(s.Off, r.Off), min(s.End(), r.End())
		cut[i] = Range{from, to - from}
	}
	return cut
}

// After is the first offset at or behind off that lies in none of the ranges.
func (a Ranges) After(off int64) int64 {
	if i := a.search(off); i < len(a) && a[i].Off <= off {
		return a[i].End()
	}
	return off
}

// over gives the ranges that have bytes in common with r, uncut.
func (a Ranges) over(r Range) Ranges {
	if r.Len <= 0 {
		return nil
	}
	from := a.search(r.Off)
	to := from + sort.Search(len(a)-from, func(i int) bool { return a[from+i].Off >= r.End() })
	return a[from:to]
}

// search finds the first range that ends behind off.
func (a Ranges) search(off int64) int {
	return sort.Search(len(a), func(i int) bool { return a[i].End() > off })
}

// shift gives the ranges moved by so many bytes.
func (a Ranges) shift(by int64) Ranges {
	if len(a) == 0 || by == 0 {
		return a
	}
	moved := slices.Clone(a)
	for i := range moved {
		moved[i].Off += by
	}
	return moved
}

// insert adds one range in place.
func (a Ranges) insert(r Range) Ranges {
	from := sort.Search(len(a), func(i int) bool { return a[i].End() >= r.Off })
	to := from + sort.Search(len(a)-from, func(i int) bool { return a[from+i].Off > r.End() })
	if from < to {
		begin, end := min(r.Off, a[from].Off), max(r.End(), a[to-1].End())
		r = Range{begin, end - begin}
	}
	return slices.Replace(a, from, to, r)
}

// coarsen joins ranges over ever larger gaps, from one block of most file systems
// on, until at most so many are left. The bytes of the gaps are in it then.
func (a Ranges) coarsen(most int) Ranges {
	for gap := int64(4 << 10); len(a) > most && gap < math.MaxInt64/2; gap *= 2 {
		joined := a[:1]
		for _, r := range a[1:] {
			if last := &joined[len(joined)-1]; r.Off-last.End() <= gap {
				last.Len = r.End() - last.Off
			} else {
				joined = append(joined, r)
			}
		}
		a = joined
	}
	return a
}

// split parts the bytes [off, off+n) into those of a volume of so many bytes and
// those that lie outside of it, which are unknown.
func split(off int64, n int, size int64) (inside Range, outside Ranges) {
	if off >= 0 && n > 0 && off <= size-int64(n) {
		return Range{off, int64(n)}, nil
	}
	want := Normalise([]Range{{off, int64(n)}})
	if len(want) == 0 {
		return Range{Off: off}, nil
	}
	whole := Range{0, size}
	for _, r := range want.Within(whole) {
		inside = r
	}
	if size <= 0 {
		return inside, want
	}
	return inside, want.Subtract(Ranges{whole})
}

// blank makes the unknown bytes of p, which begins at off, zero.
func blank(p []byte, off int64, unknown Ranges) {
	for _, r := range unknown {
		clear(p[r.Off-off : r.End()-off])
	}
}
