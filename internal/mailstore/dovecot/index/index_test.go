package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
)

// load gives a file that Dovecot 2.3.19 has written in an mdbox: work.log of a
// folder that got two messages, of which one was expunged; map.log of its
// storage; many.* of a folder with many changes and keywords, and in many.txt
// what IMAP said of it then.
func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFolderLog(t *testing.T) {
	ix, err := Decode(nil, load(t, "work.log"), nil, "mdbox", "guid")
	if err != nil {
		t.Fatal(err)
	}
	if ix.UIDValidity() != 1795373184 || ix.UIDNext() != 3 || len(ix.Records) != 1 {
		t.Fatalf("UIDVALIDITY %d, UIDNEXT %d, %d records", ix.UIDValidity(), ix.UIDNext(), len(ix.Records))
	}
	r := ix.Find(1)
	if r == nil || r.Flags != Seen || fmt.Sprint(ix.KeywordsOf(r)) != "[work]" || fmt.Sprintf("%x", r.Data(1)) != "18ca0b307f38036bef6f000083ecc375" || ix.Find(2) != nil {
		t.Errorf("record %+v", r)
	}
	if h := ix.Header("mdbox-hdr"); len(h) != 24 || ix.Header("nothing") != nil {
		t.Errorf("header %x", h)
	}
}

func TestMapLog(t *testing.T) {
	ix, err := Decode(nil, load(t, "map.log"), nil, "map", "ref")
	if err != nil {
		t.Fatal(err)
	}
	var refs []uint16
	for i := range ix.Records {
		if len(ix.Records[i].Data(0)) != 12 {
			t.Errorf("record %+v", ix.Records[i])
		}
		refs = append(refs, binary.LittleEndian.Uint16(ix.Records[i].Data(1)))
	}
	if got := fmt.Sprint(refs); got != "[1 1 2 0 1 1 1 1 1 1 1 1]" {
		t.Errorf("references %s", got)
	}
}

func TestIndexAndLog(t *testing.T) {
	main, log, old := load(t, "many.index"), load(t, "many.log"), load(t, "many.log.2")
	ix, err := Decode(bytes.Clone(main), bytes.Clone(log), bytes.Clone(old), "mdbox", "guid")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range ix.Records {
		r := &ix.Records[i]
		keywords := ix.KeywordsOf(r)
		sort.Strings(keywords)
		fmt.Fprintln(&b, r.UID, r.Flags, strings.Join(keywords, " "))
	}
	want := load(t, "many.txt")
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	// Anything that does not go together is no index.
	for name, c := range map[string][3][]byte{
		"no log":       {main, nil, nil},
		"no index":     {nil, log, nil},
		"cut index":    {main[:len(main)-1], log, old},
		"index header": {main[:100], log, old},
		"cut header":   {main, log[:20], old},
		"other index":  {main, set(log, 4, 12345), old},
		"big-endian":   {flip(main, atCompat), log, old},
		"version":      {flip(main, 0), log, old},
		"record size":  {set(main, atRecordSize, 1<<30), log, old},
		"records":      {set(main, atMessages, 1<<30), log, old},
		"header size":  {set(main, atHeaderSize, 1<<30), log, old},
		"log offset":   {set(main, atLogHead, 1<<30), log, old},
		"marked":       {main, set(log, 4, 0), old},
	} {
		if _, err := Decode(bytes.Clone(c[0]), bytes.Clone(c[1]), bytes.Clone(c[2])); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ix.Torn != "" {
		t.Errorf("a whole index is torn: %s", ix.Torn)
	}
	// What is just being written, or was cut off, does not count, and is noted.
	for n := 1; n < 8; n++ {
		ix, err := Decode(bytes.Clone(main), log[:len(log)-n:len(log)-n], bytes.Clone(old))
		if err != nil || ix.Torn == "" {
			t.Errorf("without the last %d bytes: %+v, %v", n, ix, err)
		}
	}
	ix, err = Decode(bytes.Clone(main), append(bytes.Clone(log), make([]byte, 16)...), bytes.Clone(old))
	if err != nil || ix.Torn == "" {
		t.Errorf("with a record that is not there yet: %+v, %v", ix, err)
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0xff
	return b
}

func set(b []byte, at int, value uint32) []byte {
	b = bytes.Clone(b)
	le.PutUint32(b[at:], value)
	return b
}

// FuzzDecode checks that whatever the files hold, UIDs rise, and that what the
// records refer to is there.
func FuzzDecode(f *testing.F) {
	none := []byte{}
	f.Add(none, load(f, "work.log"), none)
	f.Add(none, load(f, "map.log"), none)
	f.Add(load(f, "many.index"), load(f, "many.log"), load(f, "many.log.2"))
	f.Fuzz(func(t *testing.T, main, log, old []byte) {
		clone := func(b []byte) []byte {
			if len(b) == 0 {
				return nil
			}
			return bytes.Clone(b)
		}
		ix, err := Decode(clone(main), clone(log), clone(old), "mdbox", "ref")
		if err != nil {
			if !errors.Is(err, ErrBroken) {
				t.Fatal(err)
			}
			return
		}
		last := uint32(0)
		for i := range ix.Records {
			r := &ix.Records[i]
			if r.UID <= last || r.UID >= ix.UIDNext() || len(ix.KeywordsOf(r)) > len(ix.Keywords) || ix.Find(r.UID) != r {
				t.Fatalf("record %+v after %d, next %d", r, last, ix.UIDNext())
			}
			last = r.UID
		}
	})
}
