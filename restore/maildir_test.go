package restore

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/maildir"
	"salvor/internal/mailstore/userpath"
)

func maildirAt(t *testing.T, path string) maildir.Options {
	t.Helper()
	root, err := userpath.Parse(path)
	check(t, err)
	return maildir.Options{Root: root}
}

// read lists what a Maildir store holds: user, folder, UID, flags, date, bytes.
func read(t *testing.T, o maildir.Options) (lines []string) {
	t.Helper()
	src, err := maildir.Open(o)
	check(t, err)
	ctx := t.Context()
	check(t, src.Users(ctx, func(u mailstore.User) error {
		return src.Mailboxes(ctx, u, func(b mailstore.Mailbox) error {
			lines = append(lines, fmt.Sprintf("%s %q %d", u.Name, b.Name, b.UIDValidity))
			return src.Messages(ctx, b, func(m mailstore.Message) error {
				r, err := src.Open(ctx, b, m)
				if err != nil {
					return err
				}
				defer r.Close()
				stored, err := io.ReadAll(r)
				lines = append(lines, fmt.Sprintf("%s %q uid %d %v %s %q", u.Name, b.Name, m.UID, m.Flags, m.InternalDate.UTC(), stored))
				return err
			})
		})
	}))
	slices.Sort(lines)
	return lines
}

func TestIntoMaildir(t *testing.T) {
	l := newLab(t)
	l.backup(
		mail{user: "a@x.org", folder: "INBOX", uid: 3, stored: text("one", ""), flags: []string{`\Seen`}},
		mail{user: "a@x.org", folder: "INBOX", uid: 9, stored: text("one", "")},
		mail{user: "a@x.org", folder: "Work/Ä", uid: 1000, stored: "Subject: crlf\r\n\r\n", flags: []string{"$Label", `\Answered`}},
		mail{user: "b@x.org", folder: "INBOX", uid: 1, stored: text("b", "")})
	date := func(uid uint32) string { return begun.AddDate(0, 0, -int(uid)).String() }
	want := []string{
		`a@x.org "INBOX" 7`,
		fmt.Sprintf(`a@x.org "INBOX" uid 3 [\Seen] %s %q`, date(3), text("one", "")),
		fmt.Sprintf(`a@x.org "INBOX" uid 9 [] %s %q`, date(9), text("one", "")),
		`a@x.org "Work/Ä" 7`,
		fmt.Sprintf(`a@x.org "Work/Ä" uid 1000 [$Label \Answered] %s %q`, date(1000), "Subject: crlf\r\n\r\n"),
		`b@x.org "INBOX" 7`,
		fmt.Sprintf(`b@x.org "INBOX" uid 1 [] %s %q`, date(1), text("b", "")),
	}
	at := t.TempDir()
	opt := maildirAt(t, at+"/new/%d/%n")
	to, err := maildir.Create(opt)
	check(t, err)
	o := l.options(to)
	o.DryRun = true
	if r := restoreUser(t, "a@x.org", o); r.Messages != 3 {
		t.Errorf("dry run: %+v", r)
	}
	if entries, err := os.ReadDir(at); err != nil || len(entries) != 0 {
		t.Fatalf("a dry run made %v (%v)", entries, err)
	}
	for _, added := range []int{3, 0} {
		to, err := maildir.Create(opt)
		check(t, err)
		check(t, All(t.Context(), []string{"a@x.org", "b@x.org"}, l.options(to), func(r *Report, err error) {
			check(t, err)
			if r.User == "a@x.org" && r.Messages != added {
				t.Errorf("%+v, want %d added", r, added)
			}
		}))
		if got := read(t, opt); !reflect.DeepEqual(got, want) {
			t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Names of any sort restore below the destination or not at all.
func TestHostileNames(t *testing.T) {
	names := []string{"../x", "..", ".", "/etc", "a/../../b", "a//b", "nul\x00byte", "new\nline", strings.Repeat("long", 80),
		"cur", "tmp/new", "dovecot-uidlist", "~root", "a.b", `\x2e\x2e/x`, "\xff\xfe", "*", "Inbox", "INBOX/sub"}
	l := newLab(t)
	var mails []mail
	for i, name := range names {
		mails = append(mails, mail{user: "u", folder: name, uid: uint32(i + 1), stored: text(fmt.Sprint("in folder ", i), "")})
		mails = append(mails, mail{user: name, folder: "INBOX", uid: 1, stored: text(fmt.Sprint("of user ", i), "")})
	}
	l.backup(mails...)
	for _, layout := range []maildir.Layout{maildir.PlusPlus, maildir.FS} {
		at := t.TempDir()
		opt := maildirAt(t, at+"/deep/down/%u/Maildir")
		opt.Layout = layout
		to, err := maildir.Create(opt)
		check(t, err)
		for range 2 {
			r := restoreUser(t, "u", l.options(to))
			if r.Failed != 0 || r.Messages+r.Skipped != len(names) {
				t.Errorf("%+v", r)
			}
		}
		restored := 0
		check(t, All(t.Context(), names, l.options(to), func(r *Report, err error) {
			if err == nil {
				restored += r.Messages
			}
		}))
		found := 0
		check(t, filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if b, err := os.ReadFile(path); err != nil || strings.HasPrefix(string(b), "From: a@example.org") {
					found++
				}
				if !strings.HasPrefix(path, at+"/deep/down/") {
					t.Errorf("%q is outside", path)
				}
			}
			return err
		}))
		if found != len(names)+restored {
			t.Errorf("%d files, want %d + %d", found, len(names), restored)
		}
	}
}

// Killed in the middle: what is half written is not seen, and the next run
// completes it. Closing is what a killed process does not do.
func TestKilledIntoMaildir(t *testing.T) {
	l := newLab(t)
	var mails []mail
	for i := range 40 {
		mails = append(mails, mail{user: "u", folder: []string{"INBOX", "A"}[i%2], uid: uint32(i + 1), stored: text(fmt.Sprint(i%30), "")})
	}
	l.backup(mails...)
	opt := maildirAt(t, t.TempDir()+"/%u")
	for n := range 5 {
		to, err := maildir.Create(opt)
		check(t, err)
		r, err := User(t.Context(), "u", l.options(&killed{to, 8*n + 3}))
		if err == nil || r.Messages != 8*n+3 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	to, err := maildir.Create(opt)
	check(t, err)
	if r := restoreUser(t, "u", l.options(to)); r.Messages+r.Skipped != 40 || r.Failed != 0 {
		t.Errorf("%+v", r)
	}
	if got := read(t, opt); len(got) != 42 {
		t.Errorf("%d lines, want 40 messages and 2 folders:\n%s", len(got), strings.Join(got, "\n"))
	}
}

// killed is a destination whose process dies after so many messages.
type killed struct {
	mailstore.Destination
	left int
}

type killedAccount struct {
	mailstore.Account
	of *killed
}

func (k *killed) Account(ctx context.Context, user string) (Account, error) {
	a, err := k.Destination.Account(ctx, user)
	return &killedAccount{a, k}, err
}

func (a *killedAccount) Add(ctx context.Context, d Delivery) (UID, error) {
	if a.of.left--; a.of.left < 0 {
		return 0, errReadOnly
	}
	return a.Account.Add(ctx, d)
}

func (a *killedAccount) Close(context.Context) error { return errReadOnly }
