package header

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Header
	}{
		{"3.6", `%(T e N user.bob I y5z9 Q user.bob A %(bob lrswipkxtecdan anyone p) U (work-todo $Label1))` + "\n",
			Header{"user.bob", "e", "y5z9", "user.bob", "bob\tlrswipkxtecdan\tanyone\tp\t", []string{"work-todo", "$Label1"}}},
		{"3.6, no quota, a flag removed", `%(T el N example.org!user.eve.we^ird I 0ipu A %() U (a NIL b))` + "\n",
			Header{Name: "example.org!user.eve.we^ird", Type: "el", UniqueID: "0ipu", Flags: []string{"a", "", "b"}}},
		{"2.4", "user.cassandane\t41f1e8b64e71fd5c\n\ncassandane\tlrs\tadmin\tlr\t\n",
			Header{QuotaRoot: "user.cassandane", UniqueID: "41f1e8b64e71fd5c", ACL: "cassandane\tlrs\tadmin\tlr\t"}},
		{"2.3, a flag removed", "\t41f1e8b64e71fd5c\nwork  $Label1 \nalice\tlrs\t\n",
			Header{UniqueID: "41f1e8b64e71fd5c", ACL: "alice\tlrs\t", Flags: []string{"work", "", "$Label1"}}},
		{"2.0, no identity", "user.alice\nwork\nalice\tlrs\t\n", Header{QuotaRoot: "user.alice", ACL: "alice\tlrs\t", Flags: []string{"work"}}},
	} {
		h, err := Parse([]byte(magic + tt.text))
		if h != nil && len(h.Flags) == 0 {
			h.Flags = nil
		}
		if err != nil || !reflect.DeepEqual(*h, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, h, err)
		}
		if h != nil && h.Legacy() != (tt.want.Type != "e") {
			t.Errorf("%s: legacy %v", tt.name, h.Legacy())
		}
	}
	for _, text := range []string{"", "Cyrus mailbox header\n", magic, magic + "%(N x", magic + "%(N x)", magic + "(N x)\n", magic + "a\tb\nflags"} {
		if h, err := Parse([]byte(text)); !errors.Is(err, ErrHeader) {
			t.Errorf("%q: %+v, %v", text, h, err)
		}
	}
	many := magic + "q\tid\n" + strings.Repeat("f ", 1000) + "\nacl\n"
	if h, err := Parse([]byte(many)); err != nil || len(h.Flags) != MaxFlags {
		t.Errorf("1000 flags: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../testdata/index/*/cyrus.header")
	if err != nil || len(files) < 10 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[len(magic):])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := Parse(append([]byte(magic), b...)); err == nil && len(h.Flags) > MaxFlags {
			t.Fatalf("%d flags", len(h.Flags))
		}
	})
}
