package salvage

import (
	"context"

	"salvor/salvage/raid"
	"salvor/salvage/volume"
)

// leastFront is how much has to be before the first member on a disk for it to be
// searched too, in bytes: less is a table and the gap behind it.
const leastFront = 2 << 20

// hidden gives disks whose partition table is gone as the members of arrays that still
// say so on them. What is before them comes as a volume of its own: fronts.
func (s *Sources) hidden(ctx context.Context, disks []volume.Volume) (out, fronts []volume.Volume, err error) {
	for _, v := range disks {
		table, _ := volume.Partitions(v)
		sets, _, _ := raid.Find([]volume.Volume{v})
		var parts []volume.Volume
		if len(table) == 0 && len(sets) == 0 {
			parts = raid.Hidden(v)
		}
		if len(parts) > 0 {
			is, err := standsAlone(ctx, v)
			if err != nil {
				return nil, nil, err
			}
			if is {
				parts = nil // they are files on it
			}
		}
		if len(parts) == 0 {
			out = append(out, v)
			continue
		}
		out = append(out, parts...)
		held := int64(0)
		for _, p := range parts {
			held += p.Size()
			s.note("%s: a member of an array begins there; the partition table before it seems to be gone", p.Name())
		}
		if front := v.Size() - held; front >= leastFront {
			fronts = append(fronts, part(v, 0, front))
		}
	}
	return out, fronts, nil
}
