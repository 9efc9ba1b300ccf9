package carve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"unicode/utf8"

	"salvor/salvage/volume"
)

func seeds(f *testing.F) {
	pic := picture(120)
	for _, b := range [][]byte{
		nil, []byte(letter), toCRLF([]byte(letter)), pic, padded([]byte(letter)), with(pic, 4096, make([]byte, 4096)),
		append(bytes.Clone(pic[:4096]), letter...), []byte(dboxFile), []byte(dboxFile + dboxFile[16:]), []byte("2 M1e C1\n\x01\x02N          7fffffffffffffff\n"),
		[]byte("From a@example.org Mon Jul  1 10:00:00 2024\n" + letter + "\nFrom b@example.org Mon Jul  1 11:00:00 2024\n\n"),
		gzipped(pic), bzip2ed, zstded([]byte(letter)), zstded(pic), gzipped(make([]byte, 1<<16)),
		[]byte("Content-Type: multipart/digest; boundary=a\n\n--a\n\n--a\nContent-Type: message/rfc822\n\n--a--\n--a--"),
		[]byte("Content-Type: multipart/diges\xb9\xb9\xb9t; boundary=r\n\n--r\n\n--r--\n"),
		[]byte("X:\nContent-Transfer-Encoding: base64\n\n=\n \n\n"),
	} {
		f.Add(b)
	}
}

func FuzzHead(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := Head(b); ok && (s.Kind == "" || s.Score <= 0) {
			t.Fatalf("%+v", s)
		}
	})
}

func FuzzFollow(f *testing.F) {
	f.Add([]byte(letter), uint16(0), uint16(0), uint16(100))
	for _, b := range [][]byte{picture(200), bzip2ed, gzipped(picture(200)), zstded(picture(200)), []byte(dboxFile)} {
		f.Add(b, uint16(4096), uint16(512), uint16(4096))
		f.Add(append(bytes.Clone(b), letter...), uint16(60), uint16(1), uint16(77))
	}
	f.Fuzz(func(t *testing.T, b []byte, from, n, size uint16) {
		d := &disk{data: b}
		if n > 0 {
			d.unknown = []volume.Range{{Off: int64(from), Len: int64(n)}}
		}
		for _, blk := range []int64{0, 512} {
			p, err := Follow(context.Background(), d, 0, Options{Block: blk, Limit: 1 << 20, Sizes: []int64{int64(size)}, Back: MaxBack})
			if err != nil {
				t.Fatal(err)
			}
			if p.Len < 0 || p.Len > int64(len(b)) || p.Verdict == "" || p.Verdict != Whole && p.Why == "" || p.Sure < 0 || p.Sure > int64(len(b)) || p.Break > int64(len(b)) {
				t.Fatalf("%+v of %d", p, len(b))
			}
			if p.Verdict == Whole && (len(p.Holes) > 0 || bytes.Count(b[:p.Len], []byte{0}) > 0 && (p.Sign.Kind == Header || p.Sign.Kind == Mbox)) {
				t.Fatalf("whole with holes: %+v", p)
			}
			for i, e := range p.Ends {
				if e.Len <= 0 || e.Len > int64(len(b)) || e.Why == "" || i == 0 && e.Len != p.Len {
					t.Fatalf("ends %v of %d bytes", p.Ends, len(b))
				}
			}
		}
	})
}

func FuzzCheck(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Check(bytes.NewReader(b), int64(len(b)))
		if err != nil || s.Size != int64(len(b)) || s.Verdict == "" || s.Verdict != Whole && s.Why == "" || s.Header > s.Size {
			t.Fatalf("%+v, %v", s, err)
		}
		if s.Verdict == Whole && (len(s.Zeros) > 0 || s.NULs > 0 || len(s.Odd) > 0 || !s.Closed) {
			t.Fatalf("%+v", s)
		}
		for _, z := range s.Zeros {
			if z.Off < 0 || z.Len <= 0 || z.End() > s.Size {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func FuzzExpand(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		o := ExpandOptions{Limit: 1 << 20, Total: 4 << 20}
		total := int64(0)
		err := Expand(context.Background(), bytes.NewReader(b), int64(len(b)), o, func(m *Mail) error {
			n, err := io.Copy(io.Discard, m.Body)
			if total += n; n > o.Limit || total > o.Total {
				t.Fatalf("%d bytes, %d in all", n, total)
			}
			if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrLimit) {
				t.Fatal(err)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrLimit) {
			t.Fatal(err)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	seeds(f)
	f.Add([]byte("Subject: =?utf-8?b?////?= =?x?q?=00?=\nTo: a:;,<@,b@c>\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Headers(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{h.From, h.Subject, h.MessageID, h.ReturnPath, h.Sieve, h.FromAddr} {
			if len(s) > maxShown || !utf8.ValidString(s) || bytes.ContainsFunc([]byte(s), func(r rune) bool { return r < ' ' }) {
				t.Fatalf("%q", s)
			}
		}
		for _, r := range append(h.Delivered, h.To...) {
			if len(r.Address) > maxShown || !utf8.ValidString(r.Address) {
				t.Fatalf("%q", r.Address)
			}
		}
	})
}
