package found

import (
	"bytes"
	"strings"
	"testing"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

func FuzzLine(f *testing.F) {
	var line bytes.Buffer
	x := finding("abcdef", Damaged)
	x.Missing, x.Extents = []volume.Range{{Off: 1, Len: 2}}, []fsys.Extent{{Logical: 1, Off: 2, Len: 3}}
	if err := appendLine(&line, x); err != nil {
		f.Fatal(err)
	}
	f.Add(line.Bytes())
	x.File, x.At = packName(7), 1<<40
	line.Reset()
	if err := appendLine(&line, x); err != nil {
		f.Fatal(err)
	}
	f.Add(line.Bytes())
	f.Add([]byte(`{"id":"0000000000000000","class":"matched"}`))
	f.Add([]byte(`{"missing":[{"off":9223372036854775807,"len":9223372036854775807}]}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeLine(b)
		if err != nil {
			return
		}
		// What was understood can be written, and says the same then.
		var line bytes.Buffer
		if err := appendLine(&line, got); err != nil {
			t.Fatal(err)
		}
		again, err := decodeLine(line.Bytes())
		if err != nil || again.ID != got.ID || again.File != got.File || again.At != got.At || again.Class != got.Class || again.Size != got.Size {
			t.Fatalf("%+v came back as %+v, %v", got, again, err)
		}
	})
}

// A counted reader counts what is read of it.
type counted struct {
	*bytes.Reader
	n int
}

func (c *counted) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(b, off)
	c.n += n
	return n, err
}

func FuzzFrames(f *testing.F) {
	one, two := framed("one"), framed("Subject: two\n\n"+framed("forged")+"text\n")
	f.Add([]byte(one + two))
	f.Add([]byte(one[:50] + two + one + unfinished + "half"))
	f.Add([]byte(strings.Repeat(headerTag, 20) + one))
	f.Add([]byte(header(strings.Repeat("a", 64), 1<<63-1) + header(strings.Repeat("a", 64), 0) + "\n"))
	f.Add([]byte(strings.Replace(one, "  3\n", " -3\n", 1) + strings.Replace(one, "  3\n", "  9\n", 1) + strings.ToUpper(one)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &counted{bytes.NewReader(b), 0}
		last := int64(0)
		end, err := frames(r, int64(len(b)), func(f frame) error {
			if f.at-int64(headerLen) < last || f.size < 0 || f.end() > int64(len(b)) {
				t.Fatalf("%+v comes after %d, of %d bytes", f, last, len(b))
			}
			if got := string(b[last:f.end()]); !strings.HasSuffix(got, header(f.sum, f.size)+string(b[f.at:f.at+f.size])+"\n") {
				t.Fatalf("%+v stands in %q", f, got)
			}
			last = f.end()
			return nil
		})
		if err != nil || end != last {
			t.Fatalf("the last frame ends at %d, not at %d: %v", last, end, err)
		}
		if most := 10*len(b) + 1000; r.n > most {
			t.Fatalf("%d bytes were read of %d", r.n, len(b))
		}
	})
}
