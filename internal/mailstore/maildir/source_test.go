package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/userpath"
)

var ctx = context.Background()

// write makes a file and the directories above it.
func write(t *testing.T, body string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// makeFolder makes the directories of one folder.
func makeFolder(t *testing.T, dir ...string) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(append(dir, sub)...), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func template(t *testing.T, path string) *userpath.Template {
	t.Helper()
	tpl, err := userpath.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

// openSource opens dir as alice's Maildir, as if it were a minute later, so
// that states are not racy.
func openSource(t *testing.T, dir string, change ...func(*Options)) *Source {
	t.Helper()
	o := Options{Root: template(t, dir), User: "alice", Now: func() time.Time { return time.Now().Add(time.Minute) }}
	for _, f := range change {
		f(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// mailboxes lists alice's folders; problems are returned, other errors fatal.
func mailboxes(t *testing.T, s *Source) ([]mailstore.Mailbox, []*mailstore.Problem) {
	t.Helper()
	var out []mailstore.Mailbox
	err := s.Mailboxes(ctx, mailstore.User{Name: "alice"}, func(b mailstore.Mailbox) error {
		out = append(out, b)
		return nil
	})
	return out, problemsOf(t, err)
}

func messages(t *testing.T, s *Source, name string) ([]mailstore.Message, []*mailstore.Problem) {
	t.Helper()
	var out []mailstore.Message
	err := s.Messages(ctx, mailstore.Mailbox{User: "alice", Name: name}, func(m mailstore.Message) error {
		out = append(out, m)
		return nil
	})
	return out, problemsOf(t, err)
}

func problemsOf(t *testing.T, err error) []*mailstore.Problem {
	t.Helper()
	var inc *mailstore.Incomplete
	if errors.As(err, &inc) {
		return inc.Problems
	}
	if err != nil {
		t.Fatal(err)
	}
	return nil
}

func names(boxes []mailstore.Mailbox) string {
	var out []string
	for _, b := range boxes {
		out = append(out, b.Name)
	}
	return strings.Join(out, " ")
}

func readMessage(t *testing.T, s *Source, name string, m mailstore.Message) (string, error) {
	t.Helper()
	r, err := s.Open(ctx, mailstore.Mailbox{User: "alice", Name: name}, m)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestMaildir(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	makeFolder(t, dir, ".Work.2024")
	makeFolder(t, dir, ".Entw&APw-rfe")
	if err := os.MkdirAll(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2006, 10, 26, 18, 30, 0, 123456789, time.UTC)
	first := write(t, "A\n", dir, "cur", "1.M1.vm,S=2,W=3:2,FSab")
	if err := os.Chtimes(first, when, when); err != nil {
		t.Fatal(err)
	}
	write(t, "BB\n", dir, "cur", "2.M1.vm:2,")
	write(t, "CCC\n", dir, "new", "3.M1.vm")
	write(t, "0 work-todo\n1 $Label1\n", dir, "dovecot-keywords")
	write(t, "3 V1195330421 N1 G3085f01b7f11094c501100008c4a11c1\n5 :2.M1.vm\n7 W3 S2 :1.M1.vm,S=2,W=3:2,S\n9 :gone\n", dir, "dovecot-uidlist")
	write(t, "V\t2\n\nWork\t2024\nINBOX\n", dir, "subscriptions")
	s := openSource(t, dir)

	boxes, problems := mailboxes(t, s)
	if got, want := names(boxes), "INBOX Entwürfe Work/2024"; got != want || problems != nil {
		t.Fatalf("folders %q, %v, want %q", got, problems, want)
	}
	inbox := boxes[0]
	if inbox.UIDValidity != 1195330421 || inbox.UIDNext != 10 || inbox.ObjectID != "3085f01b7f11094c501100008c4a11c1" ||
		!inbox.Subscribed || inbox.Lost != "" || inbox.State == "" {
		t.Errorf("INBOX: %+v", inbox)
	}
	if !boxes[2].Subscribed || boxes[1].Subscribed || !strings.HasPrefix(boxes[1].ObjectID, "dir:") {
		t.Errorf("folders: %+v", boxes[1:])
	}
	got, problems := messages(t, s, "INBOX")
	if len(got) != 3 || problems != nil {
		t.Fatalf("messages %+v, %v", got, problems)
	}
	for i := range got {
		if got[i].State == "" {
			t.Errorf("message %d has no state", i)
		}
		got[i].State = ""
		if i != 1 {
			got[i].InternalDate = time.Time{}
		}
	}
	want := []mailstore.Message{
		{Key: "2.M1.vm", UID: 5, Size: 3, Promised: -1, Place: "cur/2.M1.vm:2,"},
		{Key: "1.M1.vm,S=2,W=3", UID: 7, Size: 2, Promised: 2, Place: "cur/1.M1.vm,S=2,W=3:2,FSab",
			Flags: []string{"$Label1", `\Flagged`, `\Seen`, "work-todo"}, InternalDate: when.Local()},
		{Key: "3.M1.vm", Size: 4, Promised: -1, Place: "new/3.M1.vm"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("messages\n%+v, want\n%+v", got, want)
	}
	if body, err := readMessage(t, s, "INBOX", got[1]); body != "A\n" || err != nil {
		t.Errorf("read %q, %v", body, err)
	}
	if n, err := s.Count(ctx, inbox); n != 3 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
}

// A message that was renamed or moved to cur is found again, a deleted one
// has vanished.
func TestOpenFindsRenamedMessages(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	for i := range 50 {
		write(t, fmt.Sprint(i), dir, "cur", fmt.Sprintf("%d.vm:2,", i))
	}
	write(t, "new", dir, "new", "n.vm")
	s := openSource(t, dir)
	list, _ := messages(t, s, "INBOX")
	for _, m := range list {
		name := strings.TrimPrefix(m.Place, "cur/")
		to := filepath.Join(dir, "cur", m.Key+":2,S")
		if m.Key == "n.vm" {
			name = "../new/n.vm"
		}
		if err := os.Rename(filepath.Join(dir, "cur", name), to); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range list {
		want := strings.TrimSuffix(m.Key, ".vm")
		if m.Key == "n.vm" {
			want = "new"
		}
		if body, err := readMessage(t, s, "INBOX", m); body != want || err != nil {
			t.Fatalf("%s: read %q, %v", m.Key, body, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "cur", list[0].Key+":2,S")); err != nil {
		t.Fatal(err)
	}
	if _, err := readMessage(t, s, "INBOX", list[0]); !errors.Is(err, mailstore.ErrVanished) {
		t.Errorf("removed message: %v", err)
	}
}

// A message that stands there for every listing is in every listing, however
// often it is renamed meanwhile.
func TestListingDuringRenames(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	const n = 300
	current := make([]string, n)
	for i := range n {
		current[i] = write(t, "x", dir, "cur", fmt.Sprintf("%d.vm:2,", i))
	}
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		flags := []string{"S", "FS", "", "RS"}
		for round := 0; ; round++ {
			for i := range n {
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
				to := filepath.Join(dir, "cur", fmt.Sprintf("%d.vm:2,%s", i, flags[round%len(flags)]))
				if err := os.Rename(current[i], to); err != nil {
					stopped <- err
					return
				}
				current[i] = to
			}
			time.Sleep(time.Millisecond)
		}
	}()
	s := openSource(t, dir)
	for range 8 {
		list, problems := messages(t, s, "INBOX")
		if len(list) != n || problems != nil {
			t.Errorf("listed %d of %d messages, %v", len(list), n, problems)
		}
		for _, m := range list[:20] {
			if body, err := readMessage(t, s, "INBOX", m); body != "x" || err != nil {
				t.Errorf("%s: %q, %v", m.Key, body, err)
			}
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestSameBaseName(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	write(t, "one", dir, "cur", "1.vm:2,")
	write(t, "two", dir, "cur", "1.vm:2,S")
	one := write(t, "linked", dir, "cur", "2.vm:2,")
	if err := os.Link(one, filepath.Join(dir, "cur", "2.vm:2,S")); err != nil {
		t.Fatal(err)
	}
	s := openSource(t, dir)
	list, problems := messages(t, s, "INBOX")
	if len(list) != 3 || problems != nil {
		t.Fatalf("listed %+v, %v", list, problems)
	}
	keys, bodies := map[string]bool{}, map[string]bool{}
	for _, m := range list {
		body, err := readMessage(t, s, "INBOX", m)
		if err != nil {
			t.Fatal(err)
		}
		keys[m.Key], bodies[body] = true, true
	}
	if len(keys) != 3 || len(bodies) != 3 || !keys["1.vm"] || !keys["2.vm"] {
		t.Errorf("keys %v, bodies %v", keys, bodies)
	}
	for _, m := range list { // a flag change keeps each apart
		if m.Key != "2.vm" {
			place := filepath.Join(dir, m.Place)
			if err := os.Rename(place, place+"T"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, m := range list {
		if body, err := readMessage(t, s, "INBOX", m); err != nil || !bodies[body] {
			t.Errorf("%s: %q, %v", m.Key, body, err)
		} else {
			delete(bodies, body)
		}
	}
}

func TestLost(t *testing.T) {
	for _, c := range []struct {
		name, want string
		make       func(dir string)
	}{
		{"never seen by a server", "", func(string) {}},
		{"no uidlist", "dovecot-uidlist is missing", func(dir string) { write(t, "", dir, "dovecot.index.log") }},
		{"no version", "dovecot-uidlist is damaged", func(dir string) { write(t, "\x00\x00\x00", dir, "dovecot-uidlist") }},
		{"empty", "dovecot-uidlist is damaged", func(dir string) { write(t, "", dir, "dovecot-uidlist") }},
		{"no uidvalidity", "dovecot-uidlist is damaged", func(dir string) { write(t, "3 N4\n", dir, "dovecot-uidlist") }},
		{"no cur", "directory cur is missing", func(dir string) { os.Remove(filepath.Join(dir, "cur")) }},
		{"healthy", "", func(dir string) { write(t, "3 V1 N4\n", dir, "dovecot-uidlist") }},
		{"version 1", "", func(dir string) { write(t, "1 123 4\n1 a\n", dir, "dovecot-uidlist") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			makeFolder(t, dir)
			c.make(dir)
			boxes, problems := mailboxes(t, openSource(t, dir))
			if len(boxes) != 1 || problems != nil {
				t.Fatalf("%v, %v", boxes, problems)
			}
			if got := boxes[0].Lost; !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("Lost = %q, want %q", got, c.want)
			}
		})
	}
}

func TestHostileMaildir(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "alice")
	makeFolder(t, dir)
	makeFolder(t, base, "bob")
	write(t, "bob's secret", base, "bob", "cur", "1.vm:2,")
	write(t, "ours", dir, "cur", "1.vm:2,")
	for name, target := range map[string]string{
		".Stolen": "../bob", "cur/2.vm:2,": "../../bob/cur/1.vm:2,", ".Good": ".Real",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	makeFolder(t, dir, ".Real")
	if err := os.MkdirAll(filepath.Join(dir, ".Evil"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, ".Evil", "cur")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "cur", "3.vm:2,"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "subscriptions"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "cur", "4.vm:2,"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := openSource(t, dir)
	boxes, problems := mailboxes(t, s)
	if got := names(boxes); got != "INBOX Good Real" {
		t.Errorf("folders %q", got)
	}
	if len(problems) != 3 {
		t.Errorf("problems %v, want .Stolen, .Evil and subscriptions", problems)
	}
	list, problems := messages(t, s, "INBOX")
	if len(list) != 1 || len(problems) != 3 {
		t.Errorf("messages %+v, problems %v", list, problems)
	}
	list[0].Place = "cur/2.vm:2,"
	if body, err := readMessage(t, s, "INBOX", list[0]); err == nil {
		t.Errorf("a link was followed: %q", body)
	}
	for _, place := range []string{"cur/../../bob/cur/1.vm:2,", "cur/3.vm:2,", "cur/4.vm:2,"} {
		list[0].Place = place
		if body, err := readMessage(t, s, "INBOX", list[0]); err == nil {
			t.Errorf("%s was opened: %q", place, body)
		}
	}
	if _, problems := messages(t, s, "../bob"); problems == nil {
		t.Error("a folder outside the root was listed")
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	write(t, "x", dir, "cur", "1.vm:2,")
	state := func() string {
		boxes, _ := mailboxes(t, openSource(t, dir))
		return boxes[0].State
	}
	last := state()
	if last == "" || last != state() {
		t.Fatalf("states %q, %q", last, state())
	}
	for name, change := range map[string]func() error{
		"flag":     func() error { return os.Rename(filepath.Join(dir, "cur/1.vm:2,"), filepath.Join(dir, "cur/1.vm:2,S")) },
		"new":      func() error { return os.WriteFile(filepath.Join(dir, "new/2.vm"), nil, 0o600) },
		"uidlist":  func() error { return os.WriteFile(filepath.Join(dir, "dovecot-uidlist"), []byte("3 V1 N2\n"), 0o600) },
		"keywords": func() error { return os.WriteFile(filepath.Join(dir, "dovecot-keywords"), []byte("0 a\n"), 0o600) },
	} {
		time.Sleep(tick)
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if now := state(); now == last {
			t.Errorf("%s: the state has not changed", name)
		} else {
			last = now
		}
	}
	boxes, _ := mailboxes(t, openSource(t, dir, func(o *Options) { o.Now = nil }))
	if boxes[0].State != "" {
		t.Error("a folder that changed just now has a state")
	}
}

func TestUsers(t *testing.T) {
	base := t.TempDir()
	makeFolder(t, base, "example.org", "alice", "Maildir")
	makeFolder(t, base, "example.org", "bob", "Maildir")
	write(t, "", base, "example.org", "stray")
	if err := os.MkdirAll(filepath.Join(base, "example.org", "carol", "Maildir"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := openSource(t, filepath.Join(base, "%d/%n/Maildir"))
	var got []string
	err := s.Users(ctx, func(u mailstore.User) error {
		got = append(got, u.Name)
		if u.Partition == "" {
			t.Error("no partition")
		}
		return nil
	})
	if want := []string{"alice@example.org", "bob@example.org"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("users %q, %v, want %q", got, err, want)
	}
	if err := s.Mailboxes(ctx, mailstore.User{Name: "../x@y"}, nil); err == nil {
		t.Error("a hostile user name was accepted")
	}
}
