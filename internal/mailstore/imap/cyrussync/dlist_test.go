package cyrussync

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"salvor/internal/mailstore/imap/wire"
)

func text(s string) Value { return Value{Kind: Text, Bytes: []byte(s)} }

// parts cuts an answer at "|", where a literal stands between two bars.
func parts(s string) []wire.Part {
	var out []wire.Part
	pieces := strings.Split(s, "|")
	for i := 0; i < len(pieces); i += 2 {
		p := wire.Part{Text: []byte(pieces[i])}
		if i+1 < len(pieces) {
			p.Literal = []byte(pieces[i+1])
		}
		out = append(out, p)
	}
	return out
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Value
		err  error
	}{
		{"x", text("x"), nil},
		{"NIL", Value{}, nil},
		{`"NIL"`, text("NIL"), nil},
		{`"a \"b\\ c"`, text(`a "b\ c`), nil},
		{`()`, Value{Kind: List}, nil},
		{`(\Seen work)`, Value{Kind: List, Items: []Value{text(`\Seen`), text("work")}}, nil},
		{"({3}|a)b|)", Value{Kind: List, Items: []Value{text("a)b")}}, nil},
		{"%(A 1 B (2))", Value{Kind: Map, Keys: []string{"A", "B"}, Items: []Value{text("1"), {Kind: List, Items: []Value{text("2")}}}}, nil},
		{"%{default 0123 4}|a\x00\r\n|", Value{Kind: File, Bytes: []byte("a\x00\r\n"), Partition: "default", GUID: "0123"}, nil},
		{"", Value{}, errEnd},
		{"(", Value{}, errEnd},
		{"(a", Value{}, errEnd},
		{"%(A", Value{}, errEnd},
		{`"a`, Value{}, errEnd},
		{"a b", Value{}, errAfter},
		{"{3}|ab|", Value{}, errMark},
		{"{3}", Value{}, errMark},
		{"{-1}|a|", Value{}, errMark},
		{"%{default 4}|abcd|", Value{}, errMark},
		{"%{", Value{}, errMark},
		{strings.Repeat("(", 100), Value{}, errDeep},
	} {
		got, err := Parse(parts(tt.in))
		if !errors.Is(err, tt.err) || err == nil && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, %v, want %+v, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"%(A 1 B (x \"y\"))", "({3}|a)b|)", "%{default 01 4}|abcd|", "%(MBOXNAME user.x LAST_UID 4 UIDVALIDITY 5 HIGHESTMODSEQ 6)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(parts(s))
		if err != nil {
			return
		}
		if info, err := InfoOf(v); err == nil && info.Name == "" {
			t.Errorf("%q: a mailbox without a name", s)
		}
	})
}

func TestInfoOf(t *testing.T) {
	const good = "%(UNIQUEID u MBOXNAME user.x LAST_UID 4 HIGHESTMODSEQ 6 UIDVALIDITY 5 PARTITION p ACL \"x\tlrs\t\")"
	v, err := Parse(parts(good))
	if err != nil {
		t.Fatal(err)
	}
	want := Info{Name: "user.x", UniqueID: "u", Partition: "p", ACL: "x\tlrs\t", LastUID: 4, UIDValidity: 5, HighestModSeq: 6}
	if got, err := InfoOf(v); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, change := range []string{"LAST_UID 4", "UIDVALIDITY 5", "HIGHESTMODSEQ 6", "MBOXNAME user.x"} {
		name, _, _ := strings.Cut(change, " ")
		v, err := Parse(parts(strings.Replace(good, change, name+" -1x", 1)))
		if name == "MBOXNAME" {
			v, err = Parse(parts(strings.Replace(good, change, "", 1)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := InfoOf(v); err == nil {
			t.Errorf("without %s: %+v", change, got)
		}
	}
}
