package cyrusdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/internal/testenv/cyrus"
)

// show writes a database as cyr_dbtool does.
func show(d *DB) string {
	var b strings.Builder
	for _, r := range d.Records {
		fmt.Fprintf(&b, "%s\t%s\n", r.Key, r.Value)
	}
	return b.String()
}

func decode(t testing.TB, file string) *DB {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(b)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return d
}

// A mailboxes.db is read as the server's own tool does.
func TestFixture(t *testing.T) {
	want, err := os.ReadFile("../testdata/list/mailboxes.txt")
	if err != nil {
		t.Fatal(err)
	}
	d := decode(t, "../testdata/list/mailboxes.db")
	if d.Format != Twoskip || len(d.Damage) > 0 || show(d) != string(want) {
		t.Errorf("damage %q, got %q", d.Damage, show(d))
	}
}

// Databases that the server's own tool has written, changed and removed from
// are read as it reads them; damaged ones give what is whole in them.
func TestServerDatabases(t *testing.T) {
	s := cyrus.Start(t, cyrus.Options{})
	s.AddUser("alice")
	c := s.Login("alice")
	for i := range 30 {
		c.Create(fmt.Sprintf("Folder %d", i))
		c.Append("INBOX", fmt.Sprintf("Subject: %d\r\n\r\nx\r\n", i), time.Time{})
	}
	for i := range 10 {
		c.Do("DELETE \"Folder %d\"", 3*i)
		c.Do("SUBSCRIBE \"Folder %d\"", 3*i+1)
	}
	s.Stop()
	files := map[string]Format{}
	err := filepath.Walk(s.Dir+"/conf", func(path string, info os.FileInfo, err error) error {
		switch filepath.Base(path) {
		case "sub.db":
			files[path] = Flat
		case "conversations.db":
			files[path] = Skiplist
		case "mailboxes.db", "annotations.db":
			files[path] = Twoskip
		}
		return err
	})
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range []Format{Twoskip, Skiplist, Flat} {
		files[made(t, s, f)] = f
	}
	for file, format := range files {
		d := decode(t, file)
		if d.Format != format {
			t.Errorf("%s is %s", file, d.Format)
		}
		want := s.Run("cyr_dbtool", file, string(d.Format), "show")
		if got := show(d); got != want || len(d.Damage) > 0 {
			t.Errorf("%s: damage %q, got %q\nwant %q", file, d.Damage, got, want)
		}
		damage(t, file, d)
	}
}

// made makes a database with keys that were replaced and removed.
func made(t *testing.T, s *cyrus.Server, f Format) string {
	t.Helper()
	file := filepath.Join(s.Dir, "conf", "made."+string(f))
	option := []string{"-n"}
	for i := range 25 {
		key := fmt.Sprintf("key%d", i*7%12)
		args := append(option, file, string(f), "set", key, fmt.Sprintf("value %d %s", i, strings.Repeat("x", i*i)))
		if i%5 == 4 {
			args = []string{file, string(f), "delete", key}
		}
		s.Run("cyr_dbtool", args...)
		option = nil
	}
	return file
}

// damage breaks a file in ways that must be noticed (skiplist and flat have no
// checksums) and checks that what is found elsewhere in it stays.
func damage(t *testing.T, file string, whole *DB) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if whole.Format == Flat || len(whole.Records) < 4 {
		return
	}
	half, err := Decode(b[:len(b)/2])
	if err != nil || len(half.Damage) == 0 {
		t.Errorf("%s, half of it: %v, %v", file, half, err)
	}
	if whole.Format != Twoskip {
		return
	}
	for name, at := range map[string]int{"the header": 50, "the first pointers": 80} {
		broken := bytes.Clone(b)
		broken[at] ^= 0x40
		d, err := Decode(broken)
		if err != nil || len(d.Damage) == 0 {
			t.Errorf("%s, %s: %v", file, name, err)
			continue
		}
		for _, r := range whole.Records {
			if !bytes.Equal(d.Get(string(r.Key)), r.Value) {
				t.Errorf("%s, %s: key %q is lost or old", file, name, r.Key)
			}
		}
	}
	last := whole.Records[len(whole.Records)-1]
	broken := bytes.Clone(b)
	broken[bytes.LastIndex(b, append(slices.Clone(last.Key), last.Value...))] ^= 1
	d, err := Decode(broken)
	if err != nil || len(d.Damage) == 0 || len(d.Records) < len(whole.Records)-1 {
		t.Errorf("%s, the last record: %d of %d records, damage %q, %v", file, len(d.Records), len(whole.Records), d.Damage, err)
	}
}

func TestForeign(t *testing.T) {
	berkeley := make([]byte, 512)
	binary.LittleEndian.PutUint32(berkeley[12:], 0x053162)
	for _, tt := range []struct {
		b    []byte
		want string
	}{
		{berkeley, "Berkeley DB"},
		{[]byte("SQLite format 3\x00 and so on"), "SQLite"},
		{[]byte("some text\nof lines\n"), "neither"},
		{[]byte{0, 1, 2, 3}, "neither"},
		{[]byte("\tno key\n"), "neither"},
	} {
		if _, err := Decode(tt.b); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.20q: %v", tt.b, err)
		}
	}
}

func TestFlat(t *testing.T) {
	for _, tt := range []struct {
		text    string
		keys    int
		damaged bool
	}{
		{"", 0, false},
		{"user.alice\t\nuser.alice.Work\t\n", 2, false},
		{"a\tb\nc\td", 1, true},
		{"a\tb\nnonsense\nc\td\n", 2, true},
		{"a\xff\x89b\tc\xff\x8a\xff\xff\n", 1, false},
	} {
		d, err := Decode([]byte(tt.text))
		if err != nil || len(d.Records) != tt.keys || len(d.Damage) > 0 != tt.damaged {
			t.Errorf("%q: %+v, %v", tt.text, d, err)
		}
	}
	d, _ := Decode([]byte("a\xff\x89b\tc\xff\x8a\xff\xff\n"))
	if v := d.Get("a\tb"); string(v) != "c\n\xff" {
		t.Errorf("escaped: %q", v)
	}
}

// Records that point at each other end the walk, not the machine.
func TestRings(t *testing.T) {
	b := append([]byte(twoskipMagic), make([]byte, 44)...)
	record := func(kind byte, key string, next uint64) {
		at := len(b)
		b = append(b, kind, 0, 0, byte(len(key)), 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint64(b, next)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[at:]))
		body := append([]byte(key), make([]byte, (8-len(key)%8)%8)...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(body))
		b = append(b, body...)
	}
	record('=', "", 88)
	record('+', "ring", 88)
	binary.BigEndian.PutUint64(b[32:], 1)
	binary.BigEndian.PutUint64(b[48:], uint64(len(b)))
	binary.BigEndian.PutUint32(b[60:], crc32.ChecksumIEEE(b[:60]))
	d, err := Decode(b)
	if err != nil || len(d.Damage) != 1 || !strings.Contains(d.Damage[0], "ring") || len(d.Records) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

// What a transaction has written and not committed does not count.
func TestUncommitted(t *testing.T) {
	b, err := os.ReadFile("../testdata/list/mailboxes.db")
	if err != nil {
		t.Fatal(err)
	}
	whole := decode(t, "../testdata/list/mailboxes.db")
	for pointer := range 2 { // the first record's two pointers of level 0
		open := append(bytes.Clone(b), bytes.Repeat([]byte{0x55}, 96)...)
		at := 72 + 8*pointer
		if was := binary.BigEndian.Uint64(open[at:]); was == max(binary.BigEndian.Uint64(open[72:]), binary.BigEndian.Uint64(open[80:])) {
			binary.BigEndian.PutUint64(open[72+8*(1-pointer):], was) // the other one stays as it was committed
		}
		binary.BigEndian.PutUint64(open[at:], uint64(len(b)))
		binary.BigEndian.PutUint32(open[328:], crc32.ChecksumIEEE(open[64:328]))
		d, err := Decode(open)
		if err != nil || len(d.Damage) > 0 || show(d) != show(whole) {
			t.Errorf("pointer %d: damage %q, %v", pointer, d.Damage, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile("../testdata/list/mailboxes.db")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:1500])
	list := append([]byte(skiplistMagic), make([]byte, 28)...)
	for _, n := range []uint32{listDummy, 0, 0, 68, ^uint32(0), listAdd, 1, 'k' << 24, 1, 'v' << 24, 0, ^uint32(0), listCommit, listDelete, 68, listCommit} {
		list = binary.BigEndian.AppendUint32(list, n)
	}
	f.Add(list)
	f.Add([]byte("user.alice\t\nuser.\xff\x89.Work\tx\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Decode(b)
		if err != nil {
			return
		}
		total := 0
		for _, r := range d.Records {
			total += len(r.Key) + len(r.Value)
		}
		if total > 2*len(b) {
			t.Fatalf("%d bytes in records of a file of %d", total, len(b))
		}
	})
}
