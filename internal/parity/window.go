package parity

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"salvor/internal/objstore"
)

// An object is one that is read: its shares, and what they say of it.
type object struct {
	s    *Store
	name string
	meta
	turn  int
	check seeds
}

func (s *Store) object(name string, m meta) *object {
	return &object{s: s, name: name, meta: m, turn: s.turn(name), check: m.seeds()}
}

// window holds rows from to to of one shard, without their checksums, and
// knows which of them are not to be had. What a data shard lacks to the length
// of the others is zeros, as for the code.
type window struct {
	from, to int64
	b        []byte
	bad      []bool
	err      error // why all of it is bad; nil when single blocks are, or none
}

func (o *object) newWindow(from, to int64) *window {
	end := min(to*BlockSize, o.shardSize())
	return &window{from: from, to: to, b: make([]byte, end-from*BlockSize), bad: make([]bool, to-from)}
}

// row is the bytes of one row.
func (w *window) row(row int64) []byte {
	off := (row - w.from) * BlockSize
	return w.b[off:min(off+BlockSize, int64(len(w.b)))]
}

func (w *window) isBad(row int64) bool { return w.bad[row-w.from] }

func (w *window) anyBad() bool { return slices.Contains(w.bad, true) }

// spoil marks everything as bad that a shard has bytes of.
func (w *window) spoil(have int64, err error) *window {
	for row := w.from; row < w.to; row++ {
		w.bad[row-w.from] = row*BlockSize < have
	}
	w.err = err
	return w
}

// fetch reads rows of a shard with one request.
func (o *object) fetch(ctx context.Context, shard int, from, to int64) *window {
	w := o.newWindow(from, to)
	have := o.length(shard)
	if have <= from*BlockSize {
		return w // zeros
	}
	t := o.s.targets[o.s.slot(o.turn, shard)]
	if err := t.up(); err != nil {
		return w.spoil(have, err)
	}
	at := o.place(o.s.shards(o.turn, o.s.slot(o.turn, shard)), shard) + from*(BlockSize+sumSize)
	n := onTarget(min(have, to*BlockSize) - from*BlockSize)
	b, err := t.store.Get(ctx, o.name, at, n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		// It was cut short. Its beginning may be good.
		if b, err = t.store.Get(ctx, o.name, 0, -1); err == nil {
			b = b[min(at, int64(len(b))):min(at+n, int64(len(b)))]
		}
	}
	if t.note(err) != nil {
		return w.spoil(have, err)
	}
	o.open(w, shard, b)
	return w
}

// open takes the blocks out of the bytes of a share, and compares their
// checksums.
func (o *object) open(w *window, shard int, b []byte) {
	have := o.length(shard)
	for row := w.from; row < w.to && row*BlockSize < have; row++ {
		n := min(have-row*BlockSize, BlockSize)
		if int64(len(b)) < n+sumSize {
			w.bad[row-w.from] = true
			b = nil
			continue
		}
		block := b[:n]
		if binary.BigEndian.Uint32(b[n:]) != o.check.sum(shard, row, block) {
			w.bad[row-w.from] = true
		} else {
			copy(w.row(row), block)
		}
		b = b[n+sumSize:]
	}
}

// fetchAll reads rows of several shards at the same time.
func (o *object) fetchAll(ctx context.Context, shards []int, from, to int64) map[int]*window {
	all := make([]*window, len(shards))
	var wg sync.WaitGroup
	for i, shard := range shards {
		if i == len(shards)-1 { // a single one, the common case, costs no goroutine
			all[i] = o.fetch(ctx, shard, from, to)
			break
		}
		wg.Go(func() { all[i] = o.fetch(ctx, shard, from, to) })
	}
	wg.Wait()
	out := make(map[int]*window, len(shards))
	for i, shard := range shards {
		out[shard] = all[i]
	}
	return out
}

// rebuild makes the bad rows of the windows good, all of which have the same
// rows, from as many other shards as that takes. ErrDamaged when there are too
// few, ErrUnavailable when those that are missing are on targets that are away.
func (o *object) rebuild(ctx context.Context, windows map[int]*window) error {
	from, to := span(windows)
	if from == to {
		return nil
	}
	have := map[int]*window{}
	for shard, w := range windows {
		have[shard] = w
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		missing := o.lacking(have, windows, from, to)
		if missing == 0 {
			break
		}
		var more []int
		for shard := 0; shard < o.data+o.parity && len(more) < missing; shard++ {
			if have[shard] == nil {
				more = append(more, shard)
			}
		}
		if len(more) == 0 {
			return o.tooFew(have)
		}
		for shard, w := range o.fetchAll(ctx, more, from, to) {
			have[shard] = w
		}
	}
	return o.code(have, windows, from, to)
}

// span is from the first to behind the last row that is bad somewhere.
func span(windows map[int]*window) (from, to int64) {
	from = -1
	for _, w := range windows {
		for row := w.from; row < w.to; row++ {
			if w.isBad(row) {
				if from < 0 || row < from {
					from = row
				}
				to = max(to, row+1)
			}
		}
	}
	return max(from, 0), to
}

// lacking is how many more shards the worst row needs.
func (o *object) lacking(have, wanted map[int]*window, from, to int64) int {
	worst := 0
	for row := from; row < to; row++ {
		good, want := 0, false
		for _, w := range have {
			if !w.isBad(row) {
				good++
			}
		}
		for _, w := range wanted {
			want = want || w.isBad(row)
		}
		if want {
			worst = max(worst, o.data-good)
		}
	}
	return worst
}

// code computes the bad rows, those that lack the same shards together.
func (o *object) code(have, wanted map[int]*window, from, to int64) error {
	for row := from; row < to; {
		end := row + 1
		for end < to && sameShards(have, row, end) {
			end++
		}
		shards := make([][]byte, o.data+o.parity)
		required := make([]bool, len(shards))
		lost := false
		for shard := range shards {
			w := have[shard]
			switch {
			case w == nil:
			case !w.isBad(row):
				shards[shard] = w.rows(row, end)
			case wanted[shard] != nil:
				required[shard], lost = true, true
			}
		}
		if lost {
			if err := o.s.rs.ReconstructSome(shards, required); err != nil {
				return err
			}
			for shard, w := range wanted {
				if !required[shard] {
					continue
				}
				copy(w.rows(row, end), shards[shard])
				for r := row; r < end; r++ {
					w.bad[r-w.from] = false
				}
			}
		}
		row = end
	}
	return nil
}

func sameShards(have map[int]*window, a, b int64) bool {
	for _, w := range have {
		if w.isBad(a) != w.isBad(b) {
			return false
		}
	}
	return true
}

// rows is the bytes of some rows.
func (w *window) rows(from, to int64) []byte {
	return w.b[(from-w.from)*BlockSize : min((to-w.from)*BlockSize, int64(len(w.b)))]
}

// outOfReach is for an object that would be there if no target were away. With
// more of them away than may be, that is the reason; else it is the object's own
// damage, or that it was written while others were away, and no reason to give
// up the objects that can be read.
func (s *Store) outOfReach(op, name string, errs []error) error {
	fault := s.fault(op, name, errs)
	if failed(errs) > s.lose.read || canceled(fault) {
		return fault
	}
	var away []string
	for i, err := range errs {
		if err != nil {
			away = append(away, s.targets[i].label)
		}
	}
	return damaged(op, name, "too few of its shards are whole while a target is away: "+strings.Join(away, ", "))
}

// tooFew says why an object cannot be rebuilt.
func (o *object) tooFew(have map[int]*window) error {
	errs := make([]error, len(o.s.targets))
	away := false
	for shard, w := range have {
		if w.err != nil && !errors.Is(w.err, objstore.ErrNotExist) {
			errs[o.s.slot(o.turn, shard)] = w.err
			away = true
		}
	}
	if away {
		return o.s.outOfReach("get", o.name, errs)
	}
	return damaged("get", o.name, "too few of its shards are whole to rebuild the others")
}
