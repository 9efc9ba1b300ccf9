package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// A serverMemory is a destination as mail servers are: it is asked about single
// messages, and numbers them itself where it says so.
type serverMemory struct {
	*memory
	asked   int
	renames map[string]string // by folder: why it gives new UIDs
}

type serverAccount struct {
	*memoryAccount
	s *serverMemory
}

func (s *serverMemory) Account(ctx context.Context, user string) (Account, error) {
	a, err := s.memory.Account(ctx, user)
	return serverAccount{a.(*memoryAccount), s}, err
}

func (s *serverMemory) Preview(ctx context.Context, user string) (Preview, error) {
	a := s.users[user]
	if a == nil {
		a = &memoryAccount{to: s.memory}
	}
	return serverAccount{a, s}, nil
}

func (s *serverMemory) Renumbers(_ context.Context, user string, box Mailbox) (string, error) {
	return s.renames[box.Name], nil
}

func (a serverAccount) Copies(_ context.Context, mailbox string, w Wanted) (n int, err error) {
	a.s.asked++
	for _, d := range a.mails[mailbox] {
		if d.Content == w.Content && d.SHA1 == w.SHA1 {
			n++
		}
	}
	return n, nil
}

// Presence is counted also where it is asked for message by message.
func TestComparer(t *testing.T) {
	l := newLab(t)
	same := text("same", "twice")
	l.backup(mail{user: "u", folder: "INBOX", uid: 1, stored: same}, mail{user: "u", folder: "INBOX", uid: 2, stored: same},
		mail{user: "u", folder: "INBOX", uid: 3, stored: text("other", "once")})
	to := &serverMemory{memory: newMemory()}
	for i, want := range []Report{{Messages: 3}, {Skipped: 3}} {
		o := l.options(to)
		o.DryRun = true
		if dry := restoreUser(t, "u", o); dry.Messages != want.Messages || dry.Skipped != want.Skipped {
			t.Errorf("dry run %d: %+v", i, dry)
		}
		if got := restoreUser(t, "u", l.options(to)); got.Messages != want.Messages || got.Skipped != want.Skipped {
			t.Errorf("run %d: %+v", i, got)
		}
	}
	mails := to.users["u"].mails
	mails["INBOX"] = slices.DeleteFunc(mails["INBOX"], func(d Delivery) bool { return d.UID == 1 })
	if got := restoreUser(t, "u", l.options(to)); got.Messages != 1 || got.Skipped != 2 || len(mails["INBOX"]) != 3 {
		t.Errorf("%+v", got)
	}
	if to.asked != 5*2 {
		t.Errorf("asked %d times for two contents in five runs", to.asked)
	}
}

// One refused message fails by name, or goes where such messages go; the rest
// is restored.
func TestRefused(t *testing.T) {
	l := newLab(t)
	l.backup(mail{user: "u", folder: "INBOX", uid: 1, stored: text("bad", "NUL")}, mail{user: "u", folder: "INBOX", uid: 2, stored: text("good", "x")},
		mail{user: "u", folder: "INBOX", uid: 3, stored: text("changed", "x")})
	refuse := func(d Delivery) error {
		switch d.UID {
		case 1:
			return fmt.Errorf("APPEND: %w", &Refusal{Why: "Message contains NUL characters"})
		case 3:
			return mailstore.ErrPresent
		}
		return nil
	}
	to := newMemory()
	to.adding = refuse
	r := restoreUser(t, "u", l.options(to))
	if r.Messages != 1 || r.Skipped != 1 || r.Failed != 1 || r.Refused != 1 || len(r.Problems) != 1 ||
		!strings.Contains(r.Problems[0], `folder "INBOX": uid 1:`) || !strings.Contains(r.Problems[0], "NUL") || !strings.Contains(r.Problems[0], "stays in the backup") {
		t.Errorf("%+v", r)
	}
	aside := newMemory()
	for range 2 { // a second restore puts nothing aside twice
		o := l.options(to)
		o.Refused, o.RefusedTo = aside, "eml:/aside"
		r = restoreUser(t, "u", o)
		if r.Failed != 0 || r.PutAside != 1 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "put into eml:/aside instead") {
			t.Errorf("%+v", r)
		}
	}
	sameTexts(t, aside.texts("u"), map[string][]string{"INBOX": {text("bad", "NUL")}})
	if aside.users["u"].closed != 2 {
		t.Errorf("closed %d times", aside.users["u"].closed)
	}
	o := l.options(to)
	broken := newMemory()
	broken.adding = func(Delivery) error { return errReadOnly }
	o.Refused, o.RefusedTo = broken, "eml:/full"
	if _, err := User(t.Context(), "u", o); err == nil || !strings.Contains(err.Error(), "eml:/full") {
		t.Errorf("%v", err)
	}
}

// What the destination will number anew is said before the first message.
func TestAnnouncement(t *testing.T) {
	l := newLab(t)
	l.backup(mail{user: "u", folder: "INBOX", uid: 1, stored: text("a", "x")}, mail{user: "u", folder: "Work", uid: 1, stored: text("b", "x")},
		mail{user: "u", folder: "Old", uid: 1, stored: text("c", "x")})
	to := &serverMemory{memory: newMemory(), renames: map[string]string{"INBOX": "it is in use", "Work": "it is in use", "R/Old": "no reason"}}
	var said []string
	to.opening = func(Mailbox) error {
		if len(said) == 0 {
			t.Error("it began before it was said")
		}
		return nil
	}
	o := l.options(to)
	o.Announce = func(line string) { said = append(said, line) }
	r := restoreUser(t, "u", o)
	want := []string{`user "u": 2 folders: new UIDs: it is in use`}
	if !slices.Equal(said, want) || !slices.Equal(r.Notes, want) {
		t.Errorf("said %q, noted %q", said, r.Notes)
	}
	said, o.Into, o.Query = nil, "R", catalog.Query{Folders: []string{"Old"}}
	restoreUser(t, "u", o)
	if want := []string{`user "u": folder "R/Old": new UIDs: no reason`}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}
