package redeliver_test

import (
	"cmp"
	"crypto/sha1"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/redeliver"
	"salvor/internal/objstore"
	"salvor/internal/objstore/faulty"
	"salvor/internal/testenv/world"
)

// longer is how long TestWhateverHappens goes on.
var longer = flag.Duration("longer", 4*time.Second, "go on with random histories for so long")

// seed repeats a history, as far as its goroutines let it.
var seed = flag.Uint64("seed", 0, "repeat the random history of this seed")

var errDied = errors.New("the process has died")

// A mortal lab's process can die: then neither its vault nor its server answer.
type mortal struct {
	*lab
	store *faulty.Store
}

func newMortal(t testing.TB, claims ...catalog.Claim) *mortal {
	m := &mortal{}
	w := world.NewIn(t, t.TempDir(), func(s objstore.Store) objstore.Store {
		m.store = faulty.New(s)
		return m.store
	})
	m.lab = labIn(w, claims...)
	m.server.dead = func() error {
		if m.store.Met() > 0 {
			return errDied
		}
		return nil
	}
	return m
}

// die kills the process with the next call of the store.
func (m *mortal) die() { m.store.Set(faulty.Fault{Lasting: true, Err: errDied}) }

// dieAt kills it with the n-th object that it writes, before or after that is done.
func (m *mortal) dieAt(n int, done bool) {
	f := faulty.Fault{Op: faulty.Put, Nth: n, Lasting: true, Err: errDied}
	if done {
		f.Nth++
		m.store.Set(faulty.Fault{Op: faulty.Put, Nth: n, Effect: faulty.FailAfter, Err: errDied}, f)
		return
	}
	m.store.Set(f)
}

// revive is the next process.
func (m *mortal) revive() {
	m.store.Set()
	m.H.Vault = m.Reopen()
}

func fourOwed() []catalog.Claim {
	return []catalog.Claim{owed("ann", "INBOX", 1, letterOf(1)), owed("ann", "INBOX", 2, letterOf(2)), owed("ann", "Work", 1, letterOf(1)),
		owed("bob", "INBOX", 1, letterOf(3))}
}

// A process dies with every object of the ledger that it writes, and with every message
// that it sends; afterwards each message is there once.
func TestDies(t *testing.T) {
	t.Parallel()
	finish := func(t *testing.T, m *mortal) {
		t.Helper()
		m.revive()
		m.server.fault = nil
		m.run()
		for wire, n := range map[string]int{"ann " + letterOf(1): 2, "ann " + letterOf(2): 1, "bob " + letterOf(3): 1} {
			if m.server.sent[wire] != n {
				t.Errorf("%q was delivered %d times", wire, m.server.sent[wire])
			}
		}
		for id := range int64(4) {
			if c := m.claim(id + 1); c.State != catalog.ClaimRedelivered || c.NowUID == 0 {
				t.Errorf("%+v", c)
			}
		}
	}
	fill := func(m *mortal) {
		for n := range 3 {
			m.file(fmt.Sprint(n), letterOf(n+1))
		}
	}
	healthy := newMortal(t, fourOwed()...)
	fill(healthy)
	healthy.store.Set()
	healthy.run()
	n, died := 0, 0
	for _, call := range healthy.store.Calls() {
		if call.Op != faulty.Put {
			continue
		}
		n++
		if strings.HasPrefix(call.Name, "lease") { // nothing depends on them
			continue
		}
		for _, done := range []bool{false, true} {
			m := newMortal(t, fourOwed()...)
			fill(m)
			m.dieAt(n, done)
			m.try(t.Context())
			died += min(1, m.store.Met())
			finish(t, m)
			if t.Failed() {
				t.Fatalf("died at object %d (%s), done: %v", n, call.Name, done)
			}
		}
	}
	if died < 8 {
		t.Errorf("only %d processes died", died)
	}
	for _, what := range []fault{lost, stored, lately} {
		for _, n := range []int{1, 2, 4} {
			m := newMortal(t, fourOwed()...)
			fill(m)
			sent := 0
			m.server.fault = func() fault {
				if sent++; sent != n {
					return fine
				}
				m.die()
				return what
			}
			r, err := m.try(t.Context(), func(o *redeliver.Options) { o.Workers = 1 })
			if err == nil && len(r.Notes) == 0 {
				t.Error("nobody noticed")
			}
			finish(t, m)
			if t.Failed() {
				t.Fatalf("died at message %d: %v", n, what)
			}
		}
	}
}

// Whatever happens, nothing is sent more often than it is owed, and in the end
// everything was delivered or is in doubt.
func TestWhateverHappens(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	for n := 0; n < 4 || time.Since(begun) < *longer; n++ {
		seed := cmp.Or(*seed, uint64(time.Now().UnixNano()))
		if whatever(t, rand.New(rand.NewPCG(seed, 1))); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func whatever(t *testing.T, rng *rand.Rand) {
	users, folders := []string{"ann", "bob"}, []string{"INBOX", "Work", "Old"}
	var claims []catalog.Claim
	rows := map[string]int{}
	for uid := range 12 {
		user, n := users[rng.IntN(2)], rng.IntN(8)
		claims = append(claims, owed(user, folders[rng.IntN(3)], uint32(uid+1), letterOf(n)))
		rows[user+" "+letterOf(n)]++
	}
	m := newMortal(t, claims...)
	for n := range 8 {
		m.file(fmt.Sprint(n), letterOf(n))
	}
	if rng.IntN(2) == 0 { // the folders have the UIDs that they had: new messages get those of owed ones
		for _, user := range users {
			for _, name := range folders {
				b := m.server.box(user, name)
				b.validity, b.next = 7, uint32(1+rng.IntN(6))
			}
		}
	}
	came := map[string]int{}
	life := func() { // of the users and of a queue; the server is locked
		user := users[rng.IntN(2)]
		b := m.server.box(user, folders[rng.IntN(3)])
		if len(b.letters) > 0 && rng.IntN(2) == 0 {
			l := b.letters[rng.IntN(len(b.letters))]
			b.remove(l.uid)
			if rng.IntN(2) == 0 {
				m.server.box(user, folders[rng.IntN(3)]).add(l.wire, l.flags, l.date)
			}
			return
		}
		n := rng.IntN(16) // half of them nobody owes
		came[user+" "+letterOf(n)]++
		b.add("Received: by the queue\r\n"+letterOf(n), nil, arrival)
	}
	for range 5 {
		m.server.fault = func() fault {
			if rng.IntN(2) == 0 {
				life()
			}
			switch rng.IntN(6) {
			case 0:
				m.die()
				return []fault{lost, stored, expunge, lately}[rng.IntN(4)]
			case 1:
				return []fault{unsent, lost, stored, lately, expunge}[rng.IntN(5)]
			}
			return fine
		}
		if rng.IntN(2) == 0 {
			m.dieAt(1+rng.IntN(12), rng.IntN(2) == 0)
		}
		_, err := m.try(t.Context(), func(o *redeliver.Options) { o.Workers = 1 + rng.IntN(2) })
		if err != nil && m.store.Met() == 0 {
			t.Errorf("a process that lived: %v", err)
		}
		m.revive()
	}
	m.server.fault = nil
	m.run()
	m.run()
	if _, err := incident.Count(t.Context(), m.H.Catalog, "fire"); err != nil {
		t.Error(err)
	}
	settled := map[string]int{}
	for i := range claims {
		c := m.claim(int64(i + 1))
		switch {
		case (c.State == catalog.ClaimRedelivered || c.State == catalog.ClaimPresent) && !c.InFlight() && !c.Doubt:
			for n := range 8 {
				if letter := letterOf(n); c.SHA1 == sha1.Sum([]byte(letter)) {
					settled[c.User+" "+letter]++
				}
			}
		case c.State == catalog.ClaimOwed && c.Doubt && strings.HasPrefix(c.Reason, "in doubt: "):
		default:
			t.Errorf("%+v", c)
		}
	}
	for key, n := range rows {
		if m.server.sent[key] > n {
			t.Errorf("%q is owed %d times and was sent %d times", key, n, m.server.sent[key])
		}
		// A copy that its user has moved cannot be told from another one.
		if n == 1 && settled[key] > m.server.sent[key]+came[key] || settled[key] > 0 && m.server.sent[key]+came[key] == 0 {
			t.Errorf("%q counts as delivered %d times, was sent %d times, came %d times", key, settled[key], m.server.sent[key], came[key])
		}
	}
}
