package raid

import "salvor/salvage/volume"

func infer(members []volume.Volume, o Options) (*decision, error) { return nil, ErrUnsure }

func (d *decision) placeFor(members []volume.Volume, i int, head *super, o Options) (int, error) {
	return 0, errNoSuperblock
}
