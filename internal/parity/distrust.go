package parity

import (
	"context"
	"crypto/sha256"
)

// maxTrials bounds how many combinations of shards are tried when a share has
// the right checksums and the wrong bytes.
const maxTrials = 300

// distrust puts an object together whose shares all look sound and give the
// wrong hash: one of the targets lies, or wrote another object's bytes. It
// leaves out one target, then two, and so on, until the hash fits.
func (o *object) distrust(ctx context.Context) ([]byte, error) {
	shards := make([]int, o.data+o.parity)
	for i := range shards {
		shards[i] = i
	}
	b, _, err := o.search(ctx, o.fetchAll(ctx, shards, 0, o.rows()))
	return b, err
}

// search finds the object in windows of all rows of all shards, and the slots
// that had to be left out. ErrDamaged when no combination gives its hash.
func (o *object) search(ctx context.Context, all map[int]*window) ([]byte, []int, error) {
	trials := 0
	for lost := 0; lost <= o.s.Targets && trials < maxTrials; lost++ {
		for _, out := range combinations(o.s.Targets, lost) {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			if trials++; trials > maxTrials {
				break
			}
			if b, ok := o.without(all, out); ok {
				return b, out, nil
			}
		}
	}
	return nil, nil, o.tooFew(all)
}

// without puts the object together from what is sound, leaving out some slots.
func (o *object) without(all map[int]*window, out []int) ([]byte, bool) {
	have, wanted := map[int]*window{}, map[int]*window{}
	for shard, w := range all {
		for _, slot := range out {
			if o.s.slot(o.turn, shard) == slot {
				w = o.newWindow(w.from, w.to).spoil(o.length(shard), nil)
			}
		}
		if shard < o.data {
			// Rebuilding writes into what it is given.
			w = &window{from: w.from, to: w.to, b: append([]byte(nil), w.b...), bad: append([]bool(nil), w.bad...)}
			wanted[shard] = w
		}
		have[shard] = w
	}
	from, to := span(wanted)
	if o.lacking(have, wanted, from, to) > 0 || o.code(have, wanted, from, to) != nil {
		return nil, false
	}
	b := make([]byte, 0, o.size)
	for shard := range o.data {
		b = append(b, wanted[shard].b[:o.length(shard)]...)
	}
	return b, sha256.Sum256(b) == o.sum
}

// combinations are all sets of n of the numbers below of, in order.
func combinations(of, n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, smaller := range combinations(of, n-1) {
		from := 0
		if len(smaller) > 0 {
			from = smaller[len(smaller)-1] + 1
		}
		for i := from; i < of && len(all) < maxTrials; i++ {
			all = append(all, append(append([]int(nil), smaller...), i))
		}
	}
	return all
}
