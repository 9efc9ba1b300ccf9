package raid

import (
	"slices"
	"sort"

	"salvor/salvage/volume"
)

// Lists of ranges here are sorted, apart from each other, and hold no empty range.

// tidy makes such a list of any.
func tidy(rs []volume.Range) []volume.Range {
	if len(rs) < 2 {
		if len(rs) == 1 && rs[0].Len <= 0 {
			return nil
		}
		return rs
	}
	slices.SortFunc(rs, func(a, b volume.Range) int {
		switch {
		case a.Off < b.Off:
			return -1
		case a.Off > b.Off:
			return 1
		}
		return 0
	})
	out := rs[:0]
	for _, r := range rs {
		switch last := len(out) - 1; {
		case r.Len <= 0:
		case last >= 0 && r.Off <= out[last].End():
			out[last].Len = max(out[last].End(), r.End()) - out[last].Off
		default:
			out = append(out, r)
		}
	}
	return out
}

// within gives what of rs lies in [from, to).
func within(rs []volume.Range, from, to int64) []volume.Range {
	if len(rs) == 0 {
		return nil
	}
	i := sort.Search(len(rs), func(i int) bool { return rs[i].End() > from })
	var out []volume.Range
	for ; i < len(rs) && rs[i].Off < to; i++ {
		out = append(out, clip(rs[i], from, to))
	}
	return out
}

func clip(r volume.Range, from, to int64) volume.Range {
	start := max(r.Off, from)
	return volume.Range{Off: start, Len: min(r.End(), to) - start}
}

// without gives what of rs is not in holes.
func without(rs, holes []volume.Range) []volume.Range {
	var out []volume.Range
	for _, r := range rs {
		at := r.Off
		for _, h := range within(holes, r.Off, r.End()) {
			if h.Off > at {
				out = append(out, volume.Range{Off: at, Len: h.Off - at})
			}
			at = h.End()
		}
		if at < r.End() {
			out = append(out, volume.Range{Off: at, Len: r.End() - at})
		}
	}
	return out
}

// shift moves all ranges.
func shift(rs []volume.Range, by int64) []volume.Range {
	for i := range rs {
		rs[i].Off += by
	}
	return rs
}

// total is how many bytes are in rs.
func total(rs []volume.Range) (n int64) {
	for _, r := range rs {
		n += r.Len
	}
	return n
}

// covered says whether at is in rs.
func covered(rs []volume.Range, at int64) bool {
	if len(rs) == 0 {
		return false
	}
	i := sort.Search(len(rs), func(i int) bool { return rs[i].End() > at })
	return i < len(rs) && rs[i].Off <= at
}
