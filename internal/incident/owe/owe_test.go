package owe_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/owe"
	"salvor/internal/testenv/lostserver"
)

// scene is a server with a night's backup, the mail of the gap, and the incident
// after it; what the vault has is back already.
func scene(t testing.TB) *lostserver.Disaster {
	t.Helper()
	return sceneOf(lostserver.New(t))
}

func sceneOf(d *lostserver.Disaster) *lostserver.Disaster {
	d.T.Helper()
	for i := range 60 {
		d.Server.Box("ann", "INBOX").Add(lostserver.Text(i), `\Seen`)
		d.Server.Box("bob", "INBOX").Add(lostserver.Text(1000 + i))
	}
	d.Server.Box("ann", "Work").Add(lostserver.Text(100), `\Seen`)
	d.Server.Box("ann", "Spam").Add(lostserver.Text(200))
	d.Backup()
	d.Server.Box("ann", "INBOX").Add(lostserver.Text(300), `\Flagged`, "$Label1") // UID 61
	d.Server.Box("ann", "Work").Add(lostserver.Text(301))                         // UID 2
	d.Open()
	d.Fill()
	return d
}

func options(d *lostserver.Disaster) owe.Options {
	return owe.Options{Store: lostserver.URL, Server: d.Server, Settle: owe.Settle}
}

// plan makes one that must not fail.
func plan(t testing.TB, d *lostserver.Disaster, o owe.Options) *owe.Report {
	t.Helper()
	r, err := tryPlan(d, o)
	must(t, err)
	return r
}

func tryPlan(d *lostserver.Disaster, o owe.Options) (r *owe.Report, err error) {
	before := d.Server.Listing()
	err = d.Act(true, func(ctx context.Context, l *incident.Ledger) (err error) {
		r, err = owe.Plan(ctx, l, o)
		return err
	})
	if d.Server.Fail == nil && !reflect.DeepEqual(before, d.Server.Listing()) {
		err = errors.Join(err, errors.New("the plan has changed the server"))
	}
	return r, err
}

func run(d *lostserver.Disaster, o owe.Options, sum string) (r *owe.Report, err error) {
	err = d.Act(false, func(ctx context.Context, l *incident.Ledger) (err error) {
		r, err = owe.Run(ctx, l, o, sum)
		return err
	})
	return r, err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// of gives what a report says of a user.
func of(t testing.TB, r *owe.Report, user string) *owe.User {
	t.Helper()
	for _, u := range r.Users {
		if u.User == user {
			return u
		}
	}
	t.Fatalf("nothing is said of %s: %+v", user, r)
	return nil
}

// without leaves out of a listing what begins with one of some words.
func without(listing []string, out ...string) []string {
	return slices.DeleteFunc(slices.Clone(listing), func(line string) bool {
		return slices.ContainsFunc(out, func(o string) bool { return strings.HasPrefix(line, o+" ") })
	})
}

// What is owed goes out of the index, just that, and stands in the ledger as the
// server had it.
func TestOwe(t *testing.T) {
	t.Parallel()
	d := scene(t)
	d.Server.Box("ann", "INBOX").Find(61).Flags = []string{"$Label1", `\Flagged`, `\Seen`} // read in the web since
	before := d.Server.Listing()
	r := plan(t, d, options(d))
	ann := of(t, r, "ann")
	if r.Looked != 2 || r.Take != 3 || len(r.Users) != 1 || ann.Messages != 64 || ann.Dangling != 3 || ann.Owed != 2 || ann.Junk != 1 || ann.Take != 3 ||
		ann.Refused || ann.Held != 0 || len(ann.Folders) != 3 || len(ann.Problems) != 0 || ann.From == nil || !ann.From.Before(*ann.To) {
		t.Fatalf("%+v %+v", r, ann)
	}
	if info, err := os.Stat(filepath.Join(d.Kept(), "plans", r.Plan)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if again := plan(t, d, options(d)); again.Plan == r.Plan || again.Take != 3 {
		t.Errorf("a later plan: %+v", again)
	}
	if _, err := run(d, options(d), r.Plan); !errors.Is(err, owe.ErrYoung) {
		t.Errorf("at once: %v", err)
	}
	if !reflect.DeepEqual(before, d.Server.Listing()) {
		t.Error("something is gone before its time")
	}
	d.Sleep(owe.Settle)
	began := d.Now
	r, err := run(d, options(d), r.Plan)
	must(t, err)
	ann = of(t, r, "ann")
	if r.Taken != 3 || ann.Taken != 3 || ann.Left != 0 || ann.Gone != 0 || r.Incomplete() {
		t.Errorf("%+v %+v", r, ann)
	}
	if want := without(before, "ann INBOX 7/61", "ann Work 7/2", "ann Spam 7/1"); !reflect.DeepEqual(want, d.Server.Listing()) {
		t.Errorf("left are\n%s\nwant\n%s", strings.Join(d.Server.Listing(), "\n"), strings.Join(want, "\n"))
	}
	c := d.Claim("ann", "INBOX", 61)
	if c.State != catalog.ClaimOwed || !reflect.DeepEqual(c.Flags, []string{"$Label1", `\Flagged`, `\Seen`}) || c.SHA1.IsZero() || c.Size != int64(len(lostserver.Text(300))) ||
		c.MessageID != "<61@index>" || c.Envelope != "(NIL NIL)" || c.InternalDate.Unix() != 1.7e9+61 || !c.TakenAt.After(began) || c.UIDValidity != 7 {
		t.Errorf("%+v", c)
	}
	if c := d.Claim("ann", "Spam", 1); c.State != catalog.ClaimJunk || c.TakenAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if c := d.Claim("ann", "INBOX", 1); c.State != catalog.ClaimRestored || !c.TakenAt.IsZero() {
		t.Errorf("%+v", c)
	}
	// Once more: nothing is left to do.
	r, err = run(d, options(d), r.Plan)
	must(t, err)
	if u := of(t, r, "ann"); r.Taken != 0 || u.Gone != 3 || r.Incomplete() {
		t.Errorf("%+v %+v", r, u)
	}
	if r := plan(t, d, options(d)); r.Plan != "" || len(r.Users) != 0 {
		t.Errorf("%+v", r)
	}
}

// What the ledger says decides about a message without content.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(d *lostserver.Disaster, c *catalog.Claim) // of ann INBOX 5, which dangles and is in the vault
		take   bool
		state  catalog.ClaimState // in the end
		reason string
		kind   func(*owe.User) int
	}{
		{"held", func(_ *lostserver.Disaster, c *catalog.Claim) { c.State = catalog.ClaimHeld }, false, catalog.ClaimHeld, "", func(u *owe.User) int { return u.Held }},
		{"uncertain", func(_ *lostserver.Disaster, c *catalog.Claim) { c.State = catalog.ClaimUncertain }, false, catalog.ClaimUncertain, "", func(u *owe.User) int { return u.Held }},
		{"owed", func(_ *lostserver.Disaster, c *catalog.Claim) { c.State = catalog.ClaimOwed }, true, catalog.ClaimOwed, "", func(u *owe.User) int { return u.Owed - 2 }},
		{"deleted", func(_ *lostserver.Disaster, c *catalog.Claim) { c.State = catalog.ClaimDeleted }, true, catalog.ClaimDeleted, "", func(u *owe.User) int { return u.Deleted }},
		{"lost", func(_ *lostserver.Disaster, c *catalog.Claim) { c.State = catalog.ClaimLost }, true, catalog.ClaimLost, "", func(u *owe.User) int { return u.Lost }},
		{"junk", func(_ *lostserver.Disaster, c *catalog.Claim) { c.State = catalog.ClaimJunk }, true, catalog.ClaimJunk, "", func(u *owe.User) int { return u.Junk - 1 }},
		{"filled and lost again", func(*lostserver.Disaster, *catalog.Claim) {}, false, catalog.ClaimHeld, "has no content there now", func(u *owe.User) int { return u.Held }},
		{"present", func(_ *lostserver.Disaster, c *catalog.Claim) { c.State = catalog.ClaimPresent }, false, catalog.ClaimHeld, "has no content there now", func(u *owe.User) int { return u.Held }},
		{"present, in no vault", func(d *lostserver.Disaster, c *catalog.Claim) {
			c.State, c.Content, c.SHA1 = catalog.ClaimPresent, [32]byte{}, [20]byte{}
			d.Server.Box("ann", "INBOX").Find(5).Body += "another one"
		}, true, catalog.ClaimOwed, "has no content there now", func(u *owe.User) int { return u.Owed - 2 }},
		{"restored elsewhere", func(_ *lostserver.Disaster, c *catalog.Claim) { c.NowUID = 900 }, true, catalog.ClaimRestored, "", func(u *owe.User) int { return u.Copied }},
		{"restored maybe elsewhere", func(_ *lostserver.Disaster, c *catalog.Claim) {
			c.State, c.NowUID = catalog.ClaimRestoredMaybe, 900
		}, true, catalog.ClaimRestoredMaybe, "", func(u *owe.User) int { return u.Copied }},
		{"redelivered elsewhere", func(_ *lostserver.Disaster, c *catalog.Claim) {
			c.State, c.NowUID = catalog.ClaimRedelivered, 900
		}, true, catalog.ClaimRedelivered, "", func(u *owe.User) int { return u.Copied }},
		{"restored to another folder", func(_ *lostserver.Disaster, c *catalog.Claim) { c.NowFolder = "RESTORED" }, true, catalog.ClaimRestored, "", func(u *owe.User) int { return u.Copied }},
		{"restored nobody knows where", func(_ *lostserver.Disaster, c *catalog.Claim) { c.NowUID = 0 }, false, catalog.ClaimRestored, "", func(u *owe.User) int { return len(u.Problems) }},
		{"restored nobody knows where, and seen", func(d *lostserver.Disaster, c *catalog.Claim) {
			c.NowUID = 0
			d.Server.Box("ann", "INBOX").Add(lostserver.Text(4))
		}, true, catalog.ClaimRestored, "", func(u *owe.User) int { return u.Copied }},
		{"restored here, it is said", func(_ *lostserver.Disaster, c *catalog.Claim) {
			c.NowUID, c.NowStore = 0, lostserver.URL
		}, false, catalog.ClaimHeld, "has no content there now", func(u *owe.User) int { return u.Held }},
		{"restored here, and moved", func(d *lostserver.Disaster, c *catalog.Claim) {
			c.NowUID, c.NowStore = 0, lostserver.URL
			d.Server.Box("ann", "Else").Add(lostserver.Text(4))
		}, false, catalog.ClaimRestored, "", func(u *owe.User) int { return len(u.Problems) }},
		{"another message", func(_ *lostserver.Disaster, c *catalog.Claim) { c.SHA1[0]++ }, false, catalog.ClaimRestored, "", func(u *owe.User) int { return len(u.Problems) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := scene(t)
			d.Server.Box("ann", "INBOX").Find(5).Missing = true
			d.Put(func(claim *catalog.Claim) bool {
				if claim.User != "ann" || claim.Folder != "INBOX" || claim.UID != 5 {
					return false
				}
				c.change(d, claim)
				return true
			})
			o := options(d)
			o.Accept = []string{"ann"}
			before := d.Server.Listing()
			r := plan(t, d, o)
			want := 3
			if c.take {
				want = 4
			}
			if u := of(t, r, "ann"); u.Take != want || c.kind(u) != 1 {
				t.Errorf("%+v", u)
			}
			d.Sleep(owe.Settle)
			_, err := run(d, o, r.Plan)
			must(t, err)
			gone := []string{"ann INBOX 7/61", "ann Work 7/2", "ann Spam 7/1"}
			if c.take {
				gone = append(gone, "ann INBOX 7/5")
			}
			if got := d.Server.Listing(); !reflect.DeepEqual(got, without(before, gone...)) {
				t.Errorf("left are %s", strings.Join(got, "\n"))
			}
			claim := d.Claim("ann", "INBOX", 5)
			if claim.State != c.state || !strings.Contains(claim.Reason, c.reason) || claim.TakenAt.IsZero() == c.take {
				t.Errorf("%+v", claim)
			}
		})
	}
}

// Messages that the ledger does not know are written down before they go.
func TestUnknown(t *testing.T) {
	t.Parallel()
	d := scene(t)
	d.Server.Box("ann", "INBOX").Add(lostserver.Text(400)).Missing = true // UID 62, after the incident was opened
	d.Server.Box("bob", "New").Add(lostserver.Text(7)).Missing = true     // a copy of what ann has
	claims := len(d.Claims(""))
	o := options(d)
	o.Accept = []string{"ann"}
	r := plan(t, d, o)
	if a, b := of(t, r, "ann"), of(t, r, "bob"); a.Owed != 3 || b.Held != 1 || b.Take != 0 {
		t.Fatalf("%+v %+v", a, b)
	}
	d.Sleep(owe.Settle)
	r, err := run(d, o, r.Plan)
	must(t, err)
	if c := d.Claim("ann", "INBOX", 62); c.State != catalog.ClaimOwed || !strings.Contains(c.Reason, "not in the surviving index") || c.TakenAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if c := d.Claim("bob", "New", 1); c.State != catalog.ClaimHeld || c.Content.IsZero() || c.MessageID != "<7@x>" || !c.TakenAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if u := of(t, r, "bob"); u.Left != 1 || u.Held != 1 || !r.Incomplete() {
		t.Errorf("%+v", u)
	}
	if got := len(d.Claims("")); got != claims+2 {
		t.Errorf("%d claims, %d before", got, claims)
	}
}

// A folder that was renamed since is the same one: nothing stands in the ledger
// twice.
func TestRenamed(t *testing.T) {
	t.Parallel()
	d := scene(t)
	d.Server.Rename("ann", "Work", "Job")
	d.Server.Box("ann", "INBOX").UIDValidity = 8
	claims := len(d.Claims(""))
	r := plan(t, d, options(d))
	d.Sleep(owe.Settle)
	_, err := run(d, options(d), r.Plan)
	must(t, err)
	if c := d.Claim("ann", "Job", 2); c.State != catalog.ClaimOwed || c.TakenAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if c := d.Claim("ann", "INBOX", 61); c.UIDValidity != 8 || c.TakenAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if got := len(d.Claims("")); got != claims {
		t.Errorf("%d claims, %d before", got, claims)
	}
}

// A copy that was lost again goes out, and its message is to be brought back anew.
func TestLostCopy(t *testing.T) {
	t.Parallel()
	for _, held := range []bool{true, false} {
		d := scene(t)
		body, state := lostserver.Text(4), catalog.ClaimHeld
		if !held {
			body, state = "another body\r\n\r\n", catalog.ClaimOwed
		}
		m := d.Server.Box("ann", "INBOX").Add(body)
		m.Missing = true
		d.Put(func(c *catalog.Claim) bool {
			if c.User != "ann" || c.Folder != "INBOX" || c.UID != 5 {
				return false
			}
			c.NowUID = uint32(m.UID)
			if !held {
				c.State, c.SHA1, c.Content = catalog.ClaimRedelivered, [20]byte{}, [32]byte{}
			}
			return true
		})
		d.Server.Box("ann", "INBOX").Find(5).Missing = true // the old entry still dangles, too
		o := options(d)
		o.Accept = []string{"ann"}
		r := plan(t, d, o)
		if u := of(t, r, "ann"); u.Take != 5 {
			t.Fatalf("%+v", u)
		}
		d.Sleep(owe.Settle)
		r, err := run(d, o, r.Plan)
		must(t, err)
		c := d.Claim("ann", "INBOX", 5)
		if u := of(t, r, "ann"); c.State != state || c.NowUID != 0 || c.TakenAt.IsZero() || u.Left != 0 || u.Taken != 5 {
			t.Errorf("%+v %+v", c, u)
		}
	}
}
