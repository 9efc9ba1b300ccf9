package parity

import (
	"context"
	"errors"
	"iter"
	"sort"
	"strings"

	"salvor/internal/objstore"
)

// List implements objstore.Store: what any target has. It names also what a
// Put that was cut off has left in part, so that it can be deleted; Get and
// Stat say that such an object does not exist.
func (s *Store) List(ctx context.Context, prefix string, yield func(objstore.Info) error) error {
	if err := objstore.CheckPrefix(prefix); err != nil {
		return &objstore.Error{Op: "list", Name: prefix, Store: "the targets", Err: err}
	}
	return s.merge(ctx, prefix, func(name string, shares []*objstore.Info) error {
		i, err := s.describe(ctx, name, shares)
		if err != nil {
			return err
		}
		return yield(i)
	})
}

// describe makes one entry of the shares of an object that were listed.
func (s *Store) describe(ctx context.Context, name string, shares []*objstore.Info) (objstore.Info, error) {
	i := objstore.Info{Name: name}
	for _, share := range shares {
		if share != nil && share.Modified.After(i.Modified) {
			i.Modified = share.Modified
		}
	}
	var ok bool
	if s.sharded(name) {
		if i.Size, ok = s.sizeOf(name, shares); ok {
			return i, nil
		}
		m, err := s.meta(ctx, name)
		i.Size = m.size
		return i, tolerate(ctx, err)
	}
	if i.Size, ok = wholeSize(shares); ok {
		return i, nil
	}
	b, err := s.getWhole(ctx, "list", name)
	i.Size = int64(len(b))
	return i, tolerate(ctx, err)
}

// tolerate lets a listing go on over an object that cannot be told: it is
// listed with no size.
func tolerate(ctx context.Context, err error) error {
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrDamaged) {
		return ctx.Err()
	}
	return err
}

// wholeSize is the size of a whole copy if all copies have the same.
func wholeSize(shares []*objstore.Info) (int64, bool) {
	size := int64(-1)
	for _, share := range shares {
		if share == nil {
			continue
		}
		n := share.Size - headerSize
		if n < 0 || size >= 0 && n != size {
			return 0, false
		}
		size = n
	}
	return size, size >= 0
}

// sizeOf finds the size of an object from the sizes of its shares, when they
// leave no doubt.
func (s *Store) sizeOf(name string, shares []*objstore.Info) (int64, bool) {
	turn := s.turn(name)
	own := make([][]int, len(shares))
	seen := int64(0)
	for slot, share := range shares {
		if share != nil {
			own[slot] = s.shards(turn, slot)
			seen += share.Size
		}
	}
	sum := func(size int64) (n int64) {
		m := meta{data: s.Data, parity: s.Parity, size: size}
		for slot := range shares {
			if own[slot] != nil {
				n += m.shareSize(own[slot])
			}
		}
		return n
	}
	// The shares grow with the object, so the size is found by halving.
	size := int64(sort.Search(objstore.MaxSize+1, func(n int) bool { return sum(int64(n)) >= seen }))
	if sum(size) != seen || size < objstore.MaxSize && sum(size+1) == seen {
		return 0, false
	}
	m := meta{data: s.Data, parity: s.Parity, size: size}
	for slot, share := range shares {
		if own[slot] != nil && m.shareSize(own[slot]) != share.Size {
			return 0, false
		}
	}
	return size, true
}

// merge goes through the listings of all targets together, in the order of
// names. yield gets what each target has, nil where it has nothing.
func (s *Store) merge(ctx context.Context, prefix string, yield func(name string, shares []*objstore.Info) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	lists := make([]*listing, len(s.targets))
	errs := s.each(func(slot int, t *target) error {
		l := newListing(ctx, t.store, prefix)
		lists[slot] = l
		l.advance()
		return l.err
	})
	defer func() {
		for _, l := range lists {
			if l != nil {
				l.stop()
			}
		}
	}()
	for {
		for slot, l := range lists {
			if l != nil && l.err != nil {
				errs[slot] = s.targets[slot].note(l.err)
			}
		}
		if err := s.listable(prefix, errs); err != nil {
			return err
		}
		name, shares := pick(lists)
		if name == "" {
			return ctx.Err()
		}
		for slot, share := range shares {
			if share != nil {
				lists[slot].advance()
			}
		}
		if strings.HasPrefix(name, OwnPrefix) {
			continue
		}
		if err := yield(name, shares); err != nil {
			return err
		}
	}
}

// listable is the error of a listing that too many targets failed.
func (s *Store) listable(prefix string, errs []error) error {
	bad := 0
	for _, err := range errs {
		switch {
		case err == nil:
		case canceled(err), errors.Is(err, objstore.ErrName):
			return err
		default:
			bad++
		}
	}
	if bad > s.lose.read {
		return s.fault("list", prefix, errs)
	}
	return nil
}

// pick is the least name that the listings stand at, and who has it.
func pick(lists []*listing) (name string, shares []*objstore.Info) {
	for _, l := range lists {
		if l != nil && l.at != nil && (name == "" || l.at.Name < name) {
			name = l.at.Name
		}
	}
	shares = make([]*objstore.Info, len(lists))
	for slot, l := range lists {
		if name != "" && l != nil && l.at != nil && l.at.Name == name {
			shares[slot] = l.at
		}
	}
	return name, shares
}

// listing is one target's listing, one entry at a time.
type listing struct {
	at   *objstore.Info // nil at its end
	err  error
	next func() (objstore.Info, bool)
	stop func()
}

func newListing(ctx context.Context, store objstore.Store, prefix string) *listing {
	l := &listing{}
	l.next, l.stop = iter.Pull(func(yield func(objstore.Info) bool) {
		err := store.List(ctx, prefix, func(i objstore.Info) error {
			if !yield(i) {
				return errStop
			}
			return nil
		})
		if !errors.Is(err, errStop) {
			l.err = err
		}
	})
	return l
}

func (l *listing) advance() {
	i, ok := l.next()
	if l.at = nil; ok {
		l.at = &i
	}
}
