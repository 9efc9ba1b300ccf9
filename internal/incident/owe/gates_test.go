package owe_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/gate"
	"salvor/internal/incident/owe"
	"salvor/internal/testenv/lostserver"
)

// Owing opens the gate of who has nothing left that dangles, and closes one that
// stood open before anything is taken out.
func TestGates(t *testing.T) {
	t.Parallel()
	d := scene(t)
	var heard []string
	var away error
	o := options(d)
	o.Hook = func(_ context.Context, c gate.Change) error {
		if away != nil {
			return away
		}
		heard = append(heard, fmt.Sprintf("%s %s>%s of %d", c.User, c.Before, c.State, len(d.Server.Listing())))
		return nil
	}
	all := len(d.Server.Listing())
	r := plan(t, d, o)
	d.Sleep(owe.Settle)
	_, err := run(d, o, r.Plan)
	must(t, err)

	d.Server.Box("ann", "INBOX").Add(lostserver.Text(403)).Missing = true
	r = plan(t, d, o)
	d.Sleep(owe.Settle)
	away = errors.New("the proxy is away")
	bad, err := run(d, o, r.Plan)
	must(t, err)
	if u := of(t, bad, "ann"); u.Taken != 0 || u.Left != 1 || !bad.Incomplete() {
		t.Errorf("an open gate: %+v", u)
	}
	if g, _, err := d.H.Catalog.Gate(lostserver.Name, "ann"); err != nil || g.State != catalog.GateWeb || g.Told != catalog.GateIMAP {
		t.Errorf("%+v, %v", g, err)
	}
	away = nil
	_, err = run(d, o, r.Plan)
	must(t, err)
	want := []string{fmt.Sprintf("ann >imap of %d", all-3), fmt.Sprintf("ann imap>web of %d", all-2), fmt.Sprintf("ann web>imap of %d", all-3)}
	if !reflect.DeepEqual(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
	// What was taken out last was looked at after.
	must(t, d.Act(true, func(ctx context.Context, l *incident.Ledger) error {
		rows, err := gate.List(ctx, l.Catalog(), lostserver.Name, []string{"ann"})
		if err == nil && rows[0].State != catalog.GateIMAP {
			err = fmt.Errorf("%+v", rows)
		}
		return err
	}))
}
