package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
)

func day(n int) time.Time { return night.AddDate(0, 0, n) }

// library is a small server: what happened to each message stands in its
// subject. Runs 1 to 5 are the nights 0 to 4.
func library(t testing.TB) *Catalog {
	c := newCatalog(t)
	tx := begin(t, c)
	for n := range 5 {
		must(t, tx.Put(Run{Number: uint64(n + 1), Kind: "backup", Started: day(n), Finished: day(n).Add(time.Hour)}))
	}
	packs := []chunk.ID{testID("pack 0"), testID("pack 1")}
	must(t, tx.Put(Pack{ID: packs[0], Size: 500, Commit: 1}, Pack{ID: packs[1], Size: 500, Commit: 2}))
	must(t, tx.Put(User{Name: "zoe", Source: "s", Partition: "p2"}, User{Name: "amy", Source: "s", Partition: "p1"}))
	must(t, tx.Put(
		Mailbox{ID: 1, User: "zoe", Name: "INBOX"}, Mailbox{ID: 2, User: "zoe", Name: "Archive"},
		Mailbox{ID: 3, User: "amy", Name: "INBOX", UIDValidity: 77, SpecialUse: `\Inbox`}, Mailbox{ID: 4, User: "amy", Name: "Trash"}))
	for i, m := range []struct {
		box               int64
		uid               uint32
		pack              int
		subject, from, to string
		first, gone       int // runs
	}{
		{1, 7, 0, "stays", "Jürgen <j@x>", "a@b", 1, 0},
		{1, 3, 1, "came on night 2", "K@X.ORG", "a@b, c@d", 3, 0},
		{2, 1, 1, "gone on night 1", "j@x", "", 1, 2},
		{3, 5, 0, "100% _off_ STRASSE", "j@x", "", 2, 0},
		{3, 6, 0, "gone on night 3", "j@x", "", 2, 4},
		{4, 1, 1, "came and went", "j@x", "", 2, 3},
	} {
		id, part := testID("m%d", i), data("d%d", i)
		must(t, tx.Put(frame(packs[m.pack], int64(1000*i), message(id)), frame(packs[1-m.pack], int64(1000*i+500), part)))
		must(t, tx.Put(Content{ID: id, Size: int64(100 + i), Parts: []chunk.Ref{part}, Subject: m.subject, From: m.from, To: m.to,
			MessageID: fmt.Sprintf("<m%d@Host>", i)}))
		r := Record{ID: int64(i + 1), Mailbox: m.box, UID: m.uid, Content: id, InternalDate: day(10 * i),
			FirstRun: uint64(m.first), FirstSeen: day(m.first - 1), GoneRun: uint64(m.gone)}
		if m.gone > 0 {
			at := day(20) // confirmed much later: that is no matter for as-of
			r.GoneAt = &at
		}
		must(t, tx.Put(r))
	}
	commit(t, tx)
	return c
}

func subjects(t testing.TB, c *Catalog, q Query) string {
	t.Helper()
	var out []string
	must(t, c.Entries(ctx, q, func(e *Entry) error { out = append(out, e.Subject); return nil }))
	return strings.Join(out, "; ")
}

func TestEntries(t *testing.T) {
	c := library(t)
	for name, q := range map[string]struct {
		q    Query
		want string
	}{
		"all live":             {Query{}, "100% _off_ STRASSE; came on night 2; stays"},
		"one user":             {Query{User: "zoe"}, "came on night 2; stays"},
		"no such user":         {Query{User: "zo"}, ""},
		"folder":               {Query{Folders: []string{"INBOX", "Nowhere"}}, "100% _off_ STRASSE; came on night 2; stays"},
		"other folder":         {Query{Folders: []string{"Archive"}, Deleted: true}, "gone on night 1"},
		"uids":                 {Query{UIDs: []uint32{7, 3, 3, 99}}, "came on night 2; stays"},
		"case":                 {Query{Subject: "STAYS"}, "stays"},
		"eszett":               {Query{Subject: "straße"}, "100% _off_ STRASSE"},
		"umlaut decomposed":    {Query{From: "JU\u0308RGEN"}, "stays"},
		"percent is itself":    {Query{Subject: "%"}, "100% _off_ STRASSE"},
		"underscore is itself": {Query{Subject: "_off_"}, "100% _off_ STRASSE"},
		"from":                 {Query{From: "k@x.org"}, "came on night 2"},
		"to":                   {Query{To: "C@D"}, "came on night 2"},
		"message-id":           {Query{MessageID: "<M3@hOST>"}, "100% _off_ STRASSE"},
		"both":                 {Query{From: "k@x", Subject: "stays"}, ""},
		"since":                {Query{Since: day(10)}, "100% _off_ STRASSE; came on night 2"},
		"before":               {Query{Before: day(10)}, "stays"},
		"deleted":              {Query{Deleted: true}, "gone on night 3; came and went; gone on night 1"},
		"deleted since":        {Query{DeletedSince: day(2)}, "gone on night 3; came and went"},
		"before the first":     {Query{AsOf: day(0).Add(-1)}, ""},
		"as of night 0":        {Query{AsOf: day(0)}, "gone on night 1; stays"},
		"as of night 1":        {Query{AsOf: day(1)}, "100% _off_ STRASSE; gone on night 3; came and went; stays"},
		"as of the day after":  {Query{AsOf: day(2).Add(-1)}, "100% _off_ STRASSE; gone on night 3; came and went; stays"},
		"as of night 2":        {Query{AsOf: day(2)}, "100% _off_ STRASSE; gone on night 3; came on night 2; stays"},
		"as of night 4":        {Query{AsOf: day(4)}, "100% _off_ STRASSE; came on night 2; stays"},
		"by location":          {Query{Order: ByLocation}, "stays; 100% _off_ STRASSE; came on night 2"},
		"by location, all filters": {Query{Order: ByLocation, User: "zoe", Folders: []string{"INBOX"}, UIDs: []uint32{7, 3},
			Subject: "a", Since: day(0)}, "stays; came on night 2"},
		"in a pack":     {Query{InPacks: []chunk.ID{testID("pack 0")}, User: "zoe"}, "came on night 2; stays"},
		"in no pack":    {Query{InPacks: []chunk.ID{testID("pack 9")}}, ""},
		"in both packs": {Query{InPacks: []chunk.ID{testID("pack 0"), testID("pack 1")}, Order: ByLocation}, "stays; 100% _off_ STRASSE; came on night 2"},
	} {
		if got := subjects(t, c, q.q); got != q.want {
			t.Errorf("%s: %q, want %q", name, got, q.want)
		}
	}
	if err := c.Entries(ctx, Query{AsOf: night, Deleted: true}, nil); err == nil {
		t.Error("as-of and deleted at once are taken")
	}
}

func TestEntryIsWhole(t *testing.T) {
	c := library(t)
	var got *Entry
	must(t, c.Entries(ctx, Query{User: "amy"}, func(e *Entry) error { got = e; return nil }))
	id := testID("m3")
	if got == nil || got.User != "amy" || got.Folder != "INBOX" || got.UIDValidity != 77 || got.SpecialUse != `\Inbox` || got.Size != 103 ||
		got.Content != id || got.Stored != id || !got.InternalDate.Equal(day(30)) || got.From != "j@x" {
		t.Errorf("%+v", got)
	}
	want := Location{Pack: testID("pack 0"), PackSize: 500, FrameOffset: 3000, FrameStored: 50, FramePlain: 100, Method: MethodZstd, Size: 100}
	if got.Where != want {
		t.Errorf("%+v, want %+v", got.Where, want)
	}
}

// TestPartInLostPack: a message is also found by the data chunks of its parts.
func TestPartInLostPack(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	other, d := testID("other"), data("d2") // in the part only
	apply(t, c, Pack{ID: other, Size: 9, Commit: 2}, frame(other, 0, d))
	n := 0
	must(t, c.Entries(ctx, Query{InPacks: []chunk.ID{other}}, func(*Entry) error { n++; return nil }))
	if n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestListingsStop(t *testing.T) {
	c := library(t)
	stop := errors.New("that is enough")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, list := range map[string]func(context.Context, error) error{
		"Users": func(ctx context.Context, e error) error { return c.Users(ctx, func(*User) error { return e }) },
		"Mailboxes": func(ctx context.Context, e error) error {
			return c.Mailboxes(ctx, "", func(*Mailbox) error { return e })
		},
		"Records": func(ctx context.Context, e error) error { return c.Records(ctx, 1, func(*Record) error { return e }) },
		"Entries": func(ctx context.Context, e error) error {
			return c.Entries(ctx, Query{}, func(*Entry) error { return e })
		},
		"Packs": func(ctx context.Context, e error) error { return c.Packs(ctx, func(*PackUse) error { return e }) },
		"Dump":  func(ctx context.Context, e error) error { return c.Dump(ctx, func([]byte) error { return e }) },
		"Runs":  func(ctx context.Context, e error) error { return c.Runs(ctx, 0, func(*Run) error { return e }) },
		"Counts": func(ctx context.Context, e error) error {
			return c.Counts(ctx, CountQuery{}, func(*MailboxCount) error { return e })
		},
	} {
		if err := list(ctx, stop); !errors.Is(err, stop) {
			t.Errorf("%s: %v, want what yield returned", name, err)
		}
		if err := list(ctx, ErrStop); err != nil {
			t.Errorf("%s: %v, want nil for ErrStop", name, err)
		}
		if err := list(cancelled, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want Canceled", name, err)
		}
	}
}

// TestVanished follows messages through moves, the brake and expiry.
func TestVanished(t *testing.T) {
	c := newCatalog(t)
	tx := begin(t, c)
	pack := testID("pack")
	must(t, tx.Put(Pack{ID: pack, Size: 5}, Run{Number: 1, Kind: "backup", Started: day(0)}, Run{Number: 2, Kind: "backup", Started: day(1)},
		User{Name: "amy", Source: "s", Partition: "p", LastRun: 2}, User{Name: "bob", Source: "s", Partition: "p"}, User{Name: "eve", Source: "other"},
		Mailbox{ID: 1, User: "amy", Name: "INBOX", FailedRun: 1}, Mailbox{ID: 2, User: "amy", Name: "Trash", SpecialUse: `\Trash`},
		Mailbox{ID: 3, User: "bob", Name: "INBOX"}, Mailbox{ID: 4, User: "bob", Name: "Old", GoneRun: 1}, Mailbox{ID: 5, User: "eve", Name: "INBOX"}))
	for i := range 9 {
		must(t, tx.Put(frame(pack, int64(100*i), message(testID("m%d", i))), Content{ID: testID("m%d", i)}))
	}
	at := func(n int) *time.Time { v := day(n); return &v }
	rec := func(id, box int64, content int, r Record) {
		r.ID, r.Mailbox, r.Content = id, box, testID("m%d", content)
		must(t, tx.Put(r))
	}
	rec(1, 1, 1, Record{})                                   // live
	rec(2, 1, 2, Record{GoneRun: 2})                         // unsettled
	rec(3, 1, 3, Record{GoneRun: 1, GoneAt: at(0)})          // its week runs
	rec(4, 1, 4, Record{GoneRun: 2, MovedTo: 6})             // moved
	rec(5, 1, 5, Record{GoneRun: 1, Hold: 1})                // held
	rec(6, 2, 4, Record{FirstRun: 2})                        // where 4 went, in Trash
	rec(7, 2, 6, Record{GoneRun: 2})                         // unsettled, in Trash
	rec(8, 3, 7, Record{GoneRun: 1, GoneAt: at(3), Hold: 2}) // confirmed
	rec(9, 4, 8, Record{GoneRun: 1, GoneAt: at(0)})          // in a folder removed before
	commit(t, tx)

	ids := func(name string, want []int64, list func(func(*Record) error) error) {
		t.Helper()
		var got []int64
		must(t, list(func(r *Record) error { got = append(got, r.ID); return nil }))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	ids("unsettled", []int64{2, 4, 7}, func(y func(*Record) error) error { return c.Unsettled(ctx, "", y) })
	ids("unsettled of bob", nil, func(y func(*Record) error) error { return c.Unsettled(ctx, "bob", y) })
	ids("running", []int64{3}, func(y func(*Record) error) error { return c.Running(ctx, "amy", y) })
	ids("held", []int64{5}, func(y func(*Record) error) error { return c.Held(ctx, 1, y) })
	ids("confirmed", []int64{8}, func(y func(*Record) error) error { return c.Held(ctx, 2, y) })
	ids("gone since 2", []int64{2, 7}, func(y func(*Record) error) error {
		return c.GoneSince(ctx, 2, func(user string, r *Record) error {
			if user != "amy" {
				t.Errorf("record %d of %q", r.ID, user)
			}
			return y(r)
		})
	})
	ids("arrivals, one matched", nil, func(y func(*Record) error) error { return c.Arrivals(ctx, "amy", testID("m4"), 2, y) })
	ids("records of a content", []int64{4, 6}, func(y func(*Record) error) error { return c.RecordsOf(ctx, testID("m4"), y) })
	ids("expiring", []int64{3, 9}, func(y func(*Record) error) error {
		return c.Expiring(ctx, day(1), func(e *Expiring) error {
			if e.ID == 3 && (e.User != "amy" || e.UserLastRun != 2 || e.MailboxFailedRun != 1) {
				t.Errorf("%+v", e)
			}
			return y(&e.Record)
		})
	})
	ids("expiring later", []int64{3, 9, 8}, func(y func(*Record) error) error {
		return c.Expiring(ctx, day(9), func(e *Expiring) error { return y(&e.Record) })
	})
	for user, want := range map[string]bool{"amy": true, "bob": false} {
		if has, err := c.UserHas(user, testID("m1")); err != nil || has != want {
			t.Errorf("%s has m1: %v, %v", user, has, err)
		}
	}

	losses, err := c.Losses(ctx, LossQuery{Source: "s", Since: day(0), Run: 2, Ignore: func(m Mailbox) bool { return m.SpecialUse == `\Trash` }})
	must(t, err)
	want := []Loss{{User: "amy", Partition: "p", Live: 1, Now: 1, Window: 3}, {User: "bob", Partition: "p"}}
	if !slices.Equal(losses, want) {
		t.Errorf("losses %+v, want %+v", losses, want)
	}
	var counts []string
	must(t, c.Counts(ctx, CountQuery{GoneSince: 2}, func(n *MailboxCount) error {
		counts = append(counts, fmt.Sprint(n.User, "/", n.Name, " ", n.Live, " ", n.Gone, " ", n.Moved, " ", n.Held))
		return nil
	}))
	if got := strings.Join(counts, ", "); got != "amy/INBOX 1 2 1 0, amy/Trash 1 1 0 0, bob/INBOX 0 0 0 0, bob/Old 0 0 0 0, eve/INBOX 0 0 0 0" {
		t.Error(got)
	}
	s, err := c.Stats(ctx)
	if err != nil || s.Live != 2 || s.Deleted != 7 || s.Users != 3 || s.Mailboxes != 4 || s.Contents != 9 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestLeftovers(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	apply(t, c, User{Name: "gone", GoneRun: 2}, Mailbox{ID: 8, User: "gone", Name: "INBOX", GoneRun: 2},
		Mailbox{ID: 9, User: "alice", Name: "empty", GoneRun: 2}, Mailbox{ID: 10, User: "alice", Name: "Junk", Excluded: "junk", Messages: 5})
	tx := begin(t, c)
	var rows []Row
	var names []string
	must(t, tx.Leftovers(ctx, day(100), func(r Row) error {
		rows = append(rows, r)
		names = append(names, string(r.appendKey(nil)))
		return nil
	}))
	if got := strings.Join(names, " "); !strings.HasPrefix(got, `{"id":8} {"id":9} {"name":"gone"} {"user":"bob"`) || len(rows) != 4 {
		t.Error(got)
	}
	must(t, tx.Delete(rows...))
	var excluded []string
	must(t, tx.Excluded(ctx, func(m *Mailbox) error { excluded = append(excluded, fmt.Sprint(m.Name, m.Messages)); return nil }))
	if !slices.Equal(excluded, []string{"Junk5"}) {
		t.Error(excluded)
	}
	commit(t, tx)
	checkInvariants(t, c)
}
