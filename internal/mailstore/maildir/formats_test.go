package maildir

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"salvor/internal/mailstore/folder"
)

// readAll reads a uidlist into "uid size base" lines.
func readAll(text string) (lines []string, sum uidSummary, err error) {
	sum, err = readUIDList(strings.NewReader(text), func(l uidLine) {
		lines = append(lines, fmt.Sprintf("%d %d %s", l.uid, l.size, l.base))
	})
	return lines, sum, err
}

func TestReadUIDList(t *testing.T) {
	const head = "3 V1195330421 N25 G3085f01b7f11094c501100008c4a11c1\n"
	long := strings.Repeat("x", maxUIDLine)
	for _, c := range []struct {
		name, text string
		want       []string
		next       uint32
		bad, torn  bool
	}{
		{"no lines", head, nil, 25, false, false},
		{"extensions", head + "5 W3 S2 Gabc Pdef O7 :1.a,S=2:2,S\n7 :2.b\n", []string{"5 2 1.a,S=2", "7 -1 2.b"}, 25, false, false},
		{"stale N", head + "28 W824 S798 :a\n29 :b\n", []string{"28 798 a", "29 -1 b"}, 30, false, false},
		{"version 1", "1 1195330421 3\n1 a.b\n2 c:2,S\n", []string{"1 -1 a.b", "2 -1 c"}, 3, false, false},
		{"being written", head + "5 :a\n6 :b", []string{"5 -1 a"}, 25, false, true},
		{"out of order", head + "5 :a\n5 :b\n4 :c\n6 :d\n", []string{"5 -1 a", "6 -1 d"}, 25, true, false},
		{"no line", head + "hello\n\n0 :a\n-1 :b\n99999999999 :c\n8\n9 :\n6 :d\n", []string{"6 -1 d"}, 25, true, false},
		{"long line", head + "5 :" + long + "\n6 :d\n", []string{"6 -1 d"}, 25, true, false},
		{"last UID", head + "4294967295 :a\n", []string{"4294967295 -1 a"}, 4294967295, false, false},
		{"unknown fields", "3 V7 X9 N2 Zz\n1 Q5 :a\n", []string{"1 -1 a"}, 2, false, false},
	} {
		got, sum, err := readAll(c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) || sum.uidNext() != c.next || (sum.bad != "") != c.bad || sum.torn != c.torn {
			t.Errorf("%s: %q, %+v, %v", c.name, got, sum, err)
		}
	}
	for _, text := range []string{"", "\n", "2 V1 N1\n", "3 N5\n", "3 V0 N1\n", "3 Vx N1\n", "1 5\n", "3", strings.Repeat("\x00", 10000)} {
		if _, _, err := readAll(text); err == nil {
			t.Errorf("%.20q was read", text)
		}
	}
}

// FuzzUIDList checks that UIDs rise and that the quick look at a uidlist agrees
// with its reading.
func FuzzUIDList(f *testing.F) {
	f.Add([]byte("3 V1195330421 N25 G3085f01b7f11094c501100008c4a11c1\n5 W3 S2 :1.a,S=2:2,S\n7 :2.b\n"))
	f.Add([]byte("1 1195330421 3\n1 a.b\n2 c:2,S\n"))
	f.Add([]byte("3 V1 N1\n5 :a\n4 :b\n\x00\n9 :c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		last, text := uint32(0), map[uint32]string{}
		sum, err := readUIDList(bytes.NewReader(b), func(l uidLine) {
			if uint32(l.uid) <= last || len(l.base) == 0 || bytes.IndexByte(l.base, ':') >= 0 {
				t.Errorf("UID %d after %d, base %q", l.uid, last, l.base)
			}
			last = uint32(l.uid)
			text[last] = l.textV3()
			again, ok := parseUIDLine(fmt.Appendf(nil, "%d %s", l.uid, text[last]))
			if !ok || again.uid != l.uid || !bytes.Equal(again.base, l.base) || again.size != l.size && l.rest[0] == ':' {
				t.Errorf("line %q reads as %+v", text[last], again)
			}
		})
		quick, err2 := peekUIDList(bytes.NewReader(b), int64(len(b)))
		if err == nil && sum.bad == "" && len(b) < 1000 && (err2 != nil || quick.validity != sum.validity || quick.last != sum.last || quick.guid != sum.guid) {
			t.Errorf("read %+v, looked %+v, %v", sum, quick, err2)
		}
	})
}

func TestKeywords(t *testing.T) {
	k, err := readKeywords(strings.NewReader("0 work-todo\n1 $Label1\nx y\n26 zz\n25 last\n3\n4 a b\n5 \xff\n2 two\n2 again\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := keywords{0: "work-todo", 1: "$Label1", 2: "again", 25: "last"}
	if *k != want {
		t.Errorf("got %q", *k)
	}
	for name, want := range map[string]string{
		"a:2,": "", "a:2,S": `\Seen`, "a:2,PSab": `$Forwarded $Label1 \Seen work-todo`, "a:2,Sz,extra": `\Seen last`, "a:1,S": "", "a": "", "a:2,Fy!?": `\Flagged unknown-24`, "a:2,S:2,T": `\Deleted`, "a:2,SS": `\Seen`,
	} {
		if got := strings.Join(flagsOf(name, k), " "); got != want {
			t.Errorf("flags of %q are %q, want %q", name, got, want)
		}
	}
}

// FuzzKeywords checks that whatever the file holds, flags are fit to be stored.
func FuzzKeywords(f *testing.F) {
	f.Add([]byte("0 work-todo\n1 $Label1\n"), "1.vm:2,FSab")
	f.Add([]byte("25 z\n26 no\n\n-1 x"), "1.vm:2,zzz")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		k, _ := readKeywords(bytes.NewReader(b))
		flags := flagsOf(name, k)
		for i, fl := range flags {
			if fl == "" || !utf8.ValidString(fl) || strings.ContainsFunc(fl, unicode.IsControl) || i > 0 && flags[i-1] >= fl {
				t.Errorf("%q gives %q", name, flags)
			}
		}
	})
}

func TestSubscriptions(t *testing.T) {
	dotted, nested := &Options{}, &Options{Layout: FS, Encoding: folder.UTF8}
	for _, c := range []struct {
		text string
		o    *Options
		want []string
	}{
		{"V\t2\n\nWork\t2024\nEntw&APw-rfe\nINBOX\n", dotted, []string{"Work/2024", "Entwürfe", "INBOX"}},
		{"V\t2\n\na\x01tb\n", nested, []string{`a\x09b`}},
		{"Work.2024\nEntw&APw-rfe\nInbox\n", dotted, []string{"Work/2024", "Entwürfe", "INBOX"}},
		{"Work/2024\nEntwürfe\nINBOX\n\n", nested, []string{"Work/2024", "Entwürfe", "INBOX"}},
		{"", dotted, nil},
	} {
		got, err := readSubscriptions(strings.NewReader(c.text), c.o)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%q: %v, %v", c.text, got, err)
		}
		for _, n := range c.want {
			if !got[n] {
				t.Errorf("%q: %q is missing in %v", c.text, n, got)
			}
		}
	}
}

// FuzzSubscriptions checks that a name which is added is there afterwards and
// removes none.
func FuzzSubscriptions(f *testing.F) {
	f.Add([]byte("V\t2\n\nWork\t2024\n"), "Work/2025")
	f.Add([]byte("Work.2024\nINBOX"), "INBOX")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		for _, o := range []*Options{{}, {Layout: FS}, {Encoding: folder.UTF8}} {
			before, err := readSubscriptions(bytes.NewReader(b), o)
			if err != nil || len(b) > maxSideFile/2 || len(name) > 1000 {
				return
			}
			p := o.targetOf(name)
			after, err := readSubscriptions(bytes.NewReader(o.addSubscription(b, p)), o)
			if err != nil {
				t.Fatal(err)
			}
			for n := range before {
				if !after[n] {
					t.Errorf("%q has gone", n)
				}
			}
			if shown := o.nameAt(p); !after[shown] {
				t.Errorf("%q is not in %v", shown, after)
			}
		}
	})
}

// FuzzTarget checks that whatever a folder is called, it gets a directory of
// its own that its name leads back to, and none of another's files.
func FuzzTarget(f *testing.F) {
	for _, n := range []string{"INBOX", "Work/2024", "../x", "a.b", "", "cur", "x/cur", "INBOX/x", "a\x00", `\x49NBOX`, `a\x2fb`, strings.Repeat("ü/", 200), ".", "~", "dovecot-uidlist"} {
		f.Add(n, "Work")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, o := range []*Options{{}, {Encoding: folder.UTF8}, {Layout: FS}, {Layout: FS, Encoding: folder.UTF8}} {
			pa, pb := o.targetOf(a), o.targetOf(b)
			if a != b && pa.dir == pb.dir && !(isInbox(a) && isInbox(b)) {
				t.Errorf("%q and %q are both %q", a, b, pa.dir)
			}
			levels := strings.Split(pa.dir, "/")
			for _, l := range levels {
				if l == ".." || l == "" || len(l) > folder.MaxFile || strings.ContainsAny(l, "\x00\n") || o.Layout == FS && reserved(l) {
					t.Errorf("%q has directory %q", a, pa.dir)
				}
			}
			if o.Layout == PlusPlus && len(levels) > 1 {
				t.Errorf("%q has directory %q", a, pa.dir)
			}
			if back := o.placeOf(o.nameAt(pa)); back.dir != pa.dir {
				t.Errorf("%q has directory %q, which is listed as %q, which is in %q", a, pa.dir, o.nameAt(pa), back.dir)
			}
		}
	})
}
