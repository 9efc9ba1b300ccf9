package backup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/objstore"
	"salvor/internal/testenv/world"
)

// uidlist numbers the messages of a Maildir's INBOX as Dovecot would.
func uidlist(t *testing.T, w *world.World, user string, validity, first int, paths []string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "3 V%d N%d Gaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%02d\n", validity, first+len(paths), validity%100)
	for i, p := range paths {
		base, _, _ := strings.Cut(filepath.Base(p), ":")
		fmt.Fprintf(&b, "%d :%s\n", first+i, base)
	}
	must(t, os.WriteFile(filepath.Join(w.Mail, user, "dovecot-uidlist"), []byte(b.String()), 0o600))
}

// A server that lost its index numbers everything anew. The mail is the same
// mail; what is missing at the same time is held.
func TestUIDValidityReset(t *testing.T) {
	w := world.New(t)
	paths := w.Fill("ann", "INBOX", 20)
	uidlist(t, w, "ann", 1111, 1, paths)
	w.Backup()
	uidlist(t, w, "ann", 2222, 101, paths)
	r := w.Night()
	if !r.Clean() || r.Messages.Gone != 0 || r.Bytes.Read != 0 {
		t.Fatalf("numbered anew: %+v", r)
	}
	if got := w.List(catalog.Query{}); got[0].UID != 101 || got[0].UIDValidity != 2222 {
		t.Errorf("UID %d, UIDVALIDITY %d", got[0].UID, got[0].UIDValidity)
	}
	w.Remove(paths[:3]...)
	uidlist(t, w, "ann", 3333, 1, paths[3:])
	if r := w.Night(); len(r.HeldByBrake) != 1 || r.HeldByBrake[0].Messages != 3 {
		t.Fatalf("three messages vanished with a UIDVALIDITY reset: %+v", r)
	}
}

// An exclusion made today is no deletion of what was backed up yesterday.
func TestNewExclusion(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Fill("ann", "Work/Big", 90)
	w.Backup()
	patterns, err := folder.ParsePatterns([]string{"Work/*"})
	must(t, err)
	w.Options.Scope.Exclude = patterns
	for range 10 {
		if r := w.Night(); r.Messages.Gone != 0 || len(r.HeldByBrake) != 0 {
			t.Fatalf("%+v", r)
		}
	}
	if p := w.Prune(); p.Expired != 0 {
		t.Fatalf("%+v", p)
	}
	if got := len(w.List(catalog.Query{})); got != 93 {
		t.Errorf("%d live records, want 93", got)
	}
	w.Options.Scope.Exclude = nil
	if r := w.Night(); r.Messages.New != 0 || r.Messages.Gone != 0 {
		t.Errorf("back in scope: %+v", r)
	}
}

// A long run commits in between, and the end is the same.
func TestRunInSeveralCommits(t *testing.T) {
	w := world.New(t)
	for _, u := range []string{"ann", "bob", "cid", "dan"} {
		w.Fill(u, "INBOX", 30)
	}
	w.Options.CommitAfter = 1
	r := w.Backup()
	if r.Messages.New != 120 || r.Messages.Seen != 120 || r.Head.Number < 2 || !r.Clean() {
		t.Fatalf("%+v", r)
	}
	if got := len(w.List(catalog.Query{})); got != 120 {
		t.Errorf("%d records", got)
	}
	if r := w.Night(); r.Messages.New != 0 {
		t.Errorf("%+v", r)
	}
}

// An interrupted run keeps what it did, and the next one completes it.
func TestInterruptedRun(t *testing.T) {
	w := world.New(t)
	for _, u := range []string{"ann", "bob", "cid"} {
		w.Fill(u, "INBOX", 40)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.Options.Source = &stopping{Source: w.Source(), stop: cancel, after: "cid"}
	r, err := w.TryBackup(ctx)
	if !errors.Is(err, context.Canceled) || r == nil || !r.Partial {
		t.Fatalf("%+v, %v", r, err)
	}
	kept := len(w.List(catalog.Query{}))
	w.Options.Source = nil
	r = w.Night()
	if r.Messages.New+int64(kept) != 120 || !r.Clean() {
		t.Errorf("kept %d, then %+v", kept, r)
	}
	if got := len(w.List(catalog.Query{})); got != 120 {
		t.Errorf("%d records", got)
	}
}

// stopping cancels the run when it comes to a user.
type stopping struct {
	mailstore.Source
	stop  func()
	after string
}

func (s *stopping) Mailboxes(ctx context.Context, u mailstore.User, yield func(mailstore.Mailbox) error) error {
	if u.Name == s.after {
		s.stop()
	}
	return s.Source.Mailboxes(ctx, u, yield)
}

// Two hosts back up at once: one commits first, the other starts over, and
// nothing is there twice.
func TestTwoWriters(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 10)
	other := *w
	other.H = w.Join(w.Reopen(), filepath.Join(w.Dir, "other.db"), "other")
	w.Options.Source = &racing{Source: w.Source(), other: func() {
		breakLeases(t, w)
		if _, err := other.TryBackup(t.Context()); err != nil {
			t.Error(err)
		}
	}}
	r := w.Backup()
	if r.Head.Number != 2 || r.Messages.New != 0 || r.Messages.Seen != 10 {
		t.Errorf("%+v", r)
	}
	if got := len(w.List(catalog.Query{})); got != 10 {
		t.Errorf("%d records, want 10", got)
	}
}

// breakLeases does by hand what an impatient operator might.
func breakLeases(t *testing.T, w *world.World) {
	t.Helper()
	var names []string
	must(t, w.Store.List(t.Context(), "leases/", func(i objstore.Info) error {
		names = append(names, i.Name)
		return nil
	}))
	for _, name := range names {
		must(t, w.Store.Delete(t.Context(), name))
	}
}

// racing lets another writer run in the middle of this one, once.
type racing struct {
	mailstore.Source
	other func()
}

func (s *racing) Mailboxes(ctx context.Context, u mailstore.User, yield func(mailstore.Mailbox) error) error {
	if other := s.other; other != nil {
		s.other = nil
		other()
	}
	return s.Source.Mailboxes(ctx, u, yield)
}

// A file that changes in place is a new message, and the old one is kept for
// its week; one that got shorter than its name promises is damaged, and the
// good copy stays.
func TestChangedInPlace(t *testing.T) {
	w := world.New(t)
	body := w.Message("original")
	path := w.Deliver("ann", "INBOX", body)
	short := w.Deliver("ann", "INBOX", w.Message("short"))
	w.Fill("ann", "INBOX", 8)
	w.Backup()
	must(t, os.WriteFile(path, []byte(strings.Replace(body, "original", "0riginal", 2)), 0o600))
	must(t, os.Truncate(short, 10))
	r := w.Night()
	if r.Messages.New != 1 || r.Messages.Gone != 1 || r.Messages.Failed != 1 {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(strings.Join(r.Problems, "\n"), "damaged at the source") {
		t.Errorf("problems: %q", r.Problems)
	}
	if got := len(w.List(catalog.Query{Subject: "short"})); got != 1 {
		t.Errorf("the good copy of the damaged message is gone")
	}
}

// A misspelled user is no backup.
func TestUnknownUser(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 1)
	w.Options.Users = []string{"ann", "amn"}
	if r := w.Backup(); r.Clean() || r.Unlisted != 1 || r.Messages.New != 1 {
		t.Errorf("%+v", r)
	}
}

// A run may list one folder before a move and the other after it. The message
// that was in both is no deletion when the first one lets go of it.
func TestMovedWhileListing(t *testing.T) {
	w := world.New(t)
	path := w.Deliver("ann", "INBOX", w.Message("moved"))
	w.Fill("ann", "INBOX", 3)
	work := filepath.Dir(filepath.Dir(w.Deliver("ann", "Work", w.Message("work"))))
	copied := filepath.Join(work, "cur", filepath.Base(path))
	must(t, os.Link(path, copied)) // as the run sees it
	w.Backup()
	must(t, os.Remove(path))
	w.Night()
	if got := w.List(catalog.Query{Deleted: true}); len(got) != 0 {
		t.Errorf("a moved message counts as deleted: %+v", got)
	}
}
