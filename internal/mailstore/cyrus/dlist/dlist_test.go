package dlist

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	v, err := Parse([]byte(`%(T e N "user.alice.Sp ace" X {4}` + "\r\n" + `a"b) A %(alice lrs "b ob" "") U (work (x) y NIL "NIL" "q\"uo\\te") V 17 L ()  E %())` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"T": "e", "N": "user.alice.Sp ace", "X": `a"b)`, "V": "17", "absent": "", "U": ""} {
		if got := v.Text(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if v.Number("V") != 17 || v.Number("T") != 0 || len(v.Get("L").Items) != 0 || !v.Get("L").List || !v.Get("E").Map {
		t.Errorf("%+v", v)
	}
	rights := v.Get("A")
	if len(rights.Items) != 2 || rights.Items[1].Key != "b ob" || rights.Items[1].Atom != "" || rights.Text("alice") != "lrs" {
		t.Errorf("A is %+v", rights)
	}
	var words []string
	for _, i := range v.Get("U").Items {
		word := i.Atom
		if i.List {
			word = "list of " + i.Items[0].Atom
		}
		if i.Nil {
			word = "nothing"
		}
		words = append(words, word)
	}
	if got := strings.Join(words, "|"); got != `work|list of x|y|nothing|NIL|q"uo\te` {
		t.Errorf("U is %s", got)
	}
}

func TestNonsense(t *testing.T) {
	for _, text := range []string{
		"", "(", "%(", "%(K", "%(K)", "%(K (", "(a b", `("open`, `("open\`, "({9}\r\nshort)", "({4294967296}\n)", "({x}\n)", "({3}abc)", ")", "(a) (b)",
		strings.Repeat("(", 100) + strings.Repeat(")", 100),
	} {
		if v, err := Parse([]byte(text)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %+v, %v", text, v, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`%(T e N user.alice I 5f A %(alice lrs) U (work $Label1) H (%(N user.bob T ed)))`))
	f.Add([]byte("%(S (51895 100000) M (46) MODSEQ 99)"))
	f.Add([]byte("(a {3}\r\nb c \"d\\\"\" NIL)"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		if err != nil {
			return
		}
		var size func(Value, int) int
		size = func(v Value, depth int) int {
			if depth > maxDepth {
				t.Fatal("too deep")
			}
			n := len(v.Atom)
			for _, i := range v.Items {
				n += len(i.Key) + size(i.Value, depth+1)
			}
			return n
		}
		if n := size(v, 0); n > len(b) {
			t.Fatalf("%d bytes of text in %d", n, len(b))
		}
	})
}
