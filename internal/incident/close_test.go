package incident_test

import (
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
