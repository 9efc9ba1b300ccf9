package parity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"salvor/internal/objstore"
)

// Put implements objstore.Store. It returns nil when a majority of the targets
// holds a whole copy; of shards, when no more targets lack theirs than may be
// away for writing (Layout.MayLose).
func (s *Store) Put(ctx context.Context, name string, body []byte) error {
	err := checkName("put", name)
	if err == nil {
		if err = objstore.CheckSize(int64(len(body))); err != nil {
			err = &objstore.Error{Op: "put", Name: name, Store: "the targets", Err: err}
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		return err
	case s.sharded(name):
		return s.putSharded(ctx, name, body)
	}
	return s.putWhole(ctx, name, body)
}

func (s *Store) putSharded(ctx context.Context, name string, body []byte) error {
	// Before anything is computed or written.
	if err := s.ready(name); err != nil {
		return err
	}
	m := s.describeBody(name, body)
	shares, err := s.encode(name, m, body)
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	errs := s.each(func(slot int, t *target) error {
		if shares[slot] == nil {
			return nil
		}
		return t.store.Put(ctx, name, shares[slot])
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	others, err := s.judge(ctx, name, m, shares, errs)
	switch {
	case err != nil:
		return err
	case others > s.lose.write:
		return &objstore.Error{Op: "put", Name: name, Store: "the targets", Kind: objstore.ErrExists}
	case failed(errs) > s.lose.write:
		return s.fault("put", name, errs)
	}
	s.known.put(name, m)
	if failed(errs) == 0 { // a target that failed may still be reading
		s.recycle(shares)
	}
	return nil
}

// describeBody is the meta of an object that is put.
func (s *Store) describeBody(name string, body []byte) meta {
	m := meta{data: s.Data, parity: s.Parity, size: int64(len(body)), block: BlockSize}
	if s.sum != nil {
		if sum, ok := s.sum(name); ok {
			m.sum = sum
			return m
		}
	}
	m.sum = sha256.Sum256(body)
	return m
}

// ready refuses to begin a Put when too many targets are away already.
func (s *Store) ready(name string) error {
	errs := make([]error, len(s.targets))
	for slot, t := range s.targets {
		errs[slot] = t.up()
	}
	if failed(errs) > s.lose.write {
		return s.fault("put", name, errs)
	}
	return nil
}

// judge looks at the targets that have other bytes under the name: how many of
// them have a share of another object. The rest hold a damaged share of this
// one, and get the right one now that it is known; the damaged one is put aside.
func (s *Store) judge(ctx context.Context, name string, m meta, shares [][]byte, errs []error) (others int, err error) {
	for slot, e := range errs {
		if !errors.Is(e, objstore.ErrExists) {
			continue
		}
		t := s.targets[slot]
		b, err := t.store.Get(ctx, name, 0, -1)
		if err == nil {
			if h, ok := parseHeader(b); ok && h.meta != m {
				others++
				continue
			}
			err = replace(ctx, t.store, name, b, shares[slot])
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		errs[slot] = t.note(err)
	}
	return others, nil
}

// Delete implements objstore.Store: everything of the object on all targets
// that answer. What is left on one that is away is listed when it is back, and
// can be deleted then; alone it gives no object.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := errors.Join(checkName("delete", name), ctx.Err()); err != nil {
		return err
	}
	s.known.forget(name)
	errs := s.each(func(_ int, t *target) error {
		if err := t.store.Delete(ctx, name); err != nil {
			return err
		}
		return s.deleteAside(ctx, t, name)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, objstore.ErrUnavailable) {
			return s.fault("delete", name, errs)
		}
	}
	if failed(errs) > s.lose.read {
		return s.fault("delete", name, errs)
	}
	return nil
}

// asidePrefix is where a target keeps the damaged copies of an object that
// were replaced.
func asidePrefix(name string) string { return OwnPrefix + "damaged/" + name + "." }

// deleteAside deletes what was put aside of an object, and the second round of
// a vote on its name.
func (s *Store) deleteAside(ctx context.Context, t *target, name string) error {
	var all []string
	if s.whole(name) {
		all = append(all, verdictsPrefix+name)
	}
	if prefix := asidePrefix(name); objstore.CheckName(prefix+"0") == nil {
		err := t.store.List(ctx, prefix, func(i objstore.Info) error {
			all = append(all, i.Name)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, n := range all {
		if objstore.CheckName(n) != nil {
			continue // too long to have ever been written
		}
		if err := t.store.Delete(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// same tells whether a share is what it should be.
func same(share, want []byte) bool { return sha256.Sum256(share) == sha256.Sum256(want) }
