package maildir

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"salvor/internal/mailstore"
)

// Directories in circles and in great numbers of levels end, and are named.
func TestNestedLayout(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	for _, f := range []string{"Work", "Work/2024", "Work/2024/Q1", "Parent/Child", ".dot", "a.b", "x/cur/no", "Entw&APw-rfe"} {
		makeFolder(t, dir, f)
	}
	if err := os.RemoveAll(filepath.Join(dir, "x/cur")); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"Work/loop": "..", "Work/self": ".", "Alias": "Work/2024", "Dangling": "nowhere", "Out": "/etc"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "no folder", dir, "Stray")
	s := openSource(t, dir, func(o *Options) { o.Layout = FS })
	boxes, problems := mailboxes(t, s)
	want := "INBOX .dot Alias Alias/Q1 Entwürfe Parent/Child Work Work/2024 Work/2024/Q1 Work/loop Work/self a.b"
	if got := names(boxes); got != want {
		t.Errorf("folders\n%q, want\n%q", got, want)
	}
	if len(problems) != 1 || !strings.HasSuffix(problems[0].Path, "/Out") {
		t.Errorf("problems %v", problems)
	}
	deep := filepath.Join(dir, strings.Repeat("d/", maxDepth+2))
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, problems := mailboxes(t, s); len(problems) != 2 {
		t.Errorf("problems %v", problems)
	}
}

// Courier's list of UIDs has the form of Dovecot's first version.
func TestCourier(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	write(t, "x", dir, "cur", "1.vm:2,S")
	write(t, "1 1195330421 8\n7 1.vm\n", dir, "courierimapuiddb")
	s := openSource(t, dir)
	boxes, _ := mailboxes(t, s)
	list, _ := messages(t, s, "INBOX")
	if boxes[0].UIDValidity != 1195330421 || boxes[0].UIDNext != 8 || len(list) != 1 || list[0].UID != 7 {
		t.Errorf("%+v, %+v", boxes[0], list)
	}
}

// A copied folder brings its GUID along, but two folders are never one.
func TestCopiedFolder(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{".", ".A", ".B"} {
		makeFolder(t, dir, f)
		write(t, "3 V5 N1 G3085f01b7f11094c501100008c4a11c1\n", dir, f, "dovecot-uidlist")
	}
	ids := map[string]bool{}
	boxes, _ := mailboxes(t, openSource(t, dir))
	for _, b := range boxes {
		ids[b.ObjectID] = true
	}
	if len(ids) != 3 {
		t.Errorf("identities %v", ids)
	}
}

// A folder's identity and its messages' states survive renaming and copying
// back and forth of names, as IMAP's RENAME does it.
func TestRename(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	makeFolder(t, dir, ".Old")
	write(t, "x", dir, ".Old", "cur", "1.vm:2,S")
	s := openSource(t, dir)
	before, _ := mailboxes(t, s)
	old, _ := messages(t, s, "Old")
	if err := os.Rename(filepath.Join(dir, ".Old"), filepath.Join(dir, ".New")); err != nil {
		t.Fatal(err)
	}
	after, _ := mailboxes(t, s)
	now, _ := messages(t, s, "New")
	if names(after) != "INBOX New" || after[1].ObjectID != before[1].ObjectID || after[1].State != before[1].State || !reflect.DeepEqual(old, now) {
		t.Errorf("%+v, then %+v", before, after)
	}
	if list, problems := messages(t, s, "Old"); list != nil || problems == nil {
		t.Errorf("a folder that is gone was listed: %v, %v", list, problems)
	}
}

// Names that are no text are shown as text, and lead back.
func TestOddBytes(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	makeFolder(t, dir, ".a\nb")
	write(t, "x", dir, ".a\nb", "cur", "1\xff\n.vm:2,S")
	s := openSource(t, dir)
	boxes, _ := mailboxes(t, s)
	if got := names(boxes); got != `INBOX a\x0ab` {
		t.Fatalf("folders %q", got)
	}
	list, _ := messages(t, s, `a\x0ab`)
	if len(list) != 1 || list[0].Key != `1\xff\x0a.vm` {
		t.Fatalf("messages %+v", list)
	}
	if err := os.Rename(filepath.Join(dir, ".a\nb/cur/1\xff\n.vm:2,S"), filepath.Join(dir, ".a\nb/cur/1\xff\n.vm:2,")); err != nil {
		t.Fatal(err)
	}
	if text, err := readMessage(t, s, `a\x0ab`, list[0]); text != "x" || err != nil {
		t.Errorf("read %q, %v", text, err)
	}
}

// Many goroutines may list and read at once, and nothing stays open.
func TestConcurrentUse(t *testing.T) {
	base := t.TempDir()
	for u := range 20 {
		for f := range 4 {
			dir := filepath.Join(base, fmt.Sprint(u), ".", []string{"", ".A", ".B", ".C"}[f])
			makeFolder(t, dir)
			for m := range 5 {
				write(t, fmt.Sprintf("%d-%d-%d", u, f, m), dir, "cur", fmt.Sprintf("%d.vm:2,", m))
			}
		}
	}
	open := countOpen(t)
	s := openSource(t, filepath.Join(base, "%u"))
	var wait sync.WaitGroup
	for u := range 40 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			user := fmt.Sprint(u % 20)
			for f, name := range []string{"INBOX", "A", "B", "C"} {
				box := mailstore.Mailbox{User: user, Name: name}
				n := 0
				err := s.Messages(ctx, box, func(m mailstore.Message) error {
					r, err := s.Open(ctx, box, m)
					if err != nil {
						return err
					}
					defer r.Close()
					buf := make([]byte, 20)
					got, _ := r.Read(buf)
					if want := fmt.Sprintf("%s-%d-%d", user, f, n); string(buf[:got]) != want {
						t.Errorf("read %q, want %q", buf[:got], want)
					}
					n++
					return nil
				})
				if err != nil || n != 5 {
					t.Errorf("user %s, folder %s: %d messages, %v", user, name, n, err)
				}
			}
		}()
	}
	wait.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if now := countOpen(t); now > open {
		t.Errorf("%d files were open before, %d are now", open, now)
	}
}

func countOpen(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}
