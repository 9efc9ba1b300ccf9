package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/dovecot"
)

// An indexed is a folder as an Index tells it.
type indexed struct {
	mailstore.Mailbox
	messages []mailstore.Message
	err      error
}

// readIndex lists all that an Index has of alice.
func readIndex(t *testing.T, o Options) map[string]*indexed {
	t.Helper()
	x, err := OpenIndex(o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*indexed{}
	if err := listIndex(t, x, "alice", out); err != nil {
		t.Fatal(err)
	}
	return out
}

func listIndex(t *testing.T, x mailstore.Source, user string, out map[string]*indexed) error {
	t.Helper()
	return x.Mailboxes(t.Context(), mailstore.User{Name: user}, func(b mailstore.Mailbox) error {
		f := &indexed{Mailbox: b}
		f.err = x.Messages(t.Context(), b, func(m mailstore.Message) error {
			f.messages = append(f.messages, m)
			return nil
		})
		out[b.Name] = f
		return nil
	})
}

// served starts a server and fills it, asks IMAP what there is (and so has the
// dates cached), and lists the Maildirs as they were before the loss.
func served(t *testing.T, location string) (s *dovecot.Server, o Options, before map[string]*indexed, imap map[string][]record) {
	t.Helper()
	s, o = startDovecot(t, location)
	fill(s)
	imap, _, _, _ = imapView(s)
	src, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	before = map[string]*indexed{}
	if err := listIndex(t, src, "alice", before); err != nil {
		t.Fatal(err)
	}
	if len(before) < 6 || len(before["INBOX"].messages) < 8 {
		t.Fatalf("%+v", before)
	}
	return s, o, before, imap
}

// loseMail removes all that is not the index: the whole Maildir where the index
// lies apart, else its messages' directories.
func loseMail(t *testing.T, o Options, dir string) {
	t.Helper()
	if o.Control != nil {
		must(t, os.RemoveAll(dir))
		return
	}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && reserved(d.Name()) {
			must(t, os.RemoveAll(p))
			return fs.SkipDir
		}
		return err
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What survives of a Dovecot tells each message that was there, under the key,
// size, flags and date that the Maildir told, and none that was expunged.
func TestIndexOutlivesMessages(t *testing.T) {
	for _, l := range locations {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s, o, before, imap := served(t, l.location)
			s.Stop()
			loseMail(t, o, filepath.Join(s.Dir, "home"))
			x, err := OpenIndex(o)
			must(t, err)
			var users []string
			must(t, x.Users(t.Context(), func(u mailstore.User) error { users = append(users, u.Name); return nil }))
			if !slices.Equal(users, []string{"alice"}) {
				t.Errorf("users %q", users)
			}
			after := readIndex(t, o)
			if len(after) != len(before) {
				t.Errorf("%d folders, were %d", len(after), len(before))
			}
			for name, was := range before {
				is := after[name]
				if is == nil || is.err != nil || is.Lost != "" || is.UIDNext != was.UIDNext || is.UIDValidity != was.UIDValidity || is.ObjectID != was.ObjectID ||
					is.Subscribed != was.Subscribed || len(is.messages) != len(was.messages) {
					t.Errorf("%s: %+v, was %+v", name, is, was)
					continue
				}
				for i, m := range is.messages {
					b := was.messages[i]
					if m.Key != b.Key || m.UID != b.UID || m.Size != b.Size || m.Promised != b.Promised || m.NoFlags || m.Doubt != "" ||
						!reflect.DeepEqual(m.Flags, b.Flags) || m.InternalDate.Unix() != b.InternalDate.Unix() {
						t.Errorf("%s: %+v, was %+v", name, m, b)
					}
					if want := imap[wire(name)][i]; strings.Join(m.Flags, " ") != want.Flags || m.InternalDate.Format(time.RFC3339) != want.Date {
						t.Errorf("%s: %+v, IMAP said %+v", name, m, want)
					}
				}
			}
		})
	}
}

// Whatever is lost of the index costs certainty and not messages.
func TestDamagedIndex(t *testing.T) {
	s, o, before, _ := served(t, "maildir:~/Maildir:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u")
	s.Stop()
	must(t, os.RemoveAll(filepath.Join(s.Dir, "home")))
	inbox := func(side, name string) string { return filepath.Join(s.Dir, side, "alice/.INBOX", name) }
	edit := func(file string, change func(string) string) {
		b, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(file, []byte(change(string(b))), 0o600))
	}
	removeIndex := func() {
		files, _ := filepath.Glob(inbox("index", "dovecot.index*"))
		for _, f := range files {
			must(t, os.Remove(f))
		}
	}
	n := len(before["INBOX"].messages)
	list := inbox("control", "dovecot-uidlist")
	lines, err := os.ReadFile(list)
	must(t, err)
	named := strings.Count(string(lines), "\n") - 1
	if named <= n {
		t.Fatalf("the uidlist names %d messages of %d: nothing lingers", named, n)
	}
	for _, tt := range []struct {
		name, lost string
		damage     func()
		messages   int // that are listed
		doubt      bool
		problem    bool
	}{
		{"nothing", "", func() {}, n, false, false},
		{"dates are not cached", "", func() { must(t, os.Remove(inbox("index", "dovecot.index.cache"))) }, n, false, false},
		{"a cache of nonsense", "", func() {
			edit(inbox("index", "dovecot.index.cache"), func(s string) string { return s[:31] + "\xff" + s[32:] })
		}, n, false, false},
		{"no index", "dovecot.index is missing", removeIndex, named, true, true},
		{"no index directory", "dovecot.index is missing", func() { must(t, os.RemoveAll(filepath.Join(s.Dir, "index"))) }, named, true, true},
		{"no uidlist", "dovecot-uidlist is missing", func() { must(t, os.Remove(list)) }, 0, false, true},
		{"no control directory", "dovecot-uidlist is missing", func() { must(t, os.RemoveAll(filepath.Join(s.Dir, "control"))) }, 0, false, true},
		{"another's index", "dovecot.index has UIDVALIDITY", func() {
			edit(list, func(s string) string { return strings.Replace(s, "3 V1", "3 V2", 1) })
		}, named, true, true},
		{"a line that is none", "line 2 cannot be read", func() { edit(list, func(s string) string { return strings.Replace(s, "\n1 ", "\nx ", 1) }) }, n - 1, false, true},
		{"no end", "its last line has no end", func() { edit(list, func(s string) string { return strings.TrimSuffix(s, "\n") }) }, n - 1, false, true},
		{"no header", "is of no known version", func() { edit(list, func(string) string { return "nonsense\n" }) }, 0, false, true},
		{"a cut log", "dovecot.index is damaged", func() { edit(inbox("index", "dovecot.index.log"), func(s string) string { return s[:len(s)-5] }) }, -1, false, true},
		{"no log", "dovecot.index cannot be read", func() {
			edit(inbox("index", "dovecot.index.log"), func(s string) string { return s[:10] })
		}, named, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			saved := t.TempDir()
			for _, side := range []string{"index", "control"} {
				must(t, os.CopyFS(filepath.Join(saved, side), os.DirFS(filepath.Join(s.Dir, side))))
			}
			tt.damage()
			f := readIndex(t, o)["INBOX"]
			var incomplete *mailstore.Incomplete
			if f == nil || !strings.Contains(f.Lost, tt.lost) || (f.Lost == "") != (tt.lost == "") || errors.As(f.err, &incomplete) != tt.problem ||
				tt.messages >= 0 && len(f.messages) != tt.messages {
				t.Errorf("%+v, want %d messages", f, tt.messages)
			}
			for _, m := range f.messages {
				if (m.Doubt != "") != tt.doubt || m.NoFlags != tt.doubt {
					t.Errorf("%+v", m)
				}
			}
			for _, side := range []string{"index", "control"} {
				must(t, os.RemoveAll(filepath.Join(s.Dir, side)))
				must(t, os.CopyFS(filepath.Join(s.Dir, side), os.DirFS(filepath.Join(saved, side))))
			}
		})
	}
}

// A message that came last may be in the uidlist only: it is there, and nobody
// knows its flags yet.
func TestIndexIsBehind(t *testing.T) {
	s, o, before, _ := served(t, "maildir:~/Maildir:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u")
	s.Stop()
	list, err := os.OpenFile(filepath.Join(s.Dir, "control/alice/.INBOX/dovecot-uidlist"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = list.WriteString("4000 :1161887400.x,S=5\n")
	must(t, errors.Join(err, list.Close()))
	inbox := readIndex(t, o)["INBOX"]
	if inbox.err != nil || inbox.Lost != "" || inbox.UIDNext != 4001 || len(inbox.messages) != len(before["INBOX"].messages)+1 {
		t.Fatalf("%+v", inbox)
	}
	if m := inbox.messages[len(inbox.messages)-1]; m.UID != 4000 || !m.NoFlags || m.Doubt != "" || !m.InternalDate.Equal(when) || m.Size != 5 {
		t.Errorf("%+v", m)
	}
}

// A folder of which only one side is left is found; what is no user's, or no
// folder's, is not.
func TestIndexFindsFolders(t *testing.T) {
	dir := t.TempDir()
	o := Options{Root: template(t, dir+"/mail/%u"), Control: template(t, dir+"/control/%u"), Index: template(t, dir+"/index/%u")}
	if _, err := OpenIndex(o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without anything: %v", err)
	}
	list := "3 V7 N1\n5 :100.a,S=10,W=12\n6 W20 S18 :200.b\n6 :300.c\n7 :100.a,S=10,W=12\n8 :no-time\n"
	for name, text := range map[string]string{
		"control/alice/.INBOX/dovecot-uidlist": list, "control/alice/.Work.x/dovecot-uidlist": "3 V8 N9\n", "control/alice/.empty/other": "",
		"control/alice/subscriptions": "V\t2\n\nWork\tx\n", "index/alice/.Only/dovecot.index.log": "damaged", "index/bob/dovecot.list.index.log": "x",
		"control/lost+found/x": "", "control/file": "",
	} {
		file := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, []byte(text), 0o600))
	}
	x, err := OpenIndex(o)
	must(t, err)
	var users []string
	must(t, x.Users(t.Context(), func(u mailstore.User) error { users = append(users, u.Name); return nil }))
	if fmt.Sprint(users) != "[alice bob]" {
		t.Errorf("users %q", users)
	}
	got := readIndex(t, o)
	var names []string
	for name := range got {
		names = append(names, name)
	}
	sort.Strings(names)
	if fmt.Sprint(names) != "[INBOX Only Work/x]" || !got["Work/x"].Subscribed || got["Work/x"].UIDNext != 9 {
		t.Errorf("folders %q, %+v", names, got["Work/x"])
	}
	var messages []string
	for _, m := range got["INBOX"].messages {
		messages = append(messages, fmt.Sprint(m.UID, " ", m.Key, " ", m.Size, " ", m.InternalDate.Unix()))
		if _, err := x.Open(t.Context(), got["INBOX"].Mailbox, m); err == nil {
			t.Error("it opened a message")
		}
	}
	want := []string{"6 200.b 18 200", "7 100.a,S=10,W=12 10 100", fmt.Sprint("8 no-time -1 ", time.Time{}.Unix())}
	if !slices.Equal(messages, want) {
		t.Errorf("messages %q, want %q", messages, want)
	}
	if err := listIndex(t, x, "../bob", map[string]*indexed{}); err == nil {
		t.Error("it listed a user outside")
	}
}
