package raid

import (
	"fmt"
	"slices"
	"sort"
)

// A piece is a stretch of the volume that lies in one slot without a break.
type piece struct {
	slot int
	off  int64 // in the slot
	n    int64 // bytes to the end of the stretch
}

// A placement says where the bytes of a volume are.
type placement interface {
	size() int64
	copies() int      // how often every byte is there, parity not counted
	chunkSize() int64 // bytes; 0 where the level has none
	// locate gives the place of copy k, 0 <= k < copies, of the byte at off and of
	// those that follow it there.
	locate(off int64, k int) piece
}

// mirrors is RAID 1.
type mirrors struct {
	n    int
	room int64
}

func (m mirrors) size() int64      { return m.room }
func (m mirrors) copies() int      { return m.n }
func (m mirrors) chunkSize() int64 { return 0 }
func (m mirrors) locate(off int64, k int) piece {
	return piece{slot: k, off: off, n: m.room - off}
}

// concat is linear: one member after the other.
type concat struct{ ends []int64 }

func newConcat(rooms []int64) concat {
	var c concat
	at := int64(0)
	for _, r := range rooms {
		at += r
		c.ends = append(c.ends, at)
	}
	return c
}

func (c concat) size() int64      { return c.ends[len(c.ends)-1] }
func (c concat) copies() int      { return 1 }
func (c concat) chunkSize() int64 { return 0 }
func (c concat) locate(off int64, _ int) piece {
	i := sort.Search(len(c.ends), func(i int) bool { return c.ends[i] > off })
	start := int64(0)
	if i > 0 {
		start = c.ends[i-1]
	}
	return piece{slot: i, off: off - start, n: c.ends[i] - off}
}

// How a RAID 0 counts in the zones behind the first (enum r0layout): from the
// volume's beginning, as kernels before 3.14 did, or from the zone's.
const (
	zonesOriginal  = 1
	zonesAlternate = 2
)

// zones is RAID 0. Members of different sizes make zones: the first is striped
// over all of them, the next over those that have room left, and so on
// (create_strip_zones in raid0.c).
type zones struct {
	chunk  int64
	layout int
	zones  []zone
}

type zone struct {
	start, end int64 // of the volume
	from       int64 // in each of its members
	slots      []int
}

func newZones(rooms []int64, chunk int64, layout int) zones {
	z := zones{chunk: chunk, layout: layout}
	from, at := int64(0), int64(0)
	for {
		var slots []int
		next := int64(-1)
		for slot, room := range rooms {
			room -= room % chunk
			if room > from {
				slots = append(slots, slot)
				if next < 0 || room < next {
					next = room
				}
			}
		}
		if len(slots) == 0 {
			return z
		}
		end := at + (next-from)*int64(len(slots))
		z.zones = append(z.zones, zone{start: at, end: end, from: from, slots: slots})
		from, at = next, end
	}
}

func (z zones) size() int64 {
	if len(z.zones) == 0 {
		return 0
	}
	return z.zones[len(z.zones)-1].end
}
func (z zones) copies() int      { return 1 }
func (z zones) chunkSize() int64 { return z.chunk }
func (z zones) locate(off int64, _ int) piece {
	i := sort.Search(len(z.zones), func(i int) bool { return z.zones[i].end > off })
	in := z.zones[i]
	chunk, col := (off-in.start)/z.chunk, off%z.chunk
	turn := chunk
	if z.layout != zonesAlternate {
		turn = off / z.chunk
	}
	n := int64(len(in.slots))
	return piece{slot: in.slots[turn%n], off: in.from + chunk/n*z.chunk + col, n: z.chunk - col}
}

// Parts of the number of a RAID 10's layout: near copies, far copies << 8, and
const (
	farOffset    = 1 << 16 // the far copies are in the next row, not in the next half
	farSetsShift = 17      // whether far copies stay in sets of members (setup_geo)
)

// tens is RAID 10 (setup_geo and __raid10_find_phys in raid10.c).
type tens struct {
	n            int
	chunk, total int64
	near, far    int
	offset       bool
	set          int // far copies stay within sets of so many slots
	lastStart    int // the last set takes what is left over
	lastSize     int
	stride       int64 // from one far copy to the next, bytes
}

// newTens wants the room of a member in bytes.
func newTens(layout, n int, chunk, room int64) (*tens, error) {
	t := &tens{n: n, chunk: chunk, near: layout & 0xff, far: layout >> 8 & 0xff, offset: layout&farOffset != 0}
	copies := t.near * t.far
	if t.near < 1 || t.far < 1 || copies > n {
		return nil, fmt.Errorf("raid10 layout %#x keeps %d copies on %d members", layout, copies, n)
	}
	switch layout >> farSetsShift {
	case 0:
		t.set = n
	case 1:
		t.set = n / t.far
	case 2:
		t.set = copies
	default:
		return nil, fmt.Errorf("raid10 layout %#x is not known", layout)
	}
	t.lastStart = (n/t.set - 1) * t.set
	t.lastSize = t.set + n%t.set
	per := room / chunk / int64(t.far)
	chunks := per * int64(n) / int64(t.near)
	t.total = chunks * chunk
	t.stride = chunk
	if !t.offset {
		used := (chunks*int64(copies) + int64(n) - 1) / int64(n)
		t.stride = used / int64(t.far) * chunk
	}
	return t, nil
}

func (t *tens) size() int64      { return t.total }
func (t *tens) copies() int      { return t.near * t.far }
func (t *tens) chunkSize() int64 { return t.chunk }
func (t *tens) locate(off int64, k int) piece {
	chunk, col := off/t.chunk, off%t.chunk
	near := chunk*int64(t.near) + int64(k%t.near)
	row, slot := near/int64(t.n), int(near%int64(t.n))
	if t.offset {
		// A near copy that wraps round goes one row on, not one group of rows.
		first := chunk * int64(t.near) / int64(t.n)
		row = first*int64(t.far) + row - first
	}
	at := row*t.chunk + col
	for range k / t.near {
		slot = t.next(slot)
		at += t.stride
	}
	return piece{slot: slot, off: at, n: t.chunk - col}
}

// next is the slot of the next far copy.
func (t *tens) next(slot int) int {
	set := slot / t.set
	slot += t.near
	if t.n%t.set != 0 && slot > t.lastStart {
		return (slot-t.lastStart)%t.lastSize + t.lastStart
	}
	return slot%t.set + t.set*set
}

// sets gives the groups of slots that hold copies of each other: of each, one must
// be there for the array to run.
func (t *tens) sets() (all [][]int) {
	seen := map[string]bool{}
	for chunk := range int64(t.n) {
		var set []int
		for k := range t.copies() {
			set = append(set, t.locate(chunk*t.chunk, k).slot)
		}
		slices.Sort(set)
		if key := fmt.Sprint(set); !seen[key] {
			seen[key] = true
			all = append(all, set)
		}
	}
	return all
}
