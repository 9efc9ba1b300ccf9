package incident_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/world"
)

// decide commits rows as an operator's decision.
func decide(t *testing.T, w *world.World, rows ...catalog.Row) {
	t.Helper()
	change, err := w.H.Begin(t.Context(), "decision")
	must(t, err)
	must(t, change.Tx.Put(rows...))
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
}

// What a check found damaged in the vault is not held.
func TestDamagedVault(t *testing.T) {
	w, s := serve(t)
	for i := range 3 {
		s.deliver("ann", "INBOX", body(i))
	}
	w.Backup()
	s.deliver("ann", "INBOX", body(2)) // twice the same
	s.box("ann", "INBOX").expunge(2, w.Now)
	s.box("ann", "INBOX").clean()
	lost := s.snapshot()
	lost.box("ann", "INBOX").err = &mailstore.Incomplete{Problems: []*mailstore.Problem{{Err: errors.New("odd")}}}
	var packs []catalog.Row
	must(t, w.H.Catalog.Packs(t.Context(), func(p *catalog.PackUse) error {
		p.Damaged = "rotten"
		packs = append(packs, p.Pack)
		return nil
	}))
	decide(t, w, packs...)
	r := open(t, w, options(w, lost))
	if r.Held != 0 || r.Uncertain != 0 || r.Owed != 4 {
		t.Errorf("%+v", r.Totals)
	}
	for _, c := range claims(t, w.H.Catalog, "fire") {
		wants(t, c, catalog.ClaimOwed, "the vault's copy is damaged")
		if !c.Content.IsZero() {
			t.Errorf("%+v", c)
		}
	}
}

// Indexes of old tell no hash: the same UID and length are the same message.
func TestWithoutHashes(t *testing.T) {
	w, s := serve(t)
	for i := range 3 {
		s.deliver("ann", "INBOX", body(i), `\Seen`)
	}
	w.Backup()
	s.deliver("ann", "INBOX", body(1)) // a copy, which cannot be told from a new one
	lost := s.snapshot()
	for i := range lost.box("ann", "INBOX").letters {
		l := &lost.box("ann", "INBOX").letters[i]
		l.SHA1, l.ObjectID = chunk.SHA1{}, ""
		switch l.UID {
		case 2:
			l.Size, l.Promised = 9999, 9999
		case 3:
			l.Size, l.Promised, l.Flags, l.NoFlags = -1, -1, nil, true
		}
	}
	open(t, w, options(w, lost))
	wants(t, claimed(t, w, "ann", "INBOX", 1), catalog.ClaimHeld, "")
	wants(t, claimed(t, w, "ann", "INBOX", 2), catalog.ClaimOwed, "other bytes")
	wants(t, claimed(t, w, "ann", "INBOX", 3), catalog.ClaimHeld, "")
	wants(t, claimed(t, w, "ann", "INBOX", 4), catalog.ClaimOwed, "arrived after")
	if got := claimed(t, w, "ann", "INBOX", 3); !reflect.DeepEqual(got.Flags, []string{`\Seen`}) {
		t.Errorf("flags that the index cannot tell: %q", got.Flags)
	}
}

// What was there at the last backup and is not in it was not readable then.
func TestUnreadByTheBackup(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	s.deliver("ann", "INBOX", body(2))
	hidden := s.box("ann", "INBOX").letters[1]
	s.box("ann", "INBOX").letters = s.box("ann", "INBOX").letters[:1]
	w.Backup()
	s.box("ann", "INBOX").letters = append(s.box("ann", "INBOX").letters, hidden)
	open(t, w, options(w, s.snapshot()))
	wants(t, claimed(t, w, "ann", "INBOX", 2), catalog.ClaimOwed, "the last backup could not read it")
}

// A record of a removal in an index that is older than the backup, which saw
// the message, proves nothing.
func TestRemovedInAnOldIndex(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	s.deliver("ann", "INBOX", body(2))
	w.Backup()
	old := s.snapshot()
	old.box("ann", "INBOX").letters[0].Expunged = w.Now
	old.box("ann", "INBOX").UIDNext = 2
	open(t, w, options(w, old))
	wants(t, claimed(t, w, "ann", "INBOX", 1), catalog.ClaimUncertain, "older than the backup")
	if got := claimed(t, w, "ann", "INBOX", 1); got.Content.IsZero() {
		t.Errorf("%+v", got)
	}
}

// An index that repeats itself, or whose lists have holes, costs no message a
// row and gives none a second one.
func TestOddIndex(t *testing.T) {
	w, s := serve(t)
	for _, user := range []string{"ann", "bob", "cid"} {
		s.deliver(user, "INBOX", body(1))
		s.deliver(user, "Work", body(2))
	}
	w.Backup()
	lost := s.snapshot()
	inbox := lost.box("ann", "INBOX")
	inbox.letters = append(inbox.letters, inbox.letters[0])
	delete(lost.users["bob"], "Work")
	delete(lost.users, "cid")
	problem := func(what string) error {
		return &mailstore.Incomplete{Problems: []*mailstore.Problem{{Path: "mailboxes.db", Err: errors.New(what)}}}
	}
	lost.damagedUsers, lost.damagedFolders = problem("torn"), problem("holed")
	r := open(t, w, options(w, lost))
	if r.Held != 3 || r.Uncertain != 3 || r.Total != 6 || r.Unread != 4 || !strings.Contains(strings.Join(r.Problems, ";"), "UID 1 twice") {
		t.Errorf("%+v", r)
	}
	wants(t, claimed(t, w, "bob", "Work", 1), catalog.ClaimUncertain, "list of folders is damaged: holed")
	wants(t, claimed(t, w, "cid", "Work", 1), catalog.ClaimUncertain, "does not list the user: torn")
	i, _, err := w.H.Catalog.Incident("fire")
	must(t, err)
	if !reflect.DeepEqual(i.Problems, r.Problems) {
		t.Errorf("%q", i.Problems)
	}
}

// The time of the loss: what came into the backup after it does not count, what
// left it afterwards does.
func TestAt(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	s.deliver("ann", "INBOX", body(2))
	w.Backup()
	lost := s.snapshot()
	loss := w.Now.Add(time.Hour)
	s.box("ann", "INBOX").expunge(1, w.Now.Add(2*time.Hour)) // on the server that came up again
	s.box("ann", "INBOX").clean()
	s.deliver("ann", "INBOX", body(3))
	w.Night()
	w.Night()
	o := options(w, lost)
	o.At = loss
	if r := open(t, w, o); r.Held != 2 || r.Total != 2 || r.Deleted != 0 || r.Run != 1 {
		t.Errorf("%+v", r)
	}
	wants(t, claimed(t, w, "ann", "INBOX", 1), catalog.ClaimHeld, "")
}

// A message that the backup found removed is there again: the index, which is
// newer, wins.
func TestBackAgain(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	s.deliver("ann", "INBOX", body(2))
	w.Backup()
	inbox := s.box("ann", "INBOX")
	removed := inbox.letters[0]
	inbox.letters = inbox.letters[1:]
	inbox.touch()
	w.Night()
	inbox.letters = append(inbox.letters, removed)
	inbox.touch()
	if r := open(t, w, options(w, s.snapshot())); r.Held != 2 || r.Total != 2 {
		t.Errorf("%+v", r)
	}
	wants(t, claimed(t, w, "ann", "INBOX", 1), catalog.ClaimHeld, "")
}

// What was no message of the lost server at the time of the loss has no row:
// others' mail, what had moved, what came and went before, what is no mailbox.
func TestOthersHaveNoRow(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	known := w.List(catalog.Query{})[0].Record
	row := func(id, mailbox int64, uid uint32) catalog.Record {
		rec := known
		rec.ID, rec.Mailbox, rec.UID, rec.Key = id, mailbox, uid, "7."+string(rune('0'+uid))
		return rec
	}
	moved, went := row(101, known.Mailbox, 5), row(102, known.Mailbox, 6)
	moved.FirstRun, moved.GoneRun, moved.MovedTo = 0, 1, known.ID
	went.FirstRun, went.GoneRun = 1, 1
	decide(t, w, moved, went, catalog.User{Name: "zoe", Source: "elsewhere"}, catalog.User{Name: "yan", Source: "elsewhere"},
		catalog.Mailbox{ID: 51, User: "zoe", Name: "INBOX"}, catalog.Mailbox{ID: 52, User: "yan", Name: "INBOX"}, row(103, 51, 7), row(104, 52, 8))
	lost := s.snapshot()
	lost.deliver("yan", "INBOX", body(1)) // another store's user of the same name
	lost.foreign = true
	w.Sleep(time.Hour)
	r := open(t, w, options(w, lost))
	if r.Held != 2 || r.Total != 2 || r.Deleted != 0 || r.Users != 2 || r.Folders != 2 || r.Unread != 0 {
		t.Errorf("%+v", r)
	}
	wants(t, claimed(t, w, "yan", "INBOX", 1), catalog.ClaimHeld, "")
}

// A dry run leaves no copy either.
func TestDryRunKeepsNothing(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	o := options(w, s.snapshot())
	o.DryRun = true
	open(t, w, o)
	if _, err := os.Stat(o.Keep); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// What an index names without being sure of it is taken back to be safe.
func TestDoubted(t *testing.T) {
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	s.deliver("ann", "INBOX", body(2))
	lost := s.snapshot()
	for i := range lost.box("ann", "INBOX").letters {
		l := &lost.box("ann", "INBOX").letters[i]
		l.Doubt, l.MessageID, l.InternalDate = "who knows", "<of the index>", l.InternalDate.Add(time.Hour)
	}
	open(t, w, options(w, lost))
	wants(t, claimed(t, w, "ann", "INBOX", 1), catalog.ClaimUncertain, "who knows")
	wants(t, claimed(t, w, "ann", "INBOX", 2), catalog.ClaimOwed, "arrived after")
	if got := claimed(t, w, "ann", "INBOX", 1); got.InternalDate.Unix() != 1.7e9 || got.MessageID != "<1@x>" || got.Content.IsZero() {
		t.Errorf("what the backup knows better: %+v", got)
	}
	if got := claimed(t, w, "ann", "INBOX", 2); got.MessageID != "<of the index>" || got.InternalDate.Unix() != 1.7e9+3600 {
		t.Errorf("what only the index knows: %+v", got)
	}
}

// An index that was written after the loss is no evidence of a deletion.
func TestWrittenAfterTheLoss(t *testing.T) {
	for _, later := range []bool{false, true} {
		w, s := serve(t)
		s.deliver("ann", "INBOX", body(1))
		s.deliver("ann", "INBOX", body(2))
		w.Backup()
		lost := s.snapshot()
		box := lost.box("ann", "INBOX")
		box.letters = box.letters[:1]
		o := options(w, lost)
		o.At = w.Now
		want, reason := catalog.ClaimDeleted, "does not name it"
		if box.Written = w.Now; later {
			box.Written = w.Now.Add(time.Second)
			want, reason = catalog.ClaimUncertain, "written after the loss"
		}
		open(t, w, o)
		wants(t, claimed(t, w, "ann", "INBOX", 2), want, reason)
	}
}
