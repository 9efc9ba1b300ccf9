package maildir

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/testenv/dovecot"
)

// locations are the ways in which Dovecot lays out a Maildir.
var locations = []struct{ name, location string }{
	{"Maildir++", "maildir:~/Maildir"},
	{"UTF-8", "maildir:~/Maildir:UTF-8"},
	{"fs", "maildir:~/Maildir:LAYOUT=fs"},
	{"split", "maildir:~/Maildir:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u"},
	{"fs split", "maildir:~/Maildir:LAYOUT=fs:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u"},
	{"inbox", "maildir:~/Maildir:INBOX=~/Inbox"},
}

// startDovecot starts a server and gives the options that mean its mail.
func startDovecot(t *testing.T, location string) (*dovecot.Server, Options) {
	t.Helper()
	s := dovecot.Start(t, dovecot.Options{Location: location})
	o := Options{Root: template(t, filepath.Join(s.Dir, "home/%u/Maildir"))}
	if strings.Contains(location, "LAYOUT=fs") {
		o.Layout = FS
	}
	if strings.Contains(location, "UTF-8") {
		o.Encoding = folder.UTF8
	}
	if strings.Contains(location, "INBOX=") {
		o.Inbox = template(t, filepath.Join(s.Dir, "home/%u/Inbox"))
	}
	if strings.Contains(location, "CONTROL=") {
		for _, d := range []string{"index", "control"} {
			if err := os.Mkdir(filepath.Join(s.Dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
			s.Chown(d)
		}
		o.Index = template(t, filepath.Join(s.Dir, "index/%u"))
		o.Control = template(t, filepath.Join(s.Dir, "control/%u"))
	}
	return s, o
}

var when = time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)

func body(i int) string { return fmt.Sprintf("Subject: message %d\r\n\r\nbody %d\r\n", i, i) }

// fill gives alice folders with everything that a Maildir can hold.
func fill(s *dovecot.Server) {
	c := s.Login("alice")
	for i, name := range []string{"INBOX", "Work", "Work/2024", "Entw&APw-rfe", "&U,BTFw-/x y", "INBOX/Sub"} {
		if name != "INBOX" {
			c.Create(name)
		}
		for n := range 6 {
			c.Append(name, body(10*i+n), when.Add(time.Duration(100*i+n)*time.Minute), flagsFor(n)...)
		}
		c.Do("SELECT \"%s\"", name)
		c.Do("UID STORE 2 -FLAGS (\\Seen)")
		c.Do("UID STORE 3 +FLAGS (later $Label1)")
		c.Do("UID STORE 1,4 +FLAGS (\\Deleted)")
		c.Do("UID EXPUNGE 4")
		c.Do("UID COPY 5 INBOX")
	}
	c.Do("UID MOVE 6 Work")
	c.Do("SUBSCRIBE \"Work/2024\"")
	c.Do("SUBSCRIBE \"Entw&APw-rfe\"")
	c.Do("SUBSCRIBE INBOX")
	c.Close()
}

func flagsFor(n int) []string {
	return [][]string{{}, {`\Seen`}, {`\Seen`, `\Answered`}, {`\Flagged`, "work-todo"}, {`\Draft`, "$Forwarded"}, {`\Seen`, "work-todo", "$Label1"}}[n]
}

// wire is the form in which IMAP shows a folder's name.
func wire(name string) string {
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = folder.EncodeUTF7(l)
	}
	return strings.Join(levels, "/")
}

// record is what must be the same on disk and over IMAP.
type record struct {
	UID   uint32
	Flags string
	Date  string
	Body  string
}

// imapView is what Dovecot says of all folders.
func imapView(s *dovecot.Server) (view map[string][]record, validity, next map[string]uint32, subscribed []string) {
	c := s.Login("alice")
	defer c.Close()
	view, validity, next = map[string][]record{}, map[string]uint32{}, map[string]uint32{}
	for _, name := range c.List() {
		f := c.Examine(name)
		view[name], validity[name], next[name] = []record{}, f.UIDValidity, f.UIDNext
		for _, m := range f.Messages {
			view[name] = append(view[name], record{m.UID, strings.Join(m.Flags, " "), m.InternalDate.UTC().Format(time.RFC3339), m.Body})
		}
	}
	return view, validity, next, c.Subscribed()
}

// diskView is what a Source says of them.
func diskView(t *testing.T, o Options) (view map[string][]record, validity, next map[string]uint32, subscribed []string) {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	boxes, problems := mailboxes(t, s)
	if problems != nil {
		t.Fatal(problems)
	}
	view, validity, next = map[string][]record{}, map[string]uint32{}, map[string]uint32{}
	for _, b := range boxes {
		if b.Lost != "" {
			t.Errorf("%s: %s", b.Name, b.Lost)
		}
		name := wire(b.Name)
		view[name], validity[name], next[name] = []record{}, b.UIDValidity, b.UIDNext
		if b.Subscribed {
			subscribed = append(subscribed, name)
		}
		list, problems := messages(t, s, b.Name)
		if problems != nil {
			t.Fatal(problems)
		}
		for _, m := range list {
			text, err := readMessage(t, s, b.Name, m)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(m.Key, "S=") && m.Promised != int64(len(text)) {
				t.Errorf("%s: promised %d, read %d", m.Key, m.Promised, len(text))
			}
			view[name] = append(view[name], record{
				uint32(m.UID), strings.Join(m.Flags, " "), m.InternalDate.UTC().Format(time.RFC3339),
				strings.ReplaceAll(text, "\n", "\r\n"),
			})
		}
	}
	sort.Strings(subscribed)
	return view, validity, next, subscribed
}

func compareViews(t *testing.T, got, want map[string][]record) {
	t.Helper()
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d folders, want %d: %v", len(got), len(want), reflect.ValueOf(got).MapKeys())
	}
}

func TestSourceAgreesWithDovecot(t *testing.T) {
	for _, l := range locations {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s, o := startDovecot(t, l.location)
			fill(s)
			want, wantValidity, wantNext, wantSubs := imapView(s)
			got, validity, next, subs := diskView(t, o)
			compareViews(t, got, want)
			if !reflect.DeepEqual(validity, wantValidity) || !reflect.DeepEqual(next, wantNext) {
				t.Errorf("UIDVALIDITY %v, want %v; UIDNEXT %v, want %v", validity, wantValidity, next, wantNext)
			}
			if !reflect.DeepEqual(subs, wantSubs) {
				t.Errorf("subscribed %q, want %q", subs, wantSubs)
			}
		})
	}
}

// Names that nobody should make are read as Dovecot reads them.
func TestOddNamesAgreeWithDovecot(t *testing.T) {
	s, o := startDovecot(t, "maildir:~/Maildir")
	c := s.Login("alice")
	c.Append("INBOX", body(1), when, "work")
	c.Close()
	home := filepath.Join(s.Home("alice"), "Maildir")
	for _, name := range []string{
		"cur/1.vm:2,Scz", "cur/2.vm:2,ab", "cur/3.vm", "cur/4.vm:1,S", "cur/5.vm:2,S:2,T", "cur/6.vm,X:3;2,T", "cur/7.vm:2,S,T", "cur/8 vm:2,S", "cur/9.vm:2,SFSF!",
		"new/10.vm:2,S", "new/11.vm", "cur/.hidden:2,S",
	} {
		write(t, "Subject: x\n\nx\n", home, name)
	}
	s.Chown(home)
	want, _, wantNext, _ := imapView(s)
	c = s.Login("alice") // EXAMINE leaves messages in new
	c.Do("SELECT INBOX")
	c.Close()
	got, _, next, _ := diskView(t, o)
	compareViews(t, got, want)
	if !reflect.DeepEqual(next, wantNext) {
		t.Errorf("UIDNEXT %v, want %v", next, wantNext)
	}
}

// transfer restores all that a source has.
func transfer(t *testing.T, from, to Options, change ...func(*mailstore.Delivery)) []mailstore.Note {
	t.Helper()
	s, err := Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := Create(to)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	boxes, _ := mailboxes(t, s)
	for _, b := range boxes {
		if err := a.Mailbox(ctx, b); err != nil {
			t.Fatal(err)
		}
		have := map[chunk.ID]int{}
		err := a.Present(ctx, b.Name, func(id chunk.ID) error { have[id]++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		list, _ := messages(t, s, b.Name)
		for _, m := range list {
			text, err := readMessage(t, s, b.Name, m)
			if err != nil {
				t.Fatal(err)
			}
			id, _, _ := chunk.WireSums([]byte(text))
			if have[id]--; have[id] >= 0 {
				continue
			}
			del := mailstore.Delivery{
				Mailbox: b.Name, Stored: []byte(text), LF: []byte(text), Content: id, UID: m.UID, Key: m.Key, Flags: m.Flags, InternalDate: m.InternalDate,
			}
			for _, f := range change {
				f(&del)
			}
			if _, err := a.Add(ctx, del); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return a.(mailstore.Noter).Notes()
}

// What is restored into an empty place is what was there, UIDs included.
func TestRestoreForDovecot(t *testing.T) {
	for _, l := range locations {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			from, fo := startDovecot(t, l.location)
			fill(from)
			want, wantValidity, wantNext, wantSubs := imapView(from)
			to, too := startDovecot(t, l.location)
			for range 2 { // the second adds nothing
				if notes := transfer(t, fo, too); notes != nil {
					t.Errorf("notes %+v", notes)
				}
			}
			got, validity, next, subs := imapView(to)
			compareViews(t, got, want)
			if !reflect.DeepEqual(validity, wantValidity) || !reflect.DeepEqual(next, wantNext) || !reflect.DeepEqual(subs, wantSubs) {
				t.Errorf("UIDVALIDITY %v, want %v; UIDNEXT %v, want %v; subscribed %q, want %q", validity, wantValidity, next, wantNext, subs, wantSubs)
			}
			transfer(t, fo, too) // the server uses it now
			if again, _, _, _ := imapView(to); !reflect.DeepEqual(again, want) {
				t.Error("a restore into what is there has changed it")
			}
			checkLog(t, to)
		})
	}
}

// checkLog finds what Dovecot did not like.
func checkLog(t *testing.T, s *dovecot.Server) {
	t.Helper()
	for _, line := range strings.Split(s.Log(), "\n") {
		if strings.Contains(line, "Error:") || strings.Contains(line, "Warning:") && !strings.Contains(line, "signal 15") && !strings.Contains(line, "Shutting down logging") {
			t.Errorf("Dovecot says: %s", line)
		}
	}
}

// Into a folder that Dovecot serves, messages come with new UIDs, and what was
// there stays.
func TestRestoreIntoLiveFolder(t *testing.T) {
	from, fo := startDovecot(t, "maildir:~/Maildir")
	fill(from)
	to, too := startDovecot(t, "maildir:~/Maildir")
	c := to.Login("alice")
	c.Append("INBOX", body(99), when, `\Seen`, "mine")
	c.Do("SELECT INBOX")
	before := c.Examine("INBOX")
	c.Do("SELECT INBOX")
	if notes := transfer(t, fo, too); notes != nil {
		t.Errorf("notes %+v", notes)
	}
	want, _, _, _ := imapView(from)
	got, validity, _, _ := imapView(to)
	if validity["INBOX"] != before.UIDValidity || got["INBOX"][0].Flags != `\Seen mine` || got["INBOX"][0].UID != 1 {
		t.Errorf("what was there has changed: %+v", got["INBOX"][0])
	}
	strip := func(rs []record) (out []string) {
		for _, r := range rs {
			out = append(out, fmt.Sprint(r.Flags, r.Date, r.Body))
		}
		sort.Strings(out)
		return out
	}
	if !reflect.DeepEqual(strip(got["INBOX"][1:]), strip(want["INBOX"])) {
		t.Errorf("INBOX\n%v, want\n%v", got["INBOX"][1:], want["INBOX"])
	}
	if !reflect.DeepEqual(got["Work/2024"], want["Work/2024"]) {
		t.Errorf("a folder that was not there is not as it was: %v", got["Work/2024"])
	}
	checkLog(t, to)
}

// A folder that lost everything but its index is made whole again, UIDs
// included.
func TestRestoreBesideOldIndex(t *testing.T) {
	s, o := startDovecot(t, "maildir:~/Maildir")
	fill(s)
	want, _, _, _ := imapView(s)
	saved := t.TempDir()
	if err := os.CopyFS(filepath.Join(saved, "alice/Maildir"), os.DirFS(filepath.Join(s.Home("alice"), "Maildir"))); err != nil {
		t.Fatal(err)
	}
	keepTimes(t, filepath.Join(s.Home("alice"), "Maildir"), filepath.Join(saved, "alice/Maildir"))
	s.Stop()
	work := filepath.Join(s.Home("alice"), "Maildir/.Work")
	for _, sub := range []string{"cur", "dovecot-uidlist"} {
		if err := os.RemoveAll(filepath.Join(work, sub)); err != nil {
			t.Fatal(err)
		}
	}
	notes := transfer(t, Options{Root: template(t, filepath.Join(saved, "%u/Maildir"))}, o)
	if len(notes) != 1 || !strings.Contains(notes[0].What, "put aside") {
		t.Errorf("notes %+v", notes)
	}
	s.Restart()
	got, _, _, _ := imapView(s)
	compareViews(t, got, want)
}

func keepTimes(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.Walk(from, func(p string, info os.FileInfo, err error) error {
		rel, _ := filepath.Rel(from, p)
		if err == nil && !info.IsDir() {
			err = os.Chtimes(filepath.Join(to, rel), info.ModTime(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A server that opens a folder while it is being restored decides on the UIDs
// from then on; no message is lost or there twice.
func TestServerOpensFolderMeanwhile(t *testing.T) {
	s, o := startDovecot(t, "maildir:~/Maildir")
	s.Login("alice").Close() // makes the home
	d, err := Create(o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	mustMailbox(t, a, mailstore.Mailbox{Name: "Work", UIDValidity: 1234, UIDNext: 50})
	add := func(uid mailstore.UID) {
		mustAdd(t, a, mailstore.Delivery{Mailbox: "Work", Stored: []byte(body(int(uid))), UID: uid, Key: fmt.Sprintf("%d.vm", uid), Flags: []string{"work"}, InternalDate: when})
	}
	for uid := mailstore.UID(10); uid < 15; uid++ {
		add(uid)
	}
	if err := a.(*writer).flush(ctx); err != nil {
		t.Fatal(err)
	}
	c := s.Login("alice")
	c.Do("SELECT Work")
	c.Do("STORE 1 +FLAGS (seen-by-user)")
	for uid := mailstore.UID(1); uid < 4; uid++ {
		add(uid)
	}
	if notes := mustClose(t, a); len(notes) != 1 || !strings.Contains(notes[0].What, "new UIDs") {
		t.Errorf("notes %+v", notes)
	}
	c.Do("NOOP")
	f := c.Examine("Work")
	var uids []uint32
	bodies := map[string]bool{}
	for _, m := range f.Messages {
		uids, bodies[m.Body] = append(uids, m.UID), true
	}
	if got := fmt.Sprint(uids); f.UIDValidity != 1234 || got != "[10 11 12 13 14 50 51 52]" || len(bodies) != 8 {
		t.Errorf("UIDVALIDITY %d, UIDs %s, %d different messages", f.UIDValidity, got, len(bodies))
	}
	checkLog(t, s)
}
