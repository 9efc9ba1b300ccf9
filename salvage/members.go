package salvage

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"salvor/salvage/raid"
	"salvor/salvage/volume"
)

// leastMember is the least size of a partition that is taken for a member of an array,
// in bytes: the tiny ones that hold a boot loader have no known content either.
const leastMember = 8 << 20

// A kin is what the partitions of an array have in common: their number on each disk,
// and whether their type says that they are Linux's RAID.
type kin struct {
	number int
	raid   bool
}

// partitioned puts arrays together whose members are partitions without superblocks.
// Partitions of one number and one size are tried, none of which is complete in
// itself, if their type calls them RAID or at least one of them begins with nothing
// that is known. Disks of which a partition was used come back as their other
// partitions; this comes before logical volumes are looked for, as the first
// member of an array may begin with the label of one.
func (s *Sources) partitioned(ctx context.Context, disks []volume.Volume) ([]volume.Volume, error) {
	split := map[volume.Volume][]volume.Volume{} // a disk's partitions
	notes := map[volume.Volume][]string{}
	groups := map[kin][]volume.Volume{}
	for _, d := range disks {
		if _, ok := d.(*raid.Array); ok {
			continue
		}
		split[d], notes[d] = volume.Partitions(d)
		for _, p := range split[d] {
			is, err := mayBeMember(ctx, p)
			if err != nil {
				return nil, err
			}
			if e, ok := volume.EntryOf(p); ok && is {
				groups[kin{e.Number, e.RAID}] = append(groups[kin{e.Number, e.RAID}], p)
			}
		}
	}
	var arrays []volume.Volume
	used := map[volume.Volume]bool{}
	for _, k := range slices.SortedFunc(maps.Keys(groups), func(a, b kin) int { return cmp.Compare(a.number, b.number) }) {
		members := ofOneSize(groups[k])
		a, err := s.unlabelled(ctx, k, members)
		if err != nil {
			return nil, err
		}
		if a == nil {
			continue
		}
		arrays = append(arrays, a)
		for _, m := range members {
			used[m] = true
		}
	}
	if len(arrays) == 0 {
		return disks, nil
	}
	var out []volume.Volume
	for _, d := range disks {
		if !slices.ContainsFunc(split[d], func(p volume.Volume) bool { return used[p] }) {
			out = append(out, d)
			continue
		}
		s.Notes = append(s.Notes, notes[d]...)
		out = append(out, slices.DeleteFunc(split[d], func(p volume.Volume) bool { return used[p] })...)
	}
	return append(out, arrays...), nil
}

// mayBeMember tells whether a partition may be a member of an array that does not say
// so itself.
func mayBeMember(ctx context.Context, p volume.Volume) (bool, error) {
	if p.Size() < leastMember {
		return false, nil
	}
	if sets, _, _ := raid.Find([]volume.Volume{p}); len(sets) > 0 {
		return false, nil
	}
	alone, err := standsAlone(ctx, p)
	return !alone, err
}

// ofOneSize gives the volumes that are about as large as the one in the middle.
func ofOneSize(vs []volume.Volume) []volume.Volume {
	bySize := slices.SortedFunc(slices.Values(vs), func(a, b volume.Volume) int { return cmp.Compare(a.Size(), b.Size()) })
	middle := bySize[len(bySize)/2]
	return slices.DeleteFunc(slices.Clone(vs), func(v volume.Volume) bool { return !alike([]volume.Volume{v, middle}) })
}

// unlabelled puts partitions together; nil: they do not show how.
func (s *Sources) unlabelled(ctx context.Context, k kin, members []volume.Volume) (volume.Volume, error) {
	why := "their type is Linux RAID"
	if !k.raid {
		why = "at least one of them begins with nothing that is known"
		blank := 0
		for _, m := range members {
			content, err := volume.Content(m)
			if err != nil {
				return nil, err
			}
			if content == "" {
				blank++
			}
		}
		if blank == 0 {
			return nil, nil
		}
	}
	if len(members) < 2 {
		return nil, nil
	}
	what := fmt.Sprintf("partition %d of %d disks was tried as a member of one array, as %s", k.number, len(members), why)
	a, err := raid.Open(members, raid.Options{UseStale: true})
	if err != nil {
		s.note("%s: %v; they are read one by one (--raid with --data-offset, where the partition begins, says what is known of the array)", what, err)
		return nil, nil
	}
	s.note("%s", what)
	return a, s.tell(ctx, a)
}
