package volume

import "fmt"

// mostNested is how often something may lie in something else: the disks of virtual
// machines are logical volumes that have partitions, with LVM in them.
const mostNested = 3

// mostParts is far more than anybody has.
const mostParts = 4096

// Parts gives everything that lies in the given volumes and may hold files: their
// partitions, and the logical volumes on them, put together over all of them; else
// the volumes themselves. First comes what is no LVM, in the order of the volumes, then the
// logical volumes in the order of their groups. A physical volume of which no logical
// volume can be made is given as it is.
//
// The notes say what is missing or not supported, a line each; those about the given
// volumes (Notes) are among them. The parts need the volumes that they lie in: close
// those, and only when the parts are used no more.
func Parts(vs []Volume) (parts []Volume, notes []string) {
	for _, v := range vs {
		notes = append(notes, Notes(v)...)
	}
	parts, more := partsOf(vs, mostNested)
	notes = append(notes, more...)
	if len(parts) > mostParts {
		notes = append(notes, fmt.Sprintf("there are %d partitions and logical volumes; the first %d are taken: give fewer disks at once", len(parts), mostParts))
		parts = parts[:mostParts]
	}
	return parts, notes
}

func partsOf(vs []Volume, nested int) (parts []Volume, notes []string) {
	var plain []Volume
	for _, v := range vs {
		ps, more := Partitions(v)
		notes = append(notes, more...)
		if len(ps) == 0 {
			ps = []Volume{v}
		}
		plain = append(plain, ps...)
	}
	logical, used, more := readLVM(plain)
	notes = append(notes, more...)
	for i, v := range plain {
		if used[i] {
			continue
		}
		parts = append(parts, v)
		if content, err := contentAt(v, 0); err == nil && content == contentLUKS {
			notes = append(notes, fmt.Sprintf("%s: it is encrypted (LUKS); open it with `cryptsetup open --readonly` and give what that makes", v.Name()))
		}
	}
	if len(logical) > 0 && nested > 1 {
		var inside []Volume
		inside, more = partsOf(logical, nested-1)
		return append(parts, inside...), append(notes, more...)
	}
	return append(parts, logical...), notes
}
