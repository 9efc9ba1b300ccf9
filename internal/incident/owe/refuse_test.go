package owe_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
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

// An error of the server ends everything.
func TestServerErrors(t *testing.T) {
	t.Parallel()
	errAway := errors.New("NO System I/O error")
	for _, op := range []string{"live", "list", "inspect", "body"} {
		d := scene(t)
		d.Server.Fail = func(o, _, _ string) error {
			if o == op {
				return errAway
			}
			return nil
		}
		if _, err := tryPlan(d, options(d)); !errors.Is(err, errAway) {
			t.Errorf("%s: a plan came of it: %v", op, err)
		}
		if _, err := os.Stat(filepath.Join(d.Kept(), "plans")); err == nil {
			t.Errorf("%s: a plan was written", op)
		}
		d.Server.Fail = nil
		r := plan(t, d, options(d))
		d.Sleep(owe.Settle)
		before := d.Server.Listing()
		d.Server.Fail = func(o, _, _ string) error {
			if o == op {
				return errAway
			}
			return nil
		}
		if _, err := run(d, options(d), r.Plan); !errors.Is(err, errAway) {
			t.Errorf("%s: %v", op, err)
		}
		if !reflect.DeepEqual(before, d.Server.Listing()) {
			t.Errorf("%s: the server has changed", op)
		}
	}
	// An administrator who may not remove any more.
	d := scene(t)
	r := plan(t, d, options(d))
	d.Sleep(owe.Settle)
	d.Server.Fail = func(o, _, _ string) error {
		if o == "remove" {
			return errAway
		}
		return nil
	}
	if r, err := run(d, options(d), r.Plan); !errors.Is(err, errAway) || r == nil || r.Taken != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if c := d.Claim("ann", "INBOX", 61); c.State != catalog.ClaimOwed || !c.TakenAt.IsZero() {
		t.Errorf("%+v", c)
	}
}

// More than a few of a user's messages are taken out only when somebody says so;
// others go on.
func TestBrake(t *testing.T) {
	t.Parallel()
	d := scene(t)
	for i := range 2 { // 3 of 66 are 4.5 %; with this one 4 of 67 are 6 %
		d.Server.Box("ann", "INBOX").Add(lostserver.Text(500 + i)).Missing = i == 0
	}
	d.Server.Box("bob", "INBOX").Add(lostserver.Text(600)).Missing = true
	r := plan(t, d, options(d))
	if u := of(t, r, "ann"); !u.Refused || u.Percent <= 5 || of(t, r, "bob").Refused {
		t.Errorf("%+v", u)
	}
	d.Sleep(owe.Settle)
	sum, before := r.Plan, d.Server.Listing()
	o := options(d)
	o.Accept = []string{"bob"}
	r, err := run(d, o, sum)
	must(t, err)
	if u := of(t, r, "ann"); !u.Refused || u.Taken != 0 || u.Left != 4 || of(t, r, "bob").Taken != 1 || !r.Incomplete() {
		t.Errorf("%+v %+v", u, of(t, r, "bob"))
	}
	if !reflect.DeepEqual(without(before, "bob INBOX 7/61"), d.Server.Listing()) {
		t.Error("something of ann is gone")
	}
	o.Accept = []string{"ann"}
	if r, err = run(d, o, sum); err != nil || of(t, r, "ann").Taken != 4 || r.Incomplete() {
		t.Errorf("%+v, %v", r, err)
	}
}

// A volume that is away looks like lost files: what had content before is not
// taken for lost unasked, neither by a plan nor after it.
func TestVolumeAway(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		d := scene(t)
		d.Server.Box("ann", "INBOX").Add(lostserver.Text(700)) // UID 62, which only this server has
		var r *owe.Report
		if late {
			r = plan(t, d, options(d))
		}
		d.Server.Lose()
		if !late {
			r = plan(t, d, options(d))
			if a, b := of(t, r, "ann"), of(t, r, "bob"); !a.Refused || a.Take != 4 || a.Again != 61 || !b.Refused || b.Take != 0 || b.Again != 60 {
				t.Errorf("%+v %+v", a, b)
			}
		}
		d.Sleep(owe.Settle)
		before, ledger := d.Server.Listing(), d.Claims("")
		r, err := run(d, options(d), r.Plan)
		must(t, err)
		if !reflect.DeepEqual(before, d.Server.Listing()) || !reflect.DeepEqual(ledger, d.Claims("")) || r.Taken != 0 || !of(t, r, "ann").Refused {
			t.Errorf("late %v: %+v", late, of(t, r, "ann"))
		}
	}
}

func TestFivePercent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		messages, dangling int
		refused            bool
	}{{20, 1, false}, {19, 1, true}, {40, 2, false}, {39, 2, true}, {1, 1, true}} {
		d := lostserver.New(t)
		d.Server.Box("ann", "INBOX").Add(lostserver.Text(0))
		d.Backup()
		d.Open()
		d.Fill()
		for i := range c.messages - 1 {
			d.Server.Box("ann", "INBOX").Add(lostserver.Text(1 + i)).Missing = i < c.dangling
		}
		if c.messages == 1 {
			b := d.Server.Box("ann", "INBOX")
			b.Messages = nil
			b.Add(lostserver.Text(1)).Missing = true
		}
		if u := of(t, plan(t, d, options(d)), "ann"); u.Refused != c.refused || u.Take != c.dangling || u.Messages != c.messages {
			t.Errorf("%+v: %+v", c, u)
		}
	}
}

// A plan is used only for what it was made for.
func TestRefusals(t *testing.T) {
	t.Parallel()
	d := scene(t)
	if _, err := tryPlan(d, owe.Options{Store: lostserver.URL, Server: d.Server, Users: []string{"nobody"}}); !errors.Is(err, incident.ErrUser) {
		t.Error(err)
	}
	r := plan(t, d, options(d))
	file := filepath.Join(d.Kept(), "plans", r.Plan)
	text, err := os.ReadFile(file)
	must(t, err)
	d.Sleep(owe.Settle)
	other := options(d)
	other.Store = "imaps://other"
	for name, c := range map[string]struct {
		o   owe.Options
		sum string
		is  error
	}{
		"another store": {other, r.Plan, owe.ErrPlan}, "no such plan": {options(d), strings.Repeat("0", 64), owe.ErrPlan},
		"no name": {options(d), "../SHA256SUMS", owe.ErrPlan}, "short": {options(d), r.Plan[:63], owe.ErrPlan},
	} {
		if _, err := run(d, c.o, c.sum); !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), `"uid":61`, `"uid":60`, 1)), 0o600))
	if _, err := run(d, options(d), r.Plan); !errors.Is(err, owe.ErrPlan) || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("a changed plan: %v", err)
	}
	must(t, os.WriteFile(file, text, 0o600))
	d.Sleep(25 * time.Hour)
	if _, err := run(d, options(d), r.Plan); !errors.Is(err, owe.ErrOld) {
		t.Errorf("an old plan: %v", err)
	}
	d.Sleep(-26 * time.Hour)
	if _, err := run(d, options(d), r.Plan); !errors.Is(err, owe.ErrPlan) {
		t.Errorf("a plan of tomorrow: %v", err)
	}
	// The metadata must be kept, whole.
	kept := filepath.Join(d.Kept(), "meta", "cyrus.index")
	must(t, os.WriteFile(kept, []byte("other"), 0o600))
	for _, err := range []error{second(tryPlan(d, options(d))), second(run(d, options(d), r.Plan))} {
		if !errors.Is(err, incident.ErrNotKept) {
			t.Errorf("a damaged copy: %v", err)
		}
	}
	must(t, os.RemoveAll(d.Kept()))
	if _, err := tryPlan(d, options(d)); !errors.Is(err, incident.ErrNotKept) {
		t.Errorf("no copy: %v", err)
	}
	if len(without(d.Server.Listing(), "ann INBOX 7/61")) == len(d.Server.Listing()) {
		t.Error("something was taken out")
	}
}

func second(_ *owe.Report, err error) error { return err }

// Whatever fails first, second, and so on: a plan that is run again completes, and
// the ledger never has less than is gone.
func TestFailures(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		d := scene(t)
		d.Server.Box("ann", "INBOX").Add(lostserver.Text(402)).Missing = true // a new claim
		d.Server.Box("ann", "INBOX").Find(7).Missing = true                   // a hold
		o := options(d)
		o.Accept = []string{"ann"}
		before := d.Server.Listing()
		r := plan(t, d, o)
		d.Sleep(owe.Settle)
		count, errHere := 0, fmt.Errorf("failure %d", n)
		d.Server.Fail = func(string, string, string) error {
			if count++; count == n {
				return errHere
			}
			return nil
		}
		_, err := run(d, o, r.Plan)
		d.Server.Fail = nil
		if n > count {
			must(t, err)
			if n < 20 {
				t.Errorf("only %d things could fail", count)
			}
			return
		}
		if !errors.Is(err, errHere) {
			t.Fatalf("failure %d of %d: %v", n, count, err)
		}
		for _, e := range []struct {
			folder string
			uid    mailstore.UID
		}{{"INBOX", 61}, {"INBOX", 62}, {"Work", 2}} {
			if d.Server.Box("ann", e.folder).Find(e.uid) == nil {
				if c := d.Claim("ann", e.folder, e.uid); c.State != catalog.ClaimOwed || slices.Contains(c.Flags, `\Deleted`) {
					t.Fatalf("failure %d: %+v", n, c)
				}
			}
		}
		if _, err = run(d, o, r.Plan); err != nil {
			t.Fatalf("after failure %d: %v", n, err)
		}
		want := without(before, "ann INBOX 7/61", "ann INBOX 7/62", "ann Work 7/2", "ann Spam 7/1")
		if got := d.Server.Listing(); !reflect.DeepEqual(got, want) {
			t.Fatalf("after failure %d: %s", n, strings.Join(got, "\n"))
		}
		for _, c := range d.Claims("ann") {
			if slices.Contains(c.Flags, `\Deleted`) || c.State == catalog.ClaimOwed && c.TakenAt.IsZero() {
				t.Fatalf("after failure %d: %+v", n, c)
			}
		}
		if len(d.Claims("ann")) != 65 || d.Claim("ann", "INBOX", 7).State != catalog.ClaimHeld {
			t.Fatalf("after failure %d: %d claims", n, len(d.Claims("ann")))
		}
	}
}
