package salvage

import (
	"context"
	"errors"

	"salvor/salvage/ext4"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
	"salvor/salvage/xfs"
)

// openSystems finds the file systems on a volume: the one that is there, first, and
// older ones that it was made over. Where there is none that is known, it gives one
// that sees by shape alone: mail is carved then. The volume is as large as the first
// one says that it was.
func openSystems(ctx context.Context, v volume.Volume) (volume.Volume, []fsys.System, error) {
	supers, err := ext4.Find(ctx, v)
	if err != nil && !errors.Is(err, ext4.ErrNoSuper) {
		return v, nil, err
	}
	first := len(supers) > 0 && supers[0].Group == 0
	var x *xfs.FS
	if !first {
		if x, err = xfs.Open(ctx, v); err != nil && !errors.Is(err, xfs.ErrNone) {
			return v, nil, err
		}
	}
	var all []fsys.System
	if x != nil && (x.Doubt() == "" || len(supers) == 0) {
		if x.ClaimedSize() > v.Size() {
			v = volume.Extend(v, x.ClaimedSize())
			if x, err = xfs.Open(ctx, v); err != nil {
				return v, nil, err
			}
		}
		all = append(all, x)
	} else if len(supers) > 0 && supers[0].ClaimedSize() > v.Size() {
		v = volume.Extend(v, supers[0].ClaimedSize())
		if supers, err = ext4.Find(ctx, v); err != nil {
			return v, nil, err
		}
	}
	for _, s := range supers[:min(len(supers), mostSystems)] {
		e, err := ext4.OpenAt(ctx, v, s)
		if err != nil {
			return v, nil, err
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		all = append(all, ext4.Guess(v, 0))
	}
	return v, all, nil
}

// mostSystems is how many file systems, made over each other, are read.
const mostSystems = 3

// complete tells whether a volume begins with a file system that does not claim to
// be larger than it.
func complete(ctx context.Context, v volume.Volume) (bool, error) {
	supers, err := ext4.Find(ctx, v)
	if err == nil && supers[0].Group == 0 && supers[0].ClaimedSize() <= v.Size() {
		return true, nil
	}
	if err != nil && !errors.Is(err, ext4.ErrNoSuper) {
		return false, err
	}
	x, err := xfs.Open(ctx, v)
	if errors.Is(err, xfs.ErrNone) {
		return false, nil
	}
	return err == nil && x.Doubt() == "" && x.Base() == 0 && x.ClaimedSize() <= v.Size(), err
}

// guessed tells whether a system was found by nothing.
func guessed(s fsys.System) bool {
	e, ok := s.(*ext4.FS)
	return ok && e.Super() == nil
}
