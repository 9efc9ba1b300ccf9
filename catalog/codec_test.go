package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
)

// rowTypes is one of each.
var rowTypes = []Row{User{}, Mailbox{}, Record{}, Content{}, Part{}, Pack{}, Frame{}, Run{}, Hold{}, Tombstone{}, Ack{}, Lock{}, Incident{}, Claim{}, Gate{}, Finding{}, Drill{}, Counter{}}

var nasty = []string{"", "plain", "Jörg", "\xff\xfe", "\x00", "\x00YQ==", "a\x00b", "q\"uo\\te", "line\nfeed\x7f\x1b", "<&>\u2028", "日本", "\\u0000"}

// randomRow fills a row of r's type with anything that normal accepts.
func randomRow(rng *rand.Rand, r Row, text func() string) Row {
	v := reflect.New(reflect.TypeOf(r)).Elem()
	fillRandom(rng, v, text)
	switch p := v.Addr().Interface().(type) {
	case *User:
		p.Name += "u"
	case *Mailbox:
		p.User += "u"
		p.ID++
	case *Record:
		p.ID++
		p.Mailbox++
	case *Content:
		for i := range p.Parts {
			p.Parts[i].Kind = chunk.KindData
		}
	case *Frame:
		p.Method = MethodRaw
		p.Plain = maxFrame
		for i := range p.Chunks {
			p.Chunks[i].Kind = chunk.KindPart
			p.Chunks[i].Offset, p.Chunks[i].Size = int64(i), 5
		}
	case *Run:
		p.Number++
	case *Hold:
		p.ID++
		p.Verdict = Rejected
	case *Tombstone:
		p.User += "u"
	case *Ack:
		p.Attention += "a"
	case *Incident:
		p.Name += "i"
		p.Source += "s"
	case *Claim:
		p.Incident += "i"
		p.User += "u"
		p.State = ClaimStates[rng.IntN(len(ClaimStates))]
		p.Grade = GradeProbable
	case *Gate:
		p.Incident += "i"
		p.User += "u"
		p.State, p.Told = GateStates[rng.IntN(len(GateStates))], GateWeb
	case *Finding:
		p.Incident += "i"
		p.ID += "i"
		p.Class = FindingClasses[rng.IntN(len(FindingClasses))]
	case *Drill:
		p.Seconds = rng.Float64() * 1e6
	case *Counter:
		p.Table = "record"
	}
	return v.Interface().(Row)
}

func fillRandom(rng *rand.Rand, v reflect.Value, text func() string) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(0, rng.Int64()-rng.Int64()).In(time.FixedZone("x", 3600))))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillRandom(rng, v.Field(i), text)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillRandom(rng, v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fillRandom(rng, v.Index(i), text)
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rng.IntN(255) + 1))
		}
	case reflect.String:
		v.SetString(text())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(rng.Int32()) + 1)
	case reflect.Uint32:
		v.SetUint(uint64(rng.Uint32()) | 1)
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(uint64(rng.IntN(200) + 1))
	}
}

func TestLinesGiveRowsBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, kind := range rowTypes {
		t.Run(kind.rowName(), func(t *testing.T) {
			for range 200 {
				row, err := randomRow(rng, kind, func() string { return nasty[rng.IntN(len(nasty))] }).normal()
				must(t, err)
				line := appendLine(nil, verbPut, row)
				got, del, err := decodeLine(line)
				if err != nil || del {
					t.Fatalf("%s: %v", line, err)
				}
				if !reflect.DeepEqual(got, row) {
					t.Fatalf("%s gives\n%+v, want\n%+v", line, got, row)
				}
				again, del, err := decodeLine(appendLine(nil, verbDelete, row))
				if err != nil || !del || !bytes.Equal(again.appendKey(nil), row.appendKey(nil)) {
					t.Fatalf("%s as a deletion gives %+v (%v)", line, again, err)
				}
			}
		})
	}
}

// TestEveryFieldIsWritten compares the lines written by hand with the structs'
// tags.
func TestEveryFieldIsWritten(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, kind := range rowTypes {
		row := randomRow(rng, kind, func() string { return "text" })
		byTag, err := json.Marshal(row)
		must(t, err)
		if got, want := jsonKeys(t, row.appendRow(nil)), jsonKeys(t, byTag); !slices.Equal(got, want) {
			t.Errorf("%s: fields %v, want %v", kind.rowName(), got, want)
		}
		// Left out where zero, as the tags say.
		empty := reflect.Zero(reflect.TypeOf(kind)).Interface().(Row)
		byTag, err = json.Marshal(empty)
		must(t, err)
		if got, want := jsonKeys(t, empty.appendRow(nil)), jsonKeys(t, byTag); !slices.Equal(got, want) {
			t.Errorf("empty %s: fields %v, want %v", kind.rowName(), got, want)
		}
	}
}

func jsonKeys(t *testing.T, line []byte) []string {
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return slices.Sorted(maps.Keys(m))
}

func TestBadLines(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for name, line := range map[string]string{
		"empty":            "",
		"no object":        `[]`,
		"null":             `null`,
		"cut off":          `{"put":"ack","row":{"attention":"x"`,
		"more values":      `{"put":"ack","row":{"attention":"x"}} {}`,
		"no row":           `{"put":"ack"}`,
		"row null":         `{"put":"ack","row":null}`,
		"unknown verb":     `{"patch":"ack","row":{"attention":"x"}}`,
		"both verbs":       `{"put":"ack","delete":"ack","row":{"attention":"x"}}`,
		"unknown row":      `{"put":"nack","row":{"attention":"x"}}`,
		"unknown field":    `{"put":"ack","row":{"attention":"x","colour":"red"}}`,
		"no key":           `{"put":"ack","row":{}}`,
		"bad hash":         `{"put":"pack","row":{"id":"zz","size":1,"commit":1}}`,
		"zero hash":        `{"put":"pack","row":{"id":"` + strings.Repeat("00", 32) + `","size":1,"commit":1}}`,
		"negative size":    `{"put":"pack","row":{"id":"` + id + `","size":-1,"commit":1}}`,
		"huge number":      `{"put":"pack","row":{"id":"` + id + `","size":1,"commit":18446744073709551615}}`,
		"bad time":         `{"put":"ack","row":{"attention":"x","at":"yesterday"}}`,
		"bad base64":       `{"put":"ack","row":{"attention":"\u0000!"}}`,
		"chunk outside":    `{"put":"frame","row":{"pack":"` + id + `","offset":0,"stored":1,"plain":4,"method":"raw","chunks":[{"kind":"d","id":"` + id + `","offset":3,"size":2}]}}`,
		"chunk overflow":   `{"put":"frame","row":{"pack":"` + id + `","offset":0,"stored":1,"plain":4,"method":"raw","chunks":[{"kind":"d","id":"` + id + `","offset":1,"size":9223372036854775807}]}}`,
		"no kind":          `{"put":"frame","row":{"pack":"` + id + `","offset":0,"stored":1,"plain":4,"method":"raw","chunks":[{"id":"` + id + `","offset":0,"size":1}]}}`,
		"unknown method":   `{"put":"frame","row":{"pack":"` + id + `","offset":0,"stored":1,"plain":4,"method":"lzma","chunks":[]}}`,
		"frame too large":  `{"put":"frame","row":{"pack":"` + id + `","offset":0,"stored":1,"plain":4294967296,"method":"raw","chunks":[]}}`,
		"no pack":          `{"put":"frame","row":{"pack":"` + id + `","offset":0,"stored":1,"plain":4,"method":"raw","chunks":[]}}`,
		"no user":          `{"put":"mailbox","row":{"id":9,"user":"nobody","name":"INBOX"}}`,
		"no mailbox":       `{"put":"record","row":{"id":9,"mailbox":77,"content":"` + id + `"}}`,
		"no content":       `{"put":"record","row":{"id":9,"mailbox":1,"content":"` + id + `"}}`,
		"no message chunk": `{"put":"content","row":{"id":"` + id + `","sha1":"` + id[:40] + `","size":1}}`,
		"no part chunk":    `{"put":"part","row":{"id":"` + id + `","size":1,"chunks":[]}}`,
		"message as part":  `{"put":"content","row":{"id":"` + id + `","sha1":"` + id[:40] + `","size":1,"parts":[{"kind":"m","id":"` + id + `"}]}}`,
		"another frame":    `{"put":"frame","row":{"pack":"` + testID("pack").String() + `","offset":10,"stored":1,"plain":4,"method":"raw","chunks":[]}}`,
		"counter goes":     `{"delete":"counter","row":{"table":"record"}}`,
		"unknown counter":  `{"put":"counter","row":{"table":"user","last":3}}`,
		"pack in use":      `{"delete":"pack","row":{"id":"` + testID("pack").String() + `"}}`,
		"frame in use":     `{"delete":"frame","row":{"pack":"` + testID("pack").String() + `","offset":10}}`,
		"content in use":   `{"delete":"content","row":{"id":"` + testID("message").String() + `"}}`,
		"part in use":      `{"delete":"part","row":{"id":"` + testID("part").String() + `"}}`,
		"mailbox in use":   `{"delete":"mailbox","row":{"id":1}}`,
		"no incident":      `{"put":"claim","row":{"incident":"none","id":1,"user":"u","folder":"INBOX","state":"owed"}}`,
		"no state":         `{"put":"claim","row":{"incident":"fire","id":1,"user":"u","folder":"INBOX","state":"mislaid"}}`,
		"incident in use":  `{"delete":"incident","row":{"name":"fire"}}`,
		"user in use":      `{"delete":"user","row":{"name":"alice"}}`,
	} {
		t.Run(name, func(t *testing.T) { refused(t, line) })
	}
}

// refused applies a line to the sample: it must be an error that kills the
// transaction and leaves nothing behind.
func refused(t *testing.T, line string) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	before := dump(t, c)
	tx := begin(t, c)
	err := tx.Apply([]byte(line))
	if err == nil || !strings.Contains(err.Error(), ErrRow.Error()) {
		t.Fatalf("Apply: %v, want ErrRow", err)
	}
	for what, again := range map[string]error{
		"Put":    tx.Put(Ack{Attention: "later"}),
		"Delete": tx.Delete(Ack{Attention: "later"}),
		"Users":  tx.Users(ctx, func(*User) error { return nil }),
		"Commit": tx.Commit(Head{Vault: "v", Number: 9}),
	} {
		if again == nil {
			t.Errorf("%s works in a dead transaction", what)
		}
	}
	if after := dump(t, c); after != before {
		t.Fatal(firstDifference(after, before))
	}
}

func TestLineTooLong(t *testing.T) {
	if _, _, err := decodeLine(make([]byte, MaxLine+1)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Fatal(err)
	}
}

func TestNormalForms(t *testing.T) {
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	row, err := Ack{Attention: "x", At: far}.normal()
	if err != nil || row.(Ack).At != lastTime {
		t.Errorf("%v, %v", row, err)
	}
	row, err = Ack{Attention: "x", At: time.Date(3, 1, 1, 0, 0, 0, 0, time.UTC)}.normal()
	if err != nil || row.(Ack).At != firstTime {
		t.Errorf("%v, %v", row, err)
	}
	long := strings.Repeat("é", MaxHeader)
	row, err = Content{ID: testID("x"), Subject: "x" + long}.normal()
	if s := row.(Content).Subject; err != nil || len(s) != MaxHeader-1 || !strings.HasPrefix(long, s[1:]) {
		t.Errorf("subject of %d bytes, %v", len(s), err)
	}
}

// FuzzApply: whatever a journal says, the catalog stays whole.
func FuzzApply(f *testing.F) {
	for _, r := range sample() {
		n, err := r.normal()
		must(f, err)
		f.Add(appendLine(nil, verbPut, n))
		f.Add(appendLine(nil, verbDelete, n))
	}
	m, d := testID("message"), data("d1")
	for _, r := range []Row{
		Content{ID: m, Parts: []chunk.Ref{d, d, d}},
		Part{ID: testID("part"), Chunks: []chunk.ID{d.ID}},
		frame(testID("pack"), 10, message(m), message(m)),
		frame(testID("pack"), 1<<40, d),
	} {
		f.Add(appendLine(nil, verbPut, r))
	}
	f.Add([]byte(fmt.Sprintf(`{"row":{"id":%q},"delete":"content"}`, m)))
	c := newCatalog(f)
	apply(f, c, sample()...)
	want := dump(f, c)
	f.Fuzz(func(t *testing.T, line []byte) {
		tx := begin(t, c)
		if tx.Apply(line) == nil {
			got := dump(t, tx)
			checkInvariants(t, tx)
			if again := dump(t, replay(t, got)); again != got {
				t.Errorf("after %q: %s", line, firstDifference(again, got))
			}
		}
		must(t, tx.Rollback())
		if got := dump(t, c); got != want {
			t.Errorf("after %q rolled back: %s", line, firstDifference(got, want))
		}
	})
}
