package found

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

// TestHashed keeps what was hashed before: with its checksum it is believed, without
// one it is hashed, and another length is never taken.
func TestHashed(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	in := func(body string) Hashed { return Hashed{bytes.NewReader([]byte(body))} }
	a, b, c := finding("the first", Unknown), finding("the second", Unknown), finding("the third", Unknown)
	b.SHA256Stored = ""
	for body, f := range map[string]*Finding{"the first": a, "the second": b} {
		if err := w.Keep(context.Background(), f, in(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Keep(context.Background(), c, in("the thir")); !errors.Is(err, ErrChanged) {
		t.Errorf("a shorter one gives %v", err)
	}
	finish(t, w, a, b)
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for body, f := range map[string]*Finding{"the first": a, "the second": b} {
		r, err := d.Content(f)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != body {
			t.Errorf("%q, %v, want %q", got, err, body)
		}
		r.Close()
	}
}
