package raid

import (
	"cmp"
	"slices"

	"salvor/internal/buffers"
	"salvor/salvage/volume"
)

// readJobs reads pieces of one slot into p, which begins at off of the volume, and
// gives what is unknown of the volume. Pieces with at most gap bytes between them
// are read in one go: the parity chunk between two data chunks costs a disk less
// than a second read.
func (s *slot) readJobs(p []byte, off int64, jobs []job, gap int64, tier int) (unknown []volume.Range) {
	slices.SortFunc(jobs, func(a, b job) int { return cmp.Compare(a.off, b.off) })
	for len(jobs) > 0 {
		n, end := 1, jobs[0].off+jobs[0].n
		for n < len(jobs) && jobs[n].off-end <= gap {
			end = max(end, jobs[n].off+jobs[n].n)
			n++
		}
		unknown = append(unknown, s.readRun(p, off, jobs[:n], end, tier)...)
		jobs = jobs[n:]
	}
	return unknown
}

// readRun reads pieces that lie close to each other and end before end.
func (s *slot) readRun(p []byte, off int64, jobs []job, end int64, tier int) (unknown []volume.Range) {
	first := jobs[0]
	if len(jobs) == 1 {
		at := first.to - off
		return shift(s.read(p[at:at+first.n], first.off, tier), first.to-first.off)
	}
	b := buffers.Get(int(end - first.off))[:end-first.off]
	defer buffers.Put(b)
	holes := s.read(b, first.off, tier)
	for _, j := range jobs {
		from := j.off - first.off
		copy(p[j.to-off:j.to-off+j.n], b[from:from+j.n])
		unknown = append(unknown, shift(within(holes, j.off, j.off+j.n), j.to-j.off)...)
	}
	return unknown
}
