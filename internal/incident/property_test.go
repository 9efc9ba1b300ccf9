package incident_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// A history is a server with random life in it, and a model of what a ledger
// must say about it.
type history struct {
	*server
	rng      *rand.Rand
	now      time.Time
	n        int
	removed  map[string]int    // by user: folders removed or renamed
	stored   map[string]bool   // bodies that some backup has read
	backedUp map[instance]bool // live at the last backup, in folders that it takes
}

// An instance is one message in one folder.
type instance struct {
	user     string
	validity uint32 // unique to a folder here
	uid      uint32
}

func (h *history) anyBox() *mailbox {
	user := []string{"ann", "bob", "cid"}[h.rng.IntN(3)]
	name := []string{"INBOX", "Work", "Old", "Junk"}[h.rng.IntN(4)]
	if name == "Old" { // which users remove and rename; its name is not used again
		name = fmt.Sprint("Old ", h.removed[user])
	}
	b := h.users[user][name]
	if b == nil {
		b = h.box(user, name)
		h.n++
		b.UIDValidity = uint32(1000 + h.n)
		b.ObjectID = fmt.Sprint("box ", h.n)
	}
	return b
}

func (b *mailbox) any(rng *rand.Rand) *letter {
	if len(b.letters) == 0 {
		return nil
	}
	if l := &b.letters[rng.IntN(len(b.letters))]; l.Expunged.IsZero() {
		return l
	}
	return nil
}

// live makes the users do something.
func (h *history) live() {
	b := h.anyBox()
	l := b.any(h.rng)
	switch n := h.rng.IntN(20); {
	case n < 8 || l == nil:
		h.n++
		b.add(body(h.n))
	case n < 11:
		b.expunge(l.UID, h.now)
	case n < 13:
		l.Flags, l.ModSeq = []string{`\Flagged`}, b.touch()
	case n < 15: // copied or moved, as servers do it
		h.anyBox().add(l.body)
		if l = b.find(l.UID); n == 14 {
			b.expunge(l.UID, h.now)
		}
	case n < 17:
		b.clean()
	case n > 16 && strings.HasPrefix(b.Name, "Old"): // its user removes or renames it
		delete(h.users[b.User], b.Name)
		h.removed[b.User]++
		if n > 18 {
			b.Name = fmt.Sprint("New ", h.removed[b.User])
			b.touch()
			h.users[b.User][b.Name] = b
		}
	}
}

func (h *history) each(s *server, yield func(instance, *mailbox, *letter)) {
	for user, boxes := range s.users {
		for _, b := range boxes {
			for i := range b.letters {
				yield(instance{user, b.UIDValidity, uint32(b.letters[i].UID)}, b, &b.letters[i])
			}
		}
	}
}

// night notes what a backup reads.
func (h *history) night() {
	h.backedUp = map[instance]bool{}
	h.each(h.server, func(i instance, b *mailbox, l *letter) {
		if b.Name == "Junk" {
			return
		}
		h.stored[l.body] = true
		if l.Expunged.IsZero() {
			h.backedUp[i] = true
		}
	})
}

// harm damages an index here and there, and says which folders prove nothing.
func (h *history) harm(s *server) map[uint32]bool {
	harmed := map[uint32]bool{}
	for _, boxes := range s.users {
		for _, b := range boxes {
			switch h.rng.IntN(8) {
			case 0:
				b.Lost = "lost"
			case 1:
				b.err = &mailstore.Incomplete{Problems: []*mailstore.Problem{{User: b.User, Err: errors.New("odd")}}}
				b.letters = b.letters[:h.rng.IntN(len(b.letters)+1)]
			default:
				continue
			}
			harmed[b.UIDValidity] = true
		}
	}
	return harmed
}

// TestRandomHistories: whatever happened, each message of backup and index is
// in just one row, and in the right one.
func TestRandomHistories(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for n := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed+n), func(t *testing.T) {
			w, s := serve(t)
			h := &history{server: s, rng: rand.New(rand.NewPCG(seed+n, 1)), stored: map[string]bool{}, removed: map[string]int{}}
			for _, user := range []string{"ann", "bob", "cid"} {
				b := h.box(user, "INBOX")
				h.n++
				b.UIDValidity, b.ObjectID = uint32(1000+h.n), fmt.Sprint("box ", h.n)
			}
			for night := range 1 + h.rng.IntN(3) {
				for range 30 {
					h.now = w.Now
					h.live()
				}
				if night > 0 {
					w.Sleep(24 * time.Hour)
				}
				if r := w.Backup(); r.Messages.Failed > 0 {
					t.Fatalf("%+v", r)
				}
				h.night()
			}
			for range h.rng.IntN(40) {
				h.now = w.Now.Add(time.Hour)
				h.live()
			}
			lost := h.snapshot()
			var harmed map[uint32]bool
			if n%2 == 1 {
				harmed = h.harm(lost)
			}
			w.Sleep(3 * time.Hour)
			r := open(t, w, options(w, lost))
			h.compare(t, lost, harmed, claims(t, w.H.Catalog, "fire"))
			if r.Total+r.Deleted+r.Junk != int64(len(claims(t, w.H.Catalog, "fire"))) {
				t.Errorf("%+v", r.Totals)
			}
		})
	}
}

// compare holds a ledger against the model.
func (h *history) compare(t *testing.T, lost *server, harmed map[uint32]bool, ledger []catalog.Claim) {
	t.Helper()
	want := map[instance]catalog.ClaimState{}
	listed := map[uint32]bool{}
	for _, boxes := range lost.users {
		for _, b := range boxes {
			listed[b.UIDValidity] = true
		}
	}
	for i := range h.backedUp {
		want[i] = catalog.ClaimDeleted
		if harmed[i.validity] || !listed[i.validity] {
			want[i] = catalog.ClaimUncertain
		}
	}
	h.each(lost, func(i instance, b *mailbox, l *letter) {
		switch {
		case !l.Expunged.IsZero():
			want[i] = catalog.ClaimDeleted
		case b.Name == "Junk":
			want[i] = catalog.ClaimJunk
		case h.stored[l.body]:
			want[i] = catalog.ClaimHeld
		default:
			want[i] = catalog.ClaimOwed
		}
	})
	for _, c := range ledger {
		i := instance{c.User, c.UIDValidity, c.UID}
		state, known := want[i]
		if !known {
			t.Errorf("a row that should not be, or a second one: %+v", c)
		} else if state != c.State {
			t.Errorf("%+v is %s (%s), want %s", i, c.State, c.Reason, state)
		}
		delete(want, i)
	}
	for i, state := range want {
		t.Errorf("%+v has no row; it is %s", i, state)
	}
}
