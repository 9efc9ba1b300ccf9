package maildir

import (
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/userpath"
	"salvor/internal/testenv/dovecot"
)

// save copies all that a server keeps, and gives the options that mean the copy.
func save(t *testing.T, s *dovecot.Server, o Options) Options {
	t.Helper()
	saved := t.TempDir()
	for _, sub := range []string{"home", "control"} {
		from := filepath.Join(s.Dir, sub)
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if err := os.CopyFS(filepath.Join(saved, sub), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		keepTimes(t, from, filepath.Join(saved, sub))
	}
	move := func(tpl *userpath.Template) *userpath.Template {
		if tpl == nil {
			return nil
		}
		return template(t, strings.Replace(tpl.String(), s.Dir, saved, 1))
	}
	o.Root, o.Control, o.Inbox, o.Index = move(o.Root), move(o.Control), move(o.Inbox), nil
	return o
}

// aside counts the files that were put aside, and those of Dovecot's indexes
// that were not.
func aside(t *testing.T, dir string) (put, left int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		switch name := filepath.Base(p); {
		case err != nil:
			return err
		case strings.Contains(name, ".salvor-"):
			put++
		case strings.HasPrefix(name, "dovecot.index"), strings.HasPrefix(name, "dovecot.list.index"):
			left++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return put, left
}

// With its server stopped, an indexed account gets back what its user expunged,
// under the old UIDs; what was there, or came since, stays as it is.
func TestOfflineRestore(t *testing.T) {
	for _, l := range locations {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s, o := startDovecot(t, l.location)
			fill(s)
			before, validity, _, _ := imapView(s)
			from := save(t, s, o)
			c := s.Login("alice")
			for name, uids := range map[string]string{"INBOX": "2,3,9", "Work/2024": "1:*", "INBOX/Sub": "5,6"} {
				c.Do("SELECT \"%s\"", name)
				c.Do("UID STORE %s +FLAGS (\\Deleted)", uids)
				c.Do("UID EXPUNGE %s", uids)
			}
			c.Append("INBOX", body(77), when.Add(time.Hour), `\Flagged`, "fresh")
			c.Do("SELECT INBOX")
			c.Do("UID STORE 5 +FLAGS (changed \\Answered)")
			c.Close()
			after, _, wantNext, _ := imapView(s)
			o.Offline = true
			d, err := Create(o)
			if err != nil {
				t.Fatal(err)
			}
			s.Stop()
			for _, name := range []string{"INBOX", "Work/2024", "New"} {
				box := mailstore.Mailbox{Name: name, UIDValidity: validity[name]}
				if why, err := d.Renumbers(ctx, "alice", box); why != "" || err != nil {
					t.Errorf("%s: %q, %v", name, why, err)
				}
			}
			notes := transfer(t, from, o)
			s.Chown("home")
			if o.Control != nil {
				s.Chown("control")
			}
			noted := map[string]bool{}
			for _, n := range notes {
				noted[n.Mailbox] = true
				if n.Loss || !strings.Contains(n.What, "put aside") {
					t.Errorf("note %+v", n)
				}
			}
			if len(notes) != 3 || !noted["INBOX"] || !noted["Work/2024"] || !noted["INBOX/Sub"] {
				t.Errorf("notes %+v", notes)
			}
			if put, left := aside(t, s.Dir); put < 6 || left == 0 {
				t.Errorf("%d files were put aside, %d left: those of other folders should be", put, left)
			}
			s.Restart()
			want := map[string][]record{}
			for name, records := range after {
				there := map[uint32]bool{}
				for _, r := range records {
					there[r.UID] = true
				}
				want[name] = append([]record{}, records...)
				for _, r := range before[name] {
					if !there[r.UID] {
						want[name] = append(want[name], r)
					}
				}
				sort.Slice(want[name], func(i, j int) bool { return want[name][i].UID < want[name][j].UID })
			}
			got, gotValidity, gotNext, _ := imapView(s)
			compareViews(t, got, want)
			if !reflect.DeepEqual(gotValidity, validity) || !reflect.DeepEqual(gotNext, wantNext) {
				t.Errorf("UIDVALIDITY %v, want %v; UIDNEXT %v, want %v", gotValidity, validity, gotNext, wantNext)
			}
			checkLog(t, s)
		})
	}
}

// A folder that was removed and made again is empty, and gets its UIDVALIDITY
// back with its messages. One that holds messages keeps its own.
func TestOfflineIntoAnotherFolder(t *testing.T) {
	s, o := startDovecot(t, "maildir:~/Maildir")
	fill(s)
	want, validity, _, _ := imapView(s)
	from := save(t, s, o)
	c := s.Login("alice")
	for _, name := range []string{"Work/2024", "INBOX/Sub"} {
		c.Do("DELETE \"%s\"", name)
		c.Create(name)
	}
	c.Append("INBOX/Sub", body(88), when)
	c.Close()
	before, _, _, _ := imapView(s)
	s.Stop()
	o.Offline = true
	d, err := Create(o)
	if err != nil {
		t.Fatal(err)
	}
	for name, kept := range map[string]bool{"Work/2024": true, "INBOX/Sub": false} {
		why, err := d.Renumbers(ctx, "alice", mailstore.Mailbox{Name: name, UIDValidity: validity[name]})
		if (why == "") != kept || err != nil {
			t.Errorf("%s: %q, %v", name, why, err)
		}
	}
	transfer(t, from, o)
	s.Chown("home")
	s.Restart()
	got, gotValidity, _, _ := imapView(s)
	if gotValidity["Work/2024"] != validity["Work/2024"] || !reflect.DeepEqual(got["Work/2024"], want["Work/2024"]) {
		t.Errorf("UIDVALIDITY %d, want %d: %v", gotValidity["Work/2024"], validity["Work/2024"], got["Work/2024"])
	}
	sub := got["INBOX/Sub"]
	if gotValidity["INBOX/Sub"] == validity["INBOX/Sub"] || len(sub) != 1+len(want["INBOX/Sub"]) || !reflect.DeepEqual(sub[0], before["INBOX/Sub"][0]) {
		t.Errorf("UIDVALIDITY %d: %v", gotValidity["INBOX/Sub"], sub)
	}
	checkLog(t, s)
}

// Keywords that a Maildir has no letters for stand only in the index: that they
// are lost with it is said.
func TestOfflineTellsWhatOnlyTheIndexKnew(t *testing.T) {
	s, o := startDovecot(t, "maildir:~/Maildir")
	fill(s)
	from := save(t, s, o)
	c := s.Login("alice")
	c.Do("SELECT INBOX")
	for i := range 30 {
		c.Do("UID STORE 1 +FLAGS (extra%d)", i)
	}
	c.Do("UID STORE 2 +FLAGS (\\Deleted)")
	c.Do("UID EXPUNGE 2")
	c.Close()
	s.Stop()
	o.Offline = true
	losses := 0
	for _, n := range transfer(t, from, o) {
		if n.Loss && n.Mailbox == "INBOX" && strings.Contains(n.What, "only in Dovecot's index") {
			losses++
		}
	}
	if losses != 1 {
		t.Errorf("%d notes of a loss", losses)
	}
}

// Where somebody works on the folder, nothing is done to it.
func TestOfflineRefusesLivingServer(t *testing.T) {
	s, o := startDovecot(t, "maildir:~/Maildir")
	fill(s)
	o.Offline = true
	try := func() error {
		d, err := Create(o)
		if err != nil {
			t.Fatal(err)
		}
		a, err := d.Account(ctx, "alice")
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close(ctx)
		_, validity, _, _ := diskView(t, o)
		return a.Mailbox(ctx, mailstore.Mailbox{Name: "Work", UIDValidity: validity["Work"]})
	}
	c := s.Login("alice")
	c.Do("SELECT Work")
	if err := try(); err == nil || !strings.Contains(err.Error(), "has") || !strings.Contains(err.Error(), "dovecot.index.log open") || !strings.Contains(err.Error(), "--offline") {
		t.Errorf("an open session: %v", err)
	}
	c.Close()
	s.Stop()
	lock := write(t, "1:elsewhere", s.Home("alice"), "Maildir/.Work/dovecot.index.log.lock")
	if err := try(); err == nil || !strings.Contains(err.Error(), "dovecot.index.log.lock") {
		t.Errorf("a lock: %v", err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := try(); err != nil {
		t.Errorf("a stopped server: %v", err)
	}
	if put, _ := aside(t, s.Dir); put != 0 {
		t.Errorf("%d files were put aside for nothing", put)
	}
}

func TestRenumbers(t *testing.T) {
	s, o := startDovecot(t, "maildir:~/Maildir")
	c := s.Login("alice")
	c.Create("Used")
	c.Append("Used", body(1), when)
	c.Do("SELECT Used")
	c.Close()
	_, validity, _, _ := imapView(s)
	home := filepath.Join(s.Home("alice"), "Maildir")
	makeFolder(t, home, ".Files")
	write(t, body(1), home, ".Files/cur/1.vm:2,")
	write(t, "3 V77 N2\n1 :1.vm\n", home, ".Files/dovecot-uidlist")
	makeFolder(t, home, ".Bad")
	write(t, "nonsense", home, ".Bad/dovecot-uidlist")
	for _, c := range []struct {
		name     string
		validity uint32
		offline  bool
		why      string
	}{
		{"Used", validity["Used"], false, indexedUIDs},
		{"Used", validity["Used"], true, ""},
		{"Used", 12345, true, validityUIDs},
		{"Used", 0, false, ""},
		{"Files", 77, false, ""},
		{"Files", 78, false, validityUIDs},
		{"Bad", 77, false, damagedUIDs},
		{"Nothing", 77, false, ""},
	} {
		o.Offline = c.offline
		d, err := Create(o)
		if err != nil {
			t.Fatal(err)
		}
		why, err := d.Renumbers(ctx, "alice", mailstore.Mailbox{Name: c.name, UIDValidity: c.validity})
		if why != c.why || err != nil {
			t.Errorf("%+v: %q, %v", c, why, err)
		}
		if why, err := d.Renumbers(ctx, "nobody", mailstore.Mailbox{Name: c.name, UIDValidity: c.validity}); why != "" || err != nil {
			t.Errorf("a user who is not there: %q, %v", why, err)
		}
	}
	if _, err := os.Stat(filepath.Join(home, ".Nothing")); err == nil {
		t.Error("Renumbers made a folder")
	}
}

// A running server reads dovecot-keywords again only when the second of its
// modification has changed, so each of our writings has one of its own.
func TestKeywordsGetALaterSecond(t *testing.T) {
	dir := t.TempDir()
	d, err := Create(Options{Root: template(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX", UIDValidity: 7})
	var last int64
	for i, keyword := range []string{"one", "two", "three"} {
		mustAdd(t, a, mailstore.Delivery{Mailbox: "INBOX", Stored: []byte(body(i)), UID: mailstore.UID(i + 1), Flags: []string{keyword}, InternalDate: when})
		if err := a.(*writer).flush(ctx); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, keywordsName))
		if err != nil || info.ModTime().Unix() <= last {
			t.Errorf("%s: written at %v, before at %d, %v", keyword, info.ModTime(), last, err)
		}
		last = info.ModTime().Unix()
	}
	mustClose(t, a)
}
