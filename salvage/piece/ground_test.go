package piece

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"salvor/chunk"
	"salvor/internal/mailgen"
	"salvor/salvage/volume"
)

const testBlock = 4096

// memory is a volume in memory.
type memory struct {
	data    []byte
	unknown []volume.Range
}

func (m *memory) Name() string { return "memory" }
func (m *memory) Size() int64  { return int64(len(m.data)) }
func (m *memory) Close() error { return nil }

func (m *memory) ReadAt(p []byte, off int64) (unknown []volume.Range, err error) {
	n := 0
	if off < m.Size() {
		n = copy(p, m.data[off:])
	}
	clear(p[n:])
	for _, r := range m.unknown {
		from, to := max(r.Off, off), min(r.End(), off+int64(len(p)))
		if from < to {
			unknown = append(unknown, volume.Range{Off: from, Len: to - from})
			clear(p[from-off : to-off])
		}
	}
	if n < len(p) {
		unknown = append(unknown, volume.Range{Off: off + int64(n), Len: int64(len(p) - n)})
	}
	return unknown, nil
}

// runs is a ground: sorted runs.
type runs []volume.Range

func (r runs) Next(off int64) (volume.Range, bool) {
	i, _ := slices.BinarySearchFunc(r, off, func(x volume.Range, off int64) int {
		if x.End() > off {
			return 1
		}
		return -1
	})
	if i == len(r) {
		return volume.Range{}, false
	}
	run := r[i]
	if run.Off < off {
		run = volume.Range{Off: off, Len: run.End() - off}
	}
	return run, true
}

// list is what is wanted.
type list []Want

func (l list) Each(_ context.Context, yield func(Want) error) error {
	for _, w := range l {
		if err := yield(w); err != nil {
			return err
		}
	}
	return nil
}

func (l list) OfSize(_ context.Context, size int64, yield func(Want) error) error {
	for _, w := range l {
		if w.Size == size {
			if err := yield(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// wantOf is what an index promises of a message.
func wantOf(id int, stored []byte) Want {
	_, sum, size := chunk.WireSums(stored)
	return Want{ID: int64(id), Size: size, SHA1: sum}
}

func open(t testing.TB, l Wanted) *Owed {
	t.Helper()
	o, err := Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// check reads a match off the volume and hashes it by other means.
func check(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, v volume.Volume, m *Match) {
	t.Helper()
	var stored []byte
	for _, e := range m.Extents {
		if e.Logical != int64(len(stored)) || e.Len <= 0 {
			t.Fatalf("extents %v have gaps", m.Extents)
		}
		b := make([]byte, e.Len)
		if unknown, err := v.ReadAt(b, e.Off); err != nil || len(unknown) > 0 {
			t.Fatalf("extent %v: unknown %v, %v", e, unknown, err)
		}
		stored = append(stored, b...)
	}
	if _, sum, size := chunk.WireSums(stored); int64(len(stored)) != m.Stored || size != m.Want.Size || sum != m.Want.SHA1 {
		t.Fatalf("a match of %d bytes is not what was wanted: %d bytes, %s; want %d, %s", m.Stored, size, sum, m.Want.Size, m.Want.SHA1)
	}
}

// mail gives invented messages, LF form, in an order that only the seed decides.
var mail = sync.OnceValue(func() [][]byte {
	dir, err := os.MkdirTemp("", "piece-mail-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if _, err := mailgen.Create(context.Background(), mailgen.Options{Root: filepath.Join(dir, "mail"), Users: 4, Messages: 700, Seed: 6}); err != nil {
		panic(err)
	}
	var out [][]byte
	seen := map[string]bool{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(filepath.Base(path), ",S=") {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && len(b) <= 5<<20 && !seen[string(b)] {
			seen[string(b)] = true
			out = append(out, b)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
})

func crlf(lf []byte) []byte { return bytes.ReplaceAll(lf, []byte("\n"), []byte("\r\n")) }
