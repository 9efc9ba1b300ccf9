package volume

import "sort"

// A joined volume is put together from stretches of others, like a logical volume
// of LVM. What no piece covers is unknown.
type joined struct {
	name   string
	id     string // what tells it from others of the same name
	size   int64
	pieces []piece // by at, without overlaps, not empty
}

type piece struct {
	at, size int64  // in the joined volume
	from     Volume // nil: it is missing, and the bytes are unknown
	off      int64  // in from
}

func (j *joined) Name() string { return j.name }

func (j *joined) Size() int64 { return j.size }

func (j *joined) Close() error { return nil }

func (j *joined) sectorSize() int64 {
	for _, p := range j.pieces {
		if p.from != nil {
			return sectorOf(p.from)
		}
	}
	return 0
}

// from gives the pieces that end behind off.
func (j *joined) from(off int64) []piece {
	return j.pieces[sort.Search(len(j.pieces), func(i int) bool { return j.pieces[i].at+j.pieces[i].size > off }):]
}

func (j *joined) ReadAt(p []byte, off int64) ([]Range, error) {
	inside, unknown := split(off, len(p), j.size)
	if inside.Len == 0 {
		blank(p, off, unknown)
		return unknown, nil
	}
	unknown = unknown.Add(Ranges{inside})
	for _, x := range j.from(inside.Off) {
		if x.at >= inside.End() {
			break
		}
		if x.from == nil {
			continue
		}
		r := Ranges{{x.at, x.size}}.Within(inside)
		missing, err := x.from.ReadAt(p[r[0].Off-off:r[0].End()-off], r[0].Off-x.at+x.off)
		if err != nil {
			return nil, err
		}
		unknown = unknown.Subtract(r).Add(Ranges(missing).shift(x.at - x.off))
	}
	blank(p, off, unknown)
	return unknown, nil
}

func (j *joined) NextData(off int64) int64 {
	off = max(0, off)
	for _, x := range j.from(off) {
		if off < x.at || x.from == nil {
			return off // unknown, which may be anything
		}
		at := NextData(x.from, off-x.at+x.off) - x.off + x.at
		if at = max(at, off); at < x.at+x.size {
			return at
		}
		off = x.at + x.size
	}
	return min(off, j.size)
}

func (j *joined) NextKnown(off int64) int64 {
	off = max(0, off)
	for _, x := range j.from(off) {
		off = max(off, x.at)
		if x.from != nil {
			if at := NextKnown(x.from, off-x.at+x.off); at < min(x.off+x.size, x.from.Size()) {
				return max(off, at-x.off+x.at)
			}
		}
	}
	return j.size
}

func (j *joined) Forget(r Range) {
	for _, x := range j.from(r.Off) {
		if x.at >= r.End() {
			return
		}
		if in := (Ranges{{x.at, x.size}}).Within(r); x.from != nil && len(in) == 1 {
			Forget(x.from, Range{in[0].Off - x.at + x.off, in[0].Len})
		}
	}
}
