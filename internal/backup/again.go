package backup

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"salvor/internal/mailstore"
)

// looks is how often a user's mailboxes are listed in one run. A message that its
// user moves while we read, out of a folder that was not listed yet into one that
// was, is in neither list; it has to be as unlucky once more to escape the second
// look, and the third.
const looks = 3

// lookAgain lists the mailboxes that have changed since they were listed, for
// what has come into them. A user of whom nothing had to be listed is not looked
// at again.
func (r *run) lookAgain(ctx context.Context, u mailstore.User, us *userState, p *plan, read submit) error {
	if r.change == nil || len(us.open) == 0 {
		return nil
	}
	states := map[*boxState]string{}
	for look := 1; look < looks; look++ {
		now, err := r.listAgain(ctx, u)
		if err != nil {
			return err
		}
		news := false
		for i, why := range r.o.Scope.DecideAll(now) {
			if why != "" {
				continue
			}
			found, err := r.boxAgain(ctx, us, p, now[i], states, look, read)
			if err != nil {
				return err
			}
			news = news || found
		}
		if !news {
			return nil
		}
	}
	return nil
}

// listAgain lists the mailboxes as they are now. What cannot be listed was
// reported by the first look, or is reported by the next run.
func (r *run) listAgain(ctx context.Context, u mailstore.User) (now []mailstore.Mailbox, err error) {
	err = r.o.Source.Mailboxes(ctx, u, func(b mailstore.Mailbox) error {
		now = append(now, b)
		return nil
	})
	return now, passing(err)
}

// passing lets only those errors stand that end the run.
func passing(err error) error {
	var incomplete *mailstore.Incomplete
	var problem *mailstore.Problem
	if errors.As(err, &incomplete) || errors.As(err, &problem) {
		return nil
	}
	return err
}

// boxAgain looks into one mailbox again and tells whether it had changed.
func (r *run) boxAgain(ctx context.Context, us *userState, p *plan, now mailstore.Mailbox, states map[*boxState]string, look int, read submit) (bool, error) {
	was := p.find(now)
	switch {
	case was == nil: // made since, or renamed where nothing tells that
		p.pairs = append(p.pairs, pair{src: now})
		return true, r.mailbox(ctx, us, &p.pairs[len(p.pairs)-1], read)
	case was.why != "":
		return false, nil
	case was.box == nil: // unchanged, or not to be listed, at the first look
		if now.State == was.src.State {
			return false, nil
		}
		was.src = now
		return true, r.mailbox(ctx, us, was, read)
	}
	b := was.box
	last, looked := states[b]
	if !looked {
		last = b.src.State
	}
	// Without a state, one more look has to do.
	if now.State != "" && now.State == last || now.State == "" && look > 1 {
		return false, nil
	}
	states[b] = now.State
	return true, r.arrivals(ctx, b, now, read)
}

// find gives the pair of a mailbox: by its identity, else by its name.
func (p *plan) find(b mailstore.Mailbox) *pair {
	for i := range p.pairs {
		if p.pairs[i].src.ObjectID != "" && p.pairs[i].src.ObjectID == b.ObjectID {
			return &p.pairs[i]
		}
	}
	for i := range p.pairs {
		if p.pairs[i].src.Name == b.Name {
			return &p.pairs[i]
		}
	}
	return nil
}

// arrivals submits what has come into a mailbox since it was listed. Its recorded
// state stays that of the first look: what else has changed is the next run's.
func (r *run) arrivals(ctx context.Context, b *boxState, now mailstore.Mailbox, read submit) error {
	now.Since = b.src.State
	var unnumbered []mailstore.Message
	came := 0
	err := r.o.Source.Messages(ctx, now, func(m mailstore.Message) error {
		if !m.Expunged.IsZero() || m.Unchanged || b.seen.has(m.Key) {
			return nil
		}
		b.seen.add(m.Key)
		came++
		b.row.UIDNext = max(b.row.UIDNext, uint32(m.UID)+1)
		if m.UID == 0 {
			unnumbered = append(unnumbered, m)
			return nil
		}
		return r.fresh(ctx, read, b, m)
	})
	if err := passing(err); err != nil {
		return err
	}
	if b.row.UIDNext, err = r.renumber(ctx, read, b, unnumbered, b.row.UIDNext); err != nil {
		return err
	}
	b.row.Messages += came
	r.tally(func(rep *Report) { rep.Messages.Seen += int64(came) })
	return nil
}

// A keySet remembers keys by their hashes, in eight bytes each. Two keys of one
// hash would make one message of a night wait for the next.
type keySet struct {
	sorted []uint64
	fresh  map[uint64]bool // since it was sorted
	loose  []uint64
}

var keySeed = maphash.MakeSeed()

func (s *keySet) add(key string) {
	h := maphash.String(keySeed, key)
	if s.fresh == nil {
		s.loose = append(s.loose, h)
		return
	}
	s.fresh[h] = true
}

// has also ends the time of cheap adding.
func (s *keySet) has(key string) bool {
	if s.fresh == nil {
		slices.Sort(s.loose)
		s.sorted, s.loose, s.fresh = s.loose, nil, map[uint64]bool{}
	}
	h := maphash.String(keySeed, key)
	_, found := slices.BinarySearch(s.sorted, h)
	return found || s.fresh[h]
}
