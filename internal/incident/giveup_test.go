package incident_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/world"
)

// owingWorld has an incident in which ann is owed four messages and bob one: of ann's,
// the second is in doubt and the third under way.
func owingWorld(t *testing.T) (*world.World, []mailstore.UID) {
	t.Helper()
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	s.deliver("bob", "INBOX", body(2))
	w.Backup()
	uids := []mailstore.UID{s.deliver("ann", "INBOX", body(3)), s.deliver("ann", "INBOX", body(4)), s.deliver("ann", "INBOX", body(5)),
		s.deliver("ann", "INBOX", body(6)), s.deliver("bob", "INBOX", body(7))}
	open(t, w, options(w, s.snapshot()))
	markClaim(t, w, "ann", uids[1], func(c *catalog.Claim) { c.Doubt = true })
	markClaim(t, w, "ann", uids[2], func(c *catalog.Claim) {
		c.SentAt, c.SentStore, c.SentFolder, c.SentValidity, c.SentNext, c.SentOrder = w.Now, "imap://new", "INBOX", 9, 4, 1
	})
	markClaim(t, w, "ann", uids[3], func(c *catalog.Claim) { c.TakenAt = w.Now })
	markClaim(t, w, "bob", 1, func(c *catalog.Claim) { c.TakenAt = w.Now }) // its copy stands elsewhere
	return w, uids
}

// markClaim changes a claim of INBOX.
func markClaim(t *testing.T, w *world.World, user string, uid mailstore.UID, change func(*catalog.Claim)) {
	t.Helper()
	c := claimed(t, w, user, "INBOX", uid)
	change(&c)
	must(t, incident.Act(t.Context(), w.H, incident.ActOptions{Name: "fire", Purpose: "test", Now: func() time.Time { return w.Now }},
		func(ctx context.Context, l *incident.Ledger) error { return l.Put(ctx, c) }))
}

func giveUpOptions(w *world.World) incident.GiveUpOptions {
	return incident.GiveUpOptions{Name: "fire", By: "op@host", Reason: "the disk is dust", Now: func() time.Time { return w.Now }}
}

// What is owed is given up by name, with who, when and why; what may have arrived
// only when that is said too.
func TestGiveUp(t *testing.T) {
	w, uids := owingWorld(t)
	w.Sleep(time.Hour)
	marks, err := w.H.Catalog.ClaimMarks(t.Context(), "fire")
	must(t, err)
	if marks != (catalog.ClaimMarks{InFlight: 1, InDoubt: 1, TakenOut: 2}) {
		t.Errorf("%+v", marks)
	}
	o := giveUpOptions(w)
	o.Users = []string{"ann", "ann"}
	before := claims(t, w.H.Catalog, "fire")
	o.DryRun = true
	r, err := incident.GiveUp(t.Context(), w.H, o)
	must(t, err)
	if r.GivenUp != 2 || r.LeftInDoubt != 2 || r.Owed != 5 || !r.DryRun {
		t.Errorf("dry run: %+v", r)
	}
	if after := claims(t, w.H.Catalog, "fire"); len(after) != len(before) || after[3].State != before[3].State {
		t.Error("a dry run has changed the ledger")
	}
	o.DryRun = false
	for i, want := range []int64{2, 0} { // a second time there is nothing left
		r, err := incident.GiveUp(t.Context(), w.H, o)
		must(t, err)
		if r.GivenUp != want || r.LeftInDoubt != 2 || r.Owed != 3 || r.Lost != 2 || r.Total != 7 {
			t.Errorf("%d: %+v", i, r)
		}
	}
	lost := claimed(t, w, "ann", "INBOX", uids[0])
	wants(t, lost, catalog.ClaimLost, "given up by op@host: the disk is dust; it was owed: ")
	if !lost.SettledAt.Equal(w.Now) {
		t.Errorf("%+v", lost)
	}
	wants(t, claimed(t, w, "ann", "INBOX", uids[1]), catalog.ClaimOwed, "")
	wants(t, claimed(t, w, "bob", "INBOX", uids[4]), catalog.ClaimOwed, "")

	// Closing does not give up either what may have arrived.
	shut := incident.CloseOptions{Name: "fire", By: "op@host", GiveUp: true, LeaveHeld: true, Now: func() time.Time { return w.Now }}
	if _, err := incident.Close(t.Context(), w.H, shut); !errors.Is(err, incident.ErrInDoubt) || !strings.HasSuffix(err.Error(), ": 1 in doubt, 1 under way") {
		t.Errorf("%v", err)
	}
	o.Users, o.Claims = nil, []int64{claimed(t, w, "ann", "INBOX", uids[1]).ID}
	if r, err := incident.GiveUp(t.Context(), w.H, o); err != nil || r.GivenUp != 1 || r.LeftInDoubt != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	wants(t, claimed(t, w, "ann", "INBOX", uids[1]), catalog.ClaimLost, "it may have arrived")
	o.Claims, o.All, o.InDoubt = nil, true, true
	if r, err := incident.GiveUp(t.Context(), w.H, o); err != nil || r.GivenUp != 2 || r.Owed != 0 || r.Lost != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	sent := claimed(t, w, "ann", "INBOX", uids[2])
	wants(t, sent, catalog.ClaimLost, `sent to "INBOX" of imap://new at 2026-03-01T02:00:00Z`)
	if sent.InFlight() || sent.SentOrder != 0 {
		t.Errorf("it is still under way: %+v", sent)
	}
	shut.GiveUp = false
	if got, err := incident.Close(t.Context(), w.H, shut); err != nil || got.Lost != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := incident.GiveUp(t.Context(), w.H, o); !errors.Is(err, incident.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// A name that is nobody's, or a message that is not owed, gives nothing up.
func TestGiveUpRefuses(t *testing.T) {
	w, uids := owingWorld(t)
	owed := claimed(t, w, "ann", "INBOX", uids[0]).ID
	for name, change := range map[string]func(*incident.GiveUpOptions){
		"no such user":    func(o *incident.GiveUpOptions) { o.Users = []string{"ann", "carl"} },
		"no such message": func(o *incident.GiveUpOptions) { o.Claims = []int64{owed, 4711} },
		"not owed":        func(o *incident.GiveUpOptions) { o.Claims = []int64{owed, claimed(t, w, "ann", "INBOX", 1).ID} },
	} {
		for _, dry := range []bool{true, false} {
			o := giveUpOptions(w)
			o.DryRun = dry
			change(&o)
			if _, err := incident.GiveUp(t.Context(), w.H, o); !errors.Is(err, incident.ErrNotOwed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if got, err := incident.Count(t.Context(), w.H.Catalog, "fire"); err != nil || got.Owed != 5 || got.Lost != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	o := giveUpOptions(w)
	o.Name, o.All = "flood", true
	if _, err := incident.GiveUp(t.Context(), w.H, o); !errors.Is(err, incident.ErrUnknown) {
		t.Errorf("%v", err)
	}
}

// Gates are counted by state.
func TestCountGateStates(t *testing.T) {
	w, _ := owingWorld(t)
	must(t, incident.Act(t.Context(), w.H, incident.ActOptions{Name: "fire", Purpose: "test"}, func(ctx context.Context, l *incident.Ledger) error {
		return l.Change(ctx, func(e *incident.Edit) error {
			return errors.Join(e.Gate(catalog.Gate{User: "ann", State: catalog.GateWeb, Dangling: 3}), e.Gate(catalog.Gate{User: "bob", State: catalog.GateIMAP}),
				e.Gate(catalog.Gate{User: "carl", State: catalog.GateDown, Dangling: 1}))
		})
	}))
	if got, err := incident.CountGateStates(t.Context(), w.H.Catalog, "fire"); err != nil || *got != (incident.GateCounts{Down: 1, Web: 1, IMAP: 1, Dangling: 4}) {
		t.Errorf("%+v, %v", got, err)
	}
}
