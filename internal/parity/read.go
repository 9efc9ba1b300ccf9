package parity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"salvor/internal/objstore"
)

// sharded tells how an object is kept.
func (s *Store) sharded(name string) bool { return !s.whole(name) }

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	err := checkName("get", name)
	if err == nil {
		if err = objstore.CheckRange(off, n); err != nil {
			err = &objstore.Error{Op: "get", Name: name, Store: "the targets", Err: err}
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if s.sharded(name) {
		return s.getSharded(ctx, name, off, n)
	}
	b, err := s.getWhole(ctx, "get", name)
	if err != nil {
		return nil, err
	}
	n, err = cut(name, int64(len(b)), off, n)
	if err != nil {
		return nil, err
	}
	return b[off : off+n : off+n], nil
}

// cut is the length of a range of an object.
func cut(name string, size, off, n int64) (int64, error) {
	if n < 0 {
		n = size - off
	}
	if n < 0 || off+n > size {
		return 0, &objstore.Error{Op: "get", Name: name, Store: "the targets", Err: fmt.Errorf("%w: it has %d bytes", io.ErrUnexpectedEOF, size)}
	}
	return n, nil
}

func (s *Store) getSharded(ctx context.Context, name string, off, n int64) ([]byte, error) {
	m, err := s.meta(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := s.object(name, m).read(ctx, off, n)
	if !errors.Is(err, objstore.ErrDamaged) && !errors.Is(err, objstore.ErrNotExist) {
		return b, err
	}
	// What was believed of the object may be one share's error, or outdated.
	s.known.forget(name)
	all, serr := s.survey(ctx, name)
	if serr != nil {
		return nil, serr
	}
	if all.there+all.hidden < s.Data { // what a put that was cut off has left
		return nil, s.gone(name, all)
	}
	for _, other := range all.metas {
		if other == m {
			continue
		}
		if b, oerr := s.object(name, other).read(ctx, off, n); oerr == nil {
			s.known.put(name, other)
			return b, nil
		}
	}
	return nil, err
}

// read gives a range of the object.
func (o *object) read(ctx context.Context, off, n int64) ([]byte, error) {
	n, err := cut(o.name, o.size, off, n)
	if err != nil || n == 0 {
		return nil, err
	}
	// The rows that the range has in each data shard differ; a range that
	// touches more than one reads the same rows of all of them only when it has to
	// rebuild.
	size := o.shardSize()
	first, last := int(off/size), int((off+n-1)/size)
	parts := make([][]byte, last-first+1)
	errs := make([]error, len(parts))
	part := func(shard int) {
		from := max(off-int64(shard)*size, 0)
		to := min(off+n-int64(shard)*size, size)
		parts[shard-first], errs[shard-first] = o.part(ctx, shard, from, to)
	}
	var wg sync.WaitGroup
	for shard := first; shard < last; shard++ {
		wg.Go(func() { part(shard) })
	}
	part(last)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err // one says enough
		}
	}
	out := parts[0]
	if len(parts) > 1 {
		out = make([]byte, 0, n)
		for _, p := range parts {
			out = append(out, p...)
		}
	}
	if n == o.size && sha256.Sum256(out) != o.sum {
		return o.distrust(ctx)
	}
	return out, nil
}

// part gives bytes from to to of one data shard.
func (o *object) part(ctx context.Context, shard int, from, to int64) ([]byte, error) {
	lo, hi := from/BlockSize, blocks(to)
	w := o.fetch(ctx, shard, lo, hi)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if w.anyBad() {
		if err := o.rebuild(ctx, map[int]*window{shard: w}); err != nil {
			return nil, err
		}
	}
	return w.b[from-lo*BlockSize : to-lo*BlockSize : to-lo*BlockSize], nil
}

// survey is what all shares of an object say.
type survey struct {
	metas  []meta   // the most frequent first
	states []string // of each target: "" is well, else what is wrong
	there  int      // shards of the first meta that have a share with a sound header
	hidden int      // shards that may be on targets that are away
	errs   []error
}

// survey reads the headers of all shares.
func (s *Store) survey(ctx context.Context, name string) (*survey, error) {
	headers := make([]*header, s.Targets)
	v := &survey{states: make([]string, s.Targets)}
	turn := s.turn(name)
	v.errs = s.each(func(slot int, t *target) error {
		own := s.shards(turn, slot)
		if len(own) == 0 {
			return nil
		}
		b, err := t.store.Get(ctx, name, 0, headerSize)
		switch {
		case errors.Is(err, objstore.ErrNotExist):
			v.states[slot] = "is missing"
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			v.states[slot] = "is cut short"
			return nil
		case err != nil:
			return err
		}
		h, ok := parseHeader(b)
		if !ok || h.data != s.Data || h.parity != s.Parity || h.first != own[0] || h.targets != s.Targets || h.block != BlockSize {
			v.states[slot] = "has a damaged header"
			return nil
		}
		headers[slot] = &h
		return nil
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v.count(s, turn, headers)
	return v, nil
}

// count sorts what the headers say.
func (v *survey) count(s *Store, turn int, headers []*header) {
	shards := map[meta]int{}
	for slot, h := range headers {
		n := len(s.shards(turn, slot))
		if v.errs[slot] != nil {
			v.hidden += n
		}
		if h == nil {
			continue
		}
		if shards[h.meta] == 0 {
			v.metas = append(v.metas, h.meta)
		}
		shards[h.meta] += n
	}
	for i := range v.metas { // a handful at most: the best to the front
		if shards[v.metas[i]] > shards[v.metas[0]] {
			v.metas[0], v.metas[i] = v.metas[i], v.metas[0]
		}
	}
	if len(v.metas) == 0 {
		return
	}
	v.there = shards[v.metas[0]]
	for slot, h := range headers {
		if h != nil && h.meta != v.metas[0] {
			v.states[slot] = "is of another object"
		}
	}
}

// meta says how large an object is and what hash it has.
func (s *Store) meta(ctx context.Context, name string) (meta, error) {
	if m, ok := s.known.get(name); ok {
		return m, nil
	}
	// Any share knows it. Shard 0 is where most first reads go.
	t := s.targets[s.slot(s.turn(name), 0)]
	if t.up() == nil {
		b, err := t.store.Get(ctx, name, 0, headerSize)
		if h, ok := parseHeader(b); t.note(err) == nil && ok && h.data == s.Data && h.parity == s.Parity && h.block == BlockSize {
			s.known.put(name, h.meta)
			return h.meta, nil
		}
	}
	v, err := s.survey(ctx, name)
	if err != nil {
		return meta{}, err
	}
	if v.there >= s.Data || v.there > 0 && v.there+v.hidden >= s.Data {
		s.known.put(name, v.metas[0])
		return v.metas[0], nil
	}
	return meta{}, s.gone(name, v)
}

// gone says why an object cannot be read at all.
func (s *Store) gone(name string, v *survey) error {
	switch {
	case v.there > 0 && v.hidden > 0 && v.there+v.hidden >= s.Data:
		return s.outOfReach("get", name, v.errs)
	case v.hidden >= s.Data || failed(v.errs) > s.lose.read:
		return s.fault("get", name, v.errs)
	}
	for _, state := range v.states {
		if state != "" && state != "is missing" {
			return damaged("get", name, fmt.Sprintf("only %d of the %d shards that it needs are there", v.there, s.Data))
		}
	}
	return &objstore.Error{Op: "get", Name: name, Store: "the targets", Kind: objstore.ErrNotExist}
}

// Stat implements objstore.Stater.
func (s *Store) Stat(ctx context.Context, name string) (objstore.Info, error) {
	i := objstore.Info{Name: name}
	if err := errors.Join(checkName("stat", name), ctx.Err()); err != nil {
		return objstore.Info{}, err
	}
	if s.sharded(name) {
		v, err := s.survey(ctx, name)
		if err != nil {
			return objstore.Info{}, err
		}
		if v.there == 0 || v.there+v.hidden < s.Data {
			return objstore.Info{}, s.gone(name, v)
		}
		i.Size = v.metas[0].size
	} else {
		b, err := s.getWhole(ctx, "stat", name)
		if err != nil {
			return objstore.Info{}, err
		}
		i.Size = int64(len(b))
	}
	return s.age(ctx, i)
}

// age fills in when the newest copy was written.
func (s *Store) age(ctx context.Context, i objstore.Info) (objstore.Info, error) {
	all := make([]objstore.Info, s.Targets)
	errs := s.each(func(slot int, t *target) error {
		st, ok := t.store.(objstore.Stater)
		if !ok {
			return errors.New("the target tells nothing about single objects")
		}
		var err error
		if all[slot], err = st.Stat(ctx, i.Name); errors.Is(err, objstore.ErrNotExist) {
			return nil
		}
		return err
	})
	found := false
	for _, one := range all {
		found = found || one.Name != ""
		if one.Modified.After(i.Modified) {
			i.Modified = one.Modified
		}
	}
	if !found {
		return objstore.Info{}, s.fault("stat", i.Name, errs)
	}
	return i, ctx.Err()
}
