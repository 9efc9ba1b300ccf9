package parity

import (
	"fmt"
	"testing"

	"salvor/internal/objstore"
	"salvor/internal/objstore/storetest"
)

// packSize is that of a vault's packs.
const packSize = 16 << 20

func benchLayouts() []Layout {
	return []Layout{layout(1, 1, 2), layout(4, 2, 6), layout(17, 3, 5)}
}

// BenchmarkEncode makes the shares of a pack: parity, checksums, hash.
func BenchmarkEncode(b *testing.B) {
	body := storetest.Bytes(1, packSize)
	for _, l := range benchLayouts() {
		b.Run(l.String(), func(b *testing.B) {
			s := newStore(b, Options{Layout: l, Targets: make([]Target, l.Targets)})
			m := s.describeBody("packs/x", body) // a vault knows the hash already
			b.SetBytes(packSize)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.encode("packs/x", m, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchStore(b *testing.B, l Layout, lost int) *Store {
	var targets []Target
	for i := range l.Targets {
		targets = append(targets, Target{Label: fmt.Sprint(i), Store: newMemory()})
	}
	s := newStore(b, Options{Layout: l, Targets: targets})
	if err := s.Put(b.Context(), "packs/x", storetest.Bytes(1, packSize)); err != nil {
		b.Fatal(err)
	}
	for i := range lost {
		targets[i].Store, targets[i].Err = nil, objstore.ErrUnavailable
	}
	return newStore(b, Options{Layout: l, Targets: targets})
}

// BenchmarkRead reads a pack whole: healthy, and with a target away.
func BenchmarkRead(b *testing.B) {
	for _, lost := range []int{0, 1} {
		b.Run(fmt.Sprintf("4+2 with %d away", lost), func(b *testing.B) {
			s := benchStore(b, layout(4, 2, 6), lost)
			b.SetBytes(packSize)
			for b.Loop() {
				if _, err := s.Get(b.Context(), "packs/x", 0, -1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerify looks at every block of a pack's shares.
func BenchmarkVerify(b *testing.B) {
	for _, l := range benchLayouts() {
		b.Run(l.String(), func(b *testing.B) {
			s := benchStore(b, l, 0)
			b.SetBytes(packSize)
			for b.Loop() {
				o := ScrubOptions{Deep: func(string) bool { return true }}
				if _, err := s.Scrub(b.Context(), o, func(f Finding) error { return fmt.Errorf("%+v", f) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRepair rebuilds a share of a pack.
func BenchmarkRepair(b *testing.B) {
	s := benchStore(b, layout(4, 2, 6), 0)
	lost := s.targets[3].store.(*memory)
	b.SetBytes(packSize)
	for b.Loop() {
		delete(lost.objects, "packs/x")
		if _, err := s.Scrub(b.Context(), ScrubOptions{Repair: true}, func(f Finding) error { return f.Err }); err != nil {
			b.Fatal(err)
		}
	}
}
