package chunk

import (
	"bytes"
	"strings"
	"testing"
)

func TestLineEnds(t *testing.T) {
	alternating := strings.Repeat("\n\r\n", 100)
	for _, test := range []struct {
		stored, lf, wire string
		ends             LineEnds
	}{
		{"", "", "", EndsCRLF},
		{"a", "a", "a", EndsCRLF},
		{"a\r", "a\r", "a\r", EndsCRLF},
		{"a\n", "a\n", "a\r\n", EndsLF},
		{"\n", "\n", "\r\n", EndsLF},
		{"a\nb", "a\nb", "a\r\nb", EndsLF},
		{"a\r\n", "a\n", "a\r\n", EndsCRLF},
		{"a\r\nb\rc\r\n", "a\nb\rc\n", "a\r\nb\rc\r\n", EndsCRLF},
		{"a\rb\nc\n", "a\rb\nc\n", "a\rb\r\nc\r\n", EndsLF},
		{"a\r\r\n", "a\r\n", "a\r\r\n", EndsCRLF},
		{"a\n\r", "a\n\r", "a\r\n\r", EndsLF},
		{"a\r\nb\n", "a\nb\n", "a\r\nb\r\n", "bits:AQ"},
		{"a\nb\r\nc", "a\nb\nc", "a\r\nb\r\nc", "bits:Ag"},
		{strings.Repeat("a\r\n", 100) + "\n", strings.Repeat("a\n", 100) + "\n", strings.Repeat("a\r\n", 100) + "\r\n", "mixed:ZAE"},
		{strings.Repeat("a\n", 100) + "\r\n", strings.Repeat("a\n", 100) + "\n", strings.Repeat("a\r\n", 100) + "\r\n", "mixed:AGQB"},
		{alternating, strings.Repeat("\n", 200), strings.Repeat("\r\n", 200), LineEnds("bits:" + strings.Repeat("qqqq", 8) + "qg")},
	} {
		lf, ends := ToLF(nil, []byte(test.stored))
		if string(lf) != test.lf || ends != test.ends {
			t.Errorf("%q: LF form %q, ends %q, want %q, %q", test.stored, lf, ends, test.lf, test.ends)
		}
		if wire := ToWire(nil, lf); string(wire) != test.wire {
			t.Errorf("%q: wire form %q, want %q", test.stored, wire, test.wire)
		}
		if got, err := ends.Restore([]byte("x"), lf); err != nil || string(got) != "x"+test.stored {
			t.Errorf("%q: restored %q, %v", test.stored, got, err)
		}
	}
}

func TestRestoreRefusesOtherLineEnds(t *testing.T) {
	for _, e := range []LineEnds{
		"x", "crlf", "mixed", "mixed:AQ", "mixed:AwE", "mixed:=", "mixed:A", "mixed:gA", "mixed://////////8B",
		"mixed:AQF", "bits:", "bits:AQE", "bits:!", "bits:A",
	} {
		if got, err := e.Restore(nil, []byte("a\nb\nc")); err == nil {
			t.Errorf("%q: restored %q", e, got)
		}
	}
	for _, e := range []LineEnds{"mixed:AQE", "mixed:AAI", "mixed:AQEA", "bits:AQ"} {
		if _, err := e.Restore(nil, []byte("a\nb\nc")); err != nil {
			t.Errorf("%q: %v", e, err)
		}
	}
}

// randomLines has every kind of line end, in runs of random length.
func randomLines(t testing.TB, n int) []byte {
	rng := seeded(t)
	var b bytes.Buffer
	for range n {
		end := []string{"\n", "\r\n", "\r", "\r\r\n", "\n\r"}[rng.Intn(5)]
		for range 1 + rng.Intn(1+rng.Intn(40)) {
			b.WriteString(strings.Repeat("x", rng.Intn(3)) + end)
		}
	}
	return b.Bytes()
}

func TestMixedLineEndsComeBackAndStayShort(t *testing.T) {
	for _, n := range []int{2, 10, 1000, 5000} {
		stored := randomLines(t, n)
		lf, ends := ToLF(nil, stored)
		if got, err := ends.Restore(nil, lf); err != nil || !bytes.Equal(got, stored) {
			t.Fatalf("restored %d bytes of %d, %v", len(got), len(stored), err)
		}
		if most := len(stored)/6 + 10; len(ends) > most {
			t.Errorf("%d bytes: line ends of %d, want at most %d", len(stored), len(ends), most)
		}
	}
}

func TestWireHasherTakesPiecesOfAnySize(t *testing.T) {
	rng := seeded(t)
	stored := append(randomLines(t, 3000), bytes.Repeat([]byte("long line without an end "), 5000)...)
	lf, _ := ToLF(nil, stored)
	wire := ToWire(nil, lf)
	h := NewWireHasher()
	for range 20 {
		h.Reset()
		for rest := stored; len(rest) > 0; {
			n := min(len(rest), 1+rng.Intn(1<<rng.Intn(18)))
			if m, err := h.Write(rest[:n]); m != n || err != nil {
				t.Fatalf("wrote %d of %d, %v", m, n, err)
			}
			rest = rest[n:]
		}
		id, sum, size := h.Sums()
		if id != Sum(wire) || size != int64(len(wire)) {
			t.Fatalf("%s and %d bytes, want %s and %d", id, size, Sum(wire), len(wire))
		}
		if id2, sum2, size2 := WireSums(wire); id2 != id || sum2 != sum || size2 != size {
			t.Fatalf("wire form: %s %s %d, want %s %s %d", id2, sum2, size2, id, sum, size)
		}
		if id != wireID(lf) {
			t.Fatalf("LF form: %s, want %s", wireID(lf), id)
		}
	}
}

// The SHA-1 is the one that sha1sum gives for the CRLF form.
func TestWireSumsGiveTheGUIDOfCyrus(t *testing.T) {
	const want = "f6cff3a92fc11033a50b927aae15f627c1877be5"
	for _, stored := range []string{"Subject: x\n\nbody\n", "Subject: x\r\n\r\nbody\r\n", "Subject: x\n\r\nbody\n"} {
		if _, sum, size := WireSums([]byte(stored)); sum.String() != want || size != 20 {
			t.Errorf("%q: %s, %d bytes", stored, sum, size)
		}
	}
}
