package raid

import (
	"encoding/binary"
	"testing"
)

// FuzzAnchors reads nonsense as the beginning of a file system.
func FuzzAnchors(f *testing.F) {
	ext := make([]byte, block)
	for off, v := range map[int]uint32{4: 1 << 20, 24: 2, 32: 32768, 56: 0xef53} {
		binary.LittleEndian.PutUint32(ext[1024+off:], v)
	}
	xfs := make([]byte, block)
	copy(xfs, "XFSB")
	for off, v := range map[int]uint32{4: 4096, 84: 1 << 16, 88: 4, 100: 512} {
		binary.BigEndian.PutUint32(xfs[off:], v)
	}
	for _, p := range [][]byte{ext, xfs} {
		if beginning(p) == "" {
			f.Fatal("a seed is no beginning of a file system")
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		p = append(p, make([]byte, max(0, block-len(p)))...)[:block]
		right, wrong := anchors(&memory{bytes: p, size: 1 << 50})
		if right > maxAnchors || wrong > maxAnchors {
			t.Fatalf("%d anchors right, %d wrong", right, wrong)
		}
		glanceAt(p)
	})
}
