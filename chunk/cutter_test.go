package chunk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

// rebuild is what a restore does, from a Message.
func rebuild(m *Message) ([]byte, error) {
	lf, err := RebuildMessage(nil, m.ID, m.Recipe, fetchFrom(m))
	if err != nil {
		return nil, err
	}
	return m.LineEnds.Restore(nil, lf)
}

func fetchFrom(m *Message) func(PartRef) ([]byte, error) {
	return func(ref PartRef) ([]byte, error) {
		for _, p := range m.Parts {
			if p.ID == ref.ID {
				return p.Data, nil
			}
		}
		return nil, fmt.Errorf("no part %s", ref.ID)
	}
}

func newCutter(t testing.TB) *Cutter {
	t.Helper()
	c, err := NewCutter(DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkMessage compares everything in a Message with what simple code makes
// of the stored bytes.
func checkMessage(t testing.TB, m *Message, stored []byte) {
	t.Helper()
	if got, err := rebuild(m); err != nil || !bytes.Equal(got, stored) {
		t.Fatalf("rebuilt %d bytes of %d, %v", len(got), len(stored), err)
	}
	id, sum, size := WireSums(stored)
	if m.ID != id || m.SHA1 != sum || m.Size != size {
		t.Fatalf("wire form %s %s %d, want %s %s %d", m.ID, m.SHA1, m.Size, id, sum, size)
	}
	if m.Stored != Sum(stored) || m.StoredSize != int64(len(stored)) {
		t.Fatalf("stored bytes %s %d, want %s %d", m.Stored, m.StoredSize, Sum(stored), len(stored))
	}
	if len(m.Recipe) > MaxRecipe {
		t.Fatalf("recipe of %d bytes", len(m.Recipe))
	}
	r, err := ParseRecipe(m.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	refs := r.Parts()
	if len(refs) != len(m.Parts) {
		t.Fatalf("recipe names %d parts, want %d", len(refs), len(m.Parts))
	}
	for i, p := range m.Parts {
		if want := (PartRef{Sum(p.Data), int64(len(p.Data))}); p.ID != want.ID || refs[i] != want {
			t.Fatalf("part %d is %s, in the recipe %s, want %s", i, p.ID, refs[i].ID, want.ID)
		}
	}
}

func TestCutEmpty(t *testing.T) {
	m := newCutter(t).Cut(nil)
	checkMessage(t, m, nil)
	if m.ID != Sum(nil) || m.Stored != m.ID || len(m.Parts) != 0 {
		t.Fatalf("cut into %+v", m)
	}
}

func TestCutHeaderOnly(t *testing.T) {
	stored := []byte("Subject: nothing\n")
	m := newCutter(t).Cut(stored)
	checkMessage(t, m, stored)
	if want := Sum([]byte("Subject: nothing\r\n")); m.ID != want {
		t.Fatalf("ID %s, want %s", m.ID, want)
	}
	if string(m.Header) != string(stored) || len(m.Parts) != 0 {
		t.Fatalf("header %q, %d parts", m.Header, len(m.Parts))
	}
}

func TestCutGivesTheHeaderInLFForm(t *testing.T) {
	m := newCutter(t).Cut([]byte("Subject: a\r\n b\r\n\r\nbody\r\n"))
	if got, want := string(m.Header), "Subject: a\n b\n\n"; got != want {
		t.Fatalf("header %q, want %q", got, want)
	}
}

func TestSameAttachmentIsOnePart(t *testing.T) {
	data := bytes.Repeat([]byte("attachment "), 1000)
	mail := lines("Content-Type: multipart/mixed; boundary=x", "",
		"--x", "Content-Transfer-Encoding: base64", "", encodeLines(data, 76),
		"--x", "Content-Transfer-Encoding: BASE64", "", encodeLines(data, 60),
		"--x", "", string(data), "--x--")
	m := newCutter(t).Cut([]byte(mail))
	checkMessage(t, m, []byte(mail))
	if len(m.Parts) != 1 || !bytes.Equal(m.Parts[0].Data, data) {
		t.Fatalf("%d parts", len(m.Parts))
	}
}

func TestCutUnlessStopsForKnownMessages(t *testing.T) {
	c := newCutter(t)
	mail := []byte("Subject: s\r\n\r\n" + long("x"))
	full := *c.Cut(mail)
	var asked *Message
	m := c.CutUnless(mail, func(m *Message) bool { asked = m; return true })
	if asked != m || m.ID != full.ID || m.SHA1 != full.SHA1 || m.Stored != full.Stored || m.Size != full.Size {
		t.Fatalf("identified %+v, want %+v", m, full)
	}
	if m.Recipe != nil || m.Parts != nil || m.Header != nil {
		t.Fatal("cut a known message")
	}
}

// A decoder that is wrong must cost storage, never mail.
func TestWrongDecoderIsFoundOut(t *testing.T) {
	data := bytes.Repeat([]byte("attachment "), 1000)
	mail := []byte(lines("Subject: s", "Content-Transfer-Encoding: base64", "", encodeLines(data, 76)))
	for name, lie := range map[string]func(base64Run) base64Run{
		"a flipped bit": func(r base64Run) base64Run { r.data[77] ^= 1; return r },
		"other width":   func(r base64Run) base64Run { r.width++; return r },
		"one line":      func(r base64Run) base64Run { r.width = 0; return r },
		"too early":     func(r base64Run) base64Run { r.start, r.end = r.start-1, r.end-1; return r },
		"bytes missing": func(r base64Run) base64Run { r.data = r.data[:len(r.data)-3]; return r },
	} {
		c := newCutter(t)
		honest := c.decode
		c.decode = func(dst, body []byte) base64Run { return lie(honest(dst, body)) }
		m := c.Cut(mail)
		checkMessage(t, m, mail)
		if len(m.Parts) != 1 || !bytes.HasPrefix(mail[len(m.Header):], m.Parts[0].Data) {
			t.Errorf("%s: body is not one raw part", name)
		}
	}
}

// randomMail makes MIME of every quality, in LF form.
func randomMail(rng *rand.Rand, depth int) string {
	var b strings.Builder
	for range rng.Intn(4) {
		fmt.Fprintf(&b, "X-Header-%d: %s\n", rng.Intn(10), strings.Repeat("v", rng.Intn(200)))
	}
	switch kind := rng.Intn(10); {
	case kind < 4 && depth > 0:
		randomMultipart(&b, rng, depth)
	case kind < 5 && depth > 0:
		b.WriteString("Content-Type: message/rfc822\n\n" + randomMail(rng, depth-1))
	case kind < 8:
		b.WriteString("Content-Type: application/x; name=\"boundary=x\"\nContent-Transfer-Encoding: base64\n\n")
		b.WriteString(randomBase64(rng))
	default:
		b.WriteString("\n" + strings.Repeat(string(rune('a'+rng.Intn(26)))+"=\n--", rng.Intn(800)))
	}
	return b.String()
}

func randomMultipart(b *strings.Builder, rng *rand.Rand, depth int) {
	boundary := strings.Repeat("b", 1+rng.Intn(5)) + []string{"", "-", "--", " x", "="}[rng.Intn(5)]
	fmt.Fprintf(b, "Content-Type: multipart/%s; boundary=\"%s\"\n\npreamble\n", []string{"mixed", "digest"}[rng.Intn(2)], boundary)
	for range rng.Intn(5) {
		fmt.Fprintf(b, "--%s\n%s", boundary, randomMail(rng, depth-1))
		if rng.Intn(8) > 0 {
			b.WriteString("\n")
		}
	}
	if rng.Intn(4) > 0 {
		fmt.Fprintf(b, "--%s--\n%s", boundary, strings.Repeat("epilogue\n", rng.Intn(200)))
	}
}

func randomBase64(rng *rand.Rand) string {
	data := make([]byte, rng.Intn(1<<rng.Intn(16)))
	rng.Read(data)
	body := strings.Repeat("\n", rng.Intn(3)) + encodeLines(data, rng.Intn(1000))
	if rng.Intn(3) == 0 {
		body = encodeLines(data, 76)
	}
	for range max(0, rng.Intn(6)-3) {
		body = string(mutate(rng, []byte(body)))
	}
	return body + []string{"", "\n", "\n\n", "\n" + body + "\n", "==", "\n" + long("footer")}[rng.Intn(6)]
}

// mixEnds gives each line one of both ends.
func mixEnds(rng *rand.Rand, lf []byte) []byte {
	var out []byte
	for _, line := range bytes.SplitAfter(lf, []byte("\n")) {
		if n := len(line); n > 0 && line[n-1] == '\n' && rng.Intn(2) == 0 {
			line = append(line[:n-1:n-1], '\r', '\n')
		}
		out = append(out, line...)
	}
	return out
}

func TestRandomMailComesBackWhateverItsLineEnds(t *testing.T) {
	rng := seeded(t)
	params := DefaultParams()
	params.Inline = minInline
	c, err := NewCutter(params)
	if err != nil {
		t.Fatal(err)
	}
	decoded := 0
	for range 400 {
		// In LF form a CR before an LF is one of its own, which a stored LF
		// file cannot have; the wire form of any LF form can be stored.
		lf := []byte(randomMail(rng, 4))
		wire := ToWire(nil, lf)
		m := c.Cut(wire)
		checkMessage(t, m, wire)
		first := *m
		parts := partIDs(m)
		for _, s := range c.segments {
			if s.kind == segmentBase64 {
				decoded++
			}
		}
		if bytes.Contains(lf, []byte("\r\n")) {
			continue
		}
		for _, stored := range [][]byte{lf, mixEnds(rng, lf)} {
			m := c.Cut(stored)
			checkMessage(t, m, stored)
			if m.ID != first.ID || !bytes.Equal(m.Recipe, first.Recipe) || partIDs(m) != parts {
				t.Fatalf("%q is cut otherwise than its wire form", stored)
			}
		}
	}
	if decoded < 100 {
		t.Errorf("only %d base64 parts decoded: the test has lost its subject", decoded)
	}
}

func partIDs(m *Message) string {
	var s strings.Builder
	for _, p := range m.Parts {
		s.WriteString(p.ID.String() + " ")
	}
	return s.String()
}

// The buffers of a long message must not show up in the next one.
func TestCutterForgetsTheMessageBefore(t *testing.T) {
	rng := seeded(t)
	c := newCutter(t)
	for range 100 {
		mail := []byte(randomMail(rng, 3))
		if rng.Intn(10) == 0 {
			mail = append(mail, attachmentMail()...)
		}
		got, want := *c.Cut(mail), *newCutter(t).Cut(mail)
		if got.ID != want.ID || !bytes.Equal(got.Recipe, want.Recipe) || partIDs(&got) != partIDs(&want) {
			t.Fatalf("%.200q: a used cutter cuts otherwise than a new one", mail)
		}
	}
}

func TestCutterGivesMemoryBack(t *testing.T) {
	const keep = 64 << 10
	c := newCutter(t)
	big := bytes.Repeat([]byte("line\r\n"), keep)
	checkMessage(t, c.Cut(big), big)
	c.Trim(keep)
	if n := max(cap(c.lf), cap(c.decoded)); n > keep {
		t.Errorf("keeps a buffer of %d bytes after a long message", n)
	}
}

func TestNewCutterRefusesWrongParams(t *testing.T) {
	if c, err := NewCutter(Params{}); err == nil || c != nil {
		t.Fatal("took zero Params")
	}
}

func TestRebuildMessageNamesTheDamage(t *testing.T) {
	mail := []byte(lines("Content-Type: multipart/mixed; boundary=x", "", "--x", "", long("a"), "--x",
		"Content-Transfer-Encoding: base64", "", encodeLines([]byte(long("b")), 76), "--x--"))
	m := newCutter(t).Cut(mail)
	a, b := m.Parts[0], m.Parts[1]
	errGone := errors.New("gone")
	flipped := append([]byte{b.Data[0] ^ 1}, b.Data[1:]...)
	for _, test := range []struct {
		name string
		id   ID
		rec  []byte
		b    []byte
		err  error
		part ID
	}{
		{"whole", m.ID, m.Recipe, b.Data, nil, ID{}},
		{"part with a flipped bit", m.ID, m.Recipe, flipped, nil, b.ID},
		{"part too short", m.ID, m.Recipe, b.Data[1:], nil, b.ID},
		{"another part", m.ID, m.Recipe, a.Data, nil, b.ID},
		{"recipe of nothing", m.ID, nil, b.Data, nil, ID{}},
		{"recipe cut off", m.ID, m.Recipe[:len(m.Recipe)-1], b.Data, nil, ID{}},
		{"skeleton with a flipped bit", m.ID, append(m.Recipe[:len(m.Recipe)-2:len(m.Recipe)-2], '_', '\n'), b.Data, nil, ID{}},
		{"another message", Sum(nil), m.Recipe, b.Data, nil, ID{}},
		{"part not to be had", m.ID, m.Recipe, nil, errGone, ID{}},
	} {
		lf, err := RebuildMessage(nil, test.id, test.rec, func(ref PartRef) ([]byte, error) {
			if ref.ID == a.ID {
				return a.Data, nil
			}
			return test.b, test.err
		})
		var damage *DamageError
		switch isDamage := errors.As(err, &damage); {
		case test.name == "whole":
			if err != nil || !bytes.Equal(lf, mail) {
				t.Errorf("%s: %v", test.name, err)
			}
		case test.err != nil:
			if !errors.Is(err, test.err) || isDamage {
				t.Errorf("%s: %v", test.name, err)
			}
		case !isDamage || damage.Message != test.id || damage.Part != test.part || lf != nil:
			t.Errorf("%s: %d bytes, %v", test.name, len(lf), err)
		case !strings.Contains(err.Error(), test.id.String()):
			t.Errorf("%s: %q does not name the message", test.name, err)
		}
	}
}
