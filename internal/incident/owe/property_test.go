package owe_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/owe"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/lostserver"
)

// TestAnything plans and runs over servers and ledgers of all kinds, while files
// are lost and come back and the server fails, and holds what is left against what
// is promised.
func TestAnything(t *testing.T) {
	t.Parallel()
	first := uint64(time.Now().UnixNano())
	for n := range uint64(20) {
		t.Run(fmt.Sprint("seed ", first+n), func(t *testing.T) { anything(t, rand.New(rand.NewPCG(first+n, 1))) })
	}
}

var errFate = errors.New("the server has failed")

func anything(t *testing.T, rng *rand.Rand) {
	t.Parallel()
	d := lostserver.New(t)
	for i := range 30 {
		d.Server.Box([]string{"ann", "bob"}[rng.IntN(2)], []string{"INBOX", "Work"}[rng.IntN(2)]).Add(lostserver.Text(i), `\Seen`)
	}
	d.Backup()
	for i := range rng.IntN(5) {
		d.Server.Box("ann", "INBOX").Add(lostserver.Text(100 + i))
	}
	d.Open()
	states := []catalog.ClaimState{catalog.ClaimHeld, catalog.ClaimOwed, catalog.ClaimRestored, catalog.ClaimRedelivered, catalog.ClaimDeleted, catalog.ClaimPresent,
		catalog.ClaimUncertain, catalog.ClaimLost, catalog.ClaimJunk}
	d.Put(func(c *catalog.Claim) bool {
		c.State = states[rng.IntN(len(states))]
		if c.State == catalog.ClaimRestored || c.State == catalog.ClaimRedelivered {
			c.NowFolder, c.NowValidity, c.NowUID = c.Folder, 7, []uint32{c.UID, 500, 0}[rng.IntN(3)]
		}
		return true
	})
	each := func(fn func(user, folder string, m *lostserver.Message)) {
		for _, user := range []string{"ann", "bob"} {
			for _, name := range []string{"INBOX", "Work"} {
				for _, m := range d.Server.Box(user, name).Messages {
					fn(user, name, m)
				}
			}
		}
	}
	each(func(_, _ string, m *lostserver.Message) { m.Missing, m.Damaged = rng.IntN(3) > 0, rng.IntN(9) == 0 })
	for i := range rng.IntN(4) {
		d.Server.Box("bob", "INBOX").Add(lostserver.Text(200 + i)).Missing = true
	}
	o := options(d)
	o.Accept, o.Beside = []string{"ann", "bob"}, 1
	r := plan(t, d, o)
	if r.Plan == "" {
		return
	}
	d.Sleep(owe.Settle)
	each(func(_, _ string, m *lostserver.Message) {
		if rng.IntN(8) == 0 {
			m.Missing = !m.Missing
		}
	})
	type key struct {
		user, folder string
		uid          mailstore.UID
	}
	before, held, gave := map[key]lostserver.Message{}, map[key]bool{}, map[key]bool{}
	each(func(user, folder string, m *lostserver.Message) { before[key{user, folder, m.UID}] = *m })
	for _, c := range d.Claims("") {
		at := key{c.User, c.Folder, mailstore.UID(c.UID)}
		held[at] = c.State == catalog.ClaimHeld || c.State == catalog.ClaimUncertain
	}
	for try := range 8 { // again and again, until one goes through
		d.Server.Fail = func(op, user, folder string) error {
			if op == "inspect" && rng.IntN(10) == 0 { // a file comes back before it is looked at
				for _, m := range d.Server.Box(user, folder).Messages {
					if m.Missing && rng.IntN(3) == 0 {
						m.Missing = false
						gave[key{user, folder, m.UID}] = true
					}
				}
			}
			if try < 7 && rng.IntN(30) == 0 {
				return errFate
			}
			return nil
		}
		_, err := run(d, o, r.Plan)
		d.Server.Fail = nil
		if err == nil {
			break
		}
		if !errors.Is(err, errFate) {
			t.Fatal(err)
		}
	}
	left := map[key]bool{}
	each(func(user, folder string, m *lostserver.Message) {
		left[key{user, folder, m.UID}] = true
		if strings.Join(m.Flags, " ") != strings.Join(before[key{user, folder, m.UID}].Flags, " ") && !slices.Contains(m.Flags, `\Deleted`) {
			t.Errorf("%s %s %d has the flags %v", user, folder, m.UID, m.Flags)
		}
	})
	claimed := map[key]catalog.Claim{}
	for _, c := range d.Claims("") {
		at := key{c.User, c.Folder, mailstore.UID(c.UID)}
		if _, twice := claimed[at]; twice {
			t.Errorf("%v has two claims", at)
		}
		claimed[at] = c
	}
	for at, m := range before {
		c, ok := claimed[at]
		switch {
		case left[at]:
		case !m.Missing || gave[at]:
			t.Errorf("%v had content, and is gone: %+v", at, c)
		case held[at]:
			t.Errorf("%v is in the vault, and is gone: %+v", at, c)
		case !ok || c.TakenAt.IsZero():
			t.Errorf("%v is gone, and the ledger does not say so: %+v", at, c)
		case slices.Contains(c.Flags, `\Deleted`):
			t.Errorf("%v: %v", at, c.Flags)
		}
	}
	if _, err := incident.Count(t.Context(), d.H.Catalog, lostserver.Name); err != nil {
		t.Error(err)
	}
}
