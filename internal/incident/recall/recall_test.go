package recall_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/recall"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/lostserver"
)

// scene has a user with old and new mail in several folders, one of which was
// renamed in the night, and another user of whom all is back.
func scene(t *testing.T) *lostserver.Disaster {
	t.Helper()
	d := lostserver.New(t)
	now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	n := 0
	deliver := func(user, folder string, daysAgo ...int) {
		for _, days := range daysAgo {
			n++
			d.Server.Box(user, folder).Add(lostserver.Text(n)).Date = now.AddDate(0, 0, -days)
		}
	}
	deliver("ann", "Lists", 3, 1)
	deliver("ann", "INBOX", 400, 5, 100, 2, 30)
	deliver("ann", "Old", 60)
	deliver("bob", "INBOX", 1)
	d.Backup()
	d.Server.Rename("ann", "Old", "Older")
	deliver("ann", "INBOX", 0) // UID 6, of the gap
	d.Open()
	d.Put(func(c *catalog.Claim) bool {
		c.State = catalog.ClaimPresent
		return c.User == "bob"
	})
	return d
}

func with(t *testing.T, d *lostserver.Disaster, fn func(context.Context, *recall.Recall)) {
	t.Helper()
	err := d.Act(false, func(ctx context.Context, l *incident.Ledger) error {
		fn(ctx, recall.New(l, "imap://new"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// INBOX and new mail come first; in a block of age the oldest, as its number will
// be the lowest.
func TestOrder(t *testing.T) {
	d := scene(t)
	with(t, d, func(ctx context.Context, r *recall.Recall) {
		waiting, others, err := r.Users(ctx)
		if err != nil || !reflect.DeepEqual(waiting, []string{"ann"}) || !reflect.DeepEqual(others, []string{"bob"}) {
			t.Errorf("%v, %v, %v", waiting, others, err)
		}
		var got []string
		err = r.List(ctx, "ann", func(c *catalog.Claim) error {
			got = append(got, fmt.Sprint(c.Folder, " ", c.UID))
			return nil
		})
		want := []string{"INBOX 2", "INBOX 4", "INBOX 5", "INBOX 3", "INBOX 1", "Lists 1", "Lists 2", "Older 1"}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
		if n, bytes, err := r.Extent(ctx, []string{"ann"}); n != int64(len(want)) || bytes < 8*30 || err != nil {
			t.Errorf("%d messages, %d bytes, %v", n, bytes, err)
		}
	})
}

// A folder keeps room for the numbers of messages that are missing still; one that
// was renamed is not made under its old name, an empty one is.
func TestFolder(t *testing.T) {
	d := scene(t)
	with(t, d, func(_ context.Context, r *recall.Recall) {
		for _, c := range []struct {
			name string
			made bool
			next uint32
		}{{"INBOX", true, 7}, {"Older", true, 2}, {"Old", false, 1}, {"Drafts", true, 1}} {
			box := mailstore.Mailbox{User: "ann", Name: c.name, UIDNext: 1}
			if made := r.Folder("ann", &box); made != c.made || box.UIDNext != c.next {
				t.Errorf("%s: %v, UIDNEXT %d", c.name, made, box.UIDNext)
			}
		}
	})
}

// What came back is restored, with its place; what did not stays, with the reason,
// and the reason goes when it comes back after all.
func TestBack(t *testing.T) {
	d := scene(t)
	d.Put(func(c *catalog.Claim) bool {
		c.State, c.Reason = catalog.ClaimUncertain, "who knows"
		return c.Folder == "Lists"
	})
	held, maybe := d.Claim("ann", "INBOX", 1), d.Claim("ann", "Lists", 1)
	note := func(fn func(context.Context, *recall.Recall) error) {
		t.Helper()
		with(t, d, func(ctx context.Context, r *recall.Recall) {
			if err := fn(ctx, r); err != nil {
				t.Fatal(err)
			}
			if err := r.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
	for range 2 {
		note(func(ctx context.Context, r *recall.Recall) error {
			_ = r.NotBack(ctx, maybe.ID, "over quota")
			return r.NotBack(ctx, held.ID, "over quota")
		})
	}
	if c := d.Claim("ann", "INBOX", 1); c.State != catalog.ClaimHeld || c.Reason != "it could not be brought back: over quota" {
		t.Errorf("%+v", c)
	}
	if c := d.Claim("ann", "Lists", 1); c.State != catalog.ClaimUncertain || c.Reason != "who knows; it could not be brought back: over quota" {
		t.Errorf("%+v", c)
	}
	note(func(ctx context.Context, r *recall.Recall) error {
		_ = r.Back(ctx, maybe.ID, 0)
		_ = r.Back(ctx, 4711, 1) // of a user who was forgotten meanwhile
		return r.Back(ctx, held.ID, 9)
	})
	if c := d.Claim("ann", "INBOX", 1); c.State != catalog.ClaimRestored || c.Reason != "" || c.NowUID != 9 || c.NowStore != "imap://new" || c.NowFolder != "INBOX" || c.SettledAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if c := d.Claim("ann", "Lists", 1); c.State != catalog.ClaimRestoredMaybe || c.Reason != "who knows" {
		t.Errorf("%+v", c)
	}
	// What is back is brought back once more only when that is asked for.
	with(t, d, func(ctx context.Context, r *recall.Recall) {
		count := func() (n int) {
			if err := r.List(ctx, "ann", func(*catalog.Claim) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := count()
		r.Again = true
		if after := count(); after != before+2 {
			t.Errorf("%d, and %d again", before, after)
		}
		if waiting, _, err := r.Users(ctx); err != nil || len(waiting) != 2 {
			t.Errorf("%v, %v", waiting, err)
		}
	})
	if err := d.Act(true, func(ctx context.Context, l *incident.Ledger) error {
		n, stores, err := recall.New(l, "imap://other").Elsewhere(ctx, []string{"ann"})
		if n != 2 || !reflect.DeepEqual(stores, []string{"imap://new"}) {
			t.Errorf("%d at %v", n, stores)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// Many are written while others come back, and none twice.
	with(t, d, func(ctx context.Context, r *recall.Recall) {
		var rest []int64
		for _, c := range d.Claims("ann") {
			if c.State == catalog.ClaimHeld {
				rest = append(rest, c.ID)
			}
		}
		for range 3000 {
			for _, id := range rest {
				if err := r.Back(ctx, id, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := r.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	})
	for _, c := range d.Claims("ann") {
		if strings.HasPrefix(string(c.State), "held") {
			t.Errorf("%+v", c)
		}
	}
}
