package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/testenv/imaptest"
)

// A Target is a mail store that is written, with the server that shows what
// became of it.
type Target struct {
	// Login connects to the server as the user.
	Login func() *imaptest.Client
	User  string // as the destination names the user
	// Open opens the store as a destination, anew each time.
	Open func(t testing.TB) mailstore.Destination
	// Written is called when an account was closed, before the server looks.
	Written func()
	Lacks   Lacks
}

// Destination runs the destination suite: start gives a store whose user has no
// mail yet.
func Destination(t *testing.T, start func(t testing.TB) Target) {
	suite := &targetSuite{Target: start(t)}
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"delivers", suite.delivers}, {"delivers once", suite.once}, {"adds", suite.adds}, {"names", suite.names}, {"nasty", suite.nasty}, {"abandoned", suite.abandoned}, {"living", suite.living},
	} {
		t.Run(part.name, part.test)
	}
}

type targetSuite struct {
	Target
	sent map[string][]mailstore.Delivery // by folder
}

// delivery makes of a sample what an engine hands over.
func delivery(box string, uid int, s sample) mailstore.Delivery {
	lf := bytes.ReplaceAll([]byte(s.body), []byte("\r\n"), []byte("\n"))
	content, sum, _ := chunk.WireSums(lf)
	flags := slices.Sorted(slices.Values(s.flags))
	return mailstore.Delivery{Mailbox: box, Stored: lf, LF: lf, Content: content, SHA1: sum, UID: mailstore.UID(uid),
		ModSeq: uint64(uid), Key: fmt.Sprint("key.", uid), Flags: flags, InternalDate: s.date}
}

// account opens the user's account and closes it, durably, at the end.
func (s *targetSuite) account(t testing.TB, use func(mailstore.Account)) []mailstore.Note {
	t.Helper()
	d := s.Open(t)
	if closer, ok := d.(io.Closer); ok {
		defer closer.Close()
	}
	a, err := d.Account(ctx(t), s.User)
	if err != nil {
		t.Fatal(err)
	}
	use(a)
	if err := a.Close(ctx(t)); err != nil {
		t.Errorf("close: %v", err)
	}
	if s.Written != nil {
		s.Written()
	}
	if n, ok := a.(mailstore.Noter); ok {
		return n.Notes()
	}
	return nil
}

func (s *targetSuite) box(name string) mailstore.Mailbox {
	return mailstore.Mailbox{User: s.User, Name: name, UIDValidity: 1180000000, UIDNext: 100, Subscribed: name != "Plain"}
}

// below is a folder below another, where there may be such.
func (s *targetSuite) below() string {
	if s.Lacks.Steady {
		return "Work" // an mbox cannot hold others, and programs differ about what can
	}
	return "Work/2024"
}

// delivers: what is added is what a client finds.
func (s *targetSuite) delivers(t *testing.T) {
	s.sent = map[string][]mailstore.Delivery{}
	why := map[string]string{}
	if r, ok := s.Open(t).(mailstore.Renumberer); ok {
		for _, name := range []string{"INBOX", "Plain", s.below()} {
			var err error
			if why[name], err = r.Renumbers(ctx(t), s.User, s.box(name)); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		t.Error("the destination does not say whether it keeps UIDs")
	}
	given := map[chunk.ID]mailstore.UID{}
	s.account(t, func(a mailstore.Account) {
		for _, name := range []string{"INBOX", "Plain", s.below()} {
			s.make(t, a, s.box(name))
			for i := len(samples()) - 1; i >= 0; i-- { // in no order of UIDs
				d := delivery(name, 3+2*i, samples()[i])
				uid, err := a.Add(ctx(t), d)
				if err != nil {
					t.Fatalf("%s: %s: %v", name, samples()[i].name, err)
				}
				if uid != 0 && name == "INBOX" && samples()[i].name != "twice" {
					given[d.Content] = uid
				}
				s.sent[name] = append(s.sent[name], d)
			}
		}
		s.make(t, a, s.box("Empty"))
	})
	c := s.Login()
	if got := c.List(); !slices.Contains(got, "Empty") {
		t.Errorf("folders %q, without the empty one", got)
	}
	for name, sent := range s.sent {
		found := c.Examine(name)
		s.compare(t, name, sent, found)
		if why[name] != "" {
			continue
		}
		if found.UIDValidity != 1180000000 {
			t.Errorf("%s: UIDVALIDITY %d", name, found.UIDValidity)
		}
		for i, m := range found.Messages {
			if m.UID != uint32(3+2*i) {
				t.Errorf("%s: message %d has UID %d, its own was %d", name, i, m.UID, 3+2*i)
			}
		}
	}
	for _, m := range c.Examine("INBOX").Messages {
		if uid, told := given[s.Lacks.id(m.Body)]; told && uint32(uid) != m.UID {
			t.Errorf("a message stands under UID %d, Add said %d", m.UID, uid)
		}
	}
	if !s.Lacks.Subscriptions {
		if got := c.Subscribed(); !slices.Contains(got, s.below()) || slices.Contains(got, "Plain") {
			t.Errorf("subscribed to %q", got)
		}
	}
	c.Close()
}

func (s *targetSuite) make(t testing.TB, a mailstore.Account, b mailstore.Mailbox) {
	t.Helper()
	if err := a.Mailbox(ctx(t), b); err != nil {
		t.Fatalf("make %q: %v", b.Name, err)
	}
}

// compare counts what a folder should hold against what it holds.
func (s *targetSuite) compare(t testing.TB, name string, sent []mailstore.Delivery, found imaptest.Folder) {
	t.Helper()
	var want, got []string
	for _, d := range sent {
		if s.Lacks.Steady && bytes.Contains(d.LF, []byte("\nFrom ")) {
			return // which programs quote in different ways
		}
		if s.Lacks.Steady && !bytes.HasSuffix(d.LF, []byte("\n")) {
			d.LF = append(slices.Clone(d.LF), '\n') // an mbox has no other way to keep it
		}
		want = append(want, s.facts(id(string(d.LF)), d.Flags, d.InternalDate))
	}
	for _, m := range found.Messages {
		got = append(got, s.facts(id(m.Body), m.Flags, m.InternalDate))
	}
	sort.Strings(want)
	sort.Strings(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d messages\n%s\nwant %d\n%s", name, len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
	}
}

func (s *targetSuite) facts(id chunk.ID, flags []string, date time.Time) string {
	f := id.Short()
	if !s.Lacks.Flags {
		f += " (" + s.Lacks.flagsOf(flags) + ")"
	}
	if !s.Lacks.Dates {
		f += date.UTC().Format(" 2006-01-02 15:04:05")
	}
	return f
}

// copies asks a destination how often a folder holds a message.
func copies(t testing.TB, a mailstore.Account, d mailstore.Delivery) int {
	t.Helper()
	if c, ok := a.(mailstore.Comparer); ok {
		_, _, size := chunk.WireSums(d.LF)
		n, err := c.Copies(ctx(t), d.Mailbox, mailstore.Wanted{Content: d.Content, SHA1: d.SHA1, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return present(t, a, d.Mailbox)[d.Content]
}

func present(t testing.TB, a mailstore.Account, box string) map[chunk.ID]int {
	t.Helper()
	held := map[chunk.ID]int{}
	if err := a.Present(ctx(t), box, func(id chunk.ID) error { held[id]++; return nil }); err != nil {
		t.Fatal(err)
	}
	return held
}

// once: a later restore is told of everything that is there.
func (s *targetSuite) once(t *testing.T) {
	s.account(t, func(a mailstore.Account) {
		for name, sent := range s.sent {
			s.make(t, a, s.box(name))
			want := map[chunk.ID]int{}
			for _, d := range sent {
				want[d.Content]++
			}
			for _, d := range sent {
				if n := copies(t, a, d); n != want[d.Content] && !s.Lacks.Steady {
					t.Errorf("%s: %d copies of %s, want %d", name, n, short(string(d.LF)), want[d.Content])
				}
			}
			if held := present(t, a, name); len(held) != len(want) && !s.Lacks.Steady {
				t.Errorf("%s: %d contents are present, want %d", name, len(held), len(want))
			}
			other := delivery(name, 99, sample{body: "Subject: never sent\r\n\r\n"})
			if n := copies(t, a, other); n != 0 {
				t.Errorf("%s: %d copies of what was never sent", name, n)
			}
		}
	})
	p, ok := s.Open(t).(mailstore.Previewer)
	if !ok {
		return
	}
	for name, want := range map[string]int{s.User: 1, "nobody-there": 0} {
		view, err := p.Preview(ctx(t), name)
		if err != nil {
			if want == 0 {
				continue // a server may not know this name
			}
			t.Fatal(err)
		}
		d := s.sent["Plain"][0]
		_, _, size := chunk.WireSums(d.LF)
		n, err := view.Copies(ctx(t), "Plain", mailstore.Wanted{Content: d.Content, SHA1: d.SHA1, Size: size})
		if n != want || err != nil {
			t.Errorf("preview of %s: %d copies, %v", name, n, err)
		}
		if err := view.Close(ctx(t)); err != nil {
			t.Error(err)
		}
	}
}

// adds: what was there before stays as it was.
func (s *targetSuite) adds(t *testing.T) {
	c := s.Login()
	c.Append("Plain", "Subject: the user's own\r\n\r\n", time.Time{}, `\Flagged`)
	before := c.Examine("Plain")
	c.Close()
	s.account(t, func(a mailstore.Account) {
		s.make(t, a, s.box("Plain"))
		if _, err := a.Add(ctx(t), delivery("Plain", 50, sample{body: "Subject: late\r\n\r\n", date: time.Unix(1.2e9, 0)})); err != nil {
			t.Fatal(err)
		}
	})
	c = s.Login()
	defer c.Close()
	after := c.Examine("Plain")
	if after.UIDValidity != before.UIDValidity {
		t.Errorf("UIDVALIDITY was %d and is %d", before.UIDValidity, after.UIDValidity)
	}
	if len(after.Messages) != len(before.Messages)+1 {
		t.Fatalf("%d messages, were %d", len(after.Messages), len(before.Messages))
	}
	is := map[uint32]imaptest.Message{}
	for _, m := range after.Messages {
		is[m.UID] = m
	}
	for _, m := range before.Messages {
		if got := is[m.UID]; got.Body != m.Body || !slices.Equal(got.Flags, m.Flags) || !got.InternalDate.Equal(m.InternalDate) {
			t.Errorf("UID %d was changed: %+v", m.UID, got)
		}
	}
}

// names: folders whose names mean something to a server come into being too,
// under these names or under others that are told.
func (s *targetSuite) names(t *testing.T) {
	list := []string{"Entwürfe", "日本語/子", "a b", "quo\"te", `back\slash`, "dot.dot", "tilde~", "100%", "st*r", "& Co", ".lead", "trail.", "inbox"}
	if s.Lacks.Steady {
		list = slices.DeleteFunc(list, func(name string) bool { return strings.Contains(name, "/") })
	}
	notes := s.account(t, func(a mailstore.Account) {
		for i, name := range list {
			s.make(t, a, s.box(name))
			d := delivery(name, 1, sample{body: fmt.Sprintf("Subject: in %d\r\n\r\n", i), date: time.Unix(1.2e9, 0)})
			if _, err := a.Add(ctx(t), d); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	c := s.Login()
	defer c.Close()
	held := map[string]string{}
	for _, wire := range c.List() {
		for _, m := range c.Examine(wire).Messages {
			held[m.Body] = decode(wire)
		}
	}
	for i, name := range list {
		at, there := "", false
		for body, box := range held {
			if strings.HasPrefix(body, fmt.Sprintf("Subject: in %d\r\n", i)) {
				at, there = box, true
			}
		}
		told := slices.ContainsFunc(notes, func(n mailstore.Note) bool { return n.Mailbox == name })
		switch {
		case !there:
			t.Errorf("the message of folder %q is nowhere", name)
		case at != name && !told && !(strings.EqualFold(name, folder.Inbox) && at == folder.Inbox):
			t.Errorf("folder %q became %q without a word", name, at)
		}
	}
}

// nasty: a message that the server does not like is stored as it is, refused
// by name, or changed with a word.
func (s *targetSuite) nasty(t *testing.T) {
	list := []sample{
		{"NUL", "Subject: n\r\n\r\na\x00b\r\n", nil, time.Unix(1.2e9, 0)},
		{"bare CR", "Subject: c\r\n\r\na\rb\r\n", nil, time.Unix(1.2e9, 0)},
		{"no header", "just text\r\n", nil, time.Unix(1.2e9, 0)},
		{"blank first", "\r\nbody\r\n", nil, time.Unix(1.2e9, 0)},
		{"empty", "", nil, time.Unix(1.2e9, 0)},
		{"bytes", "\xff\xfe\x01\x02", nil, time.Unix(1.2e9, 0)},
		{"From line", "From a@b Thu Oct 26 18:30:00 2006\r\nSubject: f\r\n\r\nx\r\n", nil, time.Unix(1.2e9, 0)},
	}
	sent, refused := []mailstore.Delivery{}, map[string]string{}
	notes := s.account(t, func(a mailstore.Account) {
		s.make(t, a, s.box("Nasty"))
		for i, m := range list {
			d := delivery("Nasty", i+1, m)
			_, err := a.Add(ctx(t), d)
			var no *mailstore.Refusal
			switch {
			case errors.As(err, &no):
				refused[m.name] = no.Why
			case err != nil:
				t.Fatalf("%s: %v", m.name, err)
			default:
				sent = append(sent, d)
			}
		}
	})
	c := s.Login()
	defer c.Close()
	got := map[chunk.ID]bool{}
	messages := c.Examine("Nasty").Messages
	for _, m := range messages {
		got[s.Lacks.id(m.Body)] = true
	}
	changed := 0
	for _, d := range sent {
		shown := id(strings.ReplaceAll(string(d.LF), "\x00", "\x80"))
		if !got[d.Content] && !(s.Lacks.NULs && got[shown]) {
			changed++
		}
	}
	if len(messages) != len(sent) {
		t.Errorf("%d messages, %d were taken", len(messages), len(sent))
	}
	told := 0
	for _, n := range notes {
		if n.Mailbox == "Nasty" && n.Loss {
			told++
		}
	}
	if changed > told && !s.Lacks.Steady {
		t.Errorf("%d messages are not what was sent, %d notes say so: %v", changed, told, notes)
	}
	t.Logf("refused: %v; changed: %d; notes: %v", refused, changed, notes)
}

// abandoned: a context that has ended stops an account, and a new one goes on.
func (s *targetSuite) abandoned(t *testing.T) {
	late := delivery("Abandoned", 1, sample{body: "Subject: after all\r\n\r\n", date: time.Unix(1.2e9, 0)})
	s.account(t, func(a mailstore.Account) {
		s.make(t, a, s.box("Abandoned"))
		if _, err := a.Add(ctx(t), late); err != nil {
			t.Fatal(err)
		}
	})
	s.account(t, func(a mailstore.Account) {
		s.make(t, a, s.box("Abandoned"))
		if n := copies(t, a, late); n != 1 && !s.Lacks.Steady {
			t.Errorf("%d copies", n)
		}
	})
}

// living: a restore into a folder that its user works in loses nothing of
// either.
func (s *targetSuite) living(t *testing.T) {
	const many = 60
	c := s.Login()
	c.Create("Living")
	c.Append("Living", "Subject: first\r\n\r\n", time.Time{})
	busy := s.Login()
	done := make(chan int)
	stop := make(chan struct{})
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			busy.Append("Living", fmt.Sprintf("Subject: user %d\r\n\r\n", n), time.Time{}, "mine")
			busy.Select("Living")
			busy.Do(`STORE 1 FLAGS (%s)`, []string{`\Seen`, `\Flagged`}[n%2])
			n++
		}
	}()
	s.account(t, func(a mailstore.Account) {
		s.make(t, a, s.box("Living"))
		for i := range many {
			d := delivery("Living", i+1, sample{body: fmt.Sprintf("Subject: restored %d\r\n\r\n", i), flags: []string{"old"}, date: time.Unix(1.2e9, 0)})
			if _, err := a.Add(ctx(t), d); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	close(stop)
	mine := <-done
	found := map[string]int{}
	for _, m := range c.Examine("Living").Messages {
		kind, _, _ := strings.Cut(strings.TrimPrefix(m.Body, "Subject: "), " ")
		found[kind]++
		want := map[string]string{"user": "mine", "restored": "old"}[kind]
		if want != "" && !s.Lacks.Flags && !slices.Contains(m.Flags, want) {
			t.Errorf("%s has the flags %q", short(m.Body), m.Flags)
		}
	}
	if found["user"] != mine || found["restored"] != many {
		t.Errorf("%d messages of the user's %d, and %d restored of %d", found["user"], mine, found["restored"], many)
	}
}
