package incident_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
)

// An incident ends when nothing is owed, or when somebody gives it up by name;
// then time runs again for its users.
func TestClose(t *testing.T) {
	w, s := serve(t)
	inbox := s.box("ann", "INBOX")
	for i := range 9 {
		inbox.add(body(i + 1))
	}
	w.Backup()
	late := inbox.add(body(10))
	open(t, w, options(w, s.snapshot()))
	inbox.expunge(1, w.Now)
	for range 12 {
		w.Night()
	}
	if p := w.Prune(); p.Expired != 0 {
		t.Fatalf("%+v", p)
	}
	o := incident.CloseOptions{Name: "fire", By: "op@host", Now: func() time.Time { return w.Now }}
	if _, err := incident.Close(t.Context(), w.H, o); !errors.Is(err, incident.ErrOwing) || !strings.Contains(err.Error(), "1 are owed") {
		t.Errorf("%v", err)
	}
	o.GiveUp = true
	if _, err := incident.Close(t.Context(), w.H, o); !errors.Is(err, incident.ErrHeld) || !strings.Contains(err.Error(), "9 are held, 0 uncertain") {
		t.Errorf("%v", err)
	}
	o.LeaveHeld = true
	for range 2 { // closing it again changes nothing
		got, err := incident.Close(t.Context(), w.H, o)
		if err != nil || got.Owed != 0 || got.Lost != 1 || got.Total != 10 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	wants(t, claimed(t, w, "ann", "INBOX", late), catalog.ClaimLost, "given up by op@host")
	again := w.Rebuilt(w.Reopen(), "again.db")
	if a, b := claims(t, again.Catalog, "fire"), claims(t, w.H.Catalog, "fire"); !reflect.DeepEqual(a, b) {
		t.Error("the rebuilt ledger is another one")
	}
	if p := w.Prune(); p.Expired != 1 {
		t.Errorf("%+v", p)
	}
	o.Name = "flood"
	if _, err := incident.Close(t.Context(), w.H, o); !errors.Is(err, incident.ErrUnknown) {
		t.Errorf("%v", err)
	}
}

// An incident is not closed over messages without content: nobody could take them
// out of the index any more.
func TestCloseOverDangling(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	open(t, w, options(w, s.snapshot()))
	gate := catalog.Gate{User: "ann", State: catalog.GateWeb, Store: "imap://x", Dangling: 2, CheckedAt: w.Now}
	put := func() {
		t.Helper()
		err := incident.Act(t.Context(), w.H, incident.ActOptions{Name: "fire", Purpose: "test"}, func(ctx context.Context, l *incident.Ledger) error {
			return l.Change(ctx, func(e *incident.Edit) error { return e.Gate(gate) })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put()
	o := incident.CloseOptions{Name: "fire", By: "op", LeaveHeld: true, Now: func() time.Time { return w.Now }}
	if _, err := incident.Close(t.Context(), w.H, o); !errors.Is(err, incident.ErrDangling) || !strings.Contains(err.Error(), "2, of 1 users") {
		t.Errorf("%v", err)
	}
	gate.Dangling = 0
	put()
	if _, err := incident.Close(t.Context(), w.H, o); err != nil {
		t.Error(err)
	}
}
