package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

type surveyed struct {
	box   mailstore.Mailbox
	m     mailstore.Message
	state mailstore.FileState
}

func openFiller(t *testing.T, o Options) *Filler {
	t.Helper()
	f, err := OpenFiller(o)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func survey(t *testing.T, f *Filler) (out []surveyed, err error) {
	t.Helper()
	err = f.Survey(t.Context(), mailstore.User{Name: "alice"}, func(b mailstore.Mailbox, m mailstore.Message, s mailstore.FileState) error {
		out = append(out, surveyed{b, m, s})
		return nil
	})
	return out, err
}

// fillAll puts at most n of what is missing, with CRLF as an IMAP source would
// have it, and gives how many those were.
func fillAll(t *testing.T, o Options, contents map[string]string, n int) (put int) {
	t.Helper()
	f := openFiller(t, o)
	list, err := survey(t, f)
	must(t, err)
	for _, l := range list {
		if l.state == mailstore.FileWhole || put == n {
			continue
		}
		if l.state != mailstore.FileMissing || contents[l.m.Key] == "" {
			t.Errorf("%+v", l)
			continue
		}
		must(t, f.Put(t.Context(), l.box, l.m, []byte(strings.ReplaceAll(contents[l.m.Key], "\n", "\r\n"))))
		if err := f.Put(t.Context(), l.box, l.m, []byte(contents[l.m.Key])); !errors.Is(err, mailstore.ErrPresent) {
			t.Errorf("once more: %v", err)
		}
		put++
	}
	must(t, f.Sync(t.Context()))
	if notes := f.Notes(); len(notes) > 0 {
		t.Errorf("%+v", notes)
	}
	return put
}

// keep gives messages' contents by key.
func keep(t *testing.T, o Options) map[string]string {
	t.Helper()
	src, err := Open(o)
	must(t, err)
	defer src.Close()
	out, boxes := map[string]string{}, map[string]*indexed{}
	must(t, listIndex(t, src, "alice", boxes))
	for name, b := range boxes {
		for _, m := range b.messages {
			text, err := readMessage(t, src, name, m)
			must(t, err)
			out[m.Key] = text
		}
	}
	return out
}

// Maildirs of a stopped Dovecot are filled, and after its start everything is
// seen as it was: UIDs, UIDVALIDITY, flags, keywords, dates, subscriptions.
func TestFill(t *testing.T) {
	for _, l := range locations {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s, o, _, before := served(t, l.location)
			c := s.Login("alice")
			c.Create("Empty")
			c.Do("SUBSCRIBE Empty")
			c.Close()
			before, validity, next, subscribed := imapView(s)
			s.Stop()
			contents := keep(t, o)
			loseMail(t, o, filepath.Join(s.Dir, "home"))
			if o.Control != nil {
				must(t, os.MkdirAll(filepath.Join(s.Dir, "home/alice"), 0o700))
				s.Chown("home")
			}
			if got := fillAll(t, o, contents, 5); got != 5 {
				t.Fatalf("%d were put", got)
			}
			if got := fillAll(t, o, contents, 1000); got < 20 {
				t.Errorf("%d were put by the second run", got)
			}
			if got := fillAll(t, o, contents, 1000); got != 0 {
				t.Errorf("%d were put again", got)
			}
			must(t, filepath.WalkDir(filepath.Join(s.Dir, "home/alice"), func(p string, d fs.DirEntry, err error) error {
				if strings.HasPrefix(d.Name(), "dovecot") {
					return err
				}
				var st, above syscall.Stat_t
				must(t, errors.Join(err, syscall.Stat(p, &st), syscall.Stat(filepath.Join(s.Dir, "home"), &above)))
				if mode := map[bool]uint32{true: 0o700, false: 0o600}[d.IsDir()]; st.Mode&0o777 != mode || st.Uid != above.Uid || st.Gid != above.Gid {
					t.Errorf("%s: mode %o, owner %d:%d", p, st.Mode, st.Uid, st.Gid)
				}
				return err
			}))
			s.Restart()
			after, validity2, next2, subscribed2 := imapView(s)
			compareViews(t, after, before)
			if fmt.Sprint(validity2, next2, subscribed2) != fmt.Sprint(validity, next, subscribed) {
				t.Errorf("%v %v %v, was %v %v %v", validity2, next2, subscribed2, validity, next, subscribed)
			}
			checkLog(t, s)
		})
	}
}

// Only what the index promises is put, into names that are names, where nothing
// good stands; and never under a running server.
func TestFillRefuses(t *testing.T) {
	s, o, _, _ := served(t, "maildir:~/Maildir:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u")
	contents := keep(t, o)
	c := s.Login("alice")
	c.Select("INBOX")
	if _, err := survey(t, openFiller(t, o)); err == nil || !strings.Contains(err.Error(), "stop the mail server") {
		t.Errorf("while the server runs: %v", err)
	}
	c.Close()
	s.Stop()
	cur := filepath.Join(s.Dir, "home/alice/Maildir/cur")
	find := func(list []surveyed, uid mailstore.UID) surveyed {
		for _, l := range list {
			if l.box.Name == "INBOX" && l.m.UID == uid {
				return l
			}
		}
		t.Fatalf("UID %d is not listed", uid)
		return surveyed{}
	}
	f := openFiller(t, o)
	list, err := survey(t, f)
	must(t, err)
	files := map[mailstore.UID]string{}
	for _, uid := range []mailstore.UID{1, 2, 3, 5} {
		found, _ := filepath.Glob(filepath.Join(cur, find(list, uid).m.Key+":*"))
		if len(found) != 1 {
			t.Fatalf("UID %d is %q", uid, found)
		}
		files[uid] = found[0]
		must(t, os.Remove(found[0]))
	}
	must(t, os.WriteFile(files[2], []byte("short"), 0o600))
	must(t, os.Symlink("/etc/passwd", files[3]))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(cur), "new", find(list, 5).m.Key), []byte("not seen yet"), 0o600))
	dead := exec.Command("true")
	must(t, dead.Run())
	left := filepath.Join(cur, fmt.Sprintf(".salvor-%d-%s-1", dead.ProcessState.Pid(), deliver.Host))
	must(t, os.WriteFile(left, []byte("of a run that was killed"), 0o600))

	list, err = survey(t, f)
	must(t, err)
	for uid, want := range map[mailstore.UID]mailstore.FileState{1: mailstore.FileMissing, 2: mailstore.FileOther, 3: mailstore.FileOther, 5: mailstore.FileOther, 6: mailstore.FileWhole} {
		if got := find(list, uid).state; got != want {
			t.Errorf("UID %d: %v, want %v", uid, got, want)
		}
	}
	var refused *mailstore.Refusal
	one := find(list, 1)
	for _, wrong := range []string{"", "x", contents[one.m.Key] + "\n", strings.Replace(contents[one.m.Key], "\n", "x", 1)} {
		if err := f.Put(t.Context(), one.box, one.m, []byte(wrong)); !errors.As(err, &refused) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	for _, key := range []string{"../x", "a/b", ".hidden", "", "a:2,S", strings.Repeat("x", 255), "a\nb"} {
		bad := one.m
		bad.Key, bad.Promised = key, -1
		if err := f.Put(t.Context(), one.box, bad, []byte("x")); !errors.As(err, &refused) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	if err := f.Put(t.Context(), find(list, 6).box, find(list, 6).m, []byte(contents[find(list, 6).m.Key])); !errors.Is(err, mailstore.ErrPresent) {
		t.Errorf("a whole file: %v", err)
	}
	for uid := range files {
		l := find(list, uid)
		must(t, f.Put(t.Context(), l.box, l.m, []byte(contents[l.m.Key])))
	}
	if _, err := os.Lstat(files[1]); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file has its name before it is durable")
	}
	must(t, f.Sync(t.Context()))
	list, err = survey(t, f)
	must(t, err)
	for _, l := range list {
		r, err := f.Open(t.Context(), l.box, l.m)
		must(t, err)
		text, err := io.ReadAll(r)
		if l.state != mailstore.FileWhole || errors.Join(err, r.Close()) != nil || string(text) != contents[l.m.Key] {
			t.Errorf("after filling: %+v: %q, %v", l, text, err)
		}
	}
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Error("what a killed run left is still there")
	}
	aside, _ := filepath.Glob(filepath.Join(filepath.Dir(cur), "*", ".salvor-damaged-*"))
	if len(aside) != 3 || len(f.Notes()) != 3 {
		t.Errorf("put aside: %q, %v", aside, f.Notes())
	}
	s.Restart()
	if view, _, _, _ := imapView(s); len(view["INBOX"]) < 8 {
		t.Errorf("%+v", view["INBOX"])
	}
	checkLog(t, s)
}

// A Dovecot that has run over the empty Maildirs has forgotten everything: then
// the index names nothing that is missing.
func TestFillAfterTheServerRan(t *testing.T) {
	s, o, _, _ := served(t, "maildir:~/Maildir:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u")
	s.Stop()
	must(t, os.RemoveAll(filepath.Join(s.Dir, "home/alice")))
	s.Restart()
	if got := s.Login("alice").Examine("INBOX"); len(got.Messages) != 0 {
		t.Fatalf("%+v", got)
	}
	s.Stop()
	list, err := survey(t, openFiller(t, o))
	must(t, err)
	for _, l := range list {
		if l.box.Name == "INBOX" {
			t.Errorf("%+v", l)
		}
	}
}

// FuzzFillName: whatever an index says, a file that is put has a name that means
// this message in this directory, and the sizes that were promised.
func FuzzFillName(f *testing.F) {
	f.Add("1795330421.M846886P1664.vm,S=5,W=6", int64(5), []byte("a\nbc\n"))
	f.Add("x,W=9999999999999999999", int64(-1), []byte{})
	f.Add("../..", int64(1), []byte("\r\n"))
	f.Fuzz(func(t *testing.T, base string, size int64, stored []byte) {
		body := promisedForm(base, size, stored)
		if body != nil && size >= 0 && int64(len(body)) != size && len(body) != len(stored) {
			t.Errorf("%d bytes, %d are promised", len(body), size)
		}
		if isBase(base) && (!filepath.IsLocal(base) || baseName(base+":2,S") != base || filepath.Base(base) != base) {
			t.Errorf("base name %q", base)
		}
	})
}
