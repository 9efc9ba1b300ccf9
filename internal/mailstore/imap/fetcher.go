package imap

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"salvor/internal/mailstore/imap/wire"
)

// A fetcher fetches one user's bodies over a connection of its own, in batches:
// while one arrives, the next is asked for already. It runs as long as there is
// something to fetch and room for it.
type fetcher struct {
	s    *Source
	one  *session
	mu   sync.Mutex // held by the goroutine that fetches, over:
	link link
	mute int // connections on which the server hung since a batch was finished

	// Under ahead's mu:
	urgent  []*entry // somebody waits for them
	queue   []*entry // asked for ahead
	running bool
}

// Bounds of a batch and of the batches in flight.
const (
	batchBytes    = 2 << 20
	batchMessages = 200
	batchesAhead  = 2
	// moreThanPromised is how much more than twice the promised bytes a batch may
	// bring: memory is reckoned by promises.
	moreThanPromised = 8 << 20
	// roomForEstimates is how much more than twice its promised size a body may
	// have: what the server announces beyond that would only fill the memory.
	roomForEstimates = 1 << 20
	// maxTries is how many connections may end while a message was the next to
	// come, before it is given up.
	maxTries = 3
	// maxMute is on how many connections in a row the server may hang before it
	// is taken for one that cannot be reached: each of them costs minutes.
	maxMute = 4
)

// A batch is what one command fetches, all of one mailbox. A message over which
// a connection ended goes alone.
type batch struct {
	entries []*entry
	uids    map[uint32]*entry
	size    int64 // as promised
	come    int64 // bytes that have arrived
	alone   bool
	limit   int64 // of a literal
	pending *wire.Pending
	said    []string
}

// start makes the fetcher run; ahead's mu is held.
func (f *fetcher) start() {
	if f.running || f.s.ahead.closed || len(f.urgent) == 0 && len(f.queue) == 0 {
		return
	}
	f.running = true
	f.s.working.Add(1)
	f.s.hold(f.one)
	go func() {
		defer f.s.working.Done()
		defer f.s.letGo(f.one)
		f.mu.Lock()
		defer f.mu.Unlock()
		for b := f.next(nil); b != nil; b = f.next(nil) {
			f.stream(b)
		}
	}()
}

// next takes what is to be fetched next: after the batch before, only of the
// same mailbox, else of any. When nothing is left, or no room, then the fetcher
// does not run any more.
func (f *fetcher) next(before *batch) *batch {
	a := f.s.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	b := &batch{uids: map[uint32]*entry{}}
	f.urgent = f.fill(b, before, f.urgent, false)
	if len(f.urgent) == 0 {
		f.queue = f.fill(b, before, f.queue, true)
	}
	if len(b.entries) > 0 {
		return b
	}
	if before == nil {
		f.running = false
		if len(f.queue) > 0 {
			a.wake[f] = true
		}
	}
	return nil
}

// fill moves entries from the beginning of a list into the batch, as long as
// they fit, and gives the rest. With room, the budget counts.
func (f *fetcher) fill(b, before *batch, list []*entry, room bool) []*entry {
	a := f.s.ahead
	for len(list) > 0 {
		e := list[0]
		if e.stage == queued && a.asked[e.place] == e {
			if !b.fits(e, before) || room && a.held > 0 && a.held+e.size > a.budget {
				break
			}
			a.charge(e)
			e.stage = coming
			b.add(e, f.s.o.MaxMessage)
		}
		list[0] = nil
		list = list[1:]
	}
	return list
}

func (b *batch) fits(e *entry, before *batch) bool {
	first := before
	if len(b.entries) > 0 {
		first = b
	}
	switch {
	case first == nil:
		return true
	case first.alone || e.tries > 0 || first.entries[0].box != e.box || first.entries[0].validity != e.validity:
		return false
	}
	return len(b.entries) == 0 || b.size+e.size <= batchBytes && len(b.entries) < batchMessages
}

func (b *batch) add(e *entry, most int64) {
	b.entries = append(b.entries, e)
	b.uids[e.uid] = e
	b.size += max(e.size, 0)
	b.limit = max(b.limit, literalLimit(e.size, most))
	b.alone = b.alone || e.tries > 0
}

// literalLimit is how large the body of a message may be whose size the server
// has told, perhaps as an estimate; -1 is an unknown size.
func literalLimit(size, most int64) int64 {
	if size < 0 || size > most/2 {
		return most
	}
	return min(2*size+roomForEstimates, most)
}

// set gives the batch's UIDs, or those that have not come.
func (b *batch) set(left []*entry) string {
	uids := make([]uint32, len(left))
	for i, e := range left {
		uids[i] = e.uid
	}
	return wire.SetOf(uids...).String()
}

// stream fetches a batch and those that follow in the same mailbox.
func (f *fetcher) stream(b *batch) {
	c, err := f.link.connect(f.s.ctx)
	if err == nil {
		err = f.examine(c, b)
	}
	if wire.IsBroken(err) {
		f.broken([]*batch{b}, err)
		return
	}
	if err != nil {
		f.fail(b, err)
		return
	}
	flying := []*batch{b}
	if why := b.entries[0].last; why != nil {
		if err = f.judge(c, b, b.entries, why); err != nil {
			f.broken(flying, err)
		}
		return
	}
	if err = f.ask(c, b); err != nil {
		f.broken(flying, err)
		return
	}
	for len(flying) > 0 {
		if last := flying[len(flying)-1]; len(flying) < batchesAhead && !last.alone {
			if more := f.next(last); more != nil {
				flying = append(flying, more)
				if err = f.ask(c, more); err != nil {
					f.broken(flying, err)
					return
				}
				continue
			}
		}
		if err = f.finish(c, flying[0]); err != nil {
			f.broken(flying, err)
			return
		}
		flying = flying[1:]
		f.mute = 0
		f.s.down.over()
	}
}

// missing are the batch's messages that have not come.
func (f *fetcher) missing(b *batch) []*entry {
	f.s.ahead.mu.Lock()
	defer f.s.ahead.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.entries), func(e *entry) bool { return e.stage == arrived })
}

// fail gives the reason to those who wait. Messages that were only asked for
// ahead are forgotten: their Open may have more luck.
func (f *fetcher) fail(b *batch, err error) {
	a := f.s.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range b.entries {
		if e.wanted {
			a.arrive(e, nil, err)
		} else if e.stage != arrived {
			a.forget(e)
		}
	}
}

// left gives the messages that have not come, and the one that was to come next:
// a server sends them by UID, and passes over those that are not there. ahead's
// mu is held.
func left(flying []*batch) (again []*entry, next *entry) {
	for _, b := range flying {
		byUID := slices.SortedFunc(slices.Values(b.entries), func(x, y *entry) int { return cmp.Compare(x.uid, y.uid) })
		for _, e := range byUID {
			switch {
			case e.stage == arrived:
				next = nil
			case next == nil:
				next = e
			}
		}
		for _, e := range b.entries {
			if e.stage != arrived {
				again = append(again, e)
			}
		}
	}
	if next == nil && len(again) > 0 {
		next = again[0]
	}
	return again, next
}

// broken deals with a connection that ended: the message that was to come next
// is suspected to be the reason, all go back to the beginning of the line.
func (f *fetcher) broken(flying []*batch, err error) {
	f.link.drop()
	if silent(err) {
		f.mute++
	}
	if f.mute >= maxMute {
		f.mute = 0
		f.s.down.begin(time.Now(), err)
		for _, b := range flying {
			f.fail(b, err)
		}
		return
	}
	a := f.s.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	again, suspect := left(flying)
	if suspect != nil {
		suspect.tries++
	}
	if f.s.ctx.Err() != nil {
		err = errClosed
	}
	var urgent, queue []*entry
	for _, e := range again {
		switch {
		case e == suspect && e.tries == maxTries && wire.IsHungUp(err):
			e.last = err // to be judged
		case f.s.ctx.Err() != nil, e.tries >= maxTries, e.tries > 1 && (tooLarge(err) || endless(err) || silent(err)):
			a.arrive(e, nil, err)
			continue
		}
		a.held -= e.cost
		e.cost, e.stage = 0, queued
		if e.wanted {
			urgent = append(urgent, e)
		} else {
			queue = append(queue, e)
		}
	}
	f.urgent = append(urgent, f.urgent...)
	f.queue = append(queue, f.queue...)
}
