package parity

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/objstore"
	"salvor/internal/objstore/dir"
	"salvor/internal/objstore/s3"
	"salvor/internal/objstore/storetest"
	"salvor/internal/testenv/s3gw"
)

// inCommon are the names of the suite that several writers may want, and one
// of any other kind.
func inCommon(name string) bool { return strings.HasPrefix(name, "commits/") || name == "two" }

func layout(k, m, targets int) Layout { return Layout{Data: k, Parity: m, Targets: targets} }

func dirTargets(t testing.TB, n int) []Target {
	t.Helper()
	var all []Target
	base := t.TempDir()
	for i := range n {
		label := fmt.Sprintf("disk%d", i+1)
		s, err := dir.Open(t.Context(), filepath.Join(base, label), dir.Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Target{Label: label, Store: s})
	}
	return all
}

func newStore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Whole == nil {
		o.Whole = inCommon
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	for _, l := range []Layout{layout(1, 1, 2), layout(4, 2, 6), layout(4, 2, 3)} {
		t.Run(fmt.Sprintf("%v on %d disks", l, l.Targets), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) objstore.Store {
				return newStore(t, Options{Layout: l, Targets: dirTargets(t, l.Targets)})
			})
		})
	}
	for _, l := range []Layout{layout(17, 3, 5), layout(2, 1, 1), layout(2, 2, 7)} {
		t.Run(fmt.Sprintf("%v on %d in memory", l, l.Targets), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) objstore.Store {
				return newStore(t, Options{Layout: l, Targets: memoryTargets(l.Targets)})
			})
		})
	}
}

func memoryTargets(n int) (all []Target) {
	for i := range n {
		all = append(all, Target{Label: fmt.Sprint(i), Store: newMemory()})
	}
	return all
}

// TestConformanceAllWhole is the suite with copies only: every race is decided
// by a majority.
func TestConformanceAllWhole(t *testing.T) {
	for _, n := range []int{2, 3, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) objstore.Store {
				return newStore(t, Options{Layout: layout(1, 1, n), Targets: memoryTargets(n), Whole: func(string) bool { return true }})
			})
		})
	}
}

// TestConformanceMixed spreads over two directories and a bucket.
func TestConformanceMixed(t *testing.T) {
	server := s3gw.Start(t)
	s3gw.SetKeys(t, s3gw.Access, s3gw.Secret)
	n := 0
	storetest.Run(t, func(t *testing.T) objstore.Store {
		n++
		bucket, err := s3.Open(t.Context(), server.URL("parity", fmt.Sprintf("vault%d", n)), s3.Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		targets := append(dirTargets(t, 2), Target{Label: bucket.String(), Store: bucket})
		return newStore(t, Options{Layout: layout(2, 1, 3), Targets: targets})
	})
}

func TestMayLose(t *testing.T) {
	for _, test := range []struct{ k, m, targets, read, write int }{
		{1, 1, 1, 0, 0},
		{1, 1, 2, 1, 0},
		{1, 2, 3, 1, 1},
		{2, 1, 3, 1, 1},
		{2, 1, 1, 0, 0},
		{4, 2, 6, 2, 2},
		{4, 2, 3, 1, 1},
		{4, 2, 2, 0, 0},
		{4, 2, 12, 2, 2}, // half of the targets hold nothing of an object, but which half?
		{4, 2, 5, 1, 1},
		{2, 2, 4, 2, 1},
		{3, 2, 5, 2, 2},
		{2, 4, 6, 3, 2},
		{17, 3, 5, 0, 0},
		{17, 3, 20, 3, 3},
		{1, 5, 6, 3, 2},
	} {
		read, write := layout(test.k, test.m, test.targets).MayLose()
		if read != test.read || write != test.write {
			t.Errorf("%d+%d on %d: may lose %d for reading, %d for writing; want %d, %d", test.k, test.m, test.targets, read, write, test.read, test.write)
		}
	}
}

func TestParseLayout(t *testing.T) {
	l, err := ParseLayout("4+2", 6)
	if err != nil || l != layout(4, 2, 6) {
		t.Errorf("4+2: %v, %v", l, err)
	}
	for _, text := range []string{"", "4", "4+", "+2", "4+0", "0+2", "4-2", "04+2", "4+2 ", "200+100", "a+b"} {
		if _, err := ParseLayout(text, 6); err == nil {
			t.Errorf("%q was taken for a layout", text)
		}
	}
	if _, err := ParseLayout("4+2", 0); err == nil {
		t.Error("no targets were enough")
	}
}

func TestHeader(t *testing.T) {
	h := header{meta: meta{data: 17, parity: 3, size: objstore.MaxSize, block: BlockSize}, first: 4, targets: 5}
	b := h.marshal()
	if len(b) != headerSize {
		t.Fatalf("a header of %d bytes: %q", len(b), b)
	}
	if got, ok := parseHeader(b); !ok || got != h {
		t.Errorf("got %+v, want %+v", got, h)
	}
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 1
		if _, ok := parseHeader(bad); ok {
			t.Errorf("a flipped bit at %d went unnoticed", i)
		}
	}
}

// FuzzShare gives anything for a share: it is refused, or what was written.
func FuzzShare(f *testing.F) {
	f.Add(wrap([]byte("an object")))
	f.Add(header{meta: meta{data: 4, parity: 2, size: 10000, block: BlockSize}, first: 1, targets: 6}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := parseHeader(b); ok && string(h.marshal()) != string(b[:headerSize]) {
			t.Errorf("two spellings of one header: %q", b[:headerSize])
		}
		if body, ok := Unwrap(b); ok && string(wrap(body)) != string(b) {
			t.Errorf("two spellings of one copy: %q", b)
		}
	})
}
