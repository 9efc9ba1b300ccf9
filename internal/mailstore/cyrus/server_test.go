package cyrus

import (
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/imaptest"
)

var (
	ctx  = context.Background()
	when = time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
)

func body(i int) string { return fmt.Sprintf("Subject: message %d\r\n\r\nbody %d\r\n", i, i) }

// openSource opens the server's configuration.
func openSource(t testing.TB, file string) *Source {
	t.Helper()
	src, err := Open(Options{ConfigFile: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// listed is a mailbox with what Messages says of it.
type listed struct {
	mailstore.Mailbox
	messages, expunged []mailstore.Message
	err                error // of Messages
}

// users lists the users; whole means that nothing may be wrong.
func users(t testing.TB, src *Source, whole bool) []string {
	t.Helper()
	var out []string
	err := src.Users(ctx, func(u mailstore.User) error { out = append(out, u.Name); return nil })
	if (err == nil) != whole {
		t.Fatalf("Users: %v", err)
	}
	return out
}

// list lists a user's mailboxes and all their messages.
func list1(t testing.TB, src *Source, user string) map[string]*listed {
	t.Helper()
	out := map[string]*listed{}
	err := src.Mailboxes(ctx, mailstore.User{Name: user}, func(m mailstore.Mailbox) error {
		if len(out) == 0 && m.Name != folder.Inbox {
			t.Errorf("%s is listed before INBOX", m.Name)
		}
		if out[m.Name] != nil {
			t.Errorf("%s is listed twice", m.Name)
		}
		l := &listed{Mailbox: m}
		out[m.Name] = l
		l.err = src.Messages(ctx, m, func(msg mailstore.Message) error {
			if msg.Expunged.IsZero() {
				l.messages = append(l.messages, msg)
			} else {
				l.expunged = append(l.expunged, msg)
			}
			return nil
		})
		return nil
	})
	if err != nil {
		t.Fatalf("Mailboxes of %s: %v", user, err)
	}
	return out
}

// read reads a message.
func read1(src *Source, box mailstore.Mailbox, m mailstore.Message) (string, error) {
	f, err := src.Open(ctx, box, m)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

var servers = []struct {
	name string
	opt  cyrus.Options
}{
	{"uuid", cyrus.Options{}},
	{"uuid, metadata apart", cyrus.Options{Metafiles: cyrus.Metafiles, VirtualDomains: true}},
	{"uuid, dots, index apart", cyrus.Options{DotSeparator: true, Metafiles: "index", Config: "altnamespace: off"}},
	{"legacy", cyrus.Options{Layout: cyrus.Legacy, Metafiles: cyrus.Metafiles}},
	{"legacy, domains, dots", cyrus.Options{Layout: cyrus.Legacy, VirtualDomains: true, DotSeparator: true}},
	{"legacy, domains, not hashed", cyrus.Options{Layout: cyrus.Legacy, VirtualDomains: true, Metafiles: "header cache", Config: "hashimapspool: no"}},
	{"legacy, whole hash, databases", cyrus.Options{Layout: cyrus.Legacy, VirtualDomains: true, Metafiles: cyrus.Metafiles,
		Config: "fulldirhash: yes\nquota_db: twoskip\nsubscription_db: skiplist\nmboxlist_db: skiplist\nannotation_db: skiplist\nmboxlist_db_path: @DIR@/conf/list.db"}},
}

// The folders that fill makes below INBOX, as IMAP writes them with a slash,
// and as mailstore names them.
var folders = map[string]string{
	"INBOX": "INBOX", "Work": "Work", "Work/2024": "Work/2024", "Work/2024/Deep": "Work/2024/Deep", "Sp ace": "Sp ace", "Entw&APw-rfe": "Entwürfe",
	"R&-D": "R&D", "brack]et": "brack]et", "~tilde": "~tilde", "Junk": "Junk", "Renamed/Folder": "Renamed/Folder", "&ZeVnLIqe-": "日本語",
}

// wire is a folder's name as the server's clients write it.
func wire(s *cyrus.Server, o cyrus.Options, name string) string {
	if o.DotSeparator {
		name = strings.ReplaceAll(name, "/", ".")
	}
	if strings.Contains(o.Config, "altnamespace: off") && name != "INBOX" {
		name = "INBOX." + name
	}
	return name
}

// fill gives a user mail with everything that a mailbox can have.
func fill(t *testing.T, s *cyrus.Server, o cyrus.Options, user string) {
	t.Helper()
	s.AddUser(user)
	c := s.Login(user)
	name := func(f string) string { return wire(s, o, f) }
	for _, f := range slices.Sorted(maps.Keys(folders)) {
		if f != "INBOX" && f != "Junk" && f != "Renamed/Folder" && f != "Work/2024" {
			c.Create(name(f)) // parents that are missing are made
		}
	}
	c.Do(`CREATE %s (USE (\Junk))`, imaptest.Quote(name("Junk")))
	c.Create(name("Old"))
	c.Create(name("Gone"))
	c.Append(name("Old"), body(90), when)
	c.Append(name("Gone"), body(91), when)
	for i, flags := range [][]string{{`\Seen`}, {`\Flagged`, "$Label1"}, {`\Answered`, `\Seen`, "work-todo", "$Label1"}, {`\Draft`}, nil, {"NonJunk"}, {`\Deleted`}} {
		c.Append("INBOX", body(i+1), when.Add(time.Duration(i)*time.Hour), flags...)
	}
	for i := range 3 {
		c.Append(name("Work/2024/Deep"), body(10+i), when.Add(time.Minute))
	}
	c.Select("INBOX")
	c.Expunge("5")
	c.Do("UID COPY 1:2 %s", imaptest.Quote(name("Work")))
	c.Do("UID MOVE 6 %s", imaptest.Quote(name("Sp ace")))
	c.Do("RENAME %s %s", imaptest.Quote(name("Old")), imaptest.Quote(name("Renamed/Folder")))
	c.Do("DELETE %s", imaptest.Quote(name("Gone")))
	for _, f := range []string{"INBOX", "Work", "Entw&APw-rfe", "Work/2024/Deep"} {
		c.Do("SUBSCRIBE %s", imaptest.Quote(name(f)))
	}
	c.Close()
	admin := s.LoginAdmin()
	admin.Do("SETQUOTA %s (STORAGE 100000 MESSAGE 5000)", imaptest.Quote(s.Mailbox(user, "INBOX")))
	admin.Do("SETQUOTA %s (STORAGE 77)", imaptest.Quote(s.Mailbox(user, wire(s, o, "Work"))))
	admin.Do("SETACL %s lector lrs", imaptest.Quote(s.Mailbox(user, wire(s, o, "Work"))))
	admin.Close()
}

// The disk tells what the server tells over IMAP, whatever its layout.
func TestServers(t *testing.T) {
	for _, tt := range servers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := cyrus.Start(t, tt.opt)
			names := []string{"alice", "bob"}
			if tt.opt.VirtualDomains {
				names = []string{"alice", "alice@example.org", "bob"}
			}
			if !tt.opt.DotSeparator {
				names = append(names, "j.doe")
			}
			fill(t, s, tt.opt, names[0])
			for _, n := range names[1:] {
				s.AddUser(n)
				s.Login(n).Append("INBOX", body(len(n)), when, `\Flagged`, "of-"+n)
			}
			admin := s.LoginAdmin()
			admin.Create("shared")
			src := openSource(t, s.ConfigFile())
			if got := users(t, src, true); !slices.Equal(got, names) {
				t.Errorf("users %q, want %q", got, names)
			}
			for _, n := range names[1:] {
				got := list1(t, src, n)
				if len(got) != 1 || len(got["INBOX"].messages) != 1 || !slices.Contains(got["INBOX"].messages[0].Flags, "of-"+n) {
					t.Errorf("%s: %+v", n, got)
				}
			}
			compare(t, s, tt.opt, src, "alice")
		})
	}
}

var (
	mailboxID = regexp.MustCompile(`MAILBOXID \(([^)]*)\)`)
	modSeq    = regexp.MustCompile(`HIGHESTMODSEQ (\d+)`)
	fetched   = regexp.MustCompile(`UID (\d+) MODSEQ \((\d+)\)`)
)

// compare holds the disk against IMAP.
func compare(t *testing.T, s *cyrus.Server, o cyrus.Options, src *Source, user string) {
	t.Helper()
	boxes := list1(t, src, user)
	c := s.Login(user)
	own := slices.DeleteFunc(c.List(), func(n string) bool { return strings.Contains(n, "shared") })
	if len(own) != len(boxes) {
		t.Errorf("%d folders are listed, IMAP has %q", len(boxes), own)
	}
	subscribed := map[string]bool{}
	for _, n := range c.Subscribed() {
		subscribed[n] = true
	}
	for wireName, name := range folders {
		b := boxes[name]
		if b == nil {
			t.Errorf("folder %q is not listed", name)
			continue
		}
		n := wire(s, o, wireName)
		// STATUS (MAILBOXID) of 3.6.1 shows memory that it has freed.
		status := fmt.Sprint(c.Do("EXAMINE %s", imaptest.Quote(n)))
		id, highest := mailboxID.FindStringSubmatch(status)[1], modSeq.FindStringSubmatch(status)[1]
		f := c.Examine(n)
		if b.err != nil || b.Lost != "" || b.State == "" {
			t.Errorf("%s: %v, lost %q, state %q", name, b.err, b.Lost, b.State)
		}
		if b.ObjectID != id || fmt.Sprint(b.HighestModSeq) != highest || b.UIDValidity != f.UIDValidity || b.UIDNext != f.UIDNext || b.Subscribed != subscribed[n] {
			t.Errorf("%s: %+v, IMAP says %s, %+v, subscribed %v", name, b.Mailbox, status, f, subscribed[n])
		}
		compareMessages(t, c, src, b, f)
	}
	for name, want := range map[string]string{"INBOX": "STORAGE 100000 MESSAGE 5000", "Work": "STORAGE 77", "Sp ace": ""} {
		if got := boxes[name].Quota; got != want {
			t.Errorf("quota of %s: %q, want %q", name, got, want)
		}
	}
	if got := boxes["Junk"].SpecialUse; got != `\Junk` || boxes["Work"].SpecialUse != "" {
		t.Errorf("special use of Junk: %q, of Work %q", got, boxes["Work"].SpecialUse)
	}
	if got, want := boxes["Work"].ACL, "alice\tlrswipkxtecdan\tlector\tlrs\t"; got != want {
		t.Errorf("rights %q, want %q", got, want)
	}
	compareExpunged(t, src, boxes)
}

func compareMessages(t *testing.T, c *imaptest.Client, src *Source, b *listed, f imaptest.Folder) {
	t.Helper()
	seqs := map[string]string{}
	for _, r := range c.Do("UID FETCH 1:* (UID MODSEQ)") {
		if m := fetched.FindStringSubmatch(r.Text); m != nil {
			seqs[m[1]] = m[2]
		}
	}
	if n, err := src.Count(ctx, b.Mailbox); err != nil || n != len(f.Messages) || n != len(b.messages) {
		t.Errorf("%s: %d messages, counted %d, %v; IMAP has %d", b.Name, len(b.messages), n, err, len(f.Messages))
		return
	}
	for i, m := range b.messages {
		want := f.Messages[i]
		uid := strconv.Itoa(int(want.UID))
		if uint32(m.UID) != want.UID || !m.InternalDate.Equal(want.InternalDate) || !reflect.DeepEqual(m.Flags, want.Flags) || m.NoFlags ||
			m.SHA1 != sha1.Sum([]byte(want.Body)) || m.Promised != int64(len(want.Body)) || m.Size != m.Promised ||
			strconv.FormatUint(m.ModSeq, 10) != seqs[uid] || m.Key != fmt.Sprintf("%d.%s", b.UIDValidity, uid) || m.State == "" ||
			m.ObjectID != fmt.Sprintf("sha1:%x:%d", sha1.Sum([]byte(want.Body)), len(want.Body)) {
			t.Errorf("%s: %+v, IMAP says %+v, modseq %s", b.Name, m, want, seqs[uid])
		}
		if got, err := read1(src, b.Mailbox, m); err != nil || got != want.Body {
			t.Errorf("%s: UID %s reads %q, %v", b.Name, uid, got, err)
		}
	}
}

// compareExpunged looks at what fill has expunged (5) and moved away (6).
func compareExpunged(t *testing.T, src *Source, boxes map[string]*listed) {
	t.Helper()
	inbox := boxes["INBOX"]
	if len(inbox.expunged) != 2 {
		t.Errorf("expunged: %+v", inbox.expunged)
		return
	}
	for i, m := range inbox.expunged {
		if m.UID != mailstore.UID(5+i) || time.Since(m.Expunged).Abs() > time.Minute || m.SHA1 != sha1.Sum([]byte(body(5+i))) {
			t.Errorf("expunged: %+v", m)
		}
		if got, err := read1(src, inbox.Mailbox, m); err != nil || got != body(5+i) {
			t.Errorf("expunged UID %d reads %q, %v", m.UID, got, err)
		}
	}
	moved := boxes["Sp ace"].messages
	if len(moved) != 1 || moved[0].ObjectID != inbox.expunged[1].ObjectID {
		t.Errorf("moved: %+v", moved)
	}
}
