package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// output is standard output: buffered, and remembering the first error, so
// that a listing cut short by a full disk is not taken for a whole one.
type output struct {
	w   *bufio.Writer
	err error
}

func newOutput(w io.Writer) *output { return &output{w: bufio.NewWriterSize(w, 64<<10)} }

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

func (o *output) flush() error {
	if err := o.w.Flush(); o.err == nil {
		o.err = err
	}
	return o.err
}

// printJSON writes one object as one line.
func (a *app) printJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := a.out.Write(cleanJSON(b.Bytes()))
	return err
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// terminalWidth is the number of columns of standard output, 0 where it is no
// terminal.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			return n
		}
	}
	return 0
}

// tableBatch is how many rows are aligned together: enough to look like one
// table, few enough to list a million messages in little memory.
const tableBatch = 512

// table prints aligned columns. The last column is cut on a terminal.
type table struct {
	out    io.Writer
	cols   int // of the terminal, 0: do not cut
	right  map[int]bool
	widths []int
	rows   [][]string
}

// newTable begins a table; a title that starts with ">" belongs to a column of
// numbers, set to the right.
func (a *app) newTable(titles ...string) *table {
	t := &table{out: a.out, cols: a.width, right: map[int]bool{}}
	row := make([]string, len(titles))
	for i, title := range titles {
		t.right[i] = strings.HasPrefix(title, ">")
		row[i] = strings.TrimPrefix(title, ">")
	}
	t.rows = append(t.rows, row)
	return t
}

// row adds a row; its cells are cleaned here.
func (t *table) row(cells ...string) error {
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	t.rows = append(t.rows, cells)
	if len(t.rows) >= tableBatch {
		return t.flush()
	}
	return nil
}

// flush prints what has not been printed; call it at the end.
func (t *table) flush() error {
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], columns(c))
		}
	}
	for _, row := range t.rows {
		if _, err := io.WriteString(t.out, t.line(row)+"\n"); err != nil {
			return err
		}
	}
	t.rows = t.rows[:0]
	return nil
}

func (t *table) line(row []string) string {
	var b strings.Builder
	at := 0
	for i, c := range row {
		pad := strings.Repeat(" ", t.widths[i]-columns(c))
		last := i == len(row)-1
		switch {
		case last && !t.right[i]:
			if t.cols > 0 {
				c = cut(c, max(t.cols-at, 10))
			}
			b.WriteString(c)
		case t.right[i]:
			b.WriteString(pad + c)
		default:
			b.WriteString(c + pad)
		}
		if !last {
			b.WriteString("  ")
		}
		at += t.widths[i] + 2
	}
	return strings.TrimRight(b.String(), " ")
}
