package restore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
)

// aged makes a mail of so many days before the backup and about so many bytes.
func aged(user, folder string, uid uint32, days, size int) mail {
	return mail{user: user, folder: folder, uid: uid, stored: text(fmt.Sprint(user, folder, uid), strings.Repeat("x", size)),
		record: func(r *catalog.Record) {
			r.InternalDate = begun.AddDate(0, 0, -days).Add(time.Duration(uid) * time.Minute)
		}}
}

func TestPlan(t *testing.T) {
	l := newLab(t)
	l.backup(aged("large", "INBOX", 1, 1, 5000), aged("small", "INBOX", 1, 3, 100), aged("idle", "INBOX", 1, 100, 10),
		aged("busy", "Work", 1, 13, 50), aged("busy", "INBOX", 2, 400, 2000), aged("future", "INBOX", 1, -9000, 3000))
	l.change(func(tx *catalog.Tx) { check(t, tx.Put(catalog.User{Name: "empty"})) })
	for _, c := range []struct {
		name            string
		users, priority []string
		want            string
	}{
		{"active, then small", nil, nil, "small busy future large empty idle"},
		{"a priority file", nil, []string{"idle", "nobody", "large", "idle"}, "idle large small busy future empty"},
		{"a given order", []string{"large", "idle", "ghost", "large", "small"}, nil, "large idle ghost small"},
		{"both", []string{"large", "idle", "small"}, []string{"small", "busy"}, "small large idle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := MakePlan(t.Context(), l.catalog, PlanOptions{Users: c.users, Priority: c.priority})
			check(t, err)
			if got := strings.Join(p.Users, " "); got != c.want {
				t.Errorf("order %q, want %q", got, c.want)
			}
			var messages int64
			for _, u := range p.Users {
				check(t, l.catalog.Loads(t.Context(), u, func(x *catalog.Load) error {
					messages += x.Messages
					return nil
				}))
			}
			if p.Extent.Messages != messages || p.Extent.Bytes < messages {
				t.Errorf("extent %+v, want %d messages", p.Extent, messages)
			}
		})
	}
}

// A user's INBOX comes first, then the folders by their newest mail, and in each
// the recent mail before the old.
func TestNewestFirst(t *testing.T) {
	l := newLab(t)
	var mails []mail
	// Stored the oldest first, and the folders that nobody waits for first.
	for i, days := range []int{2000, 300, 80, 60, 10, 9, 1} {
		for _, folder := range []string{"Archive", "Work", "INBOX"} {
			age := map[string]int{"Archive": 2000 + days, "Work": days + 3, "INBOX": days + 7}[folder]
			mails = append(mails, aged("amy", folder, uint32(i+1), age, 20))
		}
	}
	l.backup(mails...)
	to := newMemory()
	var order []string
	var uids []string
	to.adding = func(d Delivery) error {
		if len(order) == 0 || order[len(order)-1] != d.Mailbox {
			order = append(order, d.Mailbox)
		}
		if d.Mailbox == "INBOX" {
			uids = append(uids, fmt.Sprint(d.UID))
		}
		return nil
	}
	o := l.options(to)
	o.NewestFirst = true
	_, err := User(t.Context(), "amy", o)
	check(t, err)
	if !slices.Equal(order, []string{"INBOX", "Work", "Archive"}) {
		t.Errorf("folders %q", order)
	}
	// The newest of Work is 4 days old: the blocks are those up to 18, 94 and 369
	// days old, each in the order of the packs.
	if got := strings.Join(uids, " "); got != "5 6 7 3 4 2 1" {
		t.Errorf("INBOX came as %s", got)
	}
	for folder, texts := range to.texts("amy") {
		if len(texts) != 7 {
			t.Errorf("%s: %d messages", folder, len(texts))
		}
	}

	// With folders chosen, and all of several users.
	to = newMemory()
	o = l.options(to)
	o.NewestFirst, o.Query = true, catalog.Query{Folders: []string{"Work"}}
	check(t, All(t.Context(), []string{"amy"}, o, func(r *Report, err error) { check(t, err) }))
	if n := len(to.texts("amy")["Work"]); n != 7 || len(to.texts("amy")) != 1 {
		t.Errorf("%d messages of Work, folders %d", n, len(to.texts("amy")))
	}
}
