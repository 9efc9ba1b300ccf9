package cyrus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/cyrus/header"
)

// The server of the tests cannot write what Cyrus 2.2 to 2.5 wrote. This spool
// is put together of indexes that it has converted down, and of the text files
// of those days.
type spool struct {
	t   *testing.T
	dir string
}

var headerMagic = func() string {
	b, err := os.ReadFile("testdata/index/v17/cyrus.header")
	if err != nil || !header.Is(b) {
		panic("testdata/index/v17/cyrus.header")
	}
	return string(b[:strings.Index(string(b), "%(")])
}()

func newSpool(t *testing.T, config string) *spool {
	s := &spool{t, t.TempDir()}
	s.put("imapd.conf", "configdirectory: "+s.dir+"/conf\npartition-default: "+s.dir+"/data\n"+config)
	return s
}

func (s *spool) path(name string) string { return filepath.Join(s.dir, name) }

func (s *spool) put(name, text string) {
	s.t.Helper()
	write(s.t, s.path(name), []byte(text))
}

// box makes a mailbox of a fixture's index, and an old cyrus.header.
func (s *spool) box(dir, version, id string) {
	s.t.Helper()
	s.put(dir+"/cyrus.header", headerMagic+"user.alice\t"+id+"\nwork-todo $Label1\nalice\tlrs\t\n")
	write(s.t, s.path(dir+"/cyrus.index"), slurp(s.t, "testdata/index/"+version+"/cyrus.index"))
	data := "testdata/data"
	if version == "v10" {
		data += "-carol"
	}
	for uid := 1; uid <= 25; uid++ {
		write(s.t, s.path(fmt.Sprintf("%s/%d.", dir, uid)), slurp(s.t, fmt.Sprintf("%s/%d.", data, uid)))
	}
}

func uidsOf(ms []mailstore.Message) (out []int) {
	for _, m := range ms {
		out = append(out, int(m.UID))
	}
	return out
}

func withFlag(ms []mailstore.Message, flag string) (out []int) {
	for _, m := range ms {
		if slices.Contains(m.Flags, flag) {
			out = append(out, int(m.UID))
		}
	}
	return out
}

var oldVersions = []string{"v6", "v7", "v8", "v9", "v10"}

func TestOldVersions(t *testing.T) {
	s := newSpool(t, "hashimapspool: yes\n")
	s.box("data/a/user/alice", "v9", "id-v9")
	list := "user.alice\t0 default alice\xff\x89lrs\xff\x89\n"
	seen, sub := "id-v9\t1 1795330708 25 1795330708 1:5,9\n", ""
	for _, v := range oldVersions {
		s.box("data/a/user/alice/"+v+"^x", v, "id-"+v)
		list += "user.alice." + v + "^x\t0 default alice\xff\x89lrs\xff\x89\n"
		if v != "v9" {
			seen += "id-" + v + "\t1 1795330708 25 1795330708 7\n"
		}
	}
	sub = "user.alice.v6^x\t\nuser.alice\t\nuser.bob\t\n"
	s.put("conf/mailboxes.db", list)
	s.put("conf/user/a/alice.seen", seen)
	s.put("conf/user/a/alice.sub", sub)
	s.put("conf/quota/a/user.alice", "25240\n100000\n")
	s.expunge("data/a/user/alice/v6^x", 9, 8)
	src := openSource(t, s.path("imapd.conf"))
	if got := users(t, src, true); !slices.Equal(got, []string{"alice"}) {
		t.Fatalf("users %q", got)
	}
	boxes := list1(t, src, "alice")
	inbox := boxes["INBOX"]
	if len(boxes) != 6 || inbox.ObjectID != "id-v9" || !inbox.Subscribed || inbox.Quota != "STORAGE 100000" || inbox.ACL != "alice\tlrs\t" {
		t.Fatalf("%d mailboxes, INBOX %+v", len(boxes), inbox.Mailbox)
	}
	if got := withFlag(inbox.messages, `\Seen`); !slices.Equal(got, []int{1, 3, 5, 9}) { // 2 and 4 are expunged
		t.Errorf("seen in INBOX: %v", got)
	}
	for _, v := range oldVersions {
		b := boxes[v+".x"]
		if b == nil || b.err != nil || b.Lost != "" || b.State == "" || b.UIDValidity != 1795330705 || b.UIDNext != 26 || b.ObjectID != "id-"+v || b.Subscribed != (v == "v6") {
			t.Fatalf("%s: %+v", v, b)
		}
		s.old(src, b, v)
	}
	states := map[string]string{}
	for name, b := range boxes {
		states[name] = b.State
	}
	for name, b := range list1(t, src, "alice") {
		if b.State != states[name] {
			t.Errorf("%s: nothing happened, and %s became %s", name, states[name], b.State)
		}
	}
	s.put("conf/user/a/alice.seen", strings.Replace(seen, "1:5,9", "1:6,9", 1))
	for name, b := range list1(t, src, "alice") {
		changed := name == "INBOX" || name == "v9.x" // they share an identity here
		if changed != (b.State != states[name]) {
			t.Errorf("%s: one more was seen in INBOX; %s became %s", name, states[name], b.State)
		}
	}
	if err := os.Chtimes(s.path("data/a/user/alice/cyrus.index"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if b := list1(t, src, "alice")["INBOX"]; b.State != "" {
		t.Errorf("written just now, and its state is %q", b.State)
	}
	s.put("conf/user/a/alice.seen", "nonsense")
	inbox = list1(t, src, "alice")["INBOX"]
	var inc *mailstore.Incomplete
	if !errors.As(inbox.err, &inc) || len(inbox.messages) != 21 || !inbox.messages[0].NoFlags {
		t.Errorf("without seen.db: %v", inbox.err)
	}
}

// expunge moves two records from the index to cyrus.expunge, as 2.3 does.
func (s *spool) expunge(dir string, uids ...int) {
	s.t.Helper()
	b := slurp(s.t, s.path(dir+"/cyrus.index"))
	size := int(binary.BigEndian.Uint32(b[16:]))
	start := int(binary.BigEndian.Uint32(b[12:]))
	gone := slices.Clone(b[:start])
	for _, uid := range uids {
		at := start
		for binary.BigEndian.Uint32(b[at:]) != uint32(uid) {
			at += size
		}
		r := slices.Clone(b[at : at+size])
		binary.BigEndian.PutUint32(r[28:], 1795340000) // last updated
		gone = append(gone, r...)
		b = slices.Delete(b, at, at+size)
	}
	gone = append(gone, b[start:start+size]...) // a crash has left UID 1 in both
	binary.BigEndian.PutUint32(b[20:], uint32(25-len(uids)))
	binary.BigEndian.PutUint32(gone[20:], uint32(len(uids)+1))
	write(s.t, s.path(dir+"/cyrus.index"), b)
	write(s.t, s.path(dir+"/cyrus.expunge"), gone)
}

// old checks what all the old fixtures share: 25 messages, of which some were
// expunged, most of them by a newer server's flag.
func (s *spool) old(src *Source, b *listed, v string) {
	s.t.Helper()
	live, expunged := uidsOf(b.messages), uidsOf(b.expunged)
	if len(live)+len(expunged) != 25 || (v == "v6") != (len(expunged) >= 2 && slices.Equal(expunged[len(expunged)-2:], []int{9, 8})) {
		s.t.Errorf("%s: live %v, expunged %v", v, live, expunged)
	}
	if v == "v6" && !b.expunged[len(b.expunged)-1].Expunged.Equal(time.Unix(1795340000, 0)) {
		s.t.Errorf("%s: expunged %v", v, b.expunged[len(b.expunged)-1].Expunged)
	}
	if got := withFlag(b.messages, "work-todo"); !slices.Equal(got, []int{3, 7}) {
		s.t.Errorf("%s: work-todo on %v", v, got)
	}
	if got := withFlag(b.messages, `\Seen`); v != "v9" && !slices.Equal(got, []int{7}) {
		s.t.Errorf("%s: seen %v", v, got)
	}
	for _, m := range b.messages {
		got, err := read1(src, b.Mailbox, m)
		if err != nil || int64(len(got)) != m.Promised || (m.SHA1 != [20]byte{}) != (v == "v10") || (m.ObjectID != "") != (v == "v10") || m.State == "" ||
			(m.ModSeq != 0) != (v >= "v8" || v == "v10") {
			s.t.Errorf("%s: %+v reads %d bytes, %v", v, m, len(got), err)
		}
	}
}

// Without mailboxes.db an old server's mailboxes are their directories.
func TestOldTree(t *testing.T) {
	for _, config := range []string{"", "hashimapspool: yes\n", "hashimapspool: yes\nfulldirhash: yes\n"} {
		s := newSpool(t, config)
		c, err := readConfig(s.path("imapd.conf"))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"user.alice", "user.alice.Work.Deep", "example.org!user.j^doe", "user.alice.#calendars", "shared"} {
			n := c.parseKey(key)
			if n.user != "" {
				s.box(filepath.Join("data", c.legacyDir(&n)), "v12", "id-"+key)
			}
		}
		s.put("data/stage./1-2-3", "x")
		s.put("conf/user/a/alice.sub", "user.alice.Work.Deep\t\n")
		s.put("data/u/DELETED/user/alice/Gone/6B03365F/cyrus.header", "x")
		src := openSource(t, s.path("imapd.conf"))
		if got := users(t, src, false); !slices.Equal(got, []string{"alice", "j.doe@example.org"}) {
			t.Errorf("%q: users %q", config, got)
		}
		boxes := list1(t, src, "alice")
		if len(boxes) != 2 || len(boxes["Work/Deep"].messages) != 21 || boxes["Work/Deep"].ObjectID != "id-user.alice.Work.Deep" || !boxes["Work/Deep"].Subscribed && !strings.Contains(config, "fulldirhash") {
			t.Errorf("%q: %+v", config, boxes)
		}
		s.put("conf/mailboxes.db", "shared\t0 default anyone\xff\x89lrs\xff\x89\n")
		if got := users(t, src, false); len(got) != 2 {
			t.Errorf("%q: with a mailboxes.db of shared mailboxes: users %q", config, got)
		}
		remove(t, s.path("conf"))
		if got := users(t, src, false); len(got) != 2 {
			t.Errorf("%q: without the configuration directory: users %q", config, got)
		}
		n := 0
		err = src.Mailboxes(ctx, mailstore.User{Name: "alice"}, func(mailstore.Mailbox) error { n++; return nil })
		var inc *mailstore.Incomplete
		if !errors.As(err, &inc) || n != 2 {
			t.Errorf("%q: without the configuration directory: %d mailboxes, %v", config, n, err)
		}
	}
}

// A message whose file was moved to the archive partition is read from there.
func TestArchive(t *testing.T) {
	s := newSpool(t, "archivepartition-default: @/archive\n")
	conf := s.path("imapd.conf")
	write(t, conf, []byte(strings.ReplaceAll(string(slurp(t, conf)), "@", s.dir)))
	s.box("data/user/alice", "v9", "id")
	s.put("conf/mailboxes.db", "user.alice\t0 default alice\xff\x89lrs\xff\x89\n")
	index := s.path("data/user/alice/cyrus.index")
	b := slurp(t, index)
	b[96+32] |= 0x20 // the first record is archived
	write(t, index, b)
	for uid, text := range map[string]string{"1.": "archived", "3.": "moved meanwhile"} {
		remove(t, s.path("data/user/alice/"+uid))
		s.put("archive/user/alice/"+uid, text)
	}
	src := openSource(t, conf)
	users(t, src, true)
	inbox := list1(t, src, "alice")["INBOX"]
	for i, want := range []string{"archived", "moved meanwhile"} {
		if got, err := read1(src, inbox.Mailbox, inbox.messages[i]); err != nil || got != want {
			t.Errorf("UID %d: %q, %v", inbox.messages[i].UID, got, err)
		}
	}
	if inbox.messages[0].Place != "archive/1." || inbox.messages[1].Place != "3." {
		t.Errorf("places %q, %q", inbox.messages[0].Place, inbox.messages[1].Place)
	}
}

// The state does not rest on the file's time alone, which a copied or restored
// index may share with another.
func TestStateOfHeader(t *testing.T) {
	s := newSpool(t, "")
	s.box("data/user/alice", "v17", "id")
	s.put("conf/mailboxes.db", "user.alice\t0 default alice\xff\x89lrs\xff\x89\n")
	file := s.path("data/user/alice/cyrus.index")
	old := time.Now().Add(-time.Hour)
	set := func(records int) {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(grow(slurp(t, "testdata/index/v17/cyrus.index"), records)[:160]); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	src := openSource(t, s.path("imapd.conf"))
	set(25)
	before := list1(t, src, "alice")["INBOX"].State
	set(24)
	if after := list1(t, src, "alice")["INBOX"].State; before == "" || after == before {
		t.Errorf("%q became %q", before, after)
	}
}
