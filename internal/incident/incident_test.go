package incident_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
)

// A night in which everything happens, and the disaster after it: each message
// is in the state in which it belongs.
func TestClasses(t *testing.T) {
	w, s := serve(t)
	inbox := s.box("ann", "INBOX")
	for i := range 9 {
		inbox.add(body(i+1), `\Seen`)
	}
	s.deliver("ann", "Work", body(20))
	s.deliver("bob", "INBOX", body(30))
	s.deliver("ann", "Spam", body(40))
	inbox.find(9).Promised++ // damaged at the source: the backup has other bytes of it
	inbox.find(9).SHA1 = hash("what it was")
	w.Backup()

	arrived := inbox.add(body(10))
	inbox.find(1).Flags, inbox.find(1).ModSeq = []string{`\Flagged`, `\Seen`}, inbox.touch()
	inbox.expunge(2, w.Now.Add(time.Hour)) // a user's deletion, as delayed expunge keeps it
	inbox.expunge(3, w.Now.Add(time.Hour))
	inbox.clean()                          // forgotten altogether
	inbox.expunge(4, w.Now.Add(time.Hour)) // moved
	moved := s.deliver("ann", "Work", body(4))
	cameAndWent := inbox.add(body(11))
	inbox.expunge(cameAndWent, w.Now.Add(time.Hour))
	copied := s.deliver("bob", "INBOX", body(5)) // another user's content
	s.deliver("ann", "Spam", body(41))
	work := s.box("ann", "Work") // renamed
	delete(s.users["ann"], "Work")
	work.Name = "Job"
	work.touch()
	s.users["ann"]["Job"] = work
	s.deliver("new", "INBOX", body(50))
	twin := s.deliver("new", "INBOX", body(6))
	lost := s.snapshot()
	w.Sleep(10 * time.Hour)
	r := open(t, w, options(w, lost))

	for _, c := range []struct {
		user, folder string
		uid          mailstore.UID
		state        catalog.ClaimState
		reason       string
	}{
		{"ann", "INBOX", 1, catalog.ClaimHeld, ""}, {"ann", "INBOX", 2, catalog.ClaimDeleted, "does not name it"},
		{"ann", "INBOX", 3, catalog.ClaimDeleted, "does not name it"}, {"ann", "INBOX", 4, catalog.ClaimDeleted, "removed at the server 2026-03-01T03"},
		{"ann", "INBOX", 5, catalog.ClaimHeld, ""}, {"ann", "INBOX", 9, catalog.ClaimOwed, "other bytes"},
		{"ann", "INBOX", arrived, catalog.ClaimOwed, "arrived after the last backup"}, {"ann", "INBOX", cameAndWent, catalog.ClaimDeleted, "removed at"},
		{"ann", "Job", 1, catalog.ClaimHeld, ""}, {"ann", "Job", moved, catalog.ClaimHeld, ""},
		{"ann", "Spam", 1, catalog.ClaimJunk, ""}, {"ann", "Spam", 2, catalog.ClaimJunk, ""},
		{"bob", "INBOX", 1, catalog.ClaimHeld, ""}, {"bob", "INBOX", copied, catalog.ClaimHeld, ""},
		{"new", "INBOX", 1, catalog.ClaimOwed, "arrived after"}, {"new", "INBOX", twin, catalog.ClaimHeld, ""},
	} {
		wants(t, claimed(t, w, c.user, c.folder, c.uid), c.state, c.reason)
	}
	first := claimed(t, w, "ann", "INBOX", 1)
	if !reflect.DeepEqual(first.Flags, []string{`\Flagged`, `\Seen`}) || first.SHA1 != hash(body(1)) || first.MessageID != "<1@x>" || first.Content.IsZero() ||
		first.Record == 0 || first.UIDValidity != 7 || first.Size != int64(len(body(1))) || first.InternalDate.Unix() != 1.7e9 {
		t.Errorf("%+v", first)
	}
	if owed := claimed(t, w, "ann", "INBOX", arrived); owed.SHA1 != hash(body(10)) || !owed.Content.IsZero() || owed.Record != 0 {
		t.Errorf("%+v", owed)
	}
	want := incident.Totals{Name: "fire", Held: 10, Owed: 3, Total: 13, Deleted: 4, Junk: 2}
	if r.Totals != want || r.Users != 3 || r.Folders != 5 || r.Unread != 0 || r.Run != 1 {
		t.Errorf("%+v", r)
	}
	if got, err := incident.Count(t.Context(), w.H.Catalog, "fire"); err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	// The ledger is in the vault.
	again := w.Rebuilt(w.Reopen(), "again.db")
	if got := claims(t, again.Catalog, "fire"); !reflect.DeepEqual(got, claims(t, w.H.Catalog, "fire")) || len(got) != 19 {
		t.Errorf("rebuilt: %d claims", len(got))
	}
	if got, _, err := again.Catalog.Incident("fire"); err != nil || got.OpenedBy != "op" || got.Run != 1 || got.Kept == "" || got.KeptSum.IsZero() || got.Head == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	// And what was deleted last week stays while it is open.
	inbox.expunge(5, w.Now)
	for range 12 {
		w.Night()
	}
	if p := w.Prune(); p.Expired != 0 || p.Withheld == 0 {
		t.Errorf("%+v", p)
	}
}

// What the index does not name is uncertain where it proves nothing.
func TestUncertain(t *testing.T) {
	for _, c := range []struct {
		name   string
		harm   func(*server) // done to the index
		index  func(*incident.Index)
		want   catalog.ClaimState // of a message that the index does not name
		reason string
	}{
		{"intact", func(*server) {}, nil, catalog.ClaimDeleted, "does not name it any more"},
		{"lost index", func(s *server) { s.box("ann", "INBOX").Lost = "cyrus.index is missing" }, nil, catalog.ClaimUncertain, "cyrus.index is missing"},
		{"damaged index", func(s *server) {
			s.box("ann", "INBOX").err = &mailstore.Incomplete{Problems: []*mailstore.Problem{{User: "ann", Err: errors.New("record 3 is odd")}}}
		}, nil, catalog.ClaimUncertain, "record 3 is odd"},
		{"older by UID", func(s *server) { s.box("ann", "INBOX").UIDNext = 2 }, nil, catalog.ClaimUncertain, "older than the backup"},
		{"older by modseq", func(s *server) { s.box("ann", "INBOX").HighestModSeq = 2 }, nil, catalog.ClaimUncertain, "older than the backup"},
		{"silent", func(s *server) { s.box("ann", "INBOX").UIDNext = 0 }, nil, catalog.ClaimUncertain, "how far it goes"},
		{"renumbered", func(s *server) { s.box("ann", "INBOX").UIDValidity = 8 }, nil, catalog.ClaimUncertain, "from 7 to 8"},
		{"no folder", func(s *server) { delete(s.users["ann"], "INBOX"); s.box("ann", "Work") }, nil, catalog.ClaimUncertain, "does not list the folder"},
		{"no user", func(s *server) { delete(s.users, "ann") }, nil, catalog.ClaimUncertain, "does not list the user"},
		{"no apart", func(*server) {}, func(i *incident.Index) { i.Apart = false }, catalog.ClaimUncertain, "does not outlive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, s := serve(t)
			for i := range 5 {
				s.deliver("ann", "INBOX", body(i))
				s.deliver("bob", "INBOX", body(i+10))
				s.deliver("bob", "Work", body(i+20))
			}
			w.Backup()
			s.box("ann", "INBOX").expunge(5, w.Now)
			s.box("ann", "INBOX").clean()
			lost := s.snapshot()
			c.harm(lost)
			o := options(w, lost)
			if c.index != nil {
				c.index(o.Index)
			}
			r := open(t, w, o)
			wants(t, claimed(t, w, "ann", "INBOX", 5), c.want, c.reason)
			if got := claimed(t, w, "ann", "INBOX", 5); got.Content.IsZero() || got.Record == 0 || got.MessageID == "" {
				t.Errorf("%+v", got)
			}
			if r.Owed != 0 || r.Total+r.Deleted != 15 || r.Deleted == 1 != (c.want == catalog.ClaimDeleted) {
				t.Errorf("%+v", r.Totals)
			}
		})
	}
}

// Nothing survived: everything that the backup has is taken back.
func TestNothingSurvived(t *testing.T) {
	w, s := serve(t)
	for i := range 60 {
		s.deliver("ann", "INBOX", body(i))
	}
	w.Backup()
	s.box("ann", "INBOX").expunge(1, w.Now.Add(time.Hour))
	w.Night()
	loss := w.Now.Add(time.Hour)
	// The server came up empty, and was backed up before anybody looked.
	s.users["ann"]["INBOX"].letters = nil
	s.box("ann", "INBOX").touch()
	if r := w.Night(); len(r.HeldByBrake) != 1 {
		t.Fatalf("%+v", r)
	}
	for _, at := range []time.Time{loss, {}} { // what the brake holds counts as being there
		o := options(w, nil)
		o.At, o.DryRun = at, true
		if r := open(t, w, o); r.Uncertain != 59 || r.Total != 59 || r.Kept != nil {
			t.Errorf("at %v: %+v", at, r)
		}
	}
	o := options(w, nil)
	o.At = loss
	open(t, w, o)
	wants(t, claimed(t, w, "ann", "INBOX", 2), catalog.ClaimUncertain, "nothing survived")
}

// An index from before the backup: what it names and the backup found removed
// is not taken back.
func TestOldIndex(t *testing.T) {
	w, s := serve(t)
	for i := range 5 {
		s.deliver("ann", "INBOX", body(i), `\Seen`)
	}
	w.Backup()
	old := s.snapshot()
	inbox := s.box("ann", "INBOX")
	inbox.expunge(1, w.Now.Add(time.Hour))
	inbox.find(2).Flags, inbox.find(2).ModSeq = []string{`\Answered`}, inbox.touch()
	later := inbox.add(body(9))
	w.Night()
	open(t, w, options(w, old))
	wants(t, claimed(t, w, "ann", "INBOX", 1), catalog.ClaimDeleted, "newer than the index")
	wants(t, claimed(t, w, "ann", "INBOX", later), catalog.ClaimUncertain, "older than the backup")
	if got := claimed(t, w, "ann", "INBOX", 2); got.State != catalog.ClaimHeld || !reflect.DeepEqual(got.Flags, []string{`\Answered`}) {
		t.Errorf("%+v", got)
	}
}

// What the brake held before the loss is not deleted because the index does not
// name it.
func TestHeldByBrake(t *testing.T) {
	w, s := serve(t)
	for i := range 4 {
		s.deliver("ann", "INBOX", body(i))
	}
	w.Backup()
	inbox := s.box("ann", "INBOX")
	inbox.letters, inbox.UIDValidity, inbox.UIDNext = nil, 8, 1
	inbox.add(body(3))
	if r := w.Night(); len(r.HeldByBrake) != 1 {
		t.Fatalf("%+v", r)
	}
	inbox.add(body(9))
	w.Sleep(time.Hour)
	r := open(t, w, options(w, s.snapshot()))
	if r.Held != 1 || r.Owed != 1 || r.Uncertain != 3 || r.Deleted != 0 {
		t.Errorf("%+v", r.Totals)
	}
	wants(t, claimed(t, w, "ann", "INBOX", 3), catalog.ClaimUncertain, "nobody has confirmed")
	if got := claimed(t, w, "ann", "INBOX", 3); got.UIDValidity != 0 {
		t.Errorf("the folder's new UIDVALIDITY is said to be that of its old mail: %+v", got)
	}
}

// Folders that are left out are no Junk: their mail is owed, and that is why.
func TestExcluded(t *testing.T) {
	w, s := serve(t)
	patterns, err := folder.ParsePatterns([]string{"Cache"})
	must(t, err)
	w.Options.Scope.Exclude = patterns
	s.deliver("ann", "INBOX", body(1))
	s.deliver("ann", "Cache", body(2))
	w.Backup()
	o := options(w, s.snapshot())
	o.Scope = w.Options.Scope
	open(t, w, o)
	wants(t, claimed(t, w, "ann", "Cache", 1), catalog.ClaimOwed, "left out of the backup")
}

// What is refused, with a line that says why; and nothing has happened then.
func TestRefused(t *testing.T) {
	other := &server{}
	other.deliver("zoe", "INBOX", body(1))
	few := &server{}
	few.deliver("ann", "INBOX", body(1))
	for _, c := range []struct {
		name   string
		index  *server
		change func(*incident.Options)
		want   error
		words  string
		accept bool // --accept-index takes it
	}{
		{"other users", other, nil, incident.ErrIndex, "0 of the 3", true},
		{"few of the users", few, nil, incident.ErrIndex, "1 of the 3", true},
		{"other UIDVALIDITYs", nil, func(o *incident.Options) {}, incident.ErrIndex, "UIDVALIDITY", true},
		{"newer", nil, func(o *incident.Options) {}, incident.ErrIndex, "two days after", true},
		{"unknown source", nil, func(o *incident.Options) { o.Source = "cyrus:/elsewhere" }, incident.ErrSource, source, false},
		{"before any backup", nil, func(o *incident.Options) { o.At = o.Now().Add(-48 * time.Hour) }, incident.ErrSource, "by 2026", false},
		{"the future", nil, func(o *incident.Options) { o.At = o.Now().Add(time.Hour) }, nil, "not over yet", false},
		{"a path as a name", nil, func(o *incident.Options) { o.Name = "../x" }, incident.ErrName, "letters", false},
		{"a flag as a name", nil, func(o *incident.Options) { o.Name = "-x" }, incident.ErrName, "letters", false},
		{"nothing to copy", nil, func(o *incident.Options) { o.Index.Trees[0].Dir += "/none" }, incident.ErrNothing, "none", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, s := serve(t)
			for _, user := range []string{"ann", "bob", "cid"} {
				for i := range 3 {
					s.deliver(user, "INBOX", body(i))
				}
			}
			w.Backup()
			lost := s.snapshot()
			for user := range lost.users {
				switch inbox := lost.box(user, "INBOX"); c.name {
				case "other UIDVALIDITYs":
					inbox.UIDValidity++
				case "newer":
					inbox.add(body(9))
					inbox.letters[3].InternalDate = w.Now.Add(72 * time.Hour)
				}
			}
			if c.index != nil {
				lost = c.index
			}
			o := options(w, lost)
			if c.change != nil {
				c.change(&o)
			}
			_, err := incident.Open(t.Context(), w.H, o)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, want %v (%s)", err, c.want, c.words)
			}
			if _, err := os.Stat(o.Keep); err == nil && strings.HasSuffix(c.name, "users") {
				t.Error("the copy of another server's index is in the way")
			}
			if got, err := incident.Count(t.Context(), w.H.Catalog, o.Name); !errors.Is(err, incident.ErrUnknown) {
				t.Errorf("%+v, %v", got, err)
			}
			o.AcceptIndex = true
			if _, err := incident.Open(t.Context(), w.H, o); (err == nil) != c.accept {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

// Two incidents with the same users, or of the same name.
func TestTwoIncidents(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	o := options(w, s.snapshot())
	open(t, w, o)
	if _, err := incident.Open(t.Context(), w.H, o); !errors.Is(err, incident.ErrExists) {
		t.Error(err)
	}
	o.Name, o.Keep = "flood", o.Keep+"2"
	if _, err := incident.Open(t.Context(), w.H, o); !errors.Is(err, incident.ErrOverlap) {
		t.Error(err)
	}
	// A user whom another source's incident knows already.
	change, err := w.H.Begin(t.Context(), "decision")
	must(t, err)
	fire, _, err := w.H.Catalog.Incident("fire")
	must(t, err)
	fire.Source = "elsewhere"
	must(t, change.Tx.Put(fire))
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
	if _, err := incident.Open(t.Context(), w.H, o); !errors.Is(err, incident.ErrOverlap) || !strings.Contains(fmt.Sprint(err), `"ann"`) {
		t.Error(err)
	}
	fire.ClosedAt = w.Now
	change, err = w.H.Begin(t.Context(), "decision")
	must(t, err)
	must(t, change.Tx.Put(fire))
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
	open(t, w, o)
}

// A ledger that lost a row does not pass for a whole one.
func TestSums(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	s.deliver("ann", "INBOX", body(2))
	w.Backup()
	open(t, w, options(w, s.snapshot()))
	change, err := w.H.Begin(t.Context(), "decision")
	must(t, err)
	must(t, change.Tx.Delete(claims(t, w.H.Catalog, "fire")[0]))
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
	if got, err := incident.Count(t.Context(), w.H.Catalog, "fire"); !errors.Is(err, incident.ErrSums) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A dry run writes nothing anywhere.
func TestDryRun(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	s.deliver("ann", "INBOX", body(2))
	o := options(w, s.snapshot())
	o.DryRun = true
	before, err := w.H.Catalog.Head()
	must(t, err)
	if r := open(t, w, o); r.Held != 1 || r.Owed != 1 || !r.DryRun || r.Kept != nil {
		t.Errorf("%+v", r)
	}
	if after, err := w.H.Catalog.Head(); err != nil || after != before {
		t.Errorf("%+v, %v", after, err)
	}
	if got := claims(t, w.H.Catalog, "fire"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	o.DryRun = false
	open(t, w, o)
}
