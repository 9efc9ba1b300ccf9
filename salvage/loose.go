package salvage

import (
	"context"
	"errors"

	"salvor/salvage/ext4"
	"salvor/salvage/raid"
	"salvor/salvage/volume"
	"salvor/salvage/xfs"
)

// A loose volume is most likely a member of an array that nobody could put together. No
// file system on it is believed: what its numbers of blocks lead to lies on the whole
// array, and its own bytes are whole for the length of a chunk only.
type loose struct{ volume.Volume }

// NextData implements volume.Sparse.
func (l *loose) NextData(off int64) int64 { return volume.NextData(l.Volume, off) }

// NextKnown implements volume.Holed.
func (l *loose) NextKnown(off int64) int64 { return volume.NextKnown(l.Volume, off) }

// Forget implements volume.Forgetful.
func (l *loose) Forget(r volume.Range) { volume.Forget(l.Volume, r) }

// Below implements volume.Layered.
func (l *loose) Below() []volume.Volume { return []volume.Volume{l.Volume} }

// loosen gives disks of one size that are no array that can be read. If a file system
// on one of them says that it is larger, each of them is taken for a member of one; else
// nothing speaks for that but their size.
func (s *Sources) loosen(ctx context.Context, disks []volume.Volume, why error) ([]volume.Volume, error) {
	const advice = "if they are of one array, name all of it, or say what is known of it with --raid"
	for _, v := range disks {
		claimed, err := claims(ctx, v)
		if err != nil {
			return nil, err
		}
		if claimed <= v.Size() {
			continue
		}
		s.note("%v; a file system on %s has %d bytes, the disk has %d: the disks are taken for members of an array and searched one by one, by content alone. "+
			"What is longer than the array's chunks is in pieces, or goes on with another message's text although it may look whole; %s (--raid none takes each for a disk that was cut off)",
			why, v.Name(), claimed, v.Size(), advice)
		var out []volume.Volume
		for _, v := range disks {
			if _, ok := v.(*raid.Array); !ok {
				v = &loose{v}
			}
			out = append(out, v)
		}
		return out, nil
	}
	s.note("%v; the disks are read one by one: %s (--raid none reads them so without trying)", why, advice)
	return disks, nil
}

// claims is how large the file system that superblocks on a volume tell of is, in
// bytes; 0: they tell of none.
func claims(ctx context.Context, v volume.Volume) (int64, error) {
	supers, err := ext4.Find(ctx, v)
	if err == nil {
		return supers[0].ClaimedSize(), nil
	}
	if !errors.Is(err, ext4.ErrNoSuper) {
		return 0, err
	}
	x, err := xfs.Open(ctx, v)
	if errors.Is(err, xfs.ErrNone) {
		return 0, nil
	}
	if err != nil || x.Doubt() != "" {
		return 0, err
	}
	return x.ClaimedSize() - x.Base(), nil
}
