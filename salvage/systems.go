package salvage

import (
	"context"
	"errors"

	"salvor/salvage/ext4"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
	"salvor/salvage/xfs"
)

// openSystem finds the file system on a volume. Where there is none that is known,
// it gives one that sees by shape alone, and blocks as small as any can be: mail is
// carved then.
func openSystem(ctx context.Context, v volume.Volume) (volume.Volume, fsys.System, error) {
	e, err := ext4.Open(ctx, v)
	if err == nil {
		if e.ClaimedSize() > v.Size() {
			v = volume.Extend(v, e.ClaimedSize())
			e, err = ext4.Open(ctx, v)
		}
		return v, e, err
	}
	if !errors.Is(err, ext4.ErrNoSuper) {
		return v, nil, err
	}
	x, err := xfs.Open(ctx, v)
	if err == nil {
		if x.ClaimedSize() > v.Size() {
			v = volume.Extend(v, x.ClaimedSize())
			x, err = xfs.Open(ctx, v)
		}
		return v, x, err
	}
	if !errors.Is(err, xfs.ErrNone) {
		return v, nil, err
	}
	return v, ext4.Guess(v, 4096), nil
}

// guessed tells whether a system was found by nothing.
func guessed(s fsys.System) bool {
	e, ok := s.(*ext4.FS)
	return ok && e.Super() == nil
}
