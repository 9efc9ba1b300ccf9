package xfs

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// BenchmarkLook is what a sweep costs, by what stands on the volume.
func BenchmarkLook(b *testing.B) {
	const size = 4 << 20
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, size)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	inodes := make([]byte, size)
	names := make([]byte, size)
	for at := 0; at < size; at += 512 {
		in := inodes[at : at+512]
		copy(in, seed(b, "inode-extents"))
		binary.BigEndian.PutUint64(in[152:], hallFS(nil).main().number(int64(at)))
		binary.LittleEndian.PutUint32(in[inodeCRC:], checksum(in, inodeCRC))
	}
	for at := 0; at < size; at += 4096 {
		copy(names[at:], seed(b, "names-data"))
	}
	for _, c := range []struct {
		name string
		data []byte
	}{{"zeros", make([]byte, size)}, {"text", text(1, size)}, {"random", random}, {"inodes", inodes}, {"names", names}} {
		b.Run(c.name, func(b *testing.B) {
			f := hallFS(c.data)
			b.SetBytes(size)
			for b.Loop() {
				if err := f.Look(volume.Window{Data: c.data}, func(fsys.Trace) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
