package mbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/userpath"
)

var ctx = context.Background()

func options(t *testing.T, path, user string) Options {
	t.Helper()
	tpl, err := userpath.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Root: tpl, User: user}
}

func write(t *testing.T, text string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t *testing.T, o Options) *Source {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listing is what a source says of a user's folders: names and messages.
func listing(t *testing.T, s *Source, user string) (boxes []mailstore.Mailbox, messages map[string][]mailstore.Message) {
	t.Helper()
	messages = map[string][]mailstore.Message{}
	err := s.Mailboxes(ctx, mailstore.User{Name: user}, func(b mailstore.Mailbox) error {
		boxes = append(boxes, b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range boxes {
		err := s.Messages(ctx, b, func(m mailstore.Message) error {
			messages[b.Name] = append(messages[b.Name], m)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return boxes, messages
}

func read(s *Source, user, box string, m mailstore.Message) (string, error) {
	r, err := s.Open(ctx, mailstore.Mailbox{User: user, Name: box}, m)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func names(boxes []mailstore.Mailbox) string {
	var out []string
	for _, b := range boxes {
		out = append(out, b.Name)
	}
	return strings.Join(out, " ")
}

func TestSourceLayouts(t *testing.T) {
	dir := t.TempDir()
	one := from + "Subject: x\n\nbody\n\n"
	for _, name := range []string{"spool/alice", "spool/bob@example.org", "old.mbox", "mail/inbox", "mail/Sent", "mail/Work", "mail/Work.sbd/2024", "mail/Lists/go", "mail/Entw&APw-rfe"} {
		write(t, one, dir, name)
	}
	for _, name := range []string{"mail/Sent.msf", "mail/.subscriptions", "mail/Work.lock"} {
		write(t, "no mbox", dir, name)
	}
	write(t, "", dir, "mail/Empty")
	for _, c := range []struct{ path, user, want string }{
		{"spool/alice", "alice", "INBOX"},
		{"spool/%u", "alice", "INBOX"},
		{"spool/%u", "bob@example.org", "INBOX"},
		{"old.mbox", "old", "INBOX"},
		{"old.mbox", "alice", "old"},
		{"mail", "alice", "INBOX Empty Entwürfe Lists/go Sent Work Work/2024"},
		{"%u", "mail", "INBOX Empty Entwürfe Lists/go Sent Work Work/2024"},
	} {
		s := open(t, options(t, filepath.Join(dir, c.path), c.user))
		boxes, messages := listing(t, s, c.user)
		if got := names(boxes); got != c.want {
			t.Errorf("%s of %s: folders %q, want %q", c.path, c.user, got, c.want)
		}
		for _, b := range boxes {
			want := 1
			if b.Name == "Empty" {
				want = 0
			}
			if len(messages[b.Name]) != want || b.Lost != "" {
				t.Errorf("%s: %+v, %+v", c.path, b, messages[b.Name])
			}
		}
	}
	var users []string
	err := open(t, options(t, filepath.Join(dir, "spool/%u"), "")).Users(ctx, func(u mailstore.User) error {
		users = append(users, u.Name)
		return nil
	})
	if err != nil || !reflect.DeepEqual(users, []string{"alice", "bob@example.org"}) {
		t.Errorf("users %q, %v", users, err)
	}
	if _, err := Open(options(t, filepath.Join(dir, "mail/Sent.msf"), "")); !errors.Is(err, errNotMbox) {
		t.Errorf("opened a file that is no mbox: %v", err)
	}
}

// Keys stay the same when messages come, go, or get flags.
func TestKeys(t *testing.T) {
	a := from + "Subject: a\nStatus: O\n\na\n\n"
	b := from + "Subject: b\n\nb\n\n"
	file := write(t, a+b+b, t.TempDir(), "alice")
	s := open(t, options(t, file, "alice"))
	keys := func() (out []string) {
		_, messages := listing(t, s, "alice")
		for _, m := range messages["INBOX"] {
			out = append(out, m.Key)
		}
		return out
	}
	first := keys()
	if len(first) != 3 || first[1] == first[2] || !strings.HasPrefix(first[2], first[1]) {
		t.Fatalf("keys %q", first)
	}
	write(t, strings.Replace(a, "Status: O", "Status: RO\nX-Status: AF\nX-Mozilla-Status: 0001", 1)+b+from+"c\n\n", file)
	second := keys()
	if len(second) != 3 || !reflect.DeepEqual(second[:2], first[:2]) {
		t.Errorf("keys %q, then %q", first, second)
	}
	_, messages := listing(t, s, "alice")
	if got := strings.Join(messages["INBOX"][0].Flags, " "); got != `\Answered \Flagged \Seen` {
		t.Errorf("flags %s", got)
	}
	if got := messages["INBOX"][0].InternalDate; !got.Equal(time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)) {
		t.Errorf("date %v", got)
	}
}

// Bookkeeping changes a message's state and nothing else; positions follow the
// file.
func TestRewrittenMessages(t *testing.T) {
	text := from + "Subject: b\nStatus: O\nX-Keywords: \n\nStatus: body\n\n" + from + "Subject: a\n\na\n\n"
	file := write(t, text, t.TempDir(), "alice")
	s := open(t, options(t, file, "alice"))
	_, before := listing(t, s, "alice")
	first := before["INBOX"]
	for i, m := range first {
		if m.Position != i+1 || !m.Mutable {
			t.Errorf("message %d: %+v", i, m)
		}
	}
	for old, changed := range map[string]string{
		"Status: O": "Status: RO", "X-Keywords: ": "X-Keywords: work\n   later (odd\nX-UID: 7", "\nX-Keywords: ": "\nContent-Length: 13",
	} {
		write(t, strings.Replace(text, old, changed, 1), file)
		_, after := listing(t, s, "alice")
		if m := after["INBOX"][0]; m.Key != first[0].Key || m.State == first[0].State {
			t.Errorf("%q: %+v, was %+v", changed, m, first[0])
		}
		if want := strings.Contains(changed, "later"); slices.Equal(after["INBOX"][0].Flags, []string{"later", "work"}) != want {
			t.Errorf("%q: flags %q", changed, after["INBOX"][0].Flags)
		}
	}
	write(t, strings.Replace(text, "Status: body", "Status: other", 1), file)
	if _, after := listing(t, s, "alice"); after["INBOX"][0].Key == first[0].Key {
		t.Error("a changed body has the old key")
	}
}

// Only files that nothing takes for a mailbox are foreign.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"INBOX": from + "a\n\n", "Empty": "", "notes": "not mail\n", "image": "\x89PNG\r\n\x1a\n\x00", "broken.mbox": "x", "odd": "From nobody at no time\n"} {
		write(t, text, dir, name)
	}
	boxes := map[string]mailstore.Mailbox{}
	err := open(t, options(t, dir, "alice")).Mailboxes(ctx, mailstore.User{Name: "alice"}, func(b mailstore.Mailbox) error {
		boxes[b.Name] = b
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"INBOX": false, "Empty": false, "notes": true, "image": true, "broken.mbox": false, "odd": false} {
		if b, ok := boxes[name]; !ok || b.Foreign != want || (b.Lost != "") != (want || name == "broken.mbox" || name == "odd") {
			t.Errorf("%s: %+v", name, b)
		}
	}
	write(t, "1:host", dir, "spool/alice.lock")
	write(t, "", dir, "spool/alice")
	var users []string
	err = open(t, options(t, filepath.Join(dir, "spool/%u"), "")).Users(ctx, func(u mailstore.User) error {
		users = append(users, u.Name)
		return nil
	})
	if err != nil || !reflect.DeepEqual(users, []string{"alice"}) {
		t.Errorf("users %q, %v", users, err)
	}
}

// A message is found again when the file was rewritten, and is never mixed up
// with another.
func TestOpenAfterChange(t *testing.T) {
	message := func(n int) string { return fmt.Sprintf("Subject: %d\n\nbody %d\n", n, n) }
	var all string
	for n := range 20 {
		all += from + message(n) + "\n"
	}
	file := write(t, all, t.TempDir(), "alice")
	s := open(t, options(t, file, "alice"))
	_, messages := listing(t, s, "alice")
	list := messages["INBOX"]
	write(t, strings.Replace(all, from+message(3)+"\n", "", 1), file)
	for n, m := range list {
		got, err := read(s, "alice", "INBOX", m)
		if n == 3 && !errors.Is(err, mailstore.ErrVanished) {
			t.Errorf("message 3: %q, %v", got, err)
		}
		if n != 3 && (err != nil || got != message(n)) {
			t.Errorf("message %d: %q, %v", n, got, err)
		}
	}
	_, messages = listing(t, s, "alice")
	r, err := s.Open(ctx, mailstore.Mailbox{User: "alice", Name: "INBOX"}, messages["INBOX"][5])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	write(t, strings.Repeat("x", 2000), file)
	if b, err := io.ReadAll(r); err == nil {
		t.Errorf("read %q from a file that was rewritten meanwhile", b)
	}
}

func TestState(t *testing.T) {
	file := write(t, from+"a\n\n", t.TempDir(), "alice")
	s := open(t, options(t, file, "alice"))
	boxes, _ := listing(t, s, "alice")
	if boxes[0].State != "" {
		t.Error("a file that has just changed has a state")
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	time.Sleep(racy + 100*time.Millisecond) // the time of the inode cannot be set
	boxes, _ = listing(t, s, "alice")
	again, _ := listing(t, s, "alice")
	if boxes[0].State == "" || boxes[0].State != again[0].State {
		t.Errorf("states %q, %q", boxes[0].State, again[0].State)
	}
}

// restore adds bodies to a folder as the engine does: max(0, wanted - present).
func restore(t *testing.T, d *Destination, user, box string, bodies ...string) (added int) {
	t.Helper()
	a, err := d.Account(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Mailbox(ctx, mailstore.Mailbox{Name: box}); err != nil {
		t.Fatal(err)
	}
	have := map[chunk.ID]int{}
	if err := a.Present(ctx, box, func(id chunk.ID) error { have[id]++; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, b := range bodies {
		id, _, _ := chunk.WireSums([]byte(b))
		lf, _ := chunk.ToLF(nil, []byte(b))
		if have[id]--; have[id] >= 0 {
			continue
		}
		if _, err := a.Add(ctx, mailstore.Delivery{Mailbox: box, Stored: []byte(b), LF: lf, InternalDate: time.Unix(1161887400, 0)}); err != nil {
			t.Fatal(err)
		}
		added++
	}
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return added
}

func create(t *testing.T, path string) *Destination {
	t.Helper()
	d, err := Create(options(t, path, ""))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var bodies = []string{
	"Subject: a\n\nbody\n", "From the start\n>From x\n", "no line end", "", "\n", "two ends\n\n", ">From only quoted\n", "Subject: a\n\nbody\n", "\nFrom x@y Thu Oct 26 18:30:00 2006\n",
	"bare\rCR\r", "two CRs\r\r\n", "mixed\r\r\nFrom here\nthere\r\n",
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"mail", "%u/mail", "one.mbox", "%u/box.mbox"} {
		d := create(t, filepath.Join(dir, path))
		for run, want := range []int{3, len(bodies) - 3, 0} {
			some := bodies
			if run == 0 {
				some = bodies[:3]
			}
			if got := restore(t, d, "alice", "Work", some...); got != want {
				t.Errorf("%s: run %d added %d, want %d", path, run, got, want)
			}
		}
		n := 0
		if err := d.Look(ctx, "alice", "Work", func(chunk.ID) error { n++; return nil }); err != nil || n != len(bodies) {
			t.Errorf("%s: looked at %d, %v", path, n, err)
		}
	}
	s := open(t, options(t, filepath.Join(dir, "mail"), "alice"))
	_, messages := listing(t, s, "alice")
	for i, m := range messages["Work"] {
		if got, err := read(s, "alice", "Work", m); err != nil || got != bodies[i] {
			t.Errorf("message %d: %q, %v, want %q", i, got, err, bodies[i])
		}
	}
}

// From an mbox into an mbox, every byte is the same.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	sep := "From MAILER-DAEMON Thu Oct 26 18:30:00 2006\n"
	text := sep + "Subject: a\n\n>From here\nStatus: RO\n\n" + sep + "Subject: b\n\n>>From\n\n" + sep + "\n\n"
	file := write(t, text, dir, "alice")
	s := open(t, options(t, file, "alice"))
	_, messages := listing(t, s, "alice")
	var stored []string
	for _, m := range messages["INBOX"] {
		b, err := read(s, "alice", "INBOX", m)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, b)
	}
	restore(t, create(t, filepath.Join(dir, "out.mbox")), "alice", "INBOX", stored...)
	got, err := os.ReadFile(filepath.Join(dir, "out.mbox"))
	if string(got) != text || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, text)
	}
}

// Whatever a kill leaves, the next restore puts it right.
func TestKilledAppend(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "one.mbox")
	restore(t, create(t, file), "alice", "Work", "old without a line end")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	restore(t, create(t, file), "alice", "Work", bodies...)
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	intent := strings.TrimPrefix(string(after[len(before):]), "\n")
	for cut := 0; cut <= len(after)-len(before); cut += 7 {
		write(t, string(after[:len(before)+cut]), file)
		write(t, intent, dir, fmt.Sprintf("%s%d-one.mbox", appendPrefix, len(before)))
		restore(t, create(t, file), "alice", "Work", bodies...)
		if got, _ := os.ReadFile(file); string(got) != string(after) {
			t.Fatalf("killed after %d bytes: got %q, want %q", cut, got, after)
		}
	}
	write(t, string(before)+"\nFrom else@where Thu Oct 26 18:30:00 2006\nmail\n\n", file)
	write(t, intent, dir, fmt.Sprintf("%s%d-one.mbox", appendPrefix, len(before)))
	restore(t, create(t, file), "alice", "Work", bodies...)
	if got, _ := os.ReadFile(file); !strings.Contains(string(got), "2006\nmail\n\n") || !strings.HasSuffix(string(got), intent) {
		t.Errorf("mail that came meanwhile: %q", got)
	}
	if e, _ := os.ReadDir(dir); len(e) != 1 {
		t.Errorf("files are left: %v", e)
	}
}

func TestOneFileOneFolder(t *testing.T) {
	d := create(t, filepath.Join(t.TempDir(), "one.mbox"))
	a, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(ctx)
	if err := a.Mailbox(ctx, mailstore.Mailbox{Name: "A"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Mailbox(ctx, mailstore.Mailbox{Name: "B"}); err == nil {
		t.Error("two folders went into one file")
	}
	if _, err := d.Account(ctx, "bob"); err == nil {
		t.Error("two users went into one file")
	}
}

func TestHostileNames(t *testing.T) {
	base := t.TempDir()
	odd := []string{"../x", "..", ".", "a\x00b", "new\nline", strings.Repeat("x", 300), "/etc", "a//b", "", strings.Repeat("long/", 80), ".hidden", "x.sbd", "mbox", "inbox/", `\x69nbox`, "a.msf", "dovecot"}
	d := create(t, filepath.Join(base, "out/%u"))
	for _, user := range odd[:8] {
		restore(t, d, user, "INBOX", "user "+user)
	}
	for _, box := range odd {
		if restore(t, d, "alice", box, "folder "+box) != 1 {
			t.Errorf("%q was taken for another folder", box)
		}
	}
	s := open(t, options(t, filepath.Join(base, "out/%u"), ""))
	if boxes, messages := listing(t, s, "alice"); len(boxes) != len(odd) || len(messages) != len(odd) {
		t.Errorf("folders %q", names(boxes))
	}
	if e, _ := os.ReadDir(base); len(e) != 1 {
		t.Errorf("something was written outside: %v", e)
	}
}

func TestRenumbers(t *testing.T) {
	for validity, want := range map[uint32]string{0: "", 7: "an mbox keeps no UIDs"} {
		why, err := create(t, t.TempDir()).Renumbers(ctx, "alice", mailstore.Mailbox{Name: "Work", UIDValidity: validity})
		if why != want || err != nil {
			t.Errorf("UIDVALIDITY %d: %q, %v", validity, why, err)
		}
	}
}
