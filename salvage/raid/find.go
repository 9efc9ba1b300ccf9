package raid

import (
	"fmt"
	"slices"

	"salvor/salvage/volume"
)

// A Set is the volumes of one array in a heap of volumes.
type Set struct {
	UUID    string `json:"uuid"`
	Name    string `json:"name,omitempty"`
	Level   Level  `json:"level"`
	Members []int  `json:"members"` // indices into the heap, by slot as far as known
}

// Find sorts a heap of disks and partitions by their superblocks: into arrays, in
// the order in which their first members stand in the heap, and into volumes that
// belong to none. Spares and stale members go with their array. Notes say what an
// operator should know. Nothing is read but superblocks.
func Find(vs []volume.Volume) (sets []Set, rest []volume.Volume, notes []string) {
	supers := make([]*super, len(vs))
	byID := map[[16]byte]int{}
	for i, v := range vs {
		s, n := readSuper(v)
		notes = append(notes, n...)
		if s == nil {
			rest = append(rest, v)
			continue
		}
		supers[i] = s
		at, ok := byID[s.uuid]
		if !ok {
			at = len(sets)
			byID[s.uuid] = at
			sets = append(sets, Set{UUID: s.id(), Name: s.name, Level: s.level})
		}
		sets[at].Members = append(sets[at].Members, i)
	}
	for i := range sets {
		set := &sets[i]
		slices.SortStableFunc(set.Members, func(a, b int) int {
			return place(supers[a]) - place(supers[b])
		})
		notes = append(notes, describe(set, supers)...)
	}
	return sets, rest, notes
}

// place sorts members without a slot behind the others.
func place(s *super) int {
	if s.role < 0 {
		return maxMembers
	}
	return s.role
}

// describe notes what is missing or twice in a set.
func describe(set *Set, supers []*super) (notes []string) {
	var mine []*super
	for _, m := range set.Members {
		mine = append(mine, supers[m])
	}
	head := newest(mine)
	have := map[int]int{}
	for _, s := range mine {
		have[s.role]++
	}
	for slot := range head.disks {
		switch n := have[slot]; {
		case n == 0:
			notes = append(notes, fmt.Sprintf("array %s: the member of slot %d of %d is missing", set.UUID, slot, head.disks))
		case n > 1:
			notes = append(notes, fmt.Sprintf("array %s: %d volumes serve slot %d", set.UUID, n, slot))
		}
	}
	if head.reshape {
		notes = append(notes, fmt.Sprintf("array %s was changing its shape when it stopped (reshape): it cannot be read", set.UUID))
	}
	return notes
}
