package raid

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"salvor/salvage/volume"
)

// window is how much of the volume is read at once: enough for a disk to be read
// in long stretches, and little to hold in memory.
const window = 4 << 20

// An Array is a volume made of members. It implements volume.Volume.
type Array struct {
	name     string
	place    placement
	stripes  *stripes // the placement again, where there is parity
	slots    []*slot
	members  []volume.Volume
	tiers    int // the highest tier of any source
	useStale bool

	mu     sync.Mutex
	report Report // guarded by mu where Check writes; the rest is set by Open

	solved, unknown, doubtful atomic.Int64 // bytes
}

// Name is the level and the members in order.
func (a *Array) Name() string { return a.name }

// Size is the size of the whole array in bytes, whatever of it is readable.
func (a *Array) Size() int64 { return a.place.size() }

// Below implements volume.Layered.
func (a *Array) Below() []volume.Volume { return a.members }

// Close closes all members, also those that were left out.
func (a *Array) Close() error {
	var errs []error
	for _, m := range a.members {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// ReadAt reads as volume.Volume wants it. Bytes that only a stale member has are
// unknown, unless the array was opened with Options.UseStale.
func (a *Array) ReadAt(p []byte, off int64) ([]volume.Range, error) {
	unknown, doubtful, err := a.read(p, off, a.useStale)
	if err != nil || a.useStale || len(doubtful) == 0 {
		return unknown, err
	}
	blank(p, off, doubtful)
	return tidy(append(unknown, doubtful...)), nil
}

// ReadDoubtful reads like ReadAt, and uses stale members where nothing better is
// left, whatever Options.UseStale says. What came from them, alone or in a sum, is
// doubtful: it is what the array held at some time, not surely at the last. Both
// lists are sorted and apart from each other.
func (a *Array) ReadDoubtful(p []byte, off int64) (unknown, doubtful []volume.Range, err error) {
	return a.read(p, off, true)
}

func (a *Array) read(p []byte, off int64, stale bool) (unknown, doubtful []volume.Range, err error) {
	if off < 0 {
		return nil, nil, fmt.Errorf("read %s at %d: negative offset", a.name, off)
	}
	n := max(0, min(int64(len(p)), a.Size()-off))
	if n < int64(len(p)) {
		unknown = append(unknown, volume.Range{Off: off + n, Len: int64(len(p)) - n})
	}
	tiers := 0
	if stale {
		tiers = a.tiers
	}
	for at := int64(0); at < n; {
		w := min(window-(off+at)%window, n-at)
		left := []volume.Range{{Off: off + at, Len: w}}
		for tier := 0; tier <= tiers && len(left) > 0; tier++ {
			now := a.fill(p[at:at+w], off+at, left, tier)
			if tier > 0 {
				doubtful = append(doubtful, without(left, now)...)
			}
			left = now
		}
		unknown = append(unknown, left...)
		at += w
	}
	unknown, doubtful = tidy(unknown), tidy(doubtful)
	blank(p, off, unknown)
	if len(unknown) > 0 {
		err = a.died()
	}
	a.unknown.Add(total(within(unknown, off, off+n)))
	a.doubtful.Add(total(doubtful))
	return unknown, doubtful, err
}

// blank zeroes parts of p, which begins at off.
func blank(p []byte, off int64, rs []volume.Range) {
	for _, r := range within(rs, off, off+int64(len(p))) {
		clear(p[r.Off-off : r.End()-off])
	}
}

// died says so when nothing can be read from any member any more.
func (a *Array) died() error {
	var last error
	for _, s := range a.slots {
		for _, src := range s.sources {
			err := src.dead.Load()
			if err == nil {
				return nil
			}
			last = *err
		}
	}
	if last == nil {
		return nil
	}
	return fmt.Errorf("no member of %s can be read any more: %w", a.name, last)
}

// fill reads the wanted ranges of the volume into p, which begins at off, and
// gives what remains unknown when sources of at most this tier are used.
func (a *Array) fill(p []byte, off int64, want []volume.Range, tier int) []volume.Range {
	if a.stripes != nil && a.lacks(off+int64(len(p)), tier) && total(want) > a.stripes.chunk {
		// Every row needs solving: its members are read for that once, not once
		// for themselves and again for their neighbours.
		return a.solve(p, off, want, tier)
	}
	for k := range a.place.copies() {
		if len(want) == 0 {
			return nil
		}
		want = a.readCopy(p, off, want, k, tier)
	}
	if a.stripes != nil && len(want) > 0 {
		want = a.solve(p, off, want, tier)
	}
	return want
}

// lacks says whether a whole member is missing before end of the volume.
func (a *Array) lacks(end int64, tier int) bool {
	s := a.stripes
	row := (end - 1) / (s.chunk * int64(s.nd))
	for _, slot := range a.slots {
		if !slot.has(tier, (row+1)*s.chunk) {
			return true
		}
	}
	return false
}

// A job is a piece and where it belongs in the volume.
type job struct {
	piece
	to int64
}

// readCopy reads copy k of the wanted ranges, one slot beside the other.
func (a *Array) readCopy(p []byte, off int64, want []volume.Range, k, tier int) []volume.Range {
	jobs := map[int][]job{}
	for _, w := range want {
		for at := w.Off; at < w.End(); {
			pc := a.place.locate(at, k)
			pc.n = min(pc.n, w.End()-at)
			jobs[pc.slot] = append(jobs[pc.slot], job{pc, at})
			at += pc.n
		}
	}
	var mu sync.Mutex
	var unknown []volume.Range
	var g sync.WaitGroup
	for slot, js := range jobs {
		work := func() {
			u := a.slots[slot].readJobs(p, off, js, a.place.chunkSize(), tier)
			mu.Lock()
			unknown = append(unknown, u...)
			mu.Unlock()
		}
		if len(jobs) == 1 || len(p) < parallel {
			work()
			continue
		}
		g.Go(work)
	}
	g.Wait()
	return tidy(unknown)
}

// parallel is from which length on members are read side by side: disks turn at
// the same time, but starting a goroutine for a sector costs more than the sector.
const parallel = 64 << 10
