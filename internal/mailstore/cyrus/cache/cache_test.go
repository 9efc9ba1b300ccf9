package cache

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"salvor/internal/mailstore/cyrus/index"
)

const testdata = "../testdata"

func load(t testing.TB, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{testdata}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The caches of a real Cyrus tell the Message-ID and date that stand in the
// messages' files.
func TestEnvelopes(t *testing.T) {
	for version, data := range map[string]string{"v6": "data", "v10": "data-carol", "v12": "data", "v17": "data"} {
		f, err := index.Decode(load(t, "index", version, "cyrus.index"))
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(bytes.NewReader(load(t, "index", version, "cyrus.cache")), &f.Header)
		if r == nil || f.Len() == 0 {
			t.Fatalf("%s: %d records, reader %v", version, f.Len(), r)
		}
		for i := range f.Len() {
			rec := f.Record(i)
			m, err := mail.ReadMessage(bytes.NewReader(load(t, data, strconv.FormatUint(uint64(rec.UID), 10)+".")))
			if err != nil {
				t.Fatal(err)
			}
			e := r.Envelope(&rec, f.Header.Version12())
			if id := m.Header.Get("Message-ID"); id == "" || e.MessageID != id || !strings.HasPrefix(e.Text, `("`+m.Header.Get("Date")+`" "`) {
				t.Errorf("%s: UID %d: %+v, its file has %q", version, rec.UID, e, m.Header)
			}
		}
	}
}

// made is a cache of one record with this envelope, and the record's index.
func made(envelope string) ([]byte, index.Record) {
	b := []byte{0, 0, 0, 7}
	for i := range items {
		text := envelope
		if i > 0 {
			text = strings.Repeat("x", 7*i)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
		b = append(b, make([]byte, -len(text)&3)...)
	}
	return b, index.Record{CacheOffset: 4, CacheCRC: crc32.ChecksumIEEE(b[4:])}
}

func TestForms(t *testing.T) {
	long := strings.Repeat("a", MaxEnvelope)
	nils := strings.Repeat("NIL ", 8)
	for _, tt := range []struct{ envelope, id, text string }{
		{`(` + nils + `NIL "<a@b>")`, "<a@b>", "same"},
		{`(` + nils + `"<x>" " <a@b> ")`, "<a@b>", "same"},
		{`(` + nils + `NIL NIL)`, "", "same"},
		{`(NIL "a \"q\" \\ )" ((NIL NIL "a" "b")("x" NIL "c" "d")) NIL NIL NIL NIL NIL NIL "<a@b>")`, "<a@b>", "same"},
		{"(NIL {4}\r\na) \x00 " + strings.Repeat("NIL ", 7) + "{5}\r\n<a@b>)", "<a@b>", "same"},
		{"(NIL {4+}\r\na\xff\"( " + strings.Repeat("NIL ", 7) + `"<a@b>")`, "<a@b>", "(NIL {4+}\r\na\uFFFD\"( " + strings.Repeat("NIL ", 7) + `"<a@b>")`},
		{`(NIL "` + long + `" ` + strings.Repeat("NIL ", 7) + `"<a@b>")`, "<a@b>", ""},
		{`(` + nils + `NIL "` + long + `")`, "", ""},
		{`(` + nils + "NIL \"<a\x01@b>\")", "", "same"},
		{`(` + nils + "NIL \"<a\xff@b>\")", "", "(" + nils + "NIL \"<a\uFFFD@b>\")"},
		{`(` + nils + `NIL "<a@b>") x`, "", ""},
		{`(` + nils + `"<a@b>")`, "", ""},
		{`(` + nils + `NIL NIL "<a@b>")`, "", ""},
		{`(` + nils + `NIL "<a@b>`, "", ""},
		{"(NIL {99}\r\na", "", ""},
		{"(NIL {-1}\r\na", "", ""},
		{"(NIL {4", "", ""},
		{strings.Repeat("(", 10000), "", ""},
		{"", "", ""},
		{`"a"`, "", ""},
	} {
		want := Envelope{Text: tt.text, MessageID: tt.id}
		if tt.text == "same" {
			want.Text = tt.envelope
		}
		b, rec := made(tt.envelope)
		r := NewReader(bytes.NewReader(b), &index.Header{Generation: 7})
		if got := r.Envelope(&rec, true); got != want {
			t.Errorf("%.60q: %+v", tt.envelope, got)
		}
	}
}

// Every flipped bit, and every cut, of a record is noticed.
func TestDamage(t *testing.T) {
	b, rec := made(`(` + strings.Repeat("NIL ", 9) + `"<a@b>")`)
	h := &index.Header{Generation: 7}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		if r := NewReader(bytes.NewReader(bad), h); (r == nil) != (i < 4) || r.Envelope(&rec, true) != (Envelope{}) {
			t.Errorf("byte %d: a flipped bit goes unnoticed", i)
		}
		if r := NewReader(bytes.NewReader(b[:i]), h); r.Envelope(&rec, true) != (Envelope{}) {
			t.Errorf("byte %d: a cut goes unnoticed", i)
		}
	}
	for _, at := range []uint64{0, 3, 5, uint64(len(b)), 1 << 47, 1 << 63} {
		elsewhere := rec
		elsewhere.CacheOffset = at
		if got := NewReader(bytes.NewReader(b), h).Envelope(&elsewhere, true); got != (Envelope{}) {
			t.Errorf("at %d there is %+v", at, got)
		}
	}
}

// FuzzEnvelope: whatever stands in a file, what is told of it is bounded text.
func FuzzEnvelope(f *testing.F) {
	for _, envelope := range []string{"", `(` + strings.Repeat("NIL ", 9) + `"<a@b>")`, "({3}\r\nabc", "((((", "(\"\\"} {
		b, _ := made(envelope)
		f.Add(b, uint64(4))
	}
	f.Add(load(f, "index", "v17", "cyrus.cache"), uint64(4))
	f.Fuzz(func(t *testing.T, b []byte, at uint64) {
		var h index.Header
		if len(b) >= 4 {
			h.Generation = binary.BigEndian.Uint32(b)
		}
		r := NewReader(bytes.NewReader(b), &h)
		e := r.Envelope(&index.Record{CacheOffset: at}, false)
		if len(e.Text) > 3*MaxEnvelope || len(e.MessageID) > maxMessageID || e.Text != strings.ToValidUTF8(e.Text, "") || r != nil && len(r.buf) > 2*maxRecord {
			t.Errorf("%+v", e)
		}
	})
}
