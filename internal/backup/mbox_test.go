package backup_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/mailstore/stores"
	"salvor/internal/testenv/world"
)

// mboxes makes a world whose source is ann's directory of mboxes, with 100
// messages in INBOX.
func mboxes(t *testing.T) (w *world.World, inbox, text string) {
	t.Helper()
	w = world.New(t)
	for i := range 100 {
		text += fmt.Sprintf("From a@b Thu Oct 26 18:30:00 2006\nSubject: s%d\n\nbody %d\n\n", i, i)
	}
	inbox = filepath.Join(w.Mail, "ann", "INBOX")
	rewrite(t, inbox, text)
	var err error
	w.Options.Source, err = stores.OpenSource("mbox:"+w.Mail+"/%u", stores.Options{})
	must(t, err)
	return w, inbox, text
}

func rewrite(t *testing.T, file, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o700))
	must(t, os.WriteFile(file, []byte(text), 0o600))
}

// A user who reads the mail in an mbox deletes nothing, and numbers stay.
func TestMboxFlags(t *testing.T) {
	w, inbox, text := mboxes(t)
	if r := w.Backup(); r.Messages.New != 100 || !r.Clean() {
		t.Fatalf("%+v", r)
	}
	for _, status := range []string{"O", "RO"} {
		rewrite(t, inbox, strings.ReplaceAll(text, "\n\nbody", "\nStatus: "+status+"\n\nbody"))
		if r := w.Night(); r.Messages.New != 0 || r.Messages.Gone != 0 || !r.Clean() {
			t.Fatalf("%+v", r)
		}
	}
	if got := w.List(catalog.Query{Deleted: true}); len(got) != 0 {
		t.Errorf("%d messages count as deleted", len(got))
	}
	live := w.List(catalog.Query{})
	if len(live) != 100 {
		t.Fatalf("%d messages", len(live))
	}
	for i, e := range live {
		if e.UID != uint32(i+1) || e.Subject != fmt.Sprintf("s%d", i) || strings.Join(e.Flags, " ") != `\Seen` {
			t.Errorf("message %d: UID %d, %q, %q", i, e.UID, e.Subject, e.Flags)
		}
	}
	for range 8 {
		w.Night()
	}
	if p := w.Prune(); p.Expired != 0 {
		t.Errorf("%d deletions expired", p.Expired)
	}
	if got := len(w.List(catalog.Query{})); got != 100 {
		t.Errorf("%d messages after a week", got)
	}
}

// A file that is no mailbox is nobody's problem; a mailbox that is none any
// more is.
func TestMboxBesideForeignFile(t *testing.T) {
	w, inbox, text := mboxes(t)
	rewrite(t, filepath.Join(filepath.Dir(inbox), "notes"), "not mail\n")
	if r := w.Backup(); r.Messages.New != 100 || r.Mailboxes != 1 || !r.Clean() {
		t.Fatalf("%+v", r)
	}
	rewrite(t, inbox, text[strings.Index(text[1:], "From ")+1:])
	if r := w.Night(); r.Messages.Gone != 1 || !r.Clean() {
		t.Fatalf("%+v", r)
	}
	for range 8 {
		w.Night()
	}
	if p := w.Prune(); p.Expired != 1 {
		t.Errorf("%d deletions expired, want 1", p.Expired)
	}
	rewrite(t, inbox, "gone wrong\n")
	if r := w.Night(); r.Messages.Gone != 0 || r.Clean() {
		t.Errorf("%+v", r)
	}
}
