package ext4

import (
	"cmp"
	"context"
	"slices"

	"salvor/salvage/volume"
)

// A guess is where a file system may begin, and how large its blocks may be.
type guess struct {
	base, block int64 // bytes
}

// A weight is what speaks for a guess: what inodes name stands where they say.
type weight struct {
	// dirs is how many directories begin with their own name at the place that their
	// inode gives, which belongs to the same file system as most others; misses how
	// many do not.
	dirs, misses int
	// ends is how many files end where their size says, with zeros behind them; odd
	// how many have something else there.
	ends, odd int
}

const (
	weighed    = 128  // inodes of each kind that are looked at for a guess
	votingDirs = 256  // directories that vote for a place,
	votingDots = 1024 // and first blocks of directories that they vote with
	mostVoted  = 6    // places of the most votes that are weighed, for each size of blocks
	leastTail  = 16   // bytes behind a file's end that tell something
)

// guessedBlocks are the sizes of blocks that mke2fs makes on the machines there are.
var guessedBlocks = []int64{4096, 1024, 2048}

// total is what a weight comes to.
func (w weight) total() int { return 2*w.dirs + w.ends - w.odd }

// holds tells whether a guess is believed: chance may bring one thing to where it
// should be, but not most of them.
func (w weight) holds() bool {
	if 2*w.ends < w.odd {
		return false
	}
	return w.dirs >= 2 && 8*w.dirs >= w.misses || w.dirs == 1 && w.misses == 0 || w.ends >= 3 && w.ends > w.odd
}

// weigh looks up what inodes in a part of the volume name.
func (s *survey) weigh(ctx context.Context, v volume.Volume, g guess, end int64) (w weight, err error) {
	f := Guess(volume.Section(v, g.base, v.Size()-g.base, v.Name()), g.block)
	seeds, narrow, wide := map[uint32]int{}, map[int64]int{}, map[int64]int{}
	there := 0
	if err := ctx.Err(); err != nil {
		return w, err
	}
	for _, d := range s.dirs.some(g.base, end) {
		number, err := f.selfOf(d.raw)
		if err != nil {
			return w, err
		}
		if number == 0 {
			w.misses++
			continue
		}
		there++
		if seed, ok := d.raw.seedBy(number); ok {
			seeds[seed]++
		}
		// Within a table, numbers go with places.
		narrow[d.off-int64(number)*oldInode]++
		wide[d.off-int64(number)*2*oldInode]++
	}
	// From a wrong base on, inodes may lead to directories, but to other ones.
	w.dirs = max(agreed(seeds), agreed(narrow), agreed(wide), min(there, 1))
	w.misses += there - w.dirs
	for _, d := range s.files.some(g.base, end) {
		ends, told, err := f.endsWell(d.raw)
		switch {
		case err != nil:
			return w, err
		case told && ends:
			w.ends++
		case told:
			w.odd++
		}
	}
	return w, nil
}

// agreed is how many say the same as another one.
func agreed[K comparable](votes map[K]int) (n int) {
	for _, times := range votes {
		if times > 1 {
			n += times
		}
	}
	return n
}

// some are as many sightings of a part of the volume as are weighed, from all over it.
func (s *sightings) some(from, to int64) (out []sighting) {
	all := s.within(from, to)
	step := max(1, (len(all)+weighed-1)/weighed)
	for i := 0; i < len(all); i += step {
		out = append(out, all[i])
	}
	return out
}

func (s *sightings) within(from, to int64) []sighting {
	by := func(e sighting, at int64) int { return cmp.Compare(e.off, at) }
	i, _ := slices.BinarySearchFunc(s.all, from, by)
	j, _ := slices.BinarySearchFunc(s.all, to, by)
	return s.all[i:max(i, j)]
}

// selfOf is the number with which a directory's first block begins, at the place that
// its record gives; 0 where none stands there.
func (f *FS) selfOf(r record) (uint64, error) {
	place, _ := r.blockAt(0)
	p, err := f.block(place)
	if p == nil || err != nil {
		return 0, err
	}
	self, _ := (&walker{f: f, block: p}).dots()
	return self, nil
}

// endsWell tells whether a file's last block holds its end and zeros behind it.
// told is false where that says nothing.
func (f *FS) endsWell(r record) (ends, told bool, err error) {
	used := r.size() % uint64(f.bs)
	if used == 0 || uint64(f.bs)-used < leastTail {
		return false, false, nil
	}
	place, ok := r.blockAt(r.size() / uint64(f.bs))
	if !ok {
		return false, false, nil
	}
	if place >= uint64(f.limit/f.bs) {
		return false, true, nil
	}
	p, err := f.block(place)
	if p == nil || err != nil || isZero(p[max(used, leastTail)-leastTail:used]) {
		return false, false, err
	}
	return isZero(p[used:]), true, nil
}

// vote gives the guesses for which most directories' inodes and first blocks speak,
// within a part of the volume, and what else is worth a look.
func (s *survey) vote(from, to int64) (all []guess) {
	add := func(base, block int64) {
		if g := (guess{base, block}); base >= from && base < to && base%surveySector == 0 && !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	for _, j := range s.journals { // its inode says where it begins
		for _, d := range s.files.within(from, to) {
			if place, _ := d.raw.blockAt(0); int64(d.raw.size()) == j.size && place < 1<<40 {
				add(j.off-int64(place)*j.block, j.block)
			}
		}
	}
	dirs, dots := s.dirs.within(from, to), s.dots.within(from, to)
	dirs, dots = dirs[:min(len(dirs), votingDirs)], dots[:min(len(dots), votingDots)]
	for _, block := range guessedBlocks {
		for _, base := range mostVotes(dirs, dots, block, from) {
			add(base, block)
		}
	}
	for _, block := range guessedBlocks {
		for _, base := range []int64{0, 63 * surveySector, 1 << 20} {
			add(from+base, block)
		}
	}
	return all
}

// mostVotes gives the bases from which most directories' inodes lead to a first
// block of one, if blocks have this size.
func mostVotes(dirs, dots []sighting, block, least int64) (out []int64) {
	var bases []int64
	for _, d := range dirs {
		place, _ := d.raw.blockAt(0)
		for _, dot := range dots {
			if place >= 1<<40 {
				break
			}
			if base := dot.off - int64(place)*block; base >= least {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	type run struct {
		base  int64
		times int
	}
	var runs []run
	for i := 0; i < len(bases); {
		j := i
		for j < len(bases) && bases[j] == bases[i] {
			j++
		}
		if runs = append(runs, run{bases[i], j - i}); len(runs) > 1<<12 {
			slices.SortStableFunc(runs, func(a, b run) int { return cmp.Compare(b.times, a.times) })
			runs = runs[:mostVoted]
		}
		i = j
	}
	slices.SortStableFunc(runs, func(a, b run) int { return cmp.Compare(b.times, a.times) })
	for _, r := range runs[:min(len(runs), mostVoted)] {
		out = append(out, r.base)
	}
	return out
}
