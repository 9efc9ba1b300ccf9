package owe_test

import (
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/incident/owe"
	"salvor/internal/testenv/lostserver"
)

// Two messages with the same content are two, also in a folder that was renamed:
// each has a claim of its own.
func TestTwins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(d *lostserver.Disaster, work *lostserver.Mailbox) // of ann Work 2 and 3, owed and the same
		folder string
		claims int // more than there were
		owed   int // claims of this content in the folder whose entry is out
	}{
		{"renamed", func(d *lostserver.Disaster, _ *lostserver.Mailbox) { d.Server.Rename("ann", "Work", "Job") }, "Job", 0, 2},
		{"numbered anew", func(_ *lostserver.Disaster, work *lostserver.Mailbox) { work.UIDValidity = 8 }, "Work", 0, 2},
		{"a third one", func(_ *lostserver.Disaster, work *lostserver.Mailbox) {
			work.Find(2).Missing, work.Find(3).Missing = false, false
			work.Add(lostserver.Text(800)).Missing = true
		}, "Work", 1, 1},
		{"a third one, two are out", func(d *lostserver.Disaster, work *lostserver.Mailbox) {
			work.Messages = work.Messages[:1]
			work.Add(lostserver.Text(800)).Missing = true
			d.Put(func(c *catalog.Claim) bool {
				c.TakenAt = d.Clock()
				return c.User == "ann" && c.Folder == "Work" && c.UID > 1
			})
		}, "Work", 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := lostserver.New(t)
			for i := range 60 {
				d.Server.Box("ann", "INBOX").Add(lostserver.Text(i))
			}
			d.Server.Box("ann", "Work").Add(lostserver.Text(100))
			d.Backup()
			work := d.Server.Box("ann", "Work")
			work.Add(lostserver.Text(800))
			work.Add(lostserver.Text(800))
			d.Open()
			d.Fill()
			before := len(d.Claims(""))
			c.change(d, work)
			r := plan(t, d, options(d))
			d.Sleep(owe.Settle)
			r, err := run(d, options(d), r.Plan)
			must(t, err)
			if u := of(t, r, "ann"); u.Left != 0 || len(u.Problems) != 0 {
				t.Errorf("%+v", u)
			}
			owed := 0
			for _, claim := range d.Claims("ann") {
				if claim.Folder == c.folder && claim.State == catalog.ClaimOwed && !claim.TakenAt.IsZero() {
					owed++
				}
			}
			if got := len(d.Claims("")) - before; got != c.claims || owed != c.owed {
				t.Errorf("%d new claims, %d taken out: %s", got, owed, strings.Join(d.Server.Listing()[60:], "\n"))
			}
		})
	}
}
