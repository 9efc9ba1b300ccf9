package incident_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/vault"
)

// What is put into a ledger is in the vault; claims that come to it are
// counted, those of forgotten users stay away.
func TestActPuts(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	s.deliver("ann", "INBOX", body(2))
	s.deliver("bob", "INBOX", body(3))
	open(t, w, options(w, s.snapshot()))

	now := w.Now.Add(time.Hour)
	act := func(fn func(context.Context, *incident.Ledger) error) error {
		return incident.Act(t.Context(), w.H, incident.ActOptions{Name: "fire", Purpose: "test", Now: func() time.Time { return now }}, fn)
	}
	err := act(func(ctx context.Context, l *incident.Ledger) error {
		if l.Incident.Claims != 3 {
			t.Errorf("%+v", l.Incident)
		}
		return l.Batches(ctx, catalog.ClaimQuery{State: catalog.ClaimOwed}, 1, func(batch []catalog.Claim) error {
			for i := range batch {
				batch[i].State, batch[i].NowUID = catalog.ClaimRedelivered, 9
			}
			gone := catalog.Claim{ID: 4711, User: "eve", Folder: "INBOX", State: catalog.ClaimOwed}
			return l.Put(ctx, append(batch, gone, catalog.Claim{User: "zoe", Folder: "INBOX", State: catalog.ClaimHeld})...)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	totals, err := incident.Count(t.Context(), w.H.Catalog, "fire")
	if err != nil || totals.Redelivered != 2 || totals.Held != 3 || totals.Owed != 0 || totals.Total != 5 {
		t.Fatalf("%+v, %v", totals, err)
	}
	back := claimed(t, w, "ann", "INBOX", 2)
	if back.State != catalog.ClaimRedelivered || back.NowUID != 9 || !back.SettledAt.Equal(now) {
		t.Errorf("%+v", back)
	}
	if _, there, err := w.H.Catalog.Claim("fire", 4711); there || err != nil {
		t.Errorf("a claim of nobody is in the ledger, %v", err)
	}
	again := w.Rebuilt(w.Reopen(), "again.db")
	if a, b := claims(t, again.Catalog, "fire"), claims(t, w.H.Catalog, "fire"); !reflect.DeepEqual(a, b) {
		t.Error("the rebuilt ledger is another one")
	}

	// An error leaves nothing of a change.
	boom := errors.New("boom")
	err = act(func(ctx context.Context, l *incident.Ledger) error {
		return l.Change(ctx, func(e *incident.Edit) error {
			return errors.Join(e.Put(&catalog.Claim{User: "ann", State: catalog.ClaimOwed}), e.Gate(catalog.Gate{User: "ann", State: catalog.GateIMAP}), boom)
		})
	})
	if after, cerr := incident.Count(t.Context(), w.H.Catalog, "fire"); !errors.Is(err, boom) || cerr != nil || after.Total != totals.Total {
		t.Errorf("%v, %+v, %v", err, after, cerr)
	}
}

// One process at a time acts on an incident; a dry run looks on.
func TestActAlone(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	open(t, w, options(w, s.snapshot()))
	o := incident.ActOptions{Name: "fire", Purpose: "first", Now: func() time.Time { return w.Now }}
	nothing := func(context.Context, *incident.Ledger) error { return nil }
	err := incident.Act(t.Context(), w.H, o, func(ctx context.Context, _ *incident.Ledger) error {
		var locked *vault.LockedError
		if err := incident.Act(ctx, w.H, o, nothing); !errors.As(err, &locked) || locked.Holder.Purpose != "first" {
			t.Errorf("a second one: %v", err)
		}
		if _, err := incident.Close(ctx, w.H, incident.CloseOptions{Name: "fire", By: "op"}); !errors.As(err, &locked) {
			t.Errorf("close: %v", err)
		}
		rehearsal := o
		rehearsal.DryRun = true
		return incident.Act(ctx, w.H, rehearsal, func(ctx context.Context, l *incident.Ledger) error {
			if err := l.Put(ctx, catalog.Claim{User: "ann", State: catalog.ClaimOwed}); err == nil {
				t.Error("a dry run changed the ledger")
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := incident.Close(t.Context(), w.H, incident.CloseOptions{Name: "fire", By: "op", LeaveHeld: true}); err != nil {
		t.Fatal(err)
	}
	if err := incident.Act(t.Context(), w.H, o, nothing); !errors.Is(err, incident.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	o.Name = "flood"
	if err := incident.Act(t.Context(), w.H, o, nothing); !errors.Is(err, incident.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

// A ledger that is written again and again keeps no other writer from the vault,
// and waits for one.
func TestActLetsOthersWrite(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	open(t, w, options(w, s.snapshot()))
	other := *w.H
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	done := make(chan error, 1)
	go func() {
		for range 3 {
			err := other.Exclusive(ctx, "backup", func(context.Context) error {
				time.Sleep(300 * time.Millisecond)
				return nil
			})
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	n := 0
	err := incident.Act(ctx, w.H, incident.ActOptions{Name: "fire", Purpose: "test"}, func(ctx context.Context, l *incident.Ledger) error {
		for ; ; n++ {
			select {
			case err := <-done:
				return err
			default:
			}
			if err := l.Put(ctx, catalog.Claim{User: "zoe", Folder: "INBOX", State: catalog.ClaimOwed}); err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	if err != nil {
		t.Fatalf("after %d notes: %v", n, err)
	}
	t.Logf("%d notes meanwhile", n)
}
