// Package parity is an object store over several targets (object stores of
// their own: directories on different disks, buckets), so that a vault
// outlives the loss of some of them, and rot in all of them.
//
// Two kinds of objects, told apart by Options.Whole:
//
//   - What is named by its content becomes k data and m parity shards
//     (Reed-Solomon), spread evenly over the targets. Any k of them give the
//     object back, block by block. A healthy ranged read touches only the data
//     shards and blocks that it needs.
//   - What is created under a name that others may want too (a vault's config,
//     commits, leases) is copied whole to every target, and counts when a
//     majority holds the same bytes. See whole.go for the rule and why two
//     writers never both win.
//
// A target that does not answer is left out for a while and the work goes on,
// as long as Layout.MayLose allows; Store.Troubles says so. What it misses is
// healed by Scrub, which also rebuilds what is damaged, and Refill, which
// fills a target that was replaced by an empty one.
//
// The package knows no vault: it moves bytes. Only internal/vault and tests
// call it. docs/format.md, "Shares" and "Majority", describes what lies on a
// target.
package parity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"salvor/internal/objstore"
)

// OwnPrefix is where a target keeps what is not an object of the store's: no
// object's name begins with it, and no listing shows it.
const OwnPrefix = "parity/"

// Target is one of the stores that objects are spread over.
type Target struct {
	// Label names it in messages, as the operator knows it.
	Label string
	// Store is nil for a target that is away; Err says why.
	Store objstore.Store
	Err   error
	// Blank says that the target has lost what it held: it takes the place of
	// another one, and is empty or half filled. It is filled by Refill, and
	// counts as away until then.
	Blank bool
}

// Options says how New puts a store together.
type Options struct {
	Layout  Layout
	Targets []Target // as many as Layout says, always in the same order
	// Whole tells the names of which every target gets a whole copy; nil: none.
	Whole func(name string) bool
	// Sum gives the SHA-256 that a name says its object has, where it says so: it
	// is then not computed again. nil: no name does.
	Sum func(name string) (sum [sha256.Size]byte, ok bool)
	// Retry is how long a target that did not answer is left alone the first
	// time; 0: 30 s.
	Retry time.Duration
}

// Store is an object store over targets. It implements objstore.Store, Stater,
// Clock and Space.
type Store struct {
	*coder
	whole   func(name string) bool
	sum     func(name string) ([sha256.Size]byte, bool)
	targets []*target
	known   *metas
	lose    struct{ read, write int }
}

// New makes a store of targets; ErrLayout when they do not fit the layout.
func New(o Options) (*Store, error) {
	if err := o.Layout.Validate(); err != nil {
		return nil, err
	}
	if len(o.Targets) != o.Layout.Targets {
		return nil, fmt.Errorf("%w: %d targets, not %d", ErrLayout, len(o.Targets), o.Layout.Targets)
	}
	c, err := newCoder(o.Layout)
	if err != nil {
		return nil, err
	}
	s := &Store{coder: c, whole: o.Whole, sum: o.Sum, known: newMetas()}
	if s.whole == nil {
		s.whole = func(string) bool { return false }
	}
	if o.Retry == 0 {
		o.Retry = 30 * time.Second
	}
	s.lose.read, s.lose.write = o.Layout.MayLose()
	for _, t := range o.Targets {
		s.targets = append(s.targets, newTarget(t, o.Retry))
	}
	return s, nil
}

// String names the targets.
func (s *Store) String() string {
	labels := make([]string, len(s.targets))
	for i, t := range s.targets {
		labels[i] = t.label
	}
	return strings.Join(labels, " + ")
}

// Layout says how the store spreads objects.
func (s *Store) Layout() Layout { return s.coder.Layout }

// Target is the store of a target; nil for one that could not be opened.
func (s *Store) Target(slot int) objstore.Store { return s.targets[slot].store }

// Label names a target as Options did.
func (s *Store) Label(slot int) string { return s.targets[slot].label }

// Blank lists the targets that wait to be filled.
func (s *Store) Blank() (slots []int) {
	for slot, t := range s.targets {
		if t.blank && t.store != nil {
			slots = append(slots, slot)
		}
	}
	return slots
}

// Trouble is a target that does not do its part.
type Trouble struct {
	Target string // its label
	Blank  bool   // it is empty, and waits to be filled
	Err    error  // nil for a blank one
}

// Troubles are the targets that were away or failed since the store was
// opened, in the targets' order.
func (s *Store) Troubles() []Trouble {
	var all []Trouble
	for _, t := range s.targets {
		if tr, ok := t.troubled(); ok {
			all = append(all, tr)
		}
	}
	return all
}

// each does something at all targets that are up, at the same time, and gives
// the error of each; a target that is not up has the error why.
func (s *Store) each(do func(slot int, t *target) error) []error {
	errs := make([]error, len(s.targets))
	var wg sync.WaitGroup
	for slot, t := range s.targets {
		if err := t.up(); err != nil {
			errs[slot] = err
			continue
		}
		wg.Go(func() { errs[slot] = t.note(do(slot, t)) })
	}
	wg.Wait()
	return errs
}

// fault makes the error of an operation that too many targets failed: it names
// them, and is of the kind that all their errors are of.
func (s *Store) fault(op, name string, errs []error) error {
	var words []string
	var kind error
	for i, err := range errs {
		if err == nil {
			continue
		}
		if canceled(err) {
			return err
		}
		k := kindOf(err)
		if kind != nil && kind != k {
			k = objstore.ErrUnavailable
		}
		kind = k
		words = append(words, fmt.Sprintf("target %d (%s): %v", i+1, s.targets[i].label, brief(err)))
	}
	return &objstore.Error{Op: op, Name: name, Store: fmt.Sprintf("the %d targets", len(s.targets)), Kind: kind,
		Err: errors.New(strings.Join(words, "; ")), Hint: "bring the targets named here back; `salvor status` lists all"}
}

func kindOf(err error) error {
	for _, k := range []error{objstore.ErrFull, objstore.ErrDenied, objstore.ErrExists} {
		if errors.Is(err, k) {
			return k
		}
	}
	return objstore.ErrUnavailable
}

// brief leaves out of a target's error what the caller's says already.
func brief(err error) error {
	var e *objstore.Error
	if !errors.As(err, &e) {
		return err
	}
	short := *e
	short.Hint, short.Name, short.Store = "", "", ""
	return errors.New(strings.TrimPrefix(strings.Replace(short.Error(), short.Op+" ", "", 1), ": "))
}

func canceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// failed counts errors.
func failed(errs []error) int {
	n := 0
	for _, err := range errs {
		if err != nil {
			n++
		}
	}
	return n
}

// checkName keeps objects away from the targets' own.
func checkName(op, name string) error {
	err := objstore.CheckName(name)
	if err == nil && strings.HasPrefix(name, OwnPrefix) {
		err = fmt.Errorf("%w: %s is the targets' own", objstore.ErrName, OwnPrefix)
	}
	if err != nil {
		return &objstore.Error{Op: op, Name: name, Store: "the targets", Err: err}
	}
	return nil
}

// Now implements objstore.Clock: the median of the targets' clocks, so that no
// single one that goes wrong makes anything old.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	all := make([]time.Time, len(s.targets))
	errs := s.each(func(slot int, t *target) (err error) {
		c, ok := t.store.(objstore.Clock)
		if !ok {
			return errors.New("the target has no clock")
		}
		all[slot], err = c.Now(ctx)
		return err
	})
	var good []time.Time
	for slot, err := range errs {
		if err == nil {
			good = append(good, all[slot])
		}
	}
	if len(good) == 0 {
		return time.Time{}, s.fault("ask the clocks of", "", errs)
	}
	slices.SortFunc(good, time.Time.Compare)
	return good[(len(good)-1)/2], nil
}

// Free implements objstore.Space: how much more can be stored before the first
// target is full, in bytes of objects. Buckets do not know; with buckets only it is
// without end.
func (s *Store) Free(ctx context.Context) (int64, error) {
	free := make([]int64, len(s.targets))
	errs := s.each(func(slot int, t *target) (err error) {
		d, ok := t.store.(objstore.Space)
		if !ok {
			free[slot] = math.MaxInt64
			return nil
		}
		free[slot], err = d.Free(ctx)
		return err
	})
	least := int64(-1)
	for slot, err := range errs {
		if err == nil && (least < 0 || free[slot] < least) {
			least = free[slot]
		}
	}
	if least < 0 {
		return 0, s.fault("ask the free space of", "", errs)
	}
	if least == math.MaxInt64 {
		return least, nil
	}
	most := (s.total() + s.Targets - 1) / s.Targets // shards of an object on one target
	return least / int64(most) * int64(s.Data), nil
}
