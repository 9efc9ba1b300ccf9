package chunk

import (
	"bytes"
	"testing"
)

func FuzzCut(f *testing.F) {
	for _, mail := range sampleMails(f) {
		f.Add(mail)
	}
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\n--b--\n--b"))
	f.Add([]byte("Content-Transfer-Encoding: base64\n\n" + encodeLines(make([]byte, 100), 76) + "\n=="))
	p := DefaultParams()
	p.Inline = minInline
	c, err := NewCutter(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		m := c.Cut(stored)
		checkMessage(t, m, stored)
		first, parts := *m, partIDs(m)
		lf, _ := ToLF(nil, stored)
		m = c.Cut(ToWire(nil, lf))
		if m.ID != first.ID || !bytes.Equal(m.Recipe, first.Recipe) || partIDs(m) != parts {
			t.Fatal("the wire form is cut otherwise than the stored bytes")
		}
	})
}

func FuzzParseRecipe(f *testing.F) {
	c := newCutter(f)
	for _, mail := range sampleMails(f) {
		f.Add(c.Cut(mail).Recipe, []byte("part"))
	}
	f.Fuzz(func(t *testing.T, b, part []byte) {
		r, err := ParseRecipe(b)
		if err != nil || r.Size() > 1<<24 {
			return
		}
		lf, err := r.Rebuild(nil, func(ref PartRef) ([]byte, error) {
			if ref.Size > 1<<20 {
				return part, nil
			}
			return make([]byte, ref.Size), nil
		})
		if err == nil && int64(len(lf)) != r.Size() {
			t.Fatalf("rebuilt %d bytes, want %d", len(lf), r.Size())
		}
		again := append(appendRecipe(nil, r.size, r.segments), r.skeleton...)
		if !bytes.Equal(again, b) {
			t.Fatal("one recipe has two encodings")
		}
	})
}

func FuzzLineEnds(f *testing.F) {
	f.Add([]byte("a\nb\r\nc\r"), "mixed:AQE")
	f.Add([]byte("\r\r\n\n\n"), "bits:AQ")
	f.Fuzz(func(t *testing.T, stored []byte, ends string) {
		lf, e := ToLF(nil, stored)
		if got, err := e.Restore(nil, lf); err != nil || !bytes.Equal(got, stored) {
			t.Fatalf("%q: restored %q, %v", stored, got, err)
		}
		wire := ToWire(nil, lf)
		if lf2, e2 := ToLF(nil, wire); e2 != EndsCRLF || !bytes.Equal(lf2, lf) {
			t.Fatalf("%q: the wire form %q has ends %q", stored, wire, e2)
		}
		if got, err := LineEnds(ends).Restore(nil, lf); err == nil && len(got) > len(wire) {
			t.Fatalf("%q: %d bytes restored from %d", ends, len(got), len(lf))
		}
	})
}

func FuzzPartList(f *testing.F) {
	f.Add(EncodePartList([]ID{{1}, {2}}, 1000))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, size, err := DecodePartList(b)
		if err != nil {
			return
		}
		if !bytes.Equal(EncodePartList(ids, size), b) {
			t.Fatal("one part list has two encodings")
		}
	})
}
