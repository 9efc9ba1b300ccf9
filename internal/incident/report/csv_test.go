package report

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"unicode/utf8"

	"salvor/catalog"
)

// Whatever a header holds, its line is one line of the same number of cells, and
// no cell of it a formula.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "=1+1", "\t=1", "\r\n=x,\"", "＝SUM(A1)", "plain", "\xff\xfe", "-", "\u202e@", "'=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		out := csv.NewWriter(&b)
		out.UseCRLF = true
		if err := out.Write(line(nil, &catalog.Claim{User: s, Folder: s, Reason: s, MessageID: s, Flags: []string{s, s}, NowStore: s, NowFolder: s})); err != nil {
			t.Fatal(err)
		}
		out.Flush()
		if !utf8.Valid(b.Bytes()) || bytes.Count(b.Bytes(), []byte("\n")) != 1 {
			t.Fatalf("%q", b.Bytes())
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != 1 || len(rows[0]) != len(Columns) {
			t.Fatalf("%q, %v", rows, err)
		}
		for _, cell := range rows[0] {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
				t.Fatalf("%q", cell)
			}
		}
	})
}
