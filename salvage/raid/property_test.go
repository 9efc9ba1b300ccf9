package raid

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage/volume"
)

// For any array with any sectors unreadable: what can be derived is right, what
// cannot be derived is unknown. The oracle counts what is lost, sector by sector.
func TestWhatCanBeDerivedIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(everything).Draw(t, "array")
		s.Chunk = int64(rapid.SampledFrom([]int{512, 4096, 8192}).Draw(t, "chunk"))
		if s.Level == -1 {
			s.Chunk = 0
		}
		data := noise(60000-rapid.IntRange(0, 59999).Draw(t, "less than 60000 bytes"), rapid.Uint64().Draw(t, "seed"))
		ms := memories(data, s)
		for i, m := range ms {
			m.bad = holes(t, s, int64(len(m.bytes)))
			if rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
				m.size = int64(len(m.bytes))
				m.bytes = m.bytes[:rapid.Int64Range(0, int64(len(m.bytes))).Draw(t, "end")]
			}
			ms[i] = m
		}
		a, err := Open(volumes(ms), optionsFor(s))
		if err != nil {
			t.Fatal(err)
		}
		// The whole, and a part of it.
		whole := make([]byte, len(data))
		if _, err := a.ReadAt(whole, 0); err != nil {
			t.Fatal(err)
		}
		from := rapid.Int64Range(0, int64(len(data))-1).Draw(t, "from")
		p := make([]byte, int64(len(data))-from-rapid.Int64Range(0, int64(len(data))-from-1).Draw(t, "cut off"))
		unknown, err := a.ReadAt(p, from)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p {
			at := from + int64(i)
			possible := derivable(s, ms, a, at)
			if possible == covered(unknown, at) {
				t.Fatalf("byte %d: derivable %v, unknown %v", at, possible, covered(unknown, at))
			}
		}
		if !bytes.Equal(p, whole[from:from+int64(len(p))]) {
			t.Fatal("a part reads differently than the whole")
		}
		want := bytes.Clone(data[from : from+int64(len(p))])
		blank(want, from, unknown)
		if !bytes.Equal(p, want) {
			t.Fatal("bytes that are said to be known are wrong")
		}
	})
}

// holes draws unreadable sectors, few or many.
func holes(t *rapid.T, s raidmaker.Spec, size int64) (bad []volume.Range) {
	if rapid.IntRange(0, 7).Draw(t, "all") == 0 {
		return []volume.Range{{Off: 0, Len: size}}
	}
	for range rapid.IntRange(0, 6).Draw(t, "holes") {
		at := s.DataOffset + 512*rapid.Int64Range(0, max(0, size-s.DataOffset)/512).Draw(t, "at")
		bad = append(bad, volume.Range{Off: at, Len: 512 * rapid.Int64Range(1, 8).Draw(t, "length")})
	}
	return tidy(bad)
}

// derivable counts: a copy that reads is enough, else a row may lack as many
// chunks as it has parities.
func derivable(s raidmaker.Spec, ms []*memory, a *Array, at int64) bool {
	reads := func(slot int, off int64) bool {
		m := ms[slot]
		off += s.DataOffset
		return off < int64(len(m.bytes)) && !covered(m.bad, off)
	}
	for k := range a.place.copies() {
		pc := a.place.locate(at, k)
		if reads(pc.slot, pc.off) {
			return true
		}
		if s.Level == 4 || s.Level == 5 || s.Level == 6 {
			lost := 0
			for slot := range ms {
				if !reads(slot, pc.off) {
					lost++
				}
			}
			return lost <= map[int]int{4: 1, 5: 1, 6: 2}[s.Level]
		}
	}
	return false
}
