package parity

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
)

// sharded looks at the shares of an object. It says how many bytes it read.
func (r *scrubber) sharded(ctx context.Context, l listed) (int64, error) {
	if (r.o.Deep == nil || !r.o.Deep(l.name)) && !r.suspicious(l) {
		return 0, nil
	}
	shares, errs, err := r.load(ctx, l.name)
	if err != nil {
		return 0, err
	}
	read := int64(0)
	for _, b := range shares {
		read += int64(len(b))
	}
	o, all := r.trust(l.name, shares, errs)
	if o == nil {
		return read, r.hopeless(l.name, shares, errs)
	}
	if r.healthy(o, shares, all) {
		return read, nil
	}
	body, _, err := o.search(ctx, all)
	if ctx.Err() != nil {
		return read, ctx.Err()
	}
	if err != nil || r.o.Fits != nil && !r.o.Fits(l.name, body) {
		return read, r.hopeless(l.name, shares, errs)
	}
	want, err := r.s.encode(l.name, o.meta, body)
	if err != nil {
		return read, err
	}
	// What is missing first: then there is more to fall back on while what is
	// damaged is replaced.
	for _, missing := range []bool{true, false} {
		for slot, share := range shares {
			if want[slot] == nil || errs[slot] != nil || (share == nil) != missing || share != nil && same(share, want[slot]) {
				continue
			}
			what := "is missing"
			if share != nil {
				what = describeDamage(o, slot, share, all)
			}
			if err := r.fix(ctx, l.name, slot, what, share, want[slot]); err != nil {
				return read, err
			}
		}
	}
	return read, nil
}

// suspicious tells by the listing alone that something is wrong.
func (r *scrubber) suspicious(l listed) bool {
	turn := r.s.turn(l.name)
	_, sure := r.s.sizeOf(l.name, l.shares)
	for slot, t := range r.s.targets {
		if l.shares[slot] == nil && len(r.s.shards(turn, slot)) > 0 && (t.up() == nil || r.filling(slot)) {
			return true
		}
	}
	// Where a target is away, sizes may not tell all; then it is no sign.
	return !sure && !r.s.anyDown()
}

func (s *Store) anyDown() bool {
	for _, t := range s.targets {
		if t.up() != nil {
			return true
		}
	}
	return false
}

// load reads all shares; errs says of which targets nothing is known.
func (r *scrubber) load(ctx context.Context, name string) (shares [][]byte, errs []error, err error) {
	shares, errs = make([][]byte, r.s.Targets), make([]error, r.s.Targets)
	turn := r.s.turn(name)
	var wg sync.WaitGroup
	for slot := range shares {
		if len(r.s.shards(turn, slot)) > 0 {
			wg.Go(func() { shares[slot], errs[slot] = r.readAll(ctx, slot, name) })
		}
	}
	wg.Wait()
	return shares, errs, ctx.Err()
}

// trust finds what most shares say of the object, and opens all of them by it.
// It is nil when no share has a sound header.
func (r *scrubber) trust(name string, shares [][]byte, errs []error) (*object, map[int]*window) {
	headers := make([]*header, len(shares))
	longest := int64(0)
	for _, b := range shares {
		longest = max(longest, int64(len(b)))
	}
	for slot, b := range shares {
		h, ok := parseHeader(b)
		if ok && h.data == r.s.Data && h.parity == r.s.Parity && h.block == BlockSize && h.shardSize() <= longest { // no memory for what a lie says
			headers[slot] = &h
		}
	}
	v := &survey{states: make([]string, len(shares)), errs: errs}
	v.count(r.s, r.s.turn(name), headers)
	if len(v.metas) == 0 {
		return nil, nil
	}
	o := r.s.object(name, v.metas[0])
	all := map[int]*window{}
	for shard := range o.data + o.parity {
		slot := r.s.slot(o.turn, shard)
		w := o.newWindow(0, o.rows())
		if b := shares[slot]; b == nil {
			w.spoil(o.length(shard), errs[slot])
		} else {
			at := o.place(r.s.shards(o.turn, slot), shard)
			o.open(w, shard, b[min(at, int64(len(b))):])
		}
		all[shard] = w
	}
	return o, all
}

// healthy tells whether all shares are there and right: headers, checksums,
// the hash of the object, and parity that fits. It is what Scrub does for
// nearly every object, so it computes nothing that it does not compare.
func (r *scrubber) healthy(o *object, shares [][]byte, all map[int]*window) bool {
	for slot, b := range shares {
		own := r.s.shards(o.turn, slot)
		if len(own) == 0 {
			continue
		}
		h, ok := parseHeader(b)
		if !ok || h.meta != o.meta || h.first != own[0] || h.targets != r.s.Targets || int64(len(b)) != o.shareSize(own) {
			return false
		}
	}
	hash := sha256.New()
	shards := make([][]byte, len(all))
	for shard := range shards {
		if all[shard].anyBad() {
			return false
		}
		shards[shard] = all[shard].b
		if shard < o.data {
			hash.Write(shards[shard][:o.length(shard)])
		}
	}
	if [sha256.Size]byte(hash.Sum(nil)) != o.sum {
		return false
	}
	for from := int64(0); from < o.shardSize(); from += piece { // what fits into the processor's cache
		part := make([][]byte, len(shards))
		for i, b := range shards {
			part[i] = b[from:min(from+piece, int64(len(b)))]
		}
		if ok, err := r.s.rs.Verify(part); err != nil || !ok {
			return false
		}
	}
	return true
}

// hopeless reports an object that cannot be put together. It is lost when
// there are too few shards to read any of it; else some ranges may be whole.
func (r *scrubber) hopeless(name string, shares [][]byte, errs []error) error {
	there, away := 0, false
	for slot, share := range shares {
		if share != nil {
			there += len(r.s.shards(r.s.turn(name), slot))
		}
		away = away || errs[slot] != nil && !r.s.targets[slot].blank
	}
	f := Finding{Object: name, What: "too many of its shards are damaged in the same places"}
	if there < r.s.Data {
		f.What = fmt.Sprintf("only %d of the %d shards that it needs are there", there, r.s.Data)
		f.Lost = !away
	}
	if away {
		f.Err = r.s.fault("check", name, errs)
	}
	return r.report(f, -1)
}

// describeDamage says in words what is wrong with a share.
func describeDamage(o *object, slot int, share []byte, all map[int]*window) string {
	own := o.s.shards(o.turn, slot)
	if size := o.shareSize(own); int64(len(share)) != size {
		return fmt.Sprintf("has %d bytes, not %d", len(share), size)
	}
	bad := 0
	for _, shard := range own {
		for _, b := range all[shard].bad {
			if b {
				bad++
			}
		}
	}
	if h, ok := parseHeader(share); !ok {
		return "has a damaged header"
	} else if h.meta != o.meta {
		return "is of another object"
	}
	if bad == 0 {
		return "has sound checksums and the wrong bytes"
	}
	return fmt.Sprintf("has %d damaged blocks of %d bytes", bad, BlockSize)
}
