package dbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/userpath"
	"salvor/internal/testenv/dovecot"
)

var (
	ctx  = context.Background()
	when = time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
)

// locations are the ways in which Dovecot lays out a dbox.
var locations = []struct{ name, location, compress string }{
	{"sdbox", "sdbox:~/mail", ""},
	{"mdbox", "mdbox:~/mail", ""},
	{"sdbox split", "sdbox:~/mail:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u:ALT=@DIR@/alt/%u:UTF-8", "zstd"},
	{"mdbox split", "mdbox:~/mail:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u:ALT=@DIR@/alt/%u:UTF-8", "gz"},
	{"mdbox bz2", "mdbox:~/mail", "bz2"},
}

// rotate makes Dovecot write dovecot.index and begin new logs long before it
// would with so little mail.
const rotate = `
mail_index_rewrite_min_log_bytes = 1k
mail_index_rewrite_max_log_bytes = 2k
mail_index_log_rotate_min_age = 0
mail_index_log_rotate_min_size = 4k
mail_index_log_rotate_max_size = 8k
`

// start starts a server and gives the options that mean its mail.
func start(t *testing.T, location, compress string) (*dovecot.Server, Options) {
	t.Helper()
	s := dovecot.Start(t, dovecot.Options{Location: location, Compress: compress, Config: rotate})
	at := func(dir string) *userpath.Template { return template(t, filepath.Join(s.Dir, dir)) }
	o := Options{Root: at("home/%u/mail")}
	if strings.HasPrefix(location, "mdbox") {
		o.Kind = Multi
	}
	if strings.Contains(location, "INDEX=") {
		for _, d := range []string{"index", "control", "alt"} {
			if err := os.Mkdir(filepath.Join(s.Dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
			s.Chown(d)
		}
		o.Index, o.Control, o.Alt, o.Encoding = at("index/%u"), at("control/%u"), at("alt/%u"), folder.UTF8
	}
	return s, o
}

func template(t *testing.T, path string) *userpath.Template {
	t.Helper()
	tpl, err := userpath.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func body(i int) string {
	return fmt.Sprintf("Subject: message %d\r\n\r\nbody %d\r\n%s", i, i, strings.Repeat("a line that is there again\r\n", 3*i))
}

func flagsFor(n int) []string {
	return [][]string{{}, {`\Seen`}, {`\Seen`, `\Answered`}, {`\Flagged`, "work-todo"}, {`\Draft`, "$Forwarded"}, {`\Seen`, "work-todo", "$Label1"}}[n%6]
}

// fill gives alice folders with everything that an index can hold.
func fill(s *dovecot.Server) {
	c := s.Login("alice")
	for i, name := range []string{"INBOX", "Work", "Work/2024", "Entw&APw-rfe", "&U,BTFw-/x y", "INBOX/Sub", "a.b", "Empty", "Gone"} {
		if name != "INBOX" {
			c.Create(name)
		}
		if name == "Empty" {
			continue
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
		c.Do("UID COPY 5 INBOX")
	}
	c.Do("SELECT \"a.b\"")
	c.Do("UID MOVE 6 Work")
	c.Do("UNSELECT")
	c.Do("RENAME \"Work/2024\" Archive")
	c.Do("DELETE Gone")
	c.Do("SUBSCRIBE Archive")
	c.Do("SUBSCRIBE \"Entw&APw-rfe\"")
	c.Do("SUBSCRIBE INBOX")
	c.Close()
}

// more changes the folders again, often enough for Dovecot to write its indexes
// anew.
func more(s *dovecot.Server) {
	c := s.Login("alice")
	c.Do("SELECT Work")
	for i := range 120 {
		c.Append("Work", body(i%7), when.Add(time.Duration(i)*time.Second), flagsFor(i)...)
		if i%3 == 0 {
			c.Do("UID STORE 1:* +FLAGS (keyword%d)", i/10)
			c.Do("UID STORE 1:* -FLAGS (keyword%d \\Seen)", i/20)
		}
	}
	c.Do("UID STORE 20:90 +FLAGS (\\Deleted)")
	c.Do("EXPUNGE")
	c.Do("UID COPY 1:* Empty")
	c.Close()
}

// record is what must be the same on disk and over IMAP.
type record struct {
	UID                     uint32
	Flags, Date, Body, GUID string
}

// box is what is known of a folder.
type view struct {
	Validity, Next uint32
	GUID           string
	Records        []record
}

var (
	guidItem = regexp.MustCompile(`X-GUID "?([0-9a-f]+)"?`)
	uidItem  = regexp.MustCompile(`UID (\d+)`)
)

// imapView is what Dovecot says of all folders.
func imapView(s *dovecot.Server) (map[string]view, []string) {
	c := s.Login("alice")
	defer c.Close()
	out := map[string]view{}
	for _, name := range c.List() {
		f := c.Examine(name)
		v := view{Validity: f.UIDValidity, Next: f.UIDNext, Records: []record{}}
		guids := map[string]string{}
		for _, r := range c.Do("UID FETCH 1:* (UID X-GUID)") {
			if g := guidItem.FindStringSubmatch(r.Text); g != nil {
				guids[uidItem.FindStringSubmatch(r.Text)[1]] = g[1]
			}
		}
		for _, m := range f.Messages {
			v.Records = append(v.Records, record{m.UID, strings.Join(m.Flags, " "), m.InternalDate.UTC().Format(time.RFC3339), m.Body, "guid:" + guids[fmt.Sprint(m.UID)]})
		}
		for _, r := range c.Do("STATUS \"%s\" (X-GUID)", strings.ReplaceAll(name, `\`, `\\`)) {
			if g := guidItem.FindStringSubmatch(r.Text); g != nil {
				v.GUID = g[1]
			}
		}
		out[name] = v
	}
	return out, c.Subscribed()
}

func openSource(t *testing.T, o Options) *Source {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mailboxes(t *testing.T, s *Source) ([]mailstore.Mailbox, []*mailstore.Problem) {
	t.Helper()
	var out []mailstore.Mailbox
	err := s.Mailboxes(ctx, mailstore.User{Name: "alice"}, func(b mailstore.Mailbox) error { out = append(out, b); return nil })
	return out, problemsOf(t, err)
}

func messages(t *testing.T, s *Source, name string) ([]mailstore.Message, []*mailstore.Problem) {
	t.Helper()
	var out []mailstore.Message
	err := s.Messages(ctx, mailstore.Mailbox{User: "alice", Name: name}, func(m mailstore.Message) error { out = append(out, m); return nil })
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

func readMessage(s *Source, name string, m mailstore.Message) (string, error) {
	r, err := s.Open(ctx, mailstore.Mailbox{User: "alice", Name: name}, m)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// wire is the form in which IMAP shows a folder's name.
func wire(name string) string {
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = folder.EncodeUTF7(l)
	}
	return strings.Join(levels, "/")
}

// diskView is what a Source says of all folders.
func diskView(t *testing.T, s *Source) (out map[string]view, subscribed []string) {
	t.Helper()
	boxes, problems := mailboxes(t, s)
	if problems != nil {
		t.Fatal(problems)
	}
	out = map[string]view{}
	for _, b := range boxes {
		if b.Lost != "" {
			t.Errorf("%s: %s", b.Name, b.Lost)
		}
		v := view{Validity: b.UIDValidity, Next: b.UIDNext, GUID: b.ObjectID, Records: []record{}}
		if b.Subscribed {
			subscribed = append(subscribed, wire(b.Name))
		}
		list, problems := messages(t, s, b.Name)
		if problems != nil {
			t.Fatal(problems)
		}
		keys := map[string]bool{}
		for _, m := range list {
			text, err := readMessage(s, b.Name, m)
			if err != nil {
				t.Errorf("%s: %v", b.Name, err)
			}
			if m.Promised != int64(len(text)) || m.NoFlags || m.State == "" || keys[m.Key] {
				t.Errorf("%s: message %+v, read %d bytes", b.Name, m, len(text))
			}
			keys[m.Key] = true
			v.Records = append(v.Records, record{
				uint32(m.UID), strings.Join(m.Flags, " "), m.InternalDate.UTC().Format(time.RFC3339), strings.ReplaceAll(text, "\n", "\r\n"), m.ObjectID,
			})
		}
		out[wire(b.Name)] = v
	}
	sort.Strings(subscribed)
	return out, subscribed
}

func compare(t *testing.T, got, want map[string]view) {
	t.Helper()
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s:\n%+v, want\n%+v", name, short(got[name]), short(want[name]))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d folders, want %d: %v", len(got), len(want), reflect.ValueOf(got).MapKeys())
	}
}

// short leaves out most of the bodies.
func short(v view) view {
	v.Records = append([]record(nil), v.Records...)
	for i := range v.Records {
		v.Records[i].Body = fmt.Sprintf("%.22q", v.Records[i].Body)
	}
	return v
}

// later is a clock by which no file has just arrived.
func later() time.Time { return time.Now().Add(2 * arriving) }

// Everything that IMAP shows is read from the disk: while the index is only a
// log, after Dovecot has written it, and after what was expunged has been purged.
func TestAgreesWithDovecot(t *testing.T) {
	for _, l := range locations {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s, o := start(t, l.location, l.compress)
			o.Now = later // so that nothing is left out for being new
			src := openSource(t, o)
			fill(s)
			check := func(what string) {
				t.Helper()
				want, wantSubs := imapView(s)
				got, subs := diskView(t, src)
				compare(t, got, want)
				if !reflect.DeepEqual(subs, wantSubs) {
					t.Errorf("subscribed %q, want %q", subs, wantSubs)
				}
				if t.Failed() {
					t.Fatalf("it was different %s", what)
				}
			}
			check("after the first changes")
			more(s)
			check("after many changes")
			if o.Kind == Multi {
				s.Doveadm("purge", "-u", "alice")
				check("after a purge")
			}
			if o.Alt != nil {
				s.Doveadm("altmove", "-u", "alice", "mailbox", "INBOX", "all")
				check("after mail was moved to the other storage")
				checkAltHint(t, o)
			}
			s.Doveadm("index", "-u", "alice", "*")
			s.Doveadm("force-resync", "-u", "alice", "*")
			check("after a resync")
			for _, name := range []string{indexName, indexName + ".log.2"} {
				if count(t, s.Dir, name) == 0 {
					t.Errorf("Dovecot has written no %s, so the test proves nothing about it", name)
				}
			}
		})
	}
}

// checkAltHint makes sure that somebody who forgot ALT= is told so.
func checkAltHint(t *testing.T, o Options) {
	t.Helper()
	o.Alt = nil
	src := openSource(t, o)
	list, _ := messages(t, src, "INBOX")
	missing := 0
	for _, m := range list {
		_, err := readMessage(src, "INBOX", m)
		if err == nil {
			continue // mdbox leaves mail where it is that stands in other folders, too
		}
		if missing++; !errors.Is(err, mailstore.ErrDamaged) || !strings.Contains(err.Error(), "ALT=") {
			t.Errorf("a message in the other storage: %v", err)
		}
	}
	if missing == 0 {
		t.Error("no message is in the other storage, so the test proves nothing")
	}
}

// count counts the files of a name.
func count(t *testing.T, dir, name string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == name {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
