package raid

import (
	"encoding/binary"
	"testing"

	"salvor/internal/testenv/raidmaker"
)

// seed gives superblocks of all versions.
func seed(f *testing.F, old bool) {
	for _, version := range versions {
		if (version[0] == '0') != old {
			continue
		}
		for _, spec := range []raidmaker.Spec{five, {Level: 10, Layout: 0x102, Disks: 4, Chunk: 4096}, {Level: 0, Layout: 1, Disks: 2, Chunk: 4096}} {
			ms, supers := labelled(noise(9000, 1), spec, version)
			at := supers[1].Place(int64(len(ms[1].bytes)))
			f.Add(ms[1].bytes[at : at+mdBytes])
		}
	}
}

func FuzzSuper0(f *testing.F) {
	seed(f, true)
	f.Fuzz(func(t *testing.T, p []byte) {
		use(t, p, func(p []byte) *super { return decode0(p, 1<<30) })
	})
}

func FuzzSuper1(f *testing.F) {
	seed(f, false)
	f.Fuzz(func(t *testing.T, p []byte) {
		use(t, p, func(p []byte) *super { return decode1(p, 4096, "1.2") })
	})
}

// use mends the checksum, so that nonsense gets through, and opens what comes out.
func use(t *testing.T, p []byte, decode func([]byte) *super) {
	if len(p) >= mdBytes {
		p = append([]byte(nil), p[:mdBytes]...)
		mend(p)
	}
	s := decode(p)
	if s == nil {
		return
	}
	m := &memory{bytes: make([]byte, 1<<16), size: 1 << 40}
	d, err := assemble(volumes([]*memory{m}), []*super{s}, Options{})
	if err != nil {
		return
	}
	a, err := d.build(volumes([]*memory{m}))
	if err != nil {
		return
	}
	for _, off := range []int64{0, a.Size() / 2, a.Size() - 5000} {
		if _, err := a.ReadAt(make([]byte, 10000), max(0, off)); err != nil {
			t.Fatal(err)
		}
	}
}

var orders = []binary.ByteOrder{binary.LittleEndian, binary.BigEndian}

// mend writes the checksum that fits.
func mend(p []byte) {
	for _, order := range orders {
		if order.Uint32(p) != mdMagic {
			continue
		}
		if order.Uint32(p[4:]) == 0 {
			order.PutUint32(p[38*4:], sum0(p, order))
		} else if n := int(order.Uint32(p[220:])); n < 1920 {
			order.PutUint32(p[216:], sum1(p[:256+2*n]))
		}
	}
}

func FuzzBadBlocks(f *testing.F) {
	f.Add([]byte{8, 0x40, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, byte(0))
	f.Fuzz(func(t *testing.T, log []byte, step byte) {
		last := int64(-1)
		for _, r := range decodeBad(log, step) {
			if r.Off <= last || r.Len <= 0 || r.End() <= r.Off {
				t.Fatalf("%+v behind %d", r, last)
			}
			last = r.End()
		}
	})
}
