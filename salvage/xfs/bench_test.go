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

// BenchmarkTraces is what it costs to make files and names of traces, each.
func BenchmarkTraces(b *testing.B) {
	path, _ := filled(b, "")
	v, err := volume.Open(path, volume.Options{})
	must(b, err)
	defer v.Close()
	s := sweep(b, openImage(b, path))
	f, err := Open(b.Context(), v)
	must(b, err)
	for _, m := range []struct {
		name string
		of   fsys.Kind
		call func(fsys.Trace) error
	}{
		{"File", fsys.Inode, func(t fsys.Trace) error { _, err := f.File(b.Context(), t); return err }},
		{"Entries", fsys.Names, func(t fsys.Trace) error {
			return f.Entries(b.Context(), t, func(fsys.Entry) error { return nil })
		}},
		{"Map", fsys.Map, func(t fsys.Trace) error { _, err := f.File(b.Context(), t); return err }},
	} {
		for _, origin := range []fsys.Origin{fsys.Table, fsys.Log} {
			var traces []fsys.Trace
			for _, t := range s.traces {
				if t.Kind == m.of && t.Origin == origin && m.call(t) == nil {
					traces = append(traces, t)
				}
			}
			b.Run(m.name+"/"+string(origin), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					must(b, m.call(traces[i%len(traces)]))
				}
			})
		}
	}
}
