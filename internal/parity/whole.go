package parity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"salvor/internal/objstore"
)

// The rule for whole copies (docs/format.md, "Majority").
//
// Each target has one place for a name, which is written once and never
// changed: a vote. A value counts when a majority of all targets holds it.
// Since two majorities share a target and a target holds one value, at most
// one value can ever count, whoever wrote what and whichever targets were away
// for whom; and since places do not change, it counts for ever.
//
// That is all that safety needs, so any vote is safe, and the rest is for
// progress: a writer looks first, and votes for what it finds (the value with
// the most votes, then the least hash) before anything of its own; and it
// votes at the first target alone, so that of two writers one loses there
// before it has voted anywhere else.
//
// When all places are taken and no value has a majority, the votes are final
// and everybody who sees them all computes the same leader. It is written down
// in a second round, whose votes cannot differ, and counts when a majority
// holds that. Who cannot see all places then waits.
//
// A target that lost its copy (replaced by an empty one, rotten) must not vote
// again before what it may have voted for is known: it counts as away.

const (
	verdictsPrefix = OwnPrefix + "verdicts/"
	maxRounds      = 10
)

type ballotState int

const (
	unknown ballotState = iota // the target is away
	rotten                     // there is a copy, and it is damaged
	free                       // there is none
	holds
)

// ballot is what one target says of a name.
type ballot struct {
	state ballotState
	sum   [sha256.Size]byte
	body  []byte
	err   error // why it is no vote, or why it took none
}

// value is what some targets hold.
type value struct {
	sum   [sha256.Size]byte
	body  []byte
	votes int
}

// tally counts ballots.
type tally struct {
	ballots []ballot
	values  []value // most votes first, then the least hash
	count   [holds + 1]int
}

func newTally(ballots []ballot) *tally {
	t := &tally{ballots: ballots}
	for _, b := range ballots {
		t.count[b.state]++
		if b.state != holds {
			continue
		}
		i := slices.IndexFunc(t.values, func(v value) bool { return v.sum == b.sum })
		if i < 0 {
			i = len(t.values)
			t.values = append(t.values, value{sum: b.sum, body: b.body})
		}
		t.values[i].votes++
	}
	slices.SortFunc(t.values, func(a, b value) int {
		if a.votes != b.votes {
			return b.votes - a.votes
		}
		return bytes.Compare(a.sum[:], b.sum[:])
	})
	return t
}

// errs are why ballots are not known.
func (t *tally) errs() []error {
	errs := make([]error, len(t.ballots))
	for i, b := range t.ballots {
		errs[i] = b.err
	}
	return errs
}

// look asks every target for its vote.
func (s *Store) look(ctx context.Context, name string) (*tally, error) {
	ballots := make([]ballot, len(s.targets))
	errs := s.each(func(slot int, t *target) error {
		b, err := t.store.Get(ctx, name, 0, -1)
		switch {
		case errors.Is(err, objstore.ErrNotExist):
			ballots[slot].state = free
			return nil
		case err != nil:
			return err
		}
		ballots[slot] = read(b)
		return nil
	})
	for slot, err := range errs {
		if err != nil {
			ballots[slot].err = err
		}
	}
	return newTally(ballots), ctx.Err()
}

func read(b []byte) ballot {
	body, ok := unwrap(b)
	if !ok {
		return ballot{state: rotten, err: errors.New("its copy is damaged")}
	}
	return ballot{state: holds, sum: sha256.Sum256(body), body: body}
}

// resolve finds out the value of a name, and completes what is half written.
// With a proposal it makes that the value when there is none. The value is the
// proposal's or another; whether it counts for sure is settled. Without a
// proposal found is false when there is no value.
func (s *Store) resolve(ctx context.Context, op, name string, proposal []byte) (v value, found, settled bool, err error) {
	var t *tally
	for range maxRounds {
		if t, err = s.look(ctx, name); err != nil {
			return v, false, false, err
		}
		if t.count[unknown] >= s.majority() {
			// They could hold a value that nobody else has seen.
			return v, false, false, s.fault(op, name, t.errs())
		}
		switch {
		case len(t.values) > 0:
			v = t.values[0]
		case proposal == nil:
			if t.count[rotten] > 0 {
				return v, false, false, damaged(op, name, "every copy is damaged")
			}
			return v, false, true, nil
		default:
			v = value{sum: sha256.Sum256(proposal), body: proposal}
			if t.count[free] < s.majority() {
				return v, false, false, s.fault(op, name, t.errs())
			}
		}
		if v.votes >= s.majority() {
			if proposal != nil && t.count[free] > 0 {
				s.vote(ctx, name, t, v) // the others get it too, if they can
			}
			return v, true, true, ctx.Err()
		}
		if t.count[free] == 0 {
			break
		}
		if s.vote(ctx, name, t, v) == 0 && ctx.Err() == nil {
			break // nobody takes it
		}
	}
	if err := ctx.Err(); err != nil {
		return v, false, false, err
	}
	return s.undecided(ctx, op, name, t)
}

// vote puts a value where there is none, the first target alone, and says how
// many votes there were, ours or somebody else's.
func (s *Store) vote(ctx context.Context, name string, t *tally, v value) int {
	n := 0
	b := wrap(v.body)
	first := slices.IndexFunc(t.ballots, func(b ballot) bool { return b.state == free })
	err := s.targets[first].note(s.targets[first].store.Put(ctx, name, b))
	if err == nil || errors.Is(err, objstore.ErrExists) {
		n++
	}
	t.ballots[first].err = err
	if errors.Is(err, objstore.ErrExists) {
		return n // somebody else is at work: look again
	}
	errs := s.each(func(slot int, tg *target) error {
		if slot == first || t.ballots[slot].state != free {
			return errStop
		}
		return tg.store.Put(ctx, name, b)
	})
	for slot, err := range errs {
		switch {
		case err == nil || errors.Is(err, objstore.ErrExists):
			n++
		case err != errStop:
			t.ballots[slot].err = err
		}
	}
	return n
}

// errStop ends what is not to be done.
var errStop = errors.New("stop")

// undecided is for votes of which no value has a majority, and that do not
// become more now.
func (s *Store) undecided(ctx context.Context, op, name string, t *tally) (v value, found, settled bool, err error) {
	if len(t.values) == 0 {
		return v, false, false, s.fault(op, name, t.errs())
	}
	if !strings.HasPrefix(name, verdictsPrefix) {
		var leader []byte
		if t.count[holds] == s.Targets { // final: the leader is the same for all
			leader = t.values[0].body
		}
		if v, found, settled, err = s.resolve(ctx, op, verdictsPrefix+name, leader); err == nil && found {
			return v, true, settled, nil
		}
	}
	if len(t.values) == 1 {
		// Nothing else was seen, and what is not seen cannot be a majority: this
		// is the value, or will be as soon as more targets can be asked.
		return t.values[0], true, false, nil
	}
	if !s.anyAway() && t.values[1].votes+t.count[unknown]+t.count[rotten] < s.majority() {
		// The votes that are lost for ever can have made no other value count.
		return t.values[0], true, false, nil
	}
	return v, false, false, &objstore.Error{Op: op, Name: name, Store: "the targets", Kind: objstore.ErrUnavailable,
		Err:  fmt.Errorf("two writers have met, and only the targets that are away know which one was first: %w", s.fault(op, name, t.errs())),
		Hint: "bring all targets back; docs/runbook.md, \"Two writers have met\""}
}

func damaged(op, name, what string) error {
	return &objstore.Error{Op: op, Name: name, Store: "the targets", Kind: objstore.ErrDamaged, Err: errors.New(what)}
}

// putWhole implements Put for names that others may want too.
func (s *Store) putWhole(ctx context.Context, name string, body []byte) error {
	if body == nil {
		body = []byte{}
	}
	v, found, settled, err := s.resolve(ctx, "put", name, body)
	switch {
	case err != nil:
		return err
	case !settled:
		return &objstore.Error{Op: "put", Name: name, Store: "the targets", Kind: objstore.ErrUnavailable,
			Err: errors.New("no majority of the targets took it"), Hint: "`salvor status` lists the targets that are away"}
	case found && v.sum != sha256.Sum256(body):
		return &objstore.Error{Op: "put", Name: name, Store: "the targets", Kind: objstore.ErrExists}
	}
	return nil
}

// getWhole gives a whole copy.
func (s *Store) getWhole(ctx context.Context, op, name string) ([]byte, error) {
	v, found, _, err := s.resolve(ctx, op, name, nil)
	if err == nil && !found {
		err = &objstore.Error{Op: op, Name: name, Store: s.String(), Kind: objstore.ErrNotExist}
	}
	return v.body, err
}
