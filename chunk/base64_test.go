package chunk

import (
	"bytes"
	"encoding/base64"
	"math/rand"
	"strings"
	"testing"
	"time"
)

// encodeLines is base64 in lines of width digits by the standard library,
// without an end of the last line.
func encodeLines(data []byte, width int) string {
	digits := base64.StdEncoding.EncodeToString(data)
	var out []string
	for width > 0 && len(digits) > width {
		out, digits = append(out, digits[:width]), digits[width:]
	}
	return strings.Join(append(out, digits), "\n")
}

func TestDecodeTakesTheLongestExactPrefix(t *testing.T) {
	for _, test := range []struct{ body, run, data string }{
		{"", "", ""},
		{"\n\n", "", ""},
		{"QUJD", "QUJD", "ABC"},
		{"QUJD\n", "QUJD", "ABC"},
		{"\n\nQUJD\n", "QUJD", "ABC"},
		{"QUJDRA==\n", "QUJDRA==", "ABCD"},
		{"QUJDREU=\n\nfooter\n", "QUJDREU=", "ABCDE"},
		{"QUJD\nREVG\n", "QUJD\nREVG", "ABCDEF"}, // a full last line with a line end
		{"QUJDR\nEVG", "QUJDR\nEVG", "ABCDEF"},   // a width that is no multiple of 4
		{"Q\nU\nJ\nD\nR\nA\n=\n=\n", "Q\nU\nJ\nD\nR\nA\n=\n=", "ABCD"},
		{"QUJD\nRE\nQUJD", "QUJD", "ABC"},            // a short line in the middle
		{"QUJD\nREVGRw==\n", "QUJD\nREVG", "ABCDEF"}, // a longer last line
		{"QUJDREVG\nQUJD\nQUJD", "QUJDREVG\nQUJD", "ABCDEFABC"},
		{"QUJDRA\n", "QUJD", "ABC"},            // padding missing
		{"QUJDRA=\n", "QUJD", "ABC"},           // half of it missing
		{"QUJDRA===\n", "QUJDRA==", "ABCD"},    // too much of it
		{"QUJDRA==QUJD\n", "QUJDRA==", "ABCD"}, // concatenated
		{"QUJDRB==\n", "QUJD", "ABC"},          // unused bits not zero
		{"QUJDREV=\n", "QUJD", "ABC"},          // the same with one =
		{"QUJD=A==\n", "QUJD", "ABC"},          // = in the wrong place
		{"QUJDR=A=\n", "QUJD", "ABC"},
		{"QUJDRA=A\n", "QUJD", "ABC"},
		{"QUJD====\n", "QUJD", "ABC"},
		{"QUJD REVG\n", "QUJD", "ABC"},      // a blank
		{"QUJD\r\nREVG\r\n", "QUJD", "ABC"}, // CRs in the LF form
		{"QUJD-_-_\n", "QUJD", "ABC"},       // the other alphabet
		{"Hello, World!\n", "Hell", "\x1d\xe9\x65"},
		{"QUJDREVGR0hJ\x00KLMNOPQ", "QUJDREVGR0hJ", "ABCDEFGHI"},
	} {
		var c base64Coder
		run := c.decode(nil, []byte(test.body))
		if got := test.body[run.start:run.end]; got != test.run || string(run.data) != test.data {
			t.Errorf("%q: took %q = %q, want %q = %q", test.body, got, run.data, test.run, test.data)
		}
		if got := encodeLines(run.data, run.width); got != test.run {
			t.Errorf("%q: width %d encodes to %q", test.body, run.width, got)
		}
	}
}

func TestDecodeUndoesEveryWidth(t *testing.T) {
	rng := seeded(t)
	var c base64Coder
	for width := 0; width <= 1000; width++ {
		data := make([]byte, 1+rng.Intn(1+30*width))
		rng.Read(data)
		if width == 0 {
			data = make([]byte, 100_000)
		}
		body := encodeLines(data, width)
		tail := []string{"", "\n", "\n\n", "\n--\nfooter", " ", "*", "\r\n"}[rng.Intn(7)]
		run := c.decode(nil, []byte(body+tail))
		if run.start != 0 || run.end != len(body) || !bytes.Equal(run.data, data) {
			t.Fatalf("width %d, %d bytes, tail %q: took %d to %d of %d", width, len(data), tail, run.start, run.end, len(body))
		}
		if size := base64Size(int64(len(data)), int64(run.width)); size != int64(len(body)) {
			t.Fatalf("width %d, %d bytes: size %d, want %d", width, len(data), size, len(body))
		}
		var encoded []byte
		c.encode(data, run.width, func(b []byte) bool { encoded = append(encoded, b...); return true })
		if string(encoded) != body {
			t.Fatalf("width %d, %d bytes: encodes otherwise than the standard library", width, len(data))
		}
	}
}

// Whatever is done to a base64 body: what decode takes, encode gives back.
func TestDecodedPrefixOfDamagedBase64IsExact(t *testing.T) {
	rng := seeded(t)
	var c base64Coder
	for range 5000 {
		data := make([]byte, rng.Intn(3000))
		rng.Read(data)
		body := []byte(encodeLines(data, rng.Intn(100)))
		for range rng.Intn(4) {
			body = mutate(rng, body)
		}
		run := c.decode(nil, body)
		if got := encodeLines(run.data, run.width); got != string(body[run.start:run.end]) {
			t.Fatalf("%q: took %q, which encodes to %q", body, body[run.start:run.end], got)
		}
		if size := base64Size(int64(len(run.data)), int64(run.width)); size != int64(run.end-run.start) {
			t.Fatalf("%q: size %d, want %d", body, size, run.end-run.start)
		}
	}
}

func mutate(rng *rand.Rand, b []byte) []byte {
	const garbage = "\n\r =-AQ/+9_\x00\xff"
	at := rng.Intn(len(b) + 1)
	g := garbage[rng.Intn(len(garbage))]
	switch rng.Intn(4) {
	case 0:
		return append(b[:at:at], append([]byte{g}, b[at:]...)...)
	case 1:
		return append(b[:at:at], b[min(len(b), at+1+rng.Intn(3)):]...)
	case 2:
		return b[:at]
	}
	if at < len(b) {
		b[at] = g
	}
	return b
}

// seeded gives random numbers and prints what repeats them.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewSource(seed))
}
