package vault

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"salvor/internal/objstore"
)

// ttl is short, but long against the scheduling of a busy machine.
const ttl = 300 * time.Millisecond

func (f *fixture) acquire(o LeaseOptions) (*Lease, error) {
	o.TTL = ttl
	return f.v.Acquire(f.t.Context(), o)
}

func (f *fixture) mustAcquire(o LeaseOptions) *Lease {
	f.t.Helper()
	l, err := f.acquire(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { l.Release(context.Background()) })
	return l
}

func TestLease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l := f.mustAcquire(LeaseOptions{Purpose: "backup", Host: "mx1"})
	begin := time.Now()
	_, err := f.acquire(LeaseOptions{Purpose: "prune"})
	if d := time.Since(begin); d > ttl/3 && thisMachine() != "" {
		t.Errorf("a holder on this machine that lives is known after %v", d)
	}
	var locked *LockedError
	if !errors.Is(err, ErrLocked) || !errors.As(err, &locked) || locked.Holder.Purpose != "backup" || locked.Holder.Host != "mx1" {
		t.Fatalf("second holder: %v", err)
	}
	other := f.mustAcquire(LeaseOptions{Name: "incident-1"})
	if err := other.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	begin = time.Now()
	l = f.mustAcquire(LeaseOptions{Purpose: "prune"})
	if d := time.Since(begin); d > ttl/2 {
		t.Errorf("a released lease took %v", d)
	}
	time.Sleep(2 * ttl)
	if n := f.store.names("leases/writer/"); len(n) > 3 {
		t.Errorf("%d objects are left", len(n))
	}
	select {
	case <-l.Lost():
		t.Error("lost without a reason")
	default:
	}
}

func TestLeaseWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l := f.mustAcquire(LeaseOptions{})
	go func() {
		time.Sleep(ttl)
		l.Release(context.Background())
	}()
	f.mustAcquire(LeaseOptions{Wait: 20 * ttl})
}

// A dead holder elsewhere is one whose series does not grow for a TTL.
func TestDeadHolderElsewhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	dead := newHolder(LeaseOptions{Host: "far", Purpose: "backup"})
	dead.machine = "another"
	f.store.set("leases/writer/00000000000000000007", dead.marshal(f.v.ID(), 7, stateHeld))
	begin := time.Now()
	f.mustAcquire(LeaseOptions{})
	if d := time.Since(begin); d < ttl {
		t.Errorf("taken after %v", d)
	}
}

// One whose process is there, but hangs, is no different.
func TestHangingHolderHere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	hangs := newHolder(LeaseOptions{Purpose: "backup"})
	f.store.set("leases/writer/00000000000000000007", hangs.marshal(f.v.ID(), 7, stateHeld))
	begin := time.Now()
	f.mustAcquire(LeaseOptions{})
	if d := time.Since(begin); d < ttl {
		t.Errorf("taken after %v", d)
	}
}

// One on this machine whose process is gone is not waited for.
func TestDeadHolderHere(t *testing.T) {
	t.Parallel()
	if thisMachine() == "" {
		t.Log("this system does not tell its boot id: such a holder is waited for")
		return
	}
	f := newFixture(t)
	dead := newHolder(LeaseOptions{Purpose: "backup"})
	dead.start = "1"
	f.store.set("leases/writer/00000000000000000007", dead.marshal(f.v.ID(), 7, stateHeld))
	begin := time.Now()
	f.mustAcquire(LeaseOptions{})
	if d := time.Since(begin); d > ttl/2 {
		t.Errorf("taken after %v", d)
	}
	dead.PID = 1 << 30
	if !dead.dead() {
		t.Error("a process that is not there lives")
	}
	if newHolder(LeaseOptions{}).dead() {
		t.Error("this process is dead")
	}
}

// A holder that slept for long notices that the lease went on without it,
// whether its own beats are still there or were tidied away.
func TestLostLease(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f *fixture, n uint64, l *Lease){
		"taken": func(f *fixture, n uint64, l *Lease) {
			f.store.set(l.beat(n+1), newHolder(LeaseOptions{}).marshal(f.v.ID(), n+1, stateHeld))
		},
		"taken long ago": func(f *fixture, n uint64, l *Lease) {
			f.store.set(l.beat(n+9), newHolder(LeaseOptions{}).marshal(f.v.ID(), n+9, stateHeld))
			for _, name := range f.store.names("leases/writer/")[:1] {
				f.store.Delete(context.Background(), name)
			}
		},
		"broken by hand": func(f *fixture, n uint64, l *Lease) {
			for _, name := range f.store.names("leases/writer/") {
				f.store.Delete(context.Background(), name)
			}
		},
	} {
		f := newFixture(t)
		l := f.mustAcquire(LeaseOptions{})
		change(f, 1, l)
		select {
		case <-l.Lost():
		case <-time.After(20 * ttl):
			t.Errorf("%s: not noticed", name)
		}
		before := len(f.store.names("leases/writer/"))
		if err := l.Release(t.Context()); err != nil || len(f.store.names("leases/writer/")) != before {
			t.Errorf("%s: a lost lease was released: %v", name, err)
		}
	}
}

// A store that fails for a while, or never deletes, costs no lease.
func TestLeaseWithAPoorStore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.store.before = func(op, name string) error {
		if op == "delete" {
			return &objstore.Error{Op: op, Name: name, Store: "memory", Kind: objstore.ErrDenied}
		}
		return nil
	}
	l := f.mustAcquire(LeaseOptions{})
	f.store.mu.Lock()
	f.store.before = func(op, name string) error {
		return &objstore.Error{Op: op, Name: name, Store: "memory", Kind: objstore.ErrUnavailable}
	}
	f.store.mu.Unlock()
	time.Sleep(ttl)
	f.store.mu.Lock()
	f.store.before = nil
	f.store.mu.Unlock()
	time.Sleep(ttl)
	select {
	case <-l.Lost():
		t.Error("lost")
	default:
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLeaseOfNonsense(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.store.set("leases/writer/00000000000000000001", []byte(strings.Repeat("\x00\n", 1000)))
	f.store.set("leases/writer/note", []byte("x"))
	f.mustAcquire(LeaseOptions{Purpose: "a\nstate released"})
	ctx, cancel := context.WithTimeout(t.Context(), ttl/4)
	defer cancel()
	if _, err := f.v.Acquire(ctx, LeaseOptions{TTL: ttl}); err == nil {
		t.Error("a purpose released the lease")
	}
}

// A beat with the highest number that there is, from whomever, stops nobody:
// night after night the lease is taken and kept.
func TestLeaseAfterTheLastNumber(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.store.set("leases/writer/09223372036854775807", newHolder(LeaseOptions{Host: "far"}).marshal(f.v.ID(), 1, stateHeld))
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*ttl)
		l, err := f.v.Acquire(ctx, LeaseOptions{TTL: ttl})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-l.Lost():
			t.Error("lost")
		case <-time.After(ttl):
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
