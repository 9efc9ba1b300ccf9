package maildir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
)

// asNobody runs f without root's right to read everything: only the thread's
// identity towards file systems changes. f must start no goroutines.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	f()
}

// public makes a temporary directory that nobody may enter, and that belongs to
// nobody.
func public(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func lockAway(t *testing.T, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.Chmod(name, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(name, 0o700) })
}

// open everything below to nobody.
func opened(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err == nil {
			err = os.Chmod(p, 0o755)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What cannot be read is named, is no deletion, and hides nothing else.
func TestUnreadable(t *testing.T) {
	dir := public(t)
	for _, name := range []string{".", ".Folder", ".Cur", ".New", ".List", ".Keywords", ".Fine"} {
		makeFolder(t, dir, name)
		write(t, "a", dir, name, "cur", "1.vm:2,")
		write(t, "b", dir, name, "cur", "2.vm:2,")
		write(t, "3 V1 N3\n1 :1.vm\n2 :2.vm\n", dir, name, "dovecot-uidlist")
		write(t, "0 k\n", dir, name, "dovecot-keywords")
	}
	opened(t, dir)
	for _, name := range []string{".Folder", ".Cur/cur", ".New/new", ".List/dovecot-uidlist", ".Keywords/dovecot-keywords", "cur/2.vm:2,"} {
		lockAway(t, dir, name)
	}
	asNobody(t, func() {
		s := openSource(t, dir)
		boxes, problems := mailboxes(t, s)
		if got := names(boxes); got != "INBOX Cur Fine Keywords List New" || len(problems) != 2 {
			t.Errorf("folders %q, problems %v", got, problems)
		}
		for _, b := range boxes {
			if lost := b.Lost != ""; lost != (b.Name == "List") {
				t.Errorf("%s: lost %q", b.Name, b.Lost)
			}
			list, problems := messages(t, s, b.Name)
			bad := b.Name != "Fine" && b.Name != "INBOX"
			if (problems != nil) != bad || b.Name != "Cur" && b.Name != "New" && len(list) != 2 {
				t.Errorf("%s: %d messages, %v", b.Name, len(list), problems)
			}
			for _, p := range problems {
				if p.User != "alice" || p.Mailbox != b.Name || !strings.HasPrefix(p.Path, dir) || !errors.Is(p, fs.ErrPermission) {
					t.Errorf("problem %v", p)
				}
			}
		}
		list, _ := messages(t, s, "INBOX")
		if text, err := readMessage(t, s, "INBOX", list[0]); text != "a" || err != nil {
			t.Errorf("read %q, %v", text, err)
		}
		_, err := readMessage(t, s, "INBOX", list[1])
		var p *mailstore.Problem
		if !errors.As(err, &p) || !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(p.Path, "/cur/2.vm:2,") {
			t.Errorf("the unreadable message: %v", err)
		}
	})
}

func TestUnreadableUser(t *testing.T) {
	base := public(t)
	makeFolder(t, base, "alice", "Maildir")
	makeFolder(t, base, "bob", "Maildir")
	opened(t, base)
	lockAway(t, base, "alice")
	asNobody(t, func() {
		s := openSource(t, filepath.Join(base, "%u/Maildir"))
		var users []string
		err := s.Users(ctx, func(u mailstore.User) error { users = append(users, u.Name); return nil })
		problems := problemsOf(t, err)
		if len(users) != 1 || users[0] != "bob" || len(problems) != 1 || !strings.Contains(problems[0].Path, "alice") {
			t.Errorf("users %q, problems %v", users, problems)
		}
		err = s.Mailboxes(ctx, mailstore.User{Name: "alice"}, nil)
		var p *mailstore.Problem
		if !errors.As(err, &p) || p.User != "alice" {
			t.Errorf("alice's folders: %v", err)
		}
	})
}
