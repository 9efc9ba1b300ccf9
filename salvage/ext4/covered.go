package ext4

import (
	"sort"

	"salvor/salvage/volume"
)

// maxCovered bounds how many stretches of the journal are remembered: one for each
// transaction that it holds, or two.
const maxCovered = 1 << 16

// covered is the stretches of the volume that Known has read, so that Look does
// not put the same things again as found anywhere. Sorted where it is kept.
type covered []volume.Range

// add takes the next block. Beyond the bound it is forgotten, and put twice.
func (c *covered) add(off, length int64) {
	if n := len(*c); n > 0 && (*c)[n-1].End() == off {
		(*c)[n-1].Len += length
	} else if n < maxCovered {
		*c = append(*c, volume.Range{Off: off, Len: length})
	}
}

// with is both together, sorted. Neither is changed: Look may be using it.
func (c covered) with(o covered) covered {
	all := append(append(covered(nil), c...), o...)
	sort.Slice(all, func(i, j int) bool { return all[i].Off < all[j].Off })
	return all
}

// within is the part that lies in a window, or across its edges.
func (c covered) within(w volume.Window) covered {
	end := w.Off + int64(len(w.Data))
	i := sort.Search(len(c), func(i int) bool { return c[i].End() > w.Off })
	j := sort.Search(len(c), func(j int) bool { return c[j].Off >= end })
	if i >= j {
		return nil
	}
	return c[i:j]
}

// has tells whether the block at a place was read.
func (c covered) has(off int64) bool {
	i := sort.Search(len(c), func(i int) bool { return c[i].End() > off })
	return i < len(c) && c[i].Off <= off
}
