package carve

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func check(t testing.TB, b []byte) Shape {
	t.Helper()
	s, err := Check(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// without gives a message with something in place of its bytes from at on.
func with(b []byte, at int, in []byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], in)
	return b
}

func TestCheck(t *testing.T) {
	whole := picture(300)
	half := len(whole) / 1024 * 512
	nested := "From: a@example.org\nContent-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: multipart/alternative; boundary=\"outer-in\"\n\n--outer-in\n\ntext\n--outer-in--\n\n--outer\nContent-Type: message/rfc822\n\nSubject: within\nContent-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: deep\n\ntext\n--d--\n--outer--\n"
	for _, c := range []struct {
		name string
		mail []byte
		want Verdict
		why  string
	}{
		{"text", []byte(letter), Whole, ""},
		{"crlf", toCRLF([]byte(letter)), Whole, ""},
		{"multipart", whole, Whole, ""},
		{"multipart crlf", toCRLF(whole), Whole, ""},
		{"nested", []byte(nested), Whole, ""},
		{"header only", []byte("Subject: x\nFrom: a@example.org\n\n"), Whole, ""},
		{"footer behind base64", fmt.Appendf(nil, "From: a@example.org\nContent-Transfer-Encoding: base64\n\n%sQUJD\n\n____\nlist footer\n", strings.Repeat("QUJD", 19)+"\n"), Whole, ""},
		{"bare LF in CRLF", append(toCRLF([]byte(letter)), "one\ntwo\r\n"...), Whole, ""},

		{"no line end", []byte(letter + "last"), Plausible, "no end"},
		{"text of a block", padded([]byte(letter)), Plausible, "block ends"},
		{"nul", []byte(letter + "a\x00b\n"), Plausible, "NUL"},
		{"inner open", []byte(strings.Replace(nested, "--outer-in--\n", "", 1)), Plausible, "not closed"},
		{"unknown fields", []byte("Foo: 1\nBar: 2\n\nx\n"), Plausible, "known"},
		{"text of two", append(padded([]byte(letter + "\n")[:len(letter)]), letter...), Plausible, "another message"},

		{"zeros in the attachment", with(whole, half, make([]byte, 4096)), Partial, "zeros"},
		{"zeros in the header", with(append([]byte("X-Long: "+strings.Repeat("x", 1100)+"\n"), whole...), 512, make([]byte, 512)), Broken, "zeros"},
		{"zeros in the text", with([]byte(letter+strings.Repeat("text\n", 900)), 1024, make([]byte, 512)), Broken, "zeros"},
		{"zeros at the end", with(whole, half, make([]byte, len(whole))), Broken, "zeros"},
		{"cut", whole[:half], Broken, "never closed"},
		{"block left out", append(bytes.Clone(whole[:half]), whole[half+4096:]...), Broken, "base64"},
		{"block of text", with(whole, half, bytes.Repeat([]byte("some text: here\n"), 256)), Broken, "base64"},
		{"block of other base64", with(whole, half, picture(99)[400:400+4096]), Broken, "base64"},
		{"other line ends", append(padded([]byte(letter)), toCRLF([]byte(strings.Repeat("text\n", 99)))...), Plausible, "otherwise"},

		{"nothing", nil, NotMail, "header"},
		{"all zeros", make([]byte, 9000), NotMail, "header"},
		{"binary", []byte("\x7fELF\x01\x02\x03\n\x00\x00"), NotMail, "header"},
		{"prose", []byte("once upon a time\nthere was\n"), NotMail, "header"},
	} {
		s := check(t, c.mail)
		if s.Verdict != c.want || !strings.Contains(s.Why, c.why) || c.want != Whole && s.Why == "" {
			t.Errorf("%s: %s %q, %+v", c.name, s.Verdict, s.Why, s.Odd)
		}
		if slow, err := Check(iotest.OneByteReader(bytes.NewReader(c.mail)), -1); err != nil || slow.Verdict != s.Verdict {
			t.Errorf("%s byte by byte: %s, %v", c.name, slow.Verdict, err)
		}
	}
	if s, _ := Check(strings.NewReader(letter), 5000); s.Verdict != Broken {
		t.Errorf("shorter than promised: %s", s.Verdict)
	}
	s := check(t, with(whole, half, make([]byte, 4096)))
	if len(s.Zeros) != 1 || s.Zeros[0].Off != int64(half) || s.Zeros[0].Len != 4096 || s.Header != int64(bytes.Index(whole, []byte("\n\n")))+2 || !s.Closed {
		t.Errorf("%+v", s)
	}
}

// damage hurts a message in one way, where its length allows it; nil where not.
func damage(rng *rand.Rand, how string, m, other []byte) []byte {
	blocks := (len(m) - 1) / block
	if blocks < 1 {
		return nil
	}
	at := (1 + rng.IntN(blocks)) * block
	switch how {
	case "cut":
		return m[:at]
	case "zeroed":
		return with(m, at, make([]byte, min(block, len(m)-at)))
	case "zeroed in front":
		return with(m, 0, make([]byte, at))
	case "block left out":
		if at+block >= len(m) {
			return nil
		}
		return append(bytes.Clone(m[:at]), m[at+block:]...)
	case "merged":
		return append(bytes.Clone(m[:at]), other...)
	case "tail of another":
		if n := (len(other) - 1) / block; n > 0 {
			return append(bytes.Clone(m[:at]), other[(1+rng.IntN(n))*block:]...)
		}
	}
	return nil
}

// hurt counts, for each way of damage, how many messages Check takes for whole.
func hurt(t testing.TB, mails [][]byte) (rows []string, wrong int) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, how := range []string{"cut", "zeroed", "zeroed in front", "block left out", "merged", "tail of another"} {
		n, whole, multi := map[Verdict]int{}, 0, 0
		for i, m := range mails {
			structured := bytes.Contains(m, []byte("boundary="))
			b := damage(rng, how, m, mails[(i+1)%len(mails)])
			if b == nil {
				continue
			}
			s := check(t, b)
			n[s.Verdict]++
			if s.Verdict == Whole {
				if whole++; structured {
					multi++
				}
			}
			if s.Verdict == Whole && structured && (how == "cut" || strings.HasPrefix(how, "zeroed")) {
				wrong++
			}
		}
		rows = append(rows, fmt.Sprintf("%-16s %v; whole %d, of which multipart %d", how, n, whole, multi))
	}
	return rows, wrong
}

// TestCheckDamage cuts and zeroes generated mail: no multipart message of it may
// count as whole.
func TestCheckDamage(t *testing.T) {
	mails := generated(t, 250, 11)
	for i, m := range mails {
		if s := check(t, m); s.Verdict != Whole && !(s.Verdict == Plausible && len(m)%sector == 0) {
			t.Errorf("message %d: %s %s", i, s.Verdict, s.Why)
		}
	}
	rows, wrong := hurt(t, mails)
	for _, r := range rows {
		t.Log(r)
	}
	if wrong > 0 {
		t.Errorf("%d are wrongly whole", wrong)
	}
}

func TestCheckDamageOfRealMail(t *testing.T) {
	sets := map[string][][]byte{}
	corpora(t, func(set, _ string, mail []byte) { sets[set] = append(sets[set], withoutSeparator(mail)) })
	for set, mails := range sets {
		rows, wrong := hurt(t, mails)
		t.Log(set, wrong)
		for _, r := range rows {
			t.Log(r)
		}
	}
}
