package conformance

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/testenv/imaptest"
)

// A Store is a mail store with the server that owns it.
type Store struct {
	// Login connects to the server as the user.
	Login func() *imaptest.Client
	User  string // as the source names the user
	// Open opens the store as a source, anew each time.
	Open  func(t testing.TB) mailstore.Source
	Lacks Lacks
}

// folders are names as they go over the wire; a server may refuse some.
var folders = []string{"Work", "Work/2024", "Entw&APw-rfe", "&ZeVnLIqe-", "a b", "it's 100% odd &- so on",
	"quo\"te", "back\\slash", "tilde~", "dot.dot", "Deep/er/and/deeper", "UPPER/lower", "Trash"}

// Source runs the source suite: start gives a store whose user has no mail.
func Source(t *testing.T, start func(t testing.TB) Store) {
	st := start(t)
	c := st.Login()
	c.Append("INBOX", "Subject: welcome\r\n\r\n", time.Time{})
	suite := &sourceSuite{Store: st, c: c}
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"folders", suite.folders}, {"messages", suite.messages}, {"changes", suite.changes}, {"since", suite.since},
		{"reading changes nothing", suite.silent}, {"vanished", suite.vanished}, {"living", suite.living}, {"stopped", suite.stopped},
	} {
		t.Run(part.name, part.test)
	}
}

type sourceSuite struct {
	Store
	c *imaptest.Client
}

func (s *sourceSuite) open(t testing.TB) source {
	t.Helper()
	src := source{Source: s.Open(t), t: t}
	found := false
	err := src.Users(ctx(t), func(u mailstore.User) error {
		if u.Name == s.User {
			src.user, found = u, true
		}
		return nil
	})
	if err != nil || !found {
		t.Fatalf("user %q: found %v, %v", s.User, found, err)
	}
	if closer, ok := src.Source.(io.Closer); ok {
		t.Cleanup(func() { closer.Close() })
	}
	return src
}

// folders: the source names the folders as IMAP does, with their properties.
func (s *sourceSuite) folders(t *testing.T) {
	for _, name := range folders {
		if _, status := s.c.Try("CREATE %s", imaptest.Quote(name)); !strings.HasPrefix(status, "OK") {
			t.Logf("the server refuses %q: %s", name, status)
		}
	}
	s.c.Try("CREATE Sent (USE (\\Sent))")
	s.c.Do("SUBSCRIBE Work")
	s.c.Do("SUBSCRIBE &ZeVnLIqe-")
	got := s.open(t).boxes()
	want := map[string]bool{}
	for _, wire := range s.c.List() {
		want[decode(wire)] = true
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("folder %q is missing", name)
		}
	}
	subscribed := map[string]bool{}
	for _, wire := range s.c.Subscribed() {
		subscribed[decode(wire)] = true
	}
	for name, b := range got {
		if !want[name] {
			t.Errorf("folder %q is not the server's", name)
		}
		if !s.Lacks.Subscriptions && b.Subscribed != subscribed[name] {
			t.Errorf("folder %q: subscribed %v, want %v", name, b.Subscribed, subscribed[name])
		}
	}
	if use := got["Sent"].SpecialUse; !s.Lacks.SpecialUse && use != `\Sent` {
		t.Errorf("Sent has the special use %q", use)
	}
}

// decode turns a wire name into the one that people see.
func decode(wire string) string {
	if strings.EqualFold(wire, "INBOX") {
		return "INBOX"
	}
	return folder.ModifiedUTF7.DecodePath(wire)
}

// messages: bytes, flags, dates and UIDs are those that IMAP gives.
func (s *sourceSuite) messages(t *testing.T) {
	s.c.Create("Messages")
	appendAll(s.c, "Messages", samples())
	src := s.open(t)
	s.same(t, src, "Messages")
}

// same compares a folder with what IMAP says of it.
func (s *sourceSuite) same(t testing.TB, src source, name string) []mailstore.Message {
	t.Helper()
	want := s.c.Examine(name)
	b := src.box(name)
	got := src.messages(b)
	if len(got) != len(want.Messages) {
		t.Fatalf("%d messages, want %d", len(got), len(want.Messages))
	}
	if !s.Lacks.UIDs && b.UIDValidity != want.UIDValidity {
		t.Errorf("UIDVALIDITY %d, want %d", b.UIDValidity, want.UIDValidity)
	}
	if !s.Lacks.UIDs && b.UIDNext != 0 && b.UIDNext > want.UIDNext {
		t.Errorf("UIDNEXT %d, want %d", b.UIDNext, want.UIDNext)
	}
	bodies := src.readAll(b, got)
	for i, m := range got {
		w := want.Messages[i]
		if s.Lacks.id(bodies[i]) != id(w.Body) && !(s.Lacks.Steady && !strings.HasSuffix(w.Body, "\n")) {
			t.Errorf("message %d: got %s\nwant %s", i, short(bodies[i]), short(w.Body))
		}
		if !s.Lacks.UIDs && uint32(m.UID) != w.UID {
			t.Errorf("message %d: UID %d, want %d", i, m.UID, w.UID)
		}
		if m.NoFlags != s.Lacks.Flags {
			t.Errorf("message %d: NoFlags is %v", i, m.NoFlags)
		}
		if got, want := s.Lacks.flagsOf(m.Flags), s.Lacks.flagsOf(w.Flags); !s.Lacks.Flags && got != want {
			t.Errorf("message %d: flags %q, want %q", i, got, want)
		}
		if !s.Lacks.Dates && !m.InternalDate.Truncate(time.Second).Equal(w.InternalDate) {
			t.Errorf("message %d: internal date %v, want %v", i, m.InternalDate, w.InternalDate)
		}
		if m.Promised >= 0 && m.Promised != int64(len(bodies[i])) {
			t.Errorf("message %d: %d bytes, promised are %d", i, len(bodies[i]), m.Promised)
		}
	}
	return got
}

// changes: keys outlive flags, states tell whether there is something to see.
func (s *sourceSuite) changes(t *testing.T) {
	s.c.Create("Changes")
	s.c.Create("Moved")
	appendAll(s.c, "Changes", samples()[:5])
	src := s.open(t)
	list := s.same(t, src, "Changes")
	before := s.steady(t, "Changes")
	if again := s.open(t).box("Changes"); again.State != before.State || (before.State == "") != s.Lacks.State {
		t.Errorf("states of an unchanged folder: %q and %q", before.State, again.State)
	}
	steps := []struct {
		name string
		do   func()
	}{
		{"append", func() { s.c.Append("Changes", "Subject: more\r\n\r\nx\r\n", time.Time{}) }},
		{"expunge", func() { s.c.Expunge("2") }},
		{"move", func() { s.c.Do("UID MOVE 3 Moved") }},
	}
	if !s.Lacks.Flags {
		steps = append(steps, struct {
			name string
			do   func()
		}{"flags", func() { s.c.Store("1", "+FLAGS", `\Flagged`, "again") }})
	}
	for _, step := range steps {
		s.c.Select("Changes") // comparing has opened it read-only
		step.do()
		src := s.open(t)
		now := src.box("Changes")
		if now.State != "" && now.State == before.State {
			t.Errorf("%s: the state is the same as before", step.name)
		}
		if now.ObjectID != before.ObjectID {
			t.Errorf("%s: the folder's identity changed from %q to %q", step.name, before.ObjectID, now.ObjectID)
		}
		s.same(t, src, "Changes")
		before = now
	}
	src = s.open(t)
	keys := map[string]bool{}
	for _, m := range list {
		keys[m.Key] = true
	}
	known := 0
	for _, m := range src.messages(src.box("Changes")) {
		if keys[m.Key] {
			known++
		}
	}
	if known != 3 {
		t.Errorf("%d of 3 messages kept their keys", known)
	}
	moved := src.messages(src.box("Moved"))
	if len(moved) != 1 || !s.Lacks.Moves && (moved[0].ObjectID == "" || moved[0].ObjectID != list[2].ObjectID) {
		t.Errorf("moved: %+v\n was %+v", moved, list[2])
	}
	s.same(t, src, "Moved")
}

// steady gives a folder with its state, which a source may keep back for as long
// as a change that came now could look the same.
func (s *sourceSuite) steady(t testing.TB, name string) mailstore.Mailbox {
	t.Helper()
	b := s.open(t).box(name)
	for deadline := time.Now().Add(5 * time.Second); b.State == "" && !s.Lacks.State && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
		b = s.open(t).box(name)
	}
	return b
}

// since: what is called unchanged is, and nothing is left out.
func (s *sourceSuite) since(t *testing.T) {
	s.c.Create("Since")
	appendAll(s.c, "Since", samples()[:6])
	src := s.open(t)
	before := src.box("Since")
	old := map[string]string{}
	for _, m := range src.messages(before) {
		old[m.Key] = fmt.Sprint(m.UID, m.Flags)
	}
	s.c.Select("Since")
	s.c.Store("1,4", "+FLAGS", `\Flagged`)
	s.c.Expunge("2")
	s.c.Append("Since", "Subject: more\r\n\r\nx\r\n", time.Time{}, `\Seen`)
	want := s.c.Examine("Since").Messages
	src = s.open(t)
	b := src.box("Since")
	b.Since = before.State
	got := src.messages(b)
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i, m := range got {
		facts := fmt.Sprint(m.UID, m.Flags)
		if m.Unchanged {
			facts = old[m.Key]
		}
		w := fmt.Sprint(want[i].UID, want[i].Flags)
		if !s.Lacks.UIDs && !s.Lacks.Flags && !s.Lacks.Keywords && facts != w {
			t.Errorf("message %d: %s, want %s (unchanged: %v)", i, facts, w, m.Unchanged)
		}
		if m.Unchanged && m.Key == "" {
			t.Errorf("message %d has no key", i)
		}
	}
}

// silent: reading leaves no trace that a client could see.
func (s *sourceSuite) silent(t *testing.T) {
	s.c.Create("Silent")
	appendAll(s.c, "Silent", samples()[:4])
	s.c.Select("INBOX") // a selected folder would take \Recent itself
	status := func() string {
		return fmt.Sprint(s.c.Do("STATUS Silent (MESSAGES RECENT UNSEEN UIDNEXT UIDVALIDITY)"))
	}
	before := status()
	src := s.open(t)
	b := src.box("Silent")
	src.readAll(b, src.messages(b))
	if after := status(); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	for i, m := range s.c.Examine("Silent").Messages {
		if got := strings.Join(m.Flags, " "); strings.Contains(got, `\Seen`) != strings.Contains(strings.Join(samples()[i].flags, " "), `\Seen`) {
			t.Errorf("message %d has the flags %q now", i, got)
		}
	}
}

// vanished: what is gone when it is opened is no error of its own.
func (s *sourceSuite) vanished(t *testing.T) {
	s.c.Create("Vanished")
	appendAll(s.c, "Vanished", samples()[:3])
	src := s.open(t)
	b := src.box("Vanished")
	list := src.messages(b)
	s.c.Select("Vanished")
	s.c.Expunge("2")
	s.c.Select("INBOX")
	body, err := src.read(b, list[1])
	if !errors.Is(err, mailstore.ErrVanished) && (err != nil || s.Lacks.id(body) != id(samples()[1].body)) {
		t.Errorf("got %s, %v; want ErrVanished or the message", short(body), err)
	}
	if s.Lacks.Steady {
		return
	}
	if body, err := src.read(b, list[2]); err != nil || s.Lacks.id(body) != id(samples()[2].body) {
		t.Errorf("the next one: %s, %v", short(body), err)
	}
}

// living: what is there all the time is listed and read, whatever else happens.
func (s *sourceSuite) living(t *testing.T) {
	const still, passing = 40, 10
	s.c.Create("Living")
	for i := range still {
		s.c.Append("Living", fmt.Sprintf("Subject: still %d\r\n\r\n%d\r\n", i, i), time.Time{})
	}
	var stop atomic.Bool
	done := make(chan int)
	busy := s.Login()
	go func() {
		rounds := 0
		for !stop.Load() {
			for i := range passing {
				busy.Append("Living", fmt.Sprintf("Subject: passing %d\r\n\r\n", i), time.Time{})
			}
			busy.Select("Living")
			busy.Do(`STORE 1:%d FLAGS (%s)`, still, []string{`\Seen`, `\Flagged`, ""}[rounds%3])
			busy.Do("STORE %d:* +FLAGS (\\Deleted)", still+1)
			busy.Do("EXPUNGE")
			rounds++
		}
		done <- rounds
	}()
	for pass := range 5 {
		src := s.open(t)
		b := src.box("Living")
		found := map[string]bool{}
		for _, m := range src.messages(b) {
			body, err := src.read(b, m)
			if err == nil {
				found[string(body)] = true
			} else if !errors.Is(err, mailstore.ErrVanished) && !s.Lacks.Steady {
				t.Errorf("pass %d: UID %d: %v", pass, m.UID, err)
			}
		}
		n := 0
		for body := range found {
			if strings.Contains(body, "Subject: still ") {
				n++
			}
		}
		if n != still && !s.Lacks.Steady {
			t.Errorf("pass %d: %d of %d messages", pass, n, still)
		}
	}
	stop.Store(true)
	if rounds := <-done; rounds < 2 {
		t.Logf("only %d rounds of changes meanwhile", rounds)
	}
}

// stopped: a caller that wants no more gets its own error back.
func (s *sourceSuite) stopped(t *testing.T) {
	src := s.open(t)
	enough := errors.New("enough")
	if err := src.Users(ctx(t), func(mailstore.User) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("users: %v", err)
	}
	if err := src.Mailboxes(ctx(t), src.user, func(mailstore.Mailbox) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("mailboxes: %v", err)
	}
	b := src.box("Messages")
	if err := src.Messages(ctx(t), b, func(mailstore.Message) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("messages: %v", err)
	}
}
