package owe_test

import (
	"slices"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/incident/owe"
	"salvor/internal/testenv/lostserver"
)

// Between the two looks everything may change.
func TestSecondLook(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*lostserver.Disaster)
		taken  int
		check  func(*testing.T, *lostserver.Disaster, *owe.User)
	}{
		{"content is back", func(d *lostserver.Disaster) { d.Server.Box("ann", "INBOX").Find(61).Missing = false }, 2,
			func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
				if c := d.Claim("ann", "INBOX", 61); c.State != catalog.ClaimPresent || !c.TakenAt.IsZero() || u.Whole != 1 || len(u.Problems) != 0 {
					t.Errorf("%+v %+v", c, u)
				}
			}},
		{"other content is there", func(d *lostserver.Disaster) {
			m := d.Server.Box("ann", "INBOX").Find(61)
			m.Missing, m.Damaged = false, true
		}, 2, func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
			if c := d.Claim("ann", "INBOX", 61); c.State != catalog.ClaimOwed || !c.TakenAt.IsZero() {
				t.Errorf("%+v %+v", c, u)
			}
		}},
		{"folder is another", func(d *lostserver.Disaster) { d.Server.Box("ann", "Work").UIDValidity = 9 }, 2,
			func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
				if c := d.Claim("ann", "Work", 2); !c.TakenAt.IsZero() || u.Left != 1 || !strings.Contains(strings.Join(u.Problems, "\n"), "UIDVALIDITY 7") {
					t.Errorf("%+v %+v", c, u)
				}
			}},
		{"folder is gone", func(d *lostserver.Disaster) { d.Server.Drop("ann", "Work") }, 2,
			func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
				if u.Left != 0 || len(u.Problems) != 1 {
					t.Errorf("%+v", u)
				}
			}},
		{"account is gone", func(d *lostserver.Disaster) { d.Server.Drop("ann", "") }, 0,
			func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
				if len(u.Problems) != 1 {
					t.Errorf("%+v", u)
				}
			}},
		{"one is gone", func(d *lostserver.Disaster) {
			b := d.Server.Box("ann", "INBOX")
			b.Messages = slices.DeleteFunc(b.Messages, func(m *lostserver.Message) bool { return m.UID == 61 })
		}, 2, func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
			if u.Gone != 1 || len(u.Problems) != 0 {
				t.Errorf("%+v", u)
			}
		}},
		{"more are lost", func(d *lostserver.Disaster) {
			d.Server.Box("ann", "INBOX").Add(lostserver.Text(401)).Missing = true
			d.Server.Box("ann", "INBOX").Find(9).Missing = true
		}, 3, func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
			if u.New != 2 || u.Left != 2 || d.Claim("ann", "INBOX", 9).State != catalog.ClaimRestored {
				t.Errorf("%+v", u)
			}
		}},
		{"read-only", func(d *lostserver.Disaster) { d.Server.Box("ann", "Work").ReadOnly = true }, 2,
			func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
				if u.Left != 1 || len(u.Problems) != 1 {
					t.Errorf("%+v", u)
				}
			}},
		{"the ledger has changed", func(d *lostserver.Disaster) {
			d.Put(func(c *catalog.Claim) bool {
				c.State = catalog.ClaimHeld
				return c.User == "ann" && c.Folder == "Work" && c.UID == 2
			})
		}, 2, func(t *testing.T, d *lostserver.Disaster, u *owe.User) {
			if u.Left != 1 || u.Held != 1 || !strings.Contains(strings.Join(u.Problems, "\n"), "ledger has changed") {
				t.Errorf("%+v", u)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := scene(t)
			r := plan(t, d, options(d))
			d.Sleep(owe.Settle)
			c.change(d)
			r, err := run(d, options(d), r.Plan)
			must(t, err)
			u := of(t, r, "ann")
			if u.Taken != c.taken {
				t.Errorf("%d taken, want %d: %+v", u.Taken, c.taken, u)
			}
			c.check(t, d, u)
		})
	}
}

// Content that comes back at the very last moment, when all is written down, is
// not taken out.
func TestLastMoment(t *testing.T) {
	t.Parallel()
	d := scene(t)
	r := plan(t, d, options(d))
	d.Sleep(owe.Settle)
	bodies := 0
	d.Server.Fail = func(op, _, _ string) error {
		if op == "body" {
			if bodies++; bodies == 4 { // three were asked for by the second look
				d.Server.Box("ann", "INBOX").Find(61).Missing = false
			}
		}
		return nil
	}
	r, err := run(d, options(d), r.Plan)
	must(t, err)
	if u := of(t, r, "ann"); u.Taken != 2 || u.Left != 0 || len(u.Problems) != 1 || d.Server.Box("ann", "INBOX").Find(61) == nil {
		t.Errorf("%+v", u)
	}
}
