package ext4

import (
	"cmp"
	"context"
	"slices"

	"salvor/salvage/volume"
)

// A Place is where on a volume an ext file system begins, as far as can be told
// where nothing else says it.
type Place struct {
	Base int64 // bytes from the volume's beginning
	// End is where it ends, by its superblock, which may be behind the volume's own
	// end; 0 where it has none that is left.
	End int64
	// Block is the size of its blocks, in bytes.
	Block int64
}

// Locate reads a volume once to find ext file systems that begin anywhere on it, at
// any sector: by their superblocks, of which each copy says where the file system
// begins; and where all of these are gone by what their inodes name: directories
// must stand where their inodes say, and files end there. A place is given only if
// enough speaks for it, in the order of the volume. The error is the volume's.
//
// Who knows where a file system begins needs none of this: see Find.
func Locate(ctx context.Context, v volume.Volume) (places []Place, err error) {
	s, err := surveyAll(ctx, v)
	if err != nil {
		return nil, err
	}
	if places, err = s.byRoots(ctx, v); err != nil {
		return nil, err
	}
	from := int64(0)
	for _, p := range append(slices.Clone(places), Place{Base: v.Size(), End: v.Size()}) {
		if p.Base > from {
			more, err := s.byInodes(ctx, v, from, p.Base)
			if err != nil {
				return nil, err
			}
			places = append(places, more...)
		}
		from = max(from, p.End)
	}
	slices.SortFunc(places, func(a, b Place) int { return cmp.Compare(a.Base, b.Base) })
	return places, nil
}

// mostWeighed bounds how many places of superblocks are looked at closely.
const mostWeighed = 64

// byRoots gives the file systems that superblocks tell of. A primary one alone may be
// a copy in a journal, or in a file: inodes must speak for it.
func (s *survey) byRoots(ctx context.Context, v volume.Volume) (kept []Place, err error) {
	type claim struct {
		root
		total int
	}
	var claims []claim
	slices.SortStableFunc(s.roots, func(a, b root) int { return cmp.Compare(b.super.Copies, a.super.Copies) })
	for _, r := range s.roots[:min(len(s.roots), mostWeighed)] {
		w, err := s.weigh(ctx, v, guess{r.base, r.super.BlockSize}, min(v.Size(), r.base+r.super.ClaimedSize()))
		if err != nil {
			return nil, err
		}
		if w.holds() || (r.super.Copies > 1 || r.super.Group > 0) && w.odd <= w.ends {
			claims = append(claims, claim{r, w.total() + 2*r.super.Copies})
		}
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(b.total, a.total) })
	for _, c := range claims {
		p := Place{Base: c.base, End: c.base + c.super.ClaimedSize(), Block: c.super.BlockSize}
		if !slices.ContainsFunc(kept, func(o Place) bool { return p.Base < o.End && o.Base < p.End }) {
			kept = append(kept, p)
		}
	}
	slices.SortFunc(kept, func(a, b Place) int { return cmp.Compare(a.Base, b.Base) })
	return kept, nil
}

// byInodes gives the file system in a part of the volume whose superblocks are all
// gone.
func (s *survey) byInodes(ctx context.Context, v volume.Volume, from, to int64) ([]Place, error) {
	var best guess
	var most weight
	for _, g := range s.vote(from, to) {
		w, err := s.weigh(ctx, v, g, to)
		if err != nil {
			return nil, err
		}
		if w.holds() && w.total() > most.total() {
			best, most = g, w
		}
	}
	if !most.holds() {
		return nil, nil
	}
	return []Place{{Base: best.base, Block: best.block}}, nil
}
