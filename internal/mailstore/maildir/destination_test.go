package maildir

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// account opens alice's account below dir.
func accountAt(t *testing.T, o Options) mailstore.Account {
	t.Helper()
	d, err := Create(o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustMailbox(t *testing.T, a mailstore.Account, b mailstore.Mailbox) {
	t.Helper()
	if err := a.Mailbox(ctx, b); err != nil {
		t.Fatal(err)
	}
}

func mustAdd(t *testing.T, a mailstore.Account, d mailstore.Delivery) mailstore.UID {
	t.Helper()
	if d.Mailbox == "" {
		d.Mailbox = "INBOX"
	}
	uid, err := a.Add(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func mustClose(t *testing.T, a mailstore.Account) []mailstore.Note {
	t.Helper()
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return a.(mailstore.Noter).Notes()
}

func TestUIDsAreKept(t *testing.T) {
	o := Options{Root: template(t, t.TempDir()), User: "alice"}
	box := mailstore.Mailbox{Name: "INBOX", UIDValidity: 77, UIDNext: 100}
	add := func(want ...mailstore.UID) (got []mailstore.UID) {
		a := accountAt(t, o)
		mustMailbox(t, a, box)
		for _, uid := range want {
			got = append(got, mustAdd(t, a, mailstore.Delivery{Stored: fmt.Appendf(nil, "%d\n", uid), UID: uid}))
		}
		mustClose(t, a)
		return got
	}
	if got := fmt.Sprint(add(50, 7, 0, 7, 150)); got != "[50 7 100 101 150]" {
		t.Errorf("UIDs %s", got)
	}
	if got := fmt.Sprint(add(51, 7)); got != "[51 151]" {
		t.Errorf("UIDs of a second restore %s", got)
	}
	box.UIDValidity = 78
	if got := fmt.Sprint(add(60, 61)); got != "[152 153]" {
		t.Errorf("UIDs from another UIDVALIDITY %s", got)
	}
	s := openSource(t, o.Root.Fixed())
	boxes, _ := mailboxes(t, s)
	if boxes[0].UIDValidity != 77 || boxes[0].UIDNext != 154 || boxes[0].Lost != "" {
		t.Errorf("INBOX %+v", boxes[0])
	}
	list, _ := messages(t, s, "INBOX")
	var uids []mailstore.UID
	for _, m := range list {
		uids = append(uids, m.UID)
	}
	if got := fmt.Sprint(uids); got != "[7 50 51 100 101 150 151 152 153]" {
		t.Errorf("UIDs on disk %s", got)
	}
}

// The GUID of a folder is taken over, but never given to two folders.
func TestGUID(t *testing.T) {
	o := Options{Root: template(t, t.TempDir()), User: "alice"}
	const guid = "3085f01b7f11094c501100008c4a11c1"
	for _, name := range []string{"INBOX", "RESTORED/INBOX"} {
		a := accountAt(t, o)
		mustMailbox(t, a, mailstore.Mailbox{Name: name, UIDValidity: 5, ObjectID: guid})
		mustClose(t, a)
	}
	boxes, _ := mailboxes(t, openSource(t, o.Root.Fixed()))
	if len(boxes) != 2 || boxes[0].ObjectID != guid || boxes[1].ObjectID == guid {
		t.Errorf("folders %+v", boxes)
	}
}

func TestBaseNames(t *testing.T) {
	o := Options{Root: template(t, t.TempDir()), User: "alice"}
	a := accountAt(t, o)
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
	for _, key := range []string{"1.M1.vm,S=2,W=3", "2.M2.vm", "2.M2.vm", "3.vm,S=99,W=100", "../x", "a/b", "", ".hidden", "4.vm:123", strings.Repeat("x", 300), "a\nb", "hash-2"} {
		mustAdd(t, a, mailstore.Delivery{Stored: []byte("x\n"), Key: key})
	}
	mustClose(t, a)
	entries, err := os.ReadDir(filepath.Join(o.Root.Fixed(), "cur"))
	if err != nil || len(entries) != 12 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	have := map[string]bool{}
	for _, e := range entries {
		have[e.Name()] = true
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		if p := promised(baseName(e.Name())); p >= 0 && p != 2 {
			t.Errorf("%s promises %d bytes", e.Name(), p)
		}
	}
	for _, want := range []string{"1.M1.vm,S=2,W=3:2,", "2.M2.vm:2,", "3.vm,S=2,W=3:2,", "4.vm,S=2,W=3:2,", "hash-2:2,"} {
		if !have[want] {
			t.Errorf("%s is missing in %v", want, have)
		}
	}
}

// More keywords than letters are named, not lost silently.
func TestManyKeywords(t *testing.T) {
	dir := t.TempDir()
	o := Options{Root: template(t, dir), User: "alice"}
	var all []string
	for i := range 30 {
		all = append(all, fmt.Sprintf("keyword%02d", i))
	}
	for range 2 {
		a := accountAt(t, o)
		mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
		for range 2 {
			mustAdd(t, a, mailstore.Delivery{Stored: []byte("x"), Flags: append([]string{`\Seen`, `\Recent`, `\Odd`, "KEYWORD01"}, all...)})
		}
		notes := mustClose(t, a)
		if len(notes) != 5 || !notes[0].Loss || !strings.Contains(fmt.Sprint(notes), "keyword29") || !strings.Contains(fmt.Sprint(notes), `\\Odd`) {
			t.Errorf("notes %+v", notes)
		}
	}
	list, _ := messages(t, openSource(t, dir), "INBOX")
	if len(list) != 4 || len(list[3].Flags) != 27 || list[3].Flags[1] != "KEYWORD01" && list[3].Flags[0] != "KEYWORD01" {
		t.Errorf("%d messages, the last with %q", len(list), list[len(list)-1].Flags)
	}
}

var hostileNames = []string{
	"../x", "..", ".", "a\x00b", "new\nline", strings.Repeat("x", 300), "/etc", "a//b", "", "cur", "new", "tmp", "Work/cur", ".hidden", "a.b", "a_b", "inbox/x",
	`\x49NBOX`, `a\x2fb`, "dovecot-uidlist", "subscriptions", "maildirfolder", strings.Repeat("long/", 80), "a/../../b", "~", "Entwürfe", "\xff", "INBOX/INBOX",
}

func TestHostileFolderNames(t *testing.T) {
	for _, c := range []Options{{}, {Encoding: folder.UTF8}, {Layout: FS}, {Layout: FS, Encoding: folder.UTF8}} {
		t.Run(fmt.Sprint(c.Layout, c.Encoding), func(t *testing.T) {
			base := t.TempDir()
			c.Root = template(t, filepath.Join(base, "%u/Maildir"))
			for range 2 {
				a := accountAt(t, c)
				for _, name := range hostileNames {
					mustMailbox(t, a, mailstore.Mailbox{Name: name, Subscribed: true})
					n := 0
					if err := a.Present(ctx, name, func(chunk.ID) error { n++; return nil }); err != nil {
						t.Fatal(err)
					}
					if n == 0 {
						if _, err := a.Add(ctx, mailstore.Delivery{Mailbox: name, Stored: []byte("in " + name)}); err != nil {
							t.Fatal(err)
						}
					}
				}
				mustClose(t, a)
			}
			s, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			boxes, problems := mailboxes(t, s)
			if len(boxes) != len(hostileNames)+1 || problems != nil {
				t.Errorf("%d folders for %d names: %q, %v", len(boxes), len(hostileNames), names(boxes), problems)
			}
			for _, b := range boxes[1:] {
				if list, _ := messages(t, s, b.Name); len(list) != 1 || !b.Subscribed {
					t.Errorf("%q: %d messages, subscribed %v", b.Name, len(list), b.Subscribed)
				}
			}
			for _, dir := range []string{base, filepath.Join(base, "alice")} {
				if e, _ := os.ReadDir(dir); len(e) != 1 {
					t.Errorf("something was written outside: %v", e)
				}
			}
		})
	}
}

// A user cannot have a restore by root write where a link leads.
func TestRestoreFollowsNoLinkOut(t *testing.T) {
	base := t.TempDir()
	makeFolder(t, base, "bob")
	o := Options{Root: template(t, filepath.Join(base, "alice")), User: "alice"}
	makeFolder(t, base, "alice")
	for _, l := range []struct{ target, name string }{{"../bob", ".Work"}, {"../../bob/cur", ".Sub/cur"}} {
		if err := os.MkdirAll(filepath.Join(base, "alice", filepath.Dir(l.name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(l.target, filepath.Join(base, "alice", l.name)); err != nil {
			t.Fatal(err)
		}
	}
	a := accountAt(t, o)
	defer a.Close(ctx)
	for _, name := range []string{"Work", "Sub"} {
		if err := a.Mailbox(ctx, mailstore.Mailbox{Name: name}); err == nil {
			t.Errorf("folder %s was made outside", name)
		}
	}
}

// Two users never get into one Maildir.
func TestOneMaildirOneUser(t *testing.T) {
	d, err := Create(Options{Root: template(t, t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, a)
	if _, err := d.Account(ctx, "bob"); err == nil || !strings.Contains(err.Error(), "%u") {
		t.Errorf("bob's mail goes into alice's Maildir: %v", err)
	}
}

// An account that is never closed, as after a kill, leaves whole messages only;
// the next one completes it and clears up.
func TestKilledRestore(t *testing.T) {
	dir := t.TempDir()
	o := Options{Root: template(t, dir), User: "alice"}
	inbox := mailstore.Mailbox{Name: "INBOX", UIDValidity: 5, UIDNext: 20}
	killed := accountAt(t, o).(*writer)
	mustMailbox(t, killed, inbox)
	for uid := mailstore.UID(1); uid <= 6; uid++ {
		mustAdd(t, killed, mailstore.Delivery{Stored: fmt.Appendf(nil, "%d\n", uid), UID: uid, Key: fmt.Sprintf("%d.vm", uid), Flags: []string{"k"}})
		if uid == 3 {
			if err := killed.flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := killed.boxes["."] // killed after the uidlist and before the names
	for _, write := range []func(*box) (func() error, error){killed.writeUIDs, killed.writeKeywords} {
		commit, err := write(b)
		if err != nil {
			t.Fatal(err)
		}
		if commit != nil {
			if err := commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	tmp, _ := os.ReadDir(filepath.Join(dir, "tmp"))
	if len(tmp) != 3 {
		t.Fatalf("%d files in tmp", len(tmp))
	}
	for _, e := range tmp { // as if another process had made them
		old := filepath.Join(dir, "tmp", e.Name())
		if err := os.Rename(old, strings.Replace(old, fmt.Sprintf("-%d-", os.Getpid()), "-999999999-", 1)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "999999999:"+deliver.Host, dir, "dovecot-uidlist.lock")
	again := accountAt(t, o)
	mustMailbox(t, again, inbox)
	n := 0
	if err := again.Present(ctx, "INBOX", func(chunk.ID) error { n++; return nil }); err != nil || n != 3 {
		t.Fatalf("%d messages are there, %v", n, err)
	}
	for uid := mailstore.UID(4); uid <= 6; uid++ {
		if got := mustAdd(t, again, mailstore.Delivery{Stored: fmt.Appendf(nil, "%d\n", uid), UID: uid, Key: fmt.Sprintf("%d.vm", uid), Flags: []string{"k"}}); got != uid {
			t.Errorf("message %d got UID %d", uid, got)
		}
	}
	mustClose(t, again)
	list, problems := messages(t, openSource(t, dir), "INBOX")
	if len(list) != 6 || problems != nil {
		t.Fatalf("%+v, %v", list, problems)
	}
	for i, m := range list {
		if m.UID != mailstore.UID(i+1) || m.Key != fmt.Sprintf("%d.vm", i+1) || len(m.Flags) != 1 {
			t.Errorf("message %d is %+v", i+1, m)
		}
	}
	if tmp, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(tmp) != 0 {
		t.Errorf("left in tmp: %v", tmp)
	}
}

// A deadline or a broken disk leaves nothing half done, and the account says so.
func TestFailedRestore(t *testing.T) {
	dir := t.TempDir()
	a := accountAt(t, Options{Root: template(t, dir), User: "alice"})
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
	mustAdd(t, a, mailstore.Delivery{Stored: []byte("x")})
	if err := os.RemoveAll(filepath.Join(dir, "cur")); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(ctx); err == nil {
		t.Fatal("the account was closed without an error, but cur is gone")
	}
	if tmp, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(tmp) != 0 {
		t.Errorf("left in tmp: %v", tmp)
	}
	if _, err := a.Add(ctx, mailstore.Delivery{Mailbox: "INBOX"}); err == nil {
		t.Error("a closed account takes messages")
	}
}

// What a random restore writes, a source reads: internal dates to the
// nanosecond, flags, bytes; and a second restore of it adds nothing.
func TestRestoreRoundTrip(t *testing.T) {
	seed := time.Now().UnixNano()
	r := rand.New(rand.NewSource(seed))
	o := Options{Root: template(t, t.TempDir()), User: "alice"}
	flags := []string{"$Forwarded", "$Junk", `\Answered`, `\Deleted`, `\Draft`, `\Flagged`, `\Seen`, "work"}
	want := map[string]string{}
	a := accountAt(t, o)
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX", UIDValidity: 9, UIDNext: 1})
	for i := range 300 {
		d := mailstore.Delivery{Key: fmt.Sprintf("%d.vm", i), UID: mailstore.UID(1 + r.Intn(500)), Stored: make([]byte, r.Intn(2000))}
		for j := range d.Stored {
			d.Stored[j] = "ab\r\n\x00\xff"[r.Intn(6)]
		}
		for _, f := range flags {
			if r.Intn(2) == 0 {
				d.Flags = append(d.Flags, f)
			}
		}
		d.InternalDate = time.Unix(r.Int63n(4e9), r.Int63n(1e9))
		uid := mustAdd(t, a, d)
		want[d.Key] = fmt.Sprintf("%d %q %d %s", uid, d.Flags, d.InternalDate.UnixNano(), chunk.Sum(d.Stored))
	}
	mustClose(t, a)
	s := openSource(t, o.Root.Fixed())
	list, problems := messages(t, s, "INBOX")
	if len(list) != len(want) || problems != nil {
		t.Fatalf("seed %d: %d messages, %v", seed, len(list), problems)
	}
	for _, m := range list {
		text, err := readMessage(t, s, "INBOX", m)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d %q %d %s", m.UID, m.Flags, m.InternalDate.UnixNano(), chunk.Sum([]byte(text))); got != want[m.Key] {
			t.Errorf("seed %d: %s is\n%s, want\n%s", seed, m.Key, got, want[m.Key])
		}
	}
}

// Look shows what a restore would find, and makes nothing.
func TestLook(t *testing.T) {
	base := t.TempDir()
	d, err := Create(Options{Root: template(t, filepath.Join(base, "%u"))})
	if err != nil {
		t.Fatal(err)
	}
	look := func(box string) (n int) {
		if err := d.Look(ctx, "alice", box, func(chunk.ID) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if look("INBOX") != 0 {
		t.Error("something is in nothing")
	}
	if e, _ := os.ReadDir(base); len(e) != 0 {
		t.Error("a look has made something")
	}
	makeFolder(t, base, "alice")
	write(t, "x", base, "alice", "cur", "1:2,")
	write(t, "y", base, "alice", "new", "2")
	if n := look("INBOX"); n != 2 || look("None") != 0 {
		t.Errorf("found %d", n)
	}
}
