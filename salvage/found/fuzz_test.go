package found

import (
	"bytes"
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
		if err != nil || again.ID != got.ID || again.File != got.File || again.Class != got.Class || again.Size != got.Size {
			t.Fatalf("%+v came back as %+v, %v", got, again, err)
		}
	})
}
