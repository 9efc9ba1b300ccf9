package vault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"salvor/internal/objstore"
)

const (
	leasePrefix   = "leases/"
	stateHeld     = "held"
	stateReleased = "released"
	defaultTTL    = time.Minute
	maxBeat       = 64 << 10 // bytes
	// lastNumber bounds the numbers of beats, so that there is always a next
	// one: a beat every 20 seconds comes nowhere near.
	lastNumber = 1 << 40
)

// firstLook is after how long a lease that is held is looked at again; later
// looks take longer and longer, up to an eighth of the TTL.
const firstLook = 100 * time.Millisecond

// LeaseOptions says which lease is wanted and how patiently.
type LeaseOptions struct {
	Name    string        // of the series; "": "writer"
	Purpose string        // what it is held for, in a word
	Host    string        // "": this machine's name
	TTL     time.Duration // silence after which a holder is dead; 0: a minute. The same for all who use the series
	Wait    time.Duration // how long to wait for a living holder; 0: not longer than it takes to see that it lives
}

// A Lease keeps others from doing the same work at the same time. It is no
// protection: commits are. Its series of objects grows while it is held.
type Lease struct {
	v      *Vault
	series string
	holder Holder
	ttl    time.Duration
	lost   chan struct{}
	stop   context.CancelFunc
	done   sync.WaitGroup
	last   uint64 // our newest beat; the keeper's until it has ended
}

// Acquire takes a lease. A holder whose process on this machine is gone is
// followed at once, another one when its series has not grown for TTL on our
// own monotonic clock: no clock of another machine counts. *LockedError when
// it lives.
func (v *Vault) Acquire(ctx context.Context, o LeaseOptions) (*Lease, error) {
	if o.Name == "" {
		o.Name = "writer"
	}
	if o.TTL <= 0 {
		o.TTL = defaultTTL
	}
	l := &Lease{v: v, series: leasePrefix + o.Name + "/", holder: newHolder(o), ttl: o.TTL, lost: make(chan struct{})}
	if err := l.take(ctx, o.Wait); err != nil {
		return nil, fmt.Errorf("take the lease %s: %w", o.Name, err)
	}
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.done.Go(func() { l.keep(keep) })
	return l, nil
}

// Lost is closed when somebody else took the lease, for example after this
// machine slept. What was committed stands; the work may be in vain.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Release ends the lease, so that the next one need not wait.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	l.done.Wait()
	select {
	case <-l.lost:
		return nil
	default:
	}
	for range 2 {
		err := l.put(ctx, l.last+1, stateReleased)
		if !errors.Is(err, objstore.ErrExists) {
			return err
		}
		// A beat of ours may have been stored as the keeper was stopped.
		if !l.ours(ctx, l.last+1) {
			return nil
		}
		l.last++
	}
	return nil
}

func (l *Lease) ours(ctx context.Context, n uint64) bool {
	b, err := getUnlisted(ctx, l.v.store, l.beat(n), maxBeat)
	if err != nil {
		return false
	}
	h, _ := parseHolder(b)
	return h.ID == l.holder.ID
}

// take watches the series until it is free, its holder dead, or alive for
// longer than wait.
func (l *Lease) take(ctx context.Context, wait time.Duration) error {
	begin := time.Now()
	w := watch{}
	pause := firstLook
	for {
		n, free, err := l.look(ctx, &w)
		if err != nil {
			return err
		}
		if free {
			err := l.put(ctx, n+1, stateHeld)
			if err == nil {
				return nil
			}
			if !errors.Is(err, objstore.ErrExists) {
				return err
			}
			continue // somebody was faster: look who
		}
		if w.alive && time.Since(begin) >= wait {
			return &LockedError{Holder: w.holder}
		}
		select {
		case <-time.After(min(pause, l.ttl/8)):
			pause *= 2
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A watch is what was seen of a series so far.
type watch struct {
	last   uint64
	holder Holder
	since  time.Time // when last was first seen
	alive  bool      // the holder's series has grown while we watched
}

// look tells the number of the last beat, and whether the next one is free to
// be taken.
func (l *Lease) look(ctx context.Context, w *watch) (uint64, bool, error) {
	last, err := l.lastBeat(ctx)
	if err != nil {
		return 0, false, err
	}
	if last.Name == "" {
		return 0, true, nil
	}
	n := l.number(last.Name)
	if n == w.last {
		return n, time.Since(w.since) > l.ttl, nil
	}
	b, err := getListed(ctx, l.v.store, last, maxBeat)
	if errors.Is(err, objstore.ErrNotExist) {
		return n, false, nil // tidied up meanwhile: look again
	}
	if err != nil {
		return 0, false, err
	}
	h, released := parseHolder(b)
	w.alive = h.ID == w.holder.ID && w.last > 0 || l.surelyAlive(ctx, h, last)
	w.last, w.holder, w.since = n, h, time.Now()
	return n, released || h.dead(), nil
}

// surelyAlive tells, without waiting for the next beat, that the holder works: a
// process of this machine whose last beat is fresh by the store's own clock. One
// that hangs stops beating, and is waited for like any other.
func (l *Lease) surelyAlive(ctx context.Context, h Holder, last objstore.Info) bool {
	there, known := h.process()
	if !known || !there {
		return false
	}
	now, err := l.v.Now(ctx)
	return err == nil && now.Sub(last.Modified).Abs() < l.ttl/2
}

// lastBeat gives the newest object of the series; no name when there is none.
func (l *Lease) lastBeat(ctx context.Context) (last objstore.Info, err error) {
	err = l.v.store.List(ctx, l.series, func(i objstore.Info) error {
		if l.number(i.Name) > 0 {
			last = i
		}
		return nil
	})
	return last, err
}

// number gives the number of a beat, 0 for a name that no writer makes.
func (l *Lease) number(name string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, l.series), 10, 63)
	if err != nil || n > lastNumber || l.beat(n) != name {
		return 0
	}
	return n
}

func (l *Lease) beat(n uint64) string { return fmt.Sprintf("%s%0*d", l.series, commitDigits, n) }

func (l *Lease) put(ctx context.Context, n uint64, state string) error {
	if err := l.v.store.Put(ctx, l.beat(n), l.holder.marshal(l.v.config.ID, n, state)); err != nil {
		return err
	}
	l.last = n
	l.tidy(ctx, n)
	return nil
}

// tidy removes beats before the last two. A credential that may not delete
// leaves them to one that may; nothing depends on it.
func (l *Lease) tidy(ctx context.Context, n uint64) {
	var old []string
	err := l.v.store.List(ctx, l.series, func(i objstore.Info) error {
		if b := l.number(i.Name); b > 0 && b+1 < n {
			old = append(old, i.Name)
		}
		return nil
	})
	for _, name := range old {
		if err != nil {
			return
		}
		err = l.v.store.Delete(ctx, name)
	}
}

// keep lets the series grow until it is stopped or the lease is lost. A store
// that fails now and then is tried again.
func (l *Lease) keep(ctx context.Context) {
	tick := time.NewTicker(l.ttl / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		last, err := l.lastBeat(ctx)
		if err != nil {
			continue
		}
		// After a long sleep our numbers may have been tidied away and be free
		// again, so it is the newest beat that must be ours. One more than we
		// know of may be ours, too: put tells.
		if n := l.number(last.Name); n != l.last && n != l.last+1 {
			close(l.lost)
			return
		}
		if err := l.put(ctx, l.last+1, stateHeld); errors.Is(err, objstore.ErrExists) {
			close(l.lost)
			return
		}
	}
}
