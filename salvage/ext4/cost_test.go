package ext4

import (
	"testing"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// What it costs to make files and names of traces, each: where tables say which
// inode a record is, and where its checksum has to.
func BenchmarkTraces(b *testing.B) {
	image := newImage(b, 64, "-t", "ext4", "-b", "4096", "-i", "8192")
	mounted(b, image, func(root string) { fill(b, root, 12, 150) })
	for _, c := range []struct {
		name string
		open func(volume.Volume) *FS
	}{
		{"tables", func(v volume.Volume) *FS { return mustOpen(b, v) }},
		{"no superblock", func(v volume.Volume) *FS { return Guess(v, 0) }},
	} {
		v, err := volume.Open(image, volume.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer v.Close()
		h := sweep(b, c.open(v))
		for _, m := range []struct {
			method string
			of     fsys.Kind
			call   func(fsys.Trace) error
		}{
			{"File", fsys.Inode, func(t fsys.Trace) error { _, err := h.fs.File(b.Context(), t); return err }},
			{"Learn", fsys.Inode, func(t fsys.Trace) error { return h.fs.Learn(b.Context(), t) }},
			{"Owner", fsys.Names, func(t fsys.Trace) error { _, err := h.fs.Owner(t); return err }},
			{"Entries", fsys.Names, func(t fsys.Trace) error {
				return h.fs.Entries(b.Context(), t, func(fsys.Entry) error { return nil })
			}},
		} {
			var traces []fsys.Trace
			for _, t := range h.traces {
				if t.Kind == m.of && m.call(t) == nil {
					traces = append(traces, t)
				}
			}
			b.Run(c.name+"/"+m.method, func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if err := m.call(traces[i%len(traces)]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
