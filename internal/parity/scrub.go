package parity

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"salvor/internal/objstore"
)

// ScrubOptions say how deep Scrub looks and whether it repairs.
type ScrubOptions struct {
	// Only tells the objects that are to be looked at; nil: all.
	Only func(name string) bool
	// Deep tells the objects that are to be read, every block on every target;
	// nil: none. The others are only listed, but what is found missing is read.
	Deep func(name string) bool
	// Fits tells whether bytes are what an object's name promises; nil: the
	// shares' own word is taken.
	Fits func(name string, body []byte) bool
	// Repair rebuilds what is missing or damaged. What is replaced is kept
	// beside it, below parity/damaged/ on its target.
	Repair bool
	// Workers is how many objects are looked at at the same time; 0: 1.
	Workers int
	// Done is called for every object, with the bytes that were read for it.
	Done func(name string, bytes int64)
}

// Finding is something wrong with what one target holds of an object, or with
// the object itself.
type Finding struct {
	Object   string
	Target   string // its label; "" for the object as a whole
	What     string // what is wrong, as in "is missing"
	Repaired bool
	Lost     bool  // the object cannot be rebuilt from what there is
	Err      error // why it was not repaired, where that was tried
}

// Scrub compares what lies on the targets with what should, and repairs it.
// What is on targets that are away is not looked at. filled are the blank
// targets (by their place in Options.Targets) that now hold everything.
// Findings come in no order, one call at a time.
func (s *Store) Scrub(ctx context.Context, o ScrubOptions, yield func(Finding) error) (filled []int, err error) {
	r := &scrubber{s: s, o: o, yield: yield, unfilled: make([]bool, s.Targets)}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan listed)
	var wg sync.WaitGroup
	for range max(o.Workers, 1) {
		wg.Go(func() {
			for l := range work {
				if ctx.Err() != nil {
					continue
				}
				if err := r.object(ctx, l); err != nil {
					cancel(err)
				}
			}
		})
	}
	err = s.merge(ctx, "", func(name string, shares []*objstore.Info) error {
		if o.Only != nil && !o.Only(name) {
			return nil
		}
		select {
		case work <- listed{name, shares}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(work)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil || !o.Repair {
		return nil, err
	}
	for slot := range s.targets {
		if r.filling(slot) && !r.unfilled[slot] {
			filled = append(filled, slot)
		}
	}
	return filled, nil
}

// listed is an object as the targets list it.
type listed struct {
	name   string
	shares []*objstore.Info
}

type scrubber struct {
	s  *Store
	o  ScrubOptions
	mu sync.Mutex // guards what follows

	yield    func(Finding) error
	unfilled []bool // targets that could not be given something
}

func (r *scrubber) object(ctx context.Context, l listed) error {
	look := r.whole
	if r.s.sharded(l.name) {
		look = r.sharded
	}
	n, err := look(ctx, l)
	if err == nil && r.o.Done != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.o.Done(l.name, n)
	}
	return err
}

// report hands a finding on. What a blank target lacks is none: it lacks
// everything.
func (r *scrubber) report(f Finding, slot int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slot >= 0 {
		f.Target = r.s.targets[slot].label
		if r.filling(slot) {
			if f.Repaired {
				return nil
			}
			r.unfilled[slot] = true
		}
	} else if !f.Lost && !r.s.sharded(f.Object) {
		// A target that does not know what it may have voted for must not vote.
		for slot := range r.unfilled {
			r.unfilled[slot] = true
		}
	}
	return r.yield(f)
}

// fix repairs one copy or share: it writes want where nothing is, or in the
// place of bad, which is kept.
func (r *scrubber) fix(ctx context.Context, name string, slot int, what string, bad, want []byte) error {
	f := Finding{Object: name, What: what}
	t := r.s.targets[slot]
	if r.o.Repair && (t.up() == nil || r.filling(slot)) {
		f.Err = t.note(replace(ctx, t.store, name, bad, want))
		f.Repaired = f.Err == nil
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return r.report(f, slot)
}

// replace puts want in the place of bad. A store changes no object, so bad is
// first copied beside it: at no moment is anything there less than once.
func replace(ctx context.Context, store objstore.Store, name string, bad, want []byte) error {
	if bad != nil {
		aside := fmt.Sprintf("%s%08x", asidePrefix(name), crc32.ChecksumIEEE(bad))
		if err := store.Put(ctx, aside, bad); err != nil {
			return err
		}
		if err := store.Delete(ctx, name); err != nil {
			return err
		}
	}
	return store.Put(ctx, name, want)
}

// filling tells whether the target is blank and is to be filled.
func (r *scrubber) filling(slot int) bool {
	t := r.s.targets[slot]
	return r.o.Repair && t.blank && t.store != nil
}

// Filled says that a blank target has everything again and takes part from
// now on.
func (s *Store) Filled(slot int) {
	t := s.targets[slot]
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blank, t.away = false, nil
}

// piece is how much is read at a time from what cannot be read at once.
const piece = 16 * BlockSize

// readAll reads a share, as far as it can be read: what the disk does not give
// is zeros. It is nil when there is none.
func (r *scrubber) readAll(ctx context.Context, slot int, name string) ([]byte, error) {
	t := r.s.targets[slot]
	if r.filling(slot) {
		b, err := t.store.Get(ctx, name, 0, -1)
		return there(b, err)
	}
	if err := t.up(); err != nil {
		return nil, err
	}
	b, err := t.store.Get(ctx, name, 0, -1)
	if t.note(err) == nil || canceled(err) || errors.Is(err, objstore.ErrUnavailable) || errors.Is(err, objstore.ErrNotExist) {
		return there(b, err)
	}
	st, ok := t.store.(objstore.Stater)
	if !ok {
		return nil, err
	}
	i, serr := st.Stat(ctx, name)
	if serr != nil || i.Size > objstore.MaxSize {
		return nil, err
	}
	whole := make([]byte, i.Size)
	for off := int64(0); off < i.Size; off += piece {
		if b, err := t.store.Get(ctx, name, off, min(piece, i.Size-off)); err == nil {
			copy(whole[off:], b)
		} else if canceled(err) {
			return nil, err
		}
	}
	return whole, nil
}

// there makes nil of what is missing, and of nothing else.
func there(b []byte, err error) ([]byte, error) {
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return nil, nil
	case err == nil && b == nil:
		return []byte{}, nil
	}
	return b, err
}

// whole looks at the copies of an object, which are small, always by reading.
func (r *scrubber) whole(ctx context.Context, l listed) (int64, error) {
	t, err := r.s.look(ctx, l.name)
	if err != nil {
		return 0, err
	}
	v, found, settled, err := r.s.resolve(ctx, "check", l.name, nil)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil || !found {
		return 0, r.report(Finding{Object: l.name, What: "has no copy that counts", Err: err, Lost: errors.Is(err, objstore.ErrDamaged)}, -1)
	}
	if !settled && r.s.anyAway() {
		// Somebody who is away may know better.
		return 0, r.report(Finding{Object: l.name, What: "counts only when a target that is away has it too"}, -1)
	}
	share := wrap(v.body)
	read := int64(0)
	for slot, b := range t.ballots {
		what := ""
		var bad []byte
		switch {
		case r.filling(slot):
			old, err := r.readAll(ctx, slot, l.name)
			if err == nil && same(old, share) {
				continue
			}
			what, bad = "is missing", old
		case b.state == unknown:
			continue
		case b.state == free:
			what = "is missing"
		case b.state == rotten, b.sum != v.sum:
			if what = "is damaged"; b.state == holds {
				what = "is another's, who lost against the majority"
			}
			if bad, err = r.readAll(ctx, slot, l.name); canceled(err) {
				return read, err
			} else if err != nil { // the target has gone away meanwhile
				if err := r.report(Finding{Object: l.name, What: what, Err: err}, slot); err != nil {
					return read, err
				}
				continue
			}
		}
		if read += int64(len(b.body)); what == "" {
			continue
		}
		if err := r.fix(ctx, l.name, slot, what, bad, share); err != nil {
			return read, err
		}
	}
	return read, nil
}

// anyAway tells whether a target is away that is not blank.
func (s *Store) anyAway() bool {
	return slices.ContainsFunc(s.targets, func(t *target) bool { return !t.blank && t.up() != nil })
}
