package raid

import (
	"bytes"
	"testing"

	"salvor/salvage/volume"
)

// Members whose partition table is gone are found by their superblocks.
func TestHidden(t *testing.T) {
	data := noise(3<<20, 71)
	for _, c := range []struct {
		version string
		start   int64
		found   bool
	}{
		{"1.2", 63 * 512, true}, {"1.1", 63 * 512, true}, {"1.2", 1 << 20, true}, {"1.2", 5 << 20, true},
		{"1.0", 1 << 20, false}, {"0.90", 1 << 20, false}, {"1.2", 77 * 512, false},
	} {
		ms, _ := labelled(data, five, c.version)
		var parts []volume.Volume
		for _, m := range ms[1:] {
			disk := &memory{name: m.name, bytes: append(make([]byte, c.start), m.bytes...)}
			if sets, _, _ := Find([]volume.Volume{disk}); len(sets) > 0 && c.found {
				t.Fatalf("%s at %d is not hidden", c.version, c.start)
			}
			parts = append(parts, Hidden(disk)...)
		}
		if found := len(parts) == len(ms)-1; found != c.found {
			t.Errorf("%s at %d: %d of %d members found", c.version, c.start, len(parts), len(ms)-1)
		} else if found {
			a, err := Open(parts, Options{})
			if err != nil {
				t.Fatal(err)
			}
			same(t, a, data)
		}
	}
	one := &memory{name: "two on one disk", bytes: make([]byte, 20<<20)}
	ms, _ := labelled(data, five, "1.2")
	copy(one.bytes[1<<20:], ms[0].bytes)
	copy(one.bytes[9<<20:], ms[1].bytes)
	if parts := Hidden(one); len(parts) != 2 || parts[0].Size() != 8<<20 || parts[1].Size() != 11<<20 {
		t.Errorf("%d parts", len(parts))
	}
	// A superblock that says that it stands elsewhere is a copy in a file.
	stray := &memory{name: "stray", bytes: bytes.Clone(one.bytes)}
	copy(stray.bytes[1<<20:], stray.bytes[1<<20+4096:1<<20+8192])
	clear(stray.bytes[1<<20+4096 : 1<<20+8192])
	if parts := Hidden(stray); len(parts) != 1 {
		t.Errorf("%d parts of a disk with a superblock in the wrong place", len(parts))
	}
}

func FuzzHidden(f *testing.F) {
	ms, _ := labelled(noise(1<<20, 72), five, "1.2")
	f.Add(ms[0].bytes[:8192])
	f.Fuzz(func(t *testing.T, head []byte) {
		v := &memory{name: "disk", bytes: make([]byte, 2<<20)}
		copy(v.bytes[oldStart:], head)
		for _, p := range Hidden(v) {
			readSuper(p)
		}
	})
}
