package cyrus

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/cyrus"
)

// filled starts a server with alice's mail in it.
func filled(t *testing.T, o cyrus.Options) *cyrus.Server {
	t.Helper()
	s := cyrus.Start(t, o)
	fill(t, s, o, "alice")
	return s
}

// write makes a file that was written long ago.
func write(t testing.TB, file string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour).Add(time.Duration(written.Add(1)) * time.Millisecond)
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
}

// written makes each file's time another one.
var written atomic.Int64

func slurp(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func remove(t testing.TB, file string) {
	t.Helper()
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
}

// Files that are missing are damage, other damage is seen in what they hold.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	dir := s.Directory("alice", "INBOX")
	src := openSource(t, s.ConfigFile())
	before := list1(t, src, "alice")["INBOX"]
	file := func(name string) string { return filepath.Join(dir, name) }
	remove(t, file("1."))
	write(t, file("2."), nil)
	write(t, file("3."), []byte(body(3))[:10])
	write(t, file("4."), []byte(strings.Replace(body(4), "body", "ydob", 1)))
	remove(t, file("5.")) // expunged
	remove(t, file("7."))
	if err := os.Symlink("/etc/passwd", file("7.")); err != nil {
		t.Fatal(err)
	}
	after := list1(t, src, "alice")["INBOX"]
	if after.err != nil || after.Lost != "" || after.State == before.State || len(after.messages) != 5 {
		t.Fatalf("%+v", after)
	}
	for i, want := range []string{"damaged at the source: the index lists it, its file is missing", "", "Subject: m", "", "escapes"} {
		m := after.messages[i]
		got, err := read1(src, after.Mailbox, m)
		var p *mailstore.Problem
		switch i {
		case 0, 4:
			if !errors.As(err, &p) || !strings.Contains(err.Error(), want) || p.Path != file(m.Place) || p.Mailbox != "INBOX" || errors.Is(err, mailstore.ErrDamaged) != (i == 0) {
				t.Errorf("UID %d: %v", m.UID, err)
			}
		case 3:
			if err != nil || m.SHA1 == sha1.Sum([]byte(got)) || m.Promised != int64(len(got)) {
				t.Errorf("UID %d: %q, %v", m.UID, got, err)
			}
		default:
			if err != nil || got != want || m.Promised == int64(len(got)) {
				t.Errorf("UID %d: %q, %v", m.UID, got, err)
			}
		}
	}
	if _, err := read1(src, after.Mailbox, after.expunged[0]); !errors.Is(err, mailstore.ErrVanished) {
		t.Errorf("expunged: %v", err)
	}
	remove(t, filepath.Join(s.MetaDirectory("alice", "INBOX"), indexName))
	if _, err := read1(src, after.Mailbox, after.expunged[0]); !errors.Is(err, mailstore.ErrVanished) {
		t.Errorf("expunged, and the index is missing: %v", err)
	}
	if _, err := read1(src, after.Mailbox, after.messages[0]); !errors.Is(err, mailstore.ErrDamaged) {
		t.Errorf("listed before the index went missing: %v", err)
	}
}

// What went away after it was listed has vanished, and is not damaged.
func TestVanished(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{Config: "expunge_mode: immediate\ndelete_mode: immediate"})
	src := openSource(t, s.ConfigFile())
	boxes := list1(t, src, "alice")
	deep, err := src.box(ctx, boxes["Work/2024/Deep"].Mailbox)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Login("alice")
	c.Select("INBOX")
	c.Expunge("2")
	c.Do("DELETE Work/2024/Deep")
	c.Do("RENAME Renamed/Folder Elsewhere")
	c.Close()
	s.Stop()
	// The folder may go away after it was looked up.
	if listed, err := src.stillListed(ctx, deep, boxes["Work/2024/Deep"].Mailbox, 1); listed || err != nil {
		t.Errorf("in a removed folder: %v, %v", listed, err)
	}
	for _, box := range []string{"INBOX", "Work/2024/Deep"} {
		b := boxes[box]
		if _, err := read1(src, b.Mailbox, b.messages[len(b.messages)-len(b.messages[1:])]); !errors.Is(err, mailstore.ErrVanished) {
			t.Errorf("%s: %v", box, err)
		}
	}
	b := boxes["Renamed/Folder"]
	if got, err := read1(src, b.Mailbox, b.messages[0]); err != nil || got != body(90) {
		t.Errorf("from a folder that was renamed: %q, %v", got, err)
	}
	if now := list1(t, src, "alice"); now["Elsewhere"] == nil || now["Elsewhere"].ObjectID != b.ObjectID || now["Work/2024/Deep"] != nil {
		t.Errorf("afterwards: %q", slices.Sorted(maps.Keys(now)))
	}
}

// keysOf gives all messages of all mailboxes.
func keysOf(boxes map[string]*listed) []string {
	var out []string
	for name, b := range boxes {
		out = append(out, name+" "+b.ObjectID)
		for _, m := range b.messages {
			out = append(out, name+" "+m.Key+" "+m.State+" "+strings.Join(m.Flags, " "))
		}
	}
	slices.Sort(out)
	return out
}

// Without its mailboxes.db, or with a damaged one, a server's mailboxes are the
// same; what had been deleted stays deleted.
func TestMailboxesDB(t *testing.T) {
	for _, tt := range servers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := filled(t, tt.opt)
			names := []string{"alice"}
			if tt.opt.VirtualDomains {
				s.AddUser("alice@example.org")
				names = append(names, "alice@example.org")
			}
			s.Stop()
			src := openSource(t, s.ConfigFile())
			users(t, src, true)
			want := keysOf(list1(t, src, "alice"))
			db := filepath.Join(s.Dir, "conf/mailboxes.db")
			if strings.Contains(tt.opt.Config, "list.db") {
				db = filepath.Join(s.Dir, "conf/list.db")
				if !bytes.Contains(slurp(t, db)[:20], []byte("skiplist")) {
					t.Error("the server's mailboxes.db is no skiplist")
				}
			}
			whole := slurp(t, db)
			for _, damage := range []struct {
				name string
				b    []byte
			}{
				{"missing", nil},
				{"empty", []byte{}},
				{"half", whole[:len(whole)/2]},
				{"header only", whole[:64]},
				{"overwritten", slices.Concat(whole[:200], bytes.Repeat([]byte{0x5a}, 1200), whole[1400:])},
				{"garbage", bytes.Repeat([]byte("garbage "), 100)},
				{"Berkeley DB", slices.Concat(make([]byte, 12), []byte{0, 5, 0x31, 0x62}, make([]byte, 496))},
			} {
				if remove(t, db); damage.b != nil {
					write(t, db, damage.b)
				}
				if got := users(t, src, false); !slices.Equal(got, names) {
					t.Errorf("%s: users %q", damage.name, got)
				}
				if got := keysOf(list1(t, src, "alice")); !slices.Equal(got, want) {
					t.Errorf("%s:\n got %q\nwant %q", damage.name, got, want)
				}
			}
			write(t, db, whole)
			users(t, src, true)
		})
	}
}

// Lost metadata is told from removed mail.
func TestLostMetadata(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	s.Stop()
	src := openSource(t, s.ConfigFile())
	meta := s.MetaDirectory("alice", "INBOX")
	header, index := filepath.Join(meta, headerName), filepath.Join(meta, indexName)
	wholeIndex, wholeHeader := slurp(t, index), slurp(t, header)
	remove(t, header)
	inbox := list1(t, src, "alice")["INBOX"]
	var inc *mailstore.Incomplete
	if !errors.As(inbox.err, &inc) || inc.Problems[0].Path != header || inbox.Lost != "" || len(inbox.messages) != 5 {
		t.Errorf("without cyrus.header: %v, %+v", inbox.err, inbox)
	}
	for _, m := range inbox.messages {
		if m.NoFlags != (m.UID == 2 || m.UID == 3) {
			t.Errorf("without cyrus.header: UID %d, NoFlags %v", m.UID, m.NoFlags)
		}
	}
	write(t, header, wholeHeader)
	for _, tt := range []struct {
		name     string
		index    []byte
		lost     string
		messages int
	}{
		{"missing", nil, "cyrus.index is missing", 0},
		{"empty", []byte{}, "cyrus.index is damaged: not a cyrus.index", 0},
		{"header cut off", wholeIndex[:100], "cyrus.index is damaged", 0},
		{"cut off", wholeIndex[:160+3*112+50], "cyrus.index is damaged: it is too short for its 7 records", 3},
		{"header", flip(wholeIndex, 80), "cyrus.index is damaged: the checksum of its header is wrong", 5},
		{"version", flip(wholeIndex, 11), "cyrus.index is damaged", 5},
		{"garbage", bytes.Repeat([]byte("garbage "), 100), "cyrus.index is damaged", 0},
	} {
		if remove(t, index); tt.index != nil {
			write(t, index, tt.index)
		}
		inbox := list1(t, src, "alice")["INBOX"]
		if !strings.HasPrefix(inbox.Lost, tt.lost) || inbox.State != "" || inbox.UIDValidity == 0 {
			t.Errorf("%s: lost %q, state %q, UIDVALIDITY %d", tt.name, inbox.Lost, inbox.State, inbox.UIDValidity)
		}
		if !errors.As(inbox.err, &inc) || len(inbox.messages) != tt.messages {
			t.Errorf("%s: %d messages, %v", tt.name, len(inbox.messages), inbox.err)
		}
		if n, _ := src.Count(ctx, inbox.Mailbox); n != tt.messages {
			t.Errorf("%s: counted %d", tt.name, n)
		}
	}
	write(t, index, flip(wholeIndex, 160+112+40))
	inbox = list1(t, src, "alice")["INBOX"]
	if !errors.As(inbox.err, &inc) || !strings.Contains(inbox.err.Error(), "record 2 (it says UID 2) is damaged: its checksum is wrong") || len(inbox.messages) != 4 {
		t.Errorf("a record: %d messages, %v", len(inbox.messages), inbox.err)
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x10
	return b
}

// A partition that is not there is named, and its mailboxes are lost, not
// empty; the others go on.
func TestLostPartition(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{Partitions: []string{"fast"}, Metafiles: cyrus.Metafiles})
	s.AddUser("alice")
	s.AddUser("bob", "fast")
	for _, u := range []string{"alice", "bob"} {
		s.Login(u).Append("INBOX", body(1), when)
	}
	s.Stop()
	partitions := map[string]string{}
	err := openSource(t, s.ConfigFile()).Users(ctx, func(u mailstore.User) error { partitions[u.Name] = u.Partition; return nil })
	if err != nil || partitions["alice"] != "default" || partitions["bob"] != "fast" {
		t.Errorf("%v, %v", partitions, err)
	}
	away := func(dir string) {
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
	}
	away(s.Spool("fast"))
	src := openSource(t, s.ConfigFile())
	if got := users(t, src, false); !slices.Equal(got, []string{"alice", "bob"}) {
		t.Errorf("users %q", got)
	}
	bob := list1(t, src, "bob")["INBOX"]
	if bob.Lost != "" || len(bob.messages) != 1 {
		t.Fatalf("without the messages: %+v", bob)
	}
	_, err = read1(src, bob.Mailbox, bob.messages[0])
	if err == nil || errors.Is(err, mailstore.ErrVanished) || !strings.Contains(err.Error(), "partition-fast of ") {
		t.Errorf("without the messages: %v", err)
	}
	away(s.Meta("fast"))
	src = openSource(t, s.ConfigFile())
	users(t, src, false)
	bob = list1(t, src, "bob")["INBOX"]
	var inc *mailstore.Incomplete
	if !strings.Contains(bob.Lost, "metapartition-fast of ") || !errors.As(bob.err, &inc) || strings.Contains(bob.Lost, "\n") {
		t.Errorf("without the metadata: %+v", bob)
	}
	if alice := list1(t, src, "alice")["INBOX"]; alice.err != nil || len(alice.messages) != 1 {
		t.Errorf("alice: %+v", alice)
	}
	away(s.Spool("default"))
	away(s.Meta("default"))
	if _, err := Open(Options{ConfigFile: s.ConfigFile()}); err == nil || !strings.Contains(err.Error(), "partition-default of ") {
		t.Errorf("without any partition: %v", err)
	}
	if _, err := Open(Options{ConfigFile: s.ConfigFile() + ".no"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a configuration: %v", err)
	}
}

// grow makes an index of many records out of one of a few.
func grow(b []byte, records int) []byte {
	const header, size = 160, 112
	seal := func(b []byte) { binary.BigEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4])) }
	out := bytes.Clone(b[:header])
	binary.BigEndian.PutUint32(out[20:], uint32(records))
	binary.BigEndian.PutUint32(out[28:], uint32(records))
	seal(out)
	for i := range records {
		r := bytes.Clone(b[header+i%25*size:][:size])
		binary.BigEndian.PutUint32(r, uint32(i+1))
		seal(r)
		out = append(out, r...)
	}
	return out
}
