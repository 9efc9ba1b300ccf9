package raid

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// recipeChunks is how many chunks of a volume a recipe follows: some periods of every
// layout of a dozen members.
const recipeChunks = 600

// recipe says how the chunks of a volume come from its members, as a hash: those that
// have the same recipe make the same volume of the same members, whatever they are
// called, but for what the larger members have behind the end of the smallest.
func (d *decision) recipe(a *Array) string {
	h := sha256.New()
	chunk := max(a.place.chunkSize(), block)
	chunks := a.Size() / chunk
	if d.level == RAID0 {
		chunks = d.least() / chunk * int64(len(d.slots))
	}
	fmt.Fprintln(h, chunk)
	for i := range min(recipeChunks, chunks) {
		fmt.Fprintln(h, d.origin(a, i*chunk))
	}
	return string(h.Sum(nil))
}

// least is the size of the smallest member's data, bytes.
func (d *decision) least() int64 {
	var rooms []int64
	for _, s := range d.slots {
		for _, src := range s.sources {
			rooms = append(rooms, src.room)
		}
	}
	if len(rooms) == 0 {
		return 0
	}
	return slices.Min(rooms)
}

// origin says where the byte at off of a volume comes from: from members that hold
// copies of it, else by parity from which members.
func (d *decision) origin(a *Array, off int64) string {
	var from []string
	for k := range a.place.copies() {
		if p := a.place.locate(off, k); d.member(p.slot) >= 0 {
			from = append(from, fmt.Sprintf("%d at %d", d.member(p.slot), p.off))
		}
	}
	if len(from) > 0 || a.stripes == nil {
		slices.Sort(from) // nobody can tell which of them is the copy
		return strings.Join(from, ", ")
	}
	s := a.stripes
	row := off / (s.chunk * int64(s.nd))
	r := s.period[row%int64(len(s.period))]
	lost := 0
	for _, slot := range append(slices.Clone(r.data), r.p) {
		if m := d.member(slot); m >= 0 {
			from = append(from, fmt.Sprint(m))
		} else {
			lost++
		}
	}
	if lost == 1 {
		slices.Sort(from) // the sum of these, in whatever order
		return fmt.Sprintf("sum of %s at %d", strings.Join(from, "+"), row*s.chunk)
	}
	// Q has a part in it: nothing else is like that.
	return fmt.Sprint(d.level, d.layout, len(d.slots), d.order())
}

// member is the member that serves a slot; -1: none.
func (d *decision) member(slot int) int {
	if len(d.slots[slot].sources) == 0 {
		return -1
	}
	return d.slots[slot].sources[0].member
}

func (d *decision) order() (members []int) {
	for i := range d.slots {
		members = append(members, d.member(i))
	}
	return members
}
