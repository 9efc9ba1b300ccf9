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

// compare sorts by number, those of the type first: the same order in each run.
func (k kin) compare(o kin) int {
	if k.number != o.number || k.raid == o.raid {
		return cmp.Compare(k.number, o.number)
	}
	if k.raid {
		return -1
	}
	return 1
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
	for _, k := range slices.SortedFunc(maps.Keys(groups), kin.compare) {
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

// behindTables gives the partitions that are members of an array of which the operator
// names whole disks: those of the type, else the only one of each disk that may be a
// member; the same number on all disks. Where that is not so, or he says where data
// begins, the members are the disks as they are.
func (s *Sources) behindTables(ctx context.Context, o raid.Options, disks []volume.Volume) ([]volume.Volume, error) {
	if o.DataOffset != nil || len(disks) < 2 {
		return disks, nil
	}
	var members []volume.Volume
	number := 0
	for _, d := range disks {
		m, err := onlyMember(ctx, o.Level, d)
		if err != nil {
			return nil, err
		}
		e, ok := volume.EntryOf(m)
		if !ok || number > 0 && e.Number != number {
			return disks, nil
		}
		number = e.Number
		members = append(members, m)
	}
	s.note("the members of the array are taken to be partition %d of each disk (--data-offset takes the disks themselves)", number)
	return members, nil
}

// onlyMember gives the partition of a disk that is the member of an array; the disk,
// if there is none or several.
func onlyMember(ctx context.Context, level raid.Level, d volume.Volume) (volume.Volume, error) {
	var typed, likely []volume.Volume
	parts, _ := volume.Partitions(d)
	for _, p := range parts {
		if e, _ := volume.EntryOf(p); e.RAID {
			typed = append(typed, p)
		}
		is, err := mayBeMember(ctx, p)
		if err != nil {
			return nil, err
		}
		if is {
			likely = append(likely, p)
		}
	}
	switch {
	case len(typed) == 1:
		return typed[0], nil
	case len(typed) == 0 && len(likely) == 1 && level != raid.RAID1: // mirrors of whole disks have the same table on all
		return likely[0], nil
	}
	return d, nil
}
