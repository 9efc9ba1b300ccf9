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
// older ones that it was made over. Where no superblock is left it gives the one that
// the inodes tell of, and where these do not either, nowhere: mail is carved then. The
// volume is as large as the first one says that it was.
func openSystems(ctx context.Context, v volume.Volume) (volume.Volume, []fsys.System, error) {
	if _, ok := v.(*loose); ok {
		return v, []fsys.System{nowhere{}}, nil
	}
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
		block, err := extAt(ctx, v)
		if err != nil {
			return v, nil, err
		}
		if all = append(all, nowhere{}); block > 0 {
			all[0] = ext4.Guess(v, block)
		}
	}
	return v, all, nil
}

// extAt gives the size of the blocks of an ext file system without superblocks with
// which a volume begins, in bytes; 0: there is none.
func extAt(ctx context.Context, v volume.Volume) (int64, error) {
	if s, ok := v.(*surveyed); ok {
		return s.ext, nil
	}
	places, err := ext4.Locate(ctx, v)
	if err != nil || len(places) == 0 || places[0].Base > 0 {
		return 0, err
	}
	return places[0].Block, nil
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

// nowhere is the system of a volume on which no file system is known. It vouches for
// nothing: an inode whose places count from an unknown beginning names wrong ones.
type nowhere struct{}

func (nowhere) Name() string                                         { return "" }
func (nowhere) Root() uint64                                         { return 0 }
func (nowhere) BlockSize() int64                                     { return 4096 }
func (nowhere) Known(context.Context, func(fsys.Trace) error) error  { return nil }
func (nowhere) Look(volume.Window, func(fsys.Trace) error) error     { return nil }
func (nowhere) File(context.Context, fsys.Trace) (*fsys.File, error) { return nil, errNowhere }
func (nowhere) Entries(context.Context, fsys.Trace, func(fsys.Entry) error) error {
	return errNowhere
}

var errNowhere = errors.New("no file system is known here")

// sector is the step at which mail may begin where no file system is known, in bytes:
// that tells how large blocks are, and where the first one is.
const sector = 512

// step is at which multiples of bytes mail may begin.
func (s *scan) step() int64 {
	if _, ok := s.system.(nowhere); ok {
		return sector
	}
	return s.block()
}
