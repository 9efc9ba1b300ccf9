package raid

import (
	"testing"

	"salvor/internal/testenv/raidmaker"
)

// BenchmarkRead reads arrays in memory from end to end, 1 MiB at a time.
func BenchmarkRead(b *testing.B) {
	five := raidmaker.Spec{Level: 5, Layout: leftSymmetric, Disks: 5, Chunk: 64 << 10}
	six := raidmaker.Spec{Level: 6, Layout: leftSymmetric, Disks: 6, Chunk: 512 << 10}
	for _, c := range []struct {
		name    string
		spec    raidmaker.Spec
		missing []int
	}{
		{"raid5", five, nil},
		{"raid5-degraded", five, []int{1}},
		{"raid6", six, nil},
		{"raid6-one-missing", six, []int{1}},
		{"raid6-two-missing", six, []int{1, 3}},
		{"raid10", raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 4, Chunk: 512 << 10}, nil},
		{"raid0", raidmaker.Spec{Level: 0, Layout: zonesOriginal, Disks: 4, Chunk: 512 << 10}, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			ms := memories(noise(64<<20, 1), c.spec)
			var left []*memory
			for i, m := range ms {
				if len(c.missing) == 0 || i != c.missing[0] && i != c.missing[len(c.missing)-1] {
					left = append(left, m)
				}
			}
			a, err := Open(volumes(left), optionsFor(c.spec, c.missing...))
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, 1<<20)
			b.SetBytes(a.Size())
			for b.Loop() {
				for at := int64(0); at < a.Size(); at += int64(len(p)) {
					if _, err := a.ReadAt(p[:min(int64(len(p)), a.Size()-at)], at); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
