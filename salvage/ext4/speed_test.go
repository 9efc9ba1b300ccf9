package ext4

import (
	"bytes"
	"math/rand"
	"testing"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// What a sweep costs, by what it sweeps over.
func BenchmarkLook(b *testing.B) {
	const size = 16 << 20
	noise := make([]byte, size)
	rand.New(rand.NewSource(1)).Read(noise)
	var text bytes.Buffer
	for r := rand.New(rand.NewSource(2)); text.Len() < size; {
		text.Write(mail(r, "text", 1+r.Intn(20000)))
	}
	records := make([]byte, size)
	r := record(make([]byte, 256))
	copy(r, []byte{0x80, 0x81, 0, 0, 0, 4})
	r[0x1A] = 1
	r[0x22] = 8
	copy(r[mapOff:], []byte{0x0A, 0xF3, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0})
	for at := 0; at < size; at += len(r) {
		copy(records[at:], r)
	}
	for _, c := range []struct {
		name string
		data []byte
		each bool // every record of it is a trace
	}{{"zeros", make([]byte, size), false}, {"text", text.Bytes()[:size], false}, {"random", noise, false}, {"inodes", records, true}} {
		b.Run(c.name, func(b *testing.B) {
			f := Guess(&claimed{1 << 40}, 4096)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				traces := 0
				if err := f.Look(volume.Window{Data: c.data}, func(fsys.Trace) error { traces++; return nil }); err != nil {
					b.Fatal(err)
				}
				if c.each && traces != size/len(r) || !c.each && traces > 0 {
					b.Fatalf("%d traces", traces)
				}
			}
		})
	}
}

// claimed is a volume of which nothing but its size is known.
type claimed struct{ size int64 }

func (c *claimed) Name() string { return "nothing" }
func (c *claimed) Size() int64  { return c.size }
func (c *claimed) Close() error { return nil }
func (c *claimed) ReadAt(p []byte, off int64) ([]volume.Range, error) {
	clear(p)
	return []volume.Range{{Off: off, Len: int64(len(p))}}, nil
}
