package wire

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"
)

// answer reads one answer out of what a server sends.
func answer(text string, lim limits) (*Response, error) {
	p := &Pending{cmd: &Command{MaxText: lim.text, MaxLiteral: lim.literal}}
	c := &Conn{br: bufio.NewReader(strings.NewReader(text)), timed: &timedConn{idle: time.Minute}, inflight: []*Pending{p}}
	return c.readResponse()
}

// show writes values so that tests can compare them.
func show(vs []Value) string {
	var b strings.Builder
	for i, v := range vs {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch v.Kind {
		case Nil:
			b.WriteString("NIL")
		case Atom:
			b.Write(v.Bytes)
		case String:
			fmt.Fprintf(&b, "%q", v.Bytes)
		case List:
			b.WriteString("(" + show(v.Items) + ")")
		}
	}
	return b.String()
}

func TestValues(t *testing.T) {
	for text, want := range map[string]string{
		"* LIST (\\HasNoChildren \\Junk) \"/\" Junk\r\n":                    `(\HasNoChildren \Junk) "/" Junk`,
		"* LIST () NIL {3}\r\na\"b\r\n":                                     `() NIL "a\"b"`,
		"* LIST () \"\\\\\" \"a\\\"b\\\\c\"\r\n":                            `() "\\" "a\"b\\c"`,
		"* 5 FETCH (UID 7 BODY[] {5}\r\na)b\r\n FLAGS (\\Seen k))\r\n":      `(UID 7 BODY[] "a)b\r\n" FLAGS (\Seen k))`,
		"* 5 FETCH (BODY[] ~{3}\r\na\x00b)\r\n":                             `(BODY[] "a\x00b")`,
		"* 5 FETCH (BODY[] {0}\r\n UID 1)\r\n":                              `(BODY[] "" UID 1)`,
		"* 5 FETCH (BODY[HEADER.FIELDS (DATE \"X Y\")]<0> \"x\" UID 1)\r\n": `(BODY[HEADER.FIELDS (DATE "X Y")]<0> "x" UID 1)`,
		"* 5 FETCH (DIGEST.SHA1 da39a3ee UID 3)\r\n":                        `(DIGEST.SHA1 da39a3ee UID 3)`,
		"* STATUS {5+}\r\nab cd (MESSAGES 3)\r\n":                           `"ab cd" (MESSAGES 3)`,
		"* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\n":                        `(("INBOX." ".")) NIL NIL`,
		"* ESEARCH (TAG \"a1\") UID ALL 1:5,7 MODSEQ 9\r\n":                 `(TAG "a1") UID ALL 1:5,7 MODSEQ 9`,
		"* X   a  b \r\n": `a b`,
	} {
		r, err := answer(text, limits{})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		vs, err := r.Values()
		if err != nil || show(vs) != want {
			t.Errorf("%q: %s, %v, want %s", text, show(vs), err, want)
		}
	}
}

func TestNonsense(t *testing.T) {
	for text, want := range map[string]string{
		"\r\n":                     "no tag",
		"HTTP/1.1 400 Bad\x01\r\n": "no name", // 400 is a number before it
		"* \r\n":                   "no name",
		"* 99999999999 EXISTS\r\n": "a number that is none",
		"* LIST (a\r\n":            "ends too early",
		"* LIST a)\r\n":            "closes none",
		"* LIST \"a\r\n":           "does not end",
		"* LIST {5} a\r\n":         "a literal where none can be",
		"* LIST " + strings.Repeat("(", 100) + "\r\n": "lists in lists",
		"* LIST {5}\r\nab":                            "hung up in the middle of a literal of 5 bytes",
		"* LIST {2000000}\r\nab":                      "2000000 bytes, at most 1048576",
		"* LIST {99999999999999999999}\r\n":           "a literal where none can be",
		"* LIST a":                                    "hung up",
		"* " + strings.Repeat("x", 2<<20) + "\r\n":    "line of",
	} {
		r, err := answer(text, limits{})
		if err == nil {
			_, err = r.Values()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func TestStatusText(t *testing.T) {
	for text, want := range map[string][3]string{
		"* OK [UIDVALIDITY 5] fine\r\n":      {"UIDVALIDITY", "5", "fine"},
		"* OK fine {5}\r\n":                  {"", "", "fine {5}"},
		"* NO [badcharset (\"a]b\")] no\r\n": {"BADCHARSET", `("a]b")`, "no"},
		"* BYE\r\n":                          {"", "", ""},
		"* OK [ALERT] \x1b[31mred\xff\r\n":   {"ALERT", "", "?[31mred?"},
		"* OK [unclosed\r\n":                 {"", "", "[unclosed"},
	} {
		r, err := answer(text, limits{})
		if err != nil {
			t.Fatal(err)
		}
		code, args := r.Code()
		if got := [3]string{code, args, r.Text()}; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Cyrus' replication verbs leave IMAP's grammar; their callers read the parts.
func TestReplicationLiterals(t *testing.T) {
	r, err := answer("* MESSAGE %{default 0beec7 3}\r\nfoo %{p 1 2}\r\nab\r\n", limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range r.Parts {
		got = append(got, string(p.Text), string(p.Literal))
	}
	want := []string{"* MESSAGE %{default 0beec7 3}", "foo", " %{p 1 2}", "ab", "", ""}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != len(want) {
		t.Errorf("parts %q, want %q", got, want)
	}
}

// FuzzAnswer reads anything as answers: no panic, no memory beyond the limits.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"* LIST (\\A) \"/\" {3}\r\nabc\r\n", "* 5 FETCH (UID 7 BODY[] {5}\r\nabcde FLAGS ())\r\n", "* OK [CAPABILITY A B] x\r\n", "+ go\r\n",
		"a1 NO [OVERQUOTA] full\r\n", "* ESEARCH (TAG \"a\") UID ALL 1,3:9\r\n", "* STATUS ~{1}\r\nx (A ((((B))))\r\n", "* MESSAGE %{a b 2}\r\nxx\r\n",
		"* 1 FETCH (X \"a\\\"b\" Y BODY[A (B C)]<1> Z NIL)\n", "* SEARCH 1 2 (MODSEQ 3)\r\n", "* NAMESPACE ((\"\" \"/\")) NIL ((\"a\" NIL \"X\" (\"y\")))\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := answer(text, limits{})
		if err != nil {
			return
		}
		r.Text()
		r.Values()
		if _, err := fetched(r); err == nil && r.Tag == "+" {
			t.Log("a challenge that reads like a message")
		}
		esearched(r)
		searched(string(r.Parts[0].Text[r.rest:]))
		size := 0
		for _, p := range r.Parts {
			size += len(p.Text) + len(p.Literal)
		}
		if size > len(text) {
			t.Fatalf("%d bytes out of %d", size, len(text))
		}
	})
}
