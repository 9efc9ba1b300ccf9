package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/progress"
)

// manyUsers makes n users of ten messages each.
func manyUsers(t *testing.T, n int) (l *lab, users []string) {
	l = newLab(t)
	var mails []mail
	for i := range n {
		user := fmt.Sprintf("u%02d", i)
		users = append(users, user)
		for k := range 10 {
			mails = append(mails, mail{user: user, folder: "INBOX", uid: uint32(k + 1), stored: text(user, fmt.Sprint(k))})
		}
	}
	l.backup(mails...)
	return l, users
}

func TestAll(t *testing.T) {
	l, users := manyUsers(t, 12)
	to := newMemory()
	o := l.options(to)
	o.Users, o.Workers = 3, 2
	meter := &progress.Count{}
	o.Meter = progress.NewMeter(meter)
	var waited atomic.Int64
	o.Wait = func(_ context.Context, messages int, bytes int64) error {
		waited.Add(int64(messages))
		return nil
	}
	var took atomic.Int64
	o.Took = func(bytes int64, d time.Duration) {
		if bytes > 0 && d >= 0 {
			took.Add(1)
		}
	}
	var bytes int64
	seen := map[string]int{}
	// One comes twice and must not be restored by two at the same time.
	err := All(t.Context(), append(users, users[3]), o, func(r *Report, err error) {
		seen[r.User]++ // no lock: one call at a time
		bytes += r.Bytes
		if err != nil || r.Messages != 10 {
			t.Errorf("%s: %+v, %v", r.User, r, err)
		}
	})
	check(t, err)
	for _, u := range users {
		if seen[u] != 1 || len(to.users[u].mails["INBOX"]) != 10 {
			t.Errorf("%s: reported %d times, %d messages", u, seen[u], len(to.users[u].mails["INBOX"]))
		}
	}
	if s := meter.Stages(); !slices.Equal(s, []string{"restore"}) {
		t.Errorf("stages %q", s)
	}
	if n, b := meter.Done(); n != 120 || b != bytes || waited.Load() != 120 || took.Load() != 120 {
		t.Errorf("meter got %d messages, %d bytes; %d waited for, %d timed", n, b, waited.Load(), took.Load())
	}
}

// One user's destination fails; nobody else notices.
func TestFailingUser(t *testing.T) {
	l, users := manyUsers(t, 8)
	type failure struct {
		name string
		set  func(*memory)
	}
	bad := users[2]
	n := 0
	failures := []failure{
		{"add", func(m *memory) {
			m.adding = func(d Delivery) error {
				if n++; n == 5 {
					return fmt.Errorf("write: %w", syscall.ENOSPC)
				}
				return nil
			}
		}},
		{"mailbox", func(m *memory) { m.opening = func(Mailbox) error { return syscall.ENOSPC } }},
		{"present", func(m *memory) { m.looking = func(string) error { return syscall.ENOSPC } }},
		{"close", func(m *memory) { m.closing = func() error { return syscall.ENOSPC } }},
	}
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			n = 0
			good, sick := newMemory(), newMemory()
			f.set(sick)
			to := router(func(user string) Destination {
				if user == bad {
					return sick
				}
				return good
			})
			err := All(t.Context(), users, l.options(to), func(r *Report, err error) {
				var d *DestinationError
				switch {
				case r.User != bad && (err != nil || r.Messages != 10):
					t.Errorf("%s: %+v, %v", r.User, r, err)
				case r.User == bad && (!errors.As(err, &d) || d.User != bad || !errors.Is(err, syscall.ENOSPC)):
					t.Errorf("got error %v", err)
				}
			})
			check(t, err)
			if sick.users[bad].closed != 1 {
				t.Error("the account was not closed")
			}
			sick.adding, sick.opening, sick.looking, sick.closing = nil, nil, nil, nil
			r := restoreUser(t, bad, l.options(to))
			if r.Messages+r.Skipped != 10 || len(sick.users[bad].mails["INBOX"]) != 10 {
				t.Errorf("completed: %+v", r)
			}
		})
	}
}

// router sends each user elsewhere.
type router func(user string) Destination

func (r router) Account(ctx context.Context, user string) (Account, error) {
	return r(user).Account(ctx, user)
}

func TestAllInterrupted(t *testing.T) {
	l, users := manyUsers(t, 10)
	to := newMemory()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var n atomic.Int64
	to.adding = func(Delivery) error {
		if n.Add(1) == 35 {
			stop()
		}
		return nil
	}
	o := l.options(to)
	o.Users = 2
	reports := 0
	err := All(ctx, users, o, func(*Report, error) { reports++ })
	if !errors.Is(err, context.Canceled) || reports == len(users) {
		t.Fatalf("%d reports, %v", reports, err)
	}
	to.adding = nil
	check(t, All(t.Context(), users, o, func(r *Report, err error) {
		if err != nil {
			t.Errorf("%s: %+v, %v", r.User, r, err)
		}
	}))
	for _, user := range users {
		if n := len(to.users[user].mails["INBOX"]); n != 10 {
			t.Errorf("%s: %d messages", user, n)
		}
	}
}

// However many users and messages: what is rebuilt and not yet added stays
// inside the budget, but for one large message that is alone.
func TestMemoryBound(t *testing.T) {
	l := newLab(t)
	var mails []mail
	var users []string
	for i := range 4 {
		user := fmt.Sprint("u", i)
		users = append(users, user)
		for k := range 30 {
			size := 4 << 10
			if k == 15 {
				size = 300 << 10
			}
			mails = append(mails, mail{user: user, folder: "INBOX", uid: uint32(k + 1), stored: attached(user, int64(100*i+k), size)})
		}
	}
	l.backup(mails...)
	to := newMemory()
	to.adding = func(Delivery) error { time.Sleep(100 * time.Microsecond); return nil }
	o := l.options(to)
	o.Users, o.Workers, o.Memory = 4, 4, 64<<10

	var held, most atomic.Int64
	var e *engine
	inner := o.Chunks
	o.Chunks = chunksFunc(func(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
		e.budget.mu.Lock()
		held.Store(e.budget.size - e.budget.free)
		e.budget.mu.Unlock()
		if h := held.Load(); h > most.Load() {
			most.Store(h)
		}
		return inner.Chunk(ctx, at, ref, room)
	})
	e = newEngine(o)
	defer e.close()
	done := make(chan *Report)
	for _, u := range users {
		go func() {
			r, err := e.user(t.Context(), u)
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
	}
	for range users {
		if r := <-done; r.Messages != 30 {
			t.Errorf("%+v", r)
		}
	}
	if most.Load() > o.Memory || most.Load() == 0 {
		t.Errorf("%d bytes at most, want at most %d", most.Load(), o.Memory)
	}
	if e.budget.free != e.budget.size {
		t.Errorf("%d of %d came back", e.budget.free, e.budget.size)
	}
	for _, u := range users {
		uids := []UID{}
		for _, d := range to.users[u].mails["INBOX"] {
			uids = append(uids, d.UID)
		}
		// The order of adding is that of the packs, whoever was faster.
		if !slices.IsSorted(uids) {
			t.Errorf("%s: added as %v", u, uids)
		}
	}
}

// A destination that cannot read all of what it holds still gets the rest, and
// what it remarks is told.
func TestRemarks(t *testing.T) {
	l, users := manyUsers(t, 1)
	to := newMemory()
	to.looking = func(string) error {
		return &mailstore.Incomplete{Problems: []*mailstore.Problem{{Path: "cur/1", Err: syscall.EIO}}}
	}
	var told []error
	o := l.options(router(func(string) Destination { return noting{to} }))
	o.Problem = func(p *Problem) { told = append(told, p) }
	r := restoreUser(t, users[0], o)
	if r.Messages != 10 || r.Failed != 0 || len(r.Problems) != 1 || len(told) != 1 || !errors.Is(told[0], syscall.EIO) {
		t.Errorf("got %+v, %v", r, told)
	}
	if want := []string{`user "u00": folder "INBOX": no room for keywords`}; !slices.Equal(r.Notes, want) {
		t.Errorf("notes: %q", r.Notes)
	}
}

// noting is a destination whose accounts have something to say.
type noting struct{ *memory }

type notingAccount struct{ Account }

func (n noting) Account(ctx context.Context, user string) (Account, error) {
	a, err := n.memory.Account(ctx, user)
	return notingAccount{a}, err
}

func (notingAccount) Notes() []Note {
	return []Note{{Mailbox: "INBOX", What: "no room for keywords"}}
}

func TestNoAccount(t *testing.T) {
	l, users := manyUsers(t, 1)
	o := l.options(router(func(string) Destination { return refusing{} }))
	r, err := User(t.Context(), users[0], o)
	var d *DestinationError
	if r == nil || !errors.As(err, &d) || err.Error() != `restore user "u00": destination: read-only file system` {
		t.Errorf("got %+v, %v", r, err)
	}
}

type refusing struct{}

func (refusing) Account(context.Context, string) (Account, error) { return nil, errReadOnly }
