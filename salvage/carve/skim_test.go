package carve

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
)

// sameEitherWay: at once and byte by byte, of which no line is skimmed, a message
// reads the same.
func sameEitherWay(t testing.TB, b []byte, mbox bool) {
	t.Helper()
	atOnce, slowly := newReading(checkAlign, 0, mbox), newReading(checkAlign, 0, mbox)
	atOnce.feed(b)
	for i := range b {
		if b[i] == '\n' && slowly.length == 0 {
			slowly.off++
			slowly.length++
			slowly.line(b[i : i+1])
		} else {
			slowly.feed(b[i : i+1])
		}
	}
	atOnce.finish()
	slowly.finish()
	atOnce.kept, slowly.kept = nil, nil
	if !reflect.DeepEqual(atOnce, slowly) {
		t.Fatalf("%q\nat once %+v\nslowly  %+v", b[:min(len(b), 300)], atOnce, slowly)
	}
}

func TestSkim(t *testing.T) {
	mails := generated(t, 60, 3)
	soft := letter[:strings.Index(letter, "\n\n")] + "\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat(strings.Repeat("soft ", 14)+"=\n", 99) + strings.Repeat("=C3=BC short\n", 99)
	text := letter + strings.Repeat("text and a F\nFrom here\n-- \n-----\nQUJD\n\n", 300)
	for _, m := range append(mails, picture(300), toCRLF(picture(300)), []byte(soft), []byte(text)) {
		sameEitherWay(t, m, false)
		for i, in := range []string{"\x00", "\xfc", "=", "\r", "\n", "--x\n", "\n-----BEGIN\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\n", 9),
			"\n--a-boundary-of-another\nContent-Type: text/plain\n\n", "\nFrom a@example.org Mon Jul  1 10:00:00 2024\nSubject: x\n\n", strings.Repeat("x", 5000)} {
			at := len(m) * (i + 1) / 12
			b := append(append(bytes.Clone(m[:at]), in...), m[at:]...)
			sameEitherWay(t, b, i%2 == 0)
			sameEitherWay(t, with(m, at, []byte(in)), i%2 == 1)
		}
	}
}

func FuzzSkim(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		sameEitherWay(t, b, false)
		sameEitherWay(t, b, true)
	})
}

// What is told of eight bytes at once is what the table says of each.
func TestWordsOfBytes(t *testing.T) {
	var alphabet [256]bool
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		alphabet[c] = true
	}
	for c := range 256 {
		for at := range 32 {
			for _, around := range []byte{'A', 'z', '/', '+'} {
				b := bytes.Repeat([]byte{around}, 32)
				b[at] = byte(c)
				if inBase64(b[:max(at+1, 8)]) != alphabet[c] {
					t.Fatalf("%#x among %q at %d", c, around, at)
				}
				if n := controls(b); n != count(b, isControl) {
					t.Fatalf("%d control characters in %q", n, b)
				}
				if n := inASCII(b); n != 32 && (n != at || c < 0x80) {
					t.Fatalf("%d of %q are ASCII", n, b)
				}
			}
		}
		// No byte is suspected for another's sake, or escapes for it.
		w := binary.LittleEndian.Uint64([]byte{byte(c), 0xff, byte(c), 0, 'x', byte(c), 0x7f, 'y'})
		if suspect := isSuspect(w)&0x80 != 0; class[c]&isControl != 0 && !suspect {
			t.Fatalf("%#x is not suspected", c)
		}
	}
}
