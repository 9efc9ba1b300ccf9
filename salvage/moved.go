package salvage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"salvor/salvage/ext4"
	"salvor/salvage/volume"
	"salvor/salvage/xfs"
)

// A surveyed volume was read for file systems that begin anywhere: it begins with an
// ext file system whose blocks have so many bytes, or with none (0). rest: it is what
// lies beside the file systems that were found.
type surveyed struct {
	volume.Volume
	ext  int64
	rest bool
}

// NextData implements volume.Sparse.
func (s *surveyed) NextData(off int64) int64 { return volume.NextData(s.Volume, off) }

// NextKnown implements volume.Holed.
func (s *surveyed) NextKnown(off int64) int64 { return volume.NextKnown(s.Volume, off) }

// Forget implements volume.Forgetful.
func (s *surveyed) Forget(r volume.Range) { volume.Forget(s.Volume, r) }

// Below implements volume.Layered.
func (s *surveyed) Below() []volume.Volume { return []volume.Volume{s.Volume} }

// moved looks for file systems that begin elsewhere than at the beginning of a
// volume that has none there: all places that an inode names are counted from there.
func (s *Sources) moved(ctx context.Context, parts []volume.Volume) (out []volume.Volume, err error) {
	for _, v := range parts {
		if _, ok := v.(*loose); ok {
			out = append(out, v)
			continue
		}
		x, known, err := knownAt(ctx, v)
		if err != nil {
			return nil, err
		}
		if known {
			out = append(out, s.beheaded(v, x))
			continue
		}
		places, err := ext4.Locate(ctx, v)
		if err != nil {
			return nil, err
		}
		out = append(out, s.cut(v, with(places, x))...)
	}
	return out, nil
}

// beheaded gives a volume that begins within a file system, known to be one, as one
// whose front is unknown: then all stands where the file system says.
func (s *Sources) beheaded(v volume.Volume, x *xfs.FS) volume.Volume {
	if x == nil || x.Base() >= 0 {
		return v
	}
	s.note("%s begins %d bytes behind the beginning of its file system: what stood there is missing", v.Name(), -x.Base())
	return volume.Precede(v, -x.Base(), fmt.Sprintf("%s behind %d missing bytes", v.Name(), -x.Base()))
}

// knownAt tells whether a volume begins with a file system, or within one, whose
// superblocks say so.
// Else x is the XFS that was found elsewhere on it, if any.
func knownAt(ctx context.Context, v volume.Volume) (x *xfs.FS, known bool, err error) {
	if _, err := ext4.Find(ctx, v); !errors.Is(err, ext4.ErrNoSuper) {
		return nil, err == nil, err
	}
	x, err = xfs.Open(ctx, v)
	if errors.Is(err, xfs.ErrNone) {
		return nil, false, nil
	}
	return x, err == nil && x.Base() <= 0 && x.Doubt() == "", err
}

// with adds an XFS file system of which a superblock tells to the places of others. Of
// two of which one lies in the other, the inner one is a file: the image of a disk.
func with(places []ext4.Place, x *xfs.FS) (kept []ext4.Place) {
	if x == nil || x.Doubt() != "" {
		return places
	}
	own, inner := ext4.Place{Base: x.Base(), End: x.ClaimedSize()}, false
	for _, p := range places {
		if p.Base < own.Base || p.Base >= own.End {
			kept = append(kept, p)
			inner = inner || p.Base < own.Base && p.End > own.Base
		}
	}
	if !inner {
		kept = append(kept, own)
	}
	slices.SortFunc(kept, func(a, b ext4.Place) int { return cmp.Compare(a.Base, b.Base) })
	return kept
}

// cut makes volumes of the file systems that begin on a volume and, behind them, of
// what is between them: that is looked through as well.
func (s *Sources) cut(v volume.Volume, places []ext4.Place) []volume.Volume {
	var systems, rest []volume.Volume
	at := int64(0)
	between := func(end int64) {
		if end > at {
			rest = append(rest, &surveyed{Volume: part(v, at, end), rest: len(places) > 0})
		}
	}
	for i, p := range places {
		between(p.Base)
		if at = v.Size(); i+1 < len(places) {
			at = places[i+1].Base
		}
		if p.End > 0 {
			at = min(at, p.End)
			s.note("%s: a file system begins at byte %d; a partition table or a label before it seems to be gone", v.Name(), p.Base)
		} else {
			s.note("%s: no superblock is left; by what its inodes name, an ext file system with blocks of %d bytes begins at byte %d", v.Name(), p.Block, p.Base)
		}
		systems = append(systems, &surveyed{Volume: part(v, p.Base, at), ext: p.Block})
	}
	between(v.Size())
	return append(systems, rest...)
}

// part is a stretch of a volume, named by where it lies.
func part(v volume.Volume, from, to int64) volume.Volume {
	name := fmt.Sprintf("%s from byte %d to %d", v.Name(), from, to)
	switch {
	case from == 0 && to == v.Size():
		return v
	case from == 0:
		name = fmt.Sprintf("%s up to byte %d", v.Name(), to)
	case to == v.Size():
		name = fmt.Sprintf("%s from byte %d", v.Name(), from)
	}
	return volume.Section(v, from, to-from, name)
}
