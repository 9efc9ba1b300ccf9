package raid

import (
	"context"

	"salvor/salvage/volume"
)

// placeFor finds the slot of a member whose superblock is gone, in an array whose
// other members have theirs: the free slot in which nothing contradicts.
func (d *decision) placeFor(members []volume.Volume, i int, head *super, o Options) (int, error) {
	found := -1
	for at, s := range d.slots {
		if len(s.sources) > 0 {
			continue
		}
		src := newSource(members, i, nil, o)
		if _, given := o.offset(i); !given {
			src.start = head.start
			src.room = max(0, members[i].Size()-src.start)
		}
		trial := *d
		trial.slots = append([]*slot(nil), d.slots...)
		trial.slots[at] = &slot{sources: []*source{src}}
		if d.fits(&trial, members) {
			if found >= 0 {
				return 0, errNoSuperblock
			}
			found = at
			defer func() { d.slots[at].sources = []*source{src} }()
		}
	}
	if found < 0 {
		return 0, errNoSuperblock
	}
	return found, nil
}

// fits says whether a trial can be compared with itself and does not contradict.
func (d *decision) fits(trial *decision, members []volume.Volume) bool {
	if trial.size() != nil {
		return false
	}
	a, err := trial.build(members)
	if err != nil {
		return false
	}
	c, err := a.Check(context.Background(), CheckOptions{Samples: surveySamples})
	told := c.Bytes - c.Empty
	return err == nil && told > 0 && c.Contradicted*20 < told
}
