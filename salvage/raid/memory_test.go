package raid

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage/volume"
)

// memory is a volume in memory with bad ranges; after cut it ends early.
type memory struct {
	name  string
	bytes []byte
	size  int64 // len(bytes), or more when it was cut off
	bad   []volume.Range
	dead  bool
	reads int
}

func (m *memory) Name() string { return m.name }
func (m *memory) Close() error { return nil }
func (m *memory) Size() int64  { return max(m.size, int64(len(m.bytes))) }

func (m *memory) ReadAt(p []byte, off int64) ([]volume.Range, error) {
	m.reads++
	if m.dead {
		return nil, errors.New("the disk is gone")
	}
	n := 0
	if off < int64(len(m.bytes)) {
		n = copy(p, m.bytes[off:])
	}
	clear(p[n:])
	end := off + int64(len(p))
	unknown := within(m.bad, off, end)
	if n < len(p) {
		unknown = tidy(append(unknown, volume.Range{Off: off + int64(n), Len: int64(len(p) - n)}))
	}
	for _, u := range unknown {
		clear(p[u.Off-off : u.End()-off])
	}
	return unknown, nil
}

// noise is n bytes without any pattern; the same seed gives the same.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	c := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed)))
	c.Read(b)
	return b
}

// memories are the members of an array.
func memories(data []byte, s raidmaker.Spec) []*memory {
	var ms []*memory
	for i, b := range raidmaker.InMemory(data, s) {
		ms = append(ms, &memory{name: fmt.Sprintf("disk%d", i), bytes: b})
	}
	return ms
}

func volumes(ms []*memory) (vs []volume.Volume) {
	for _, m := range ms {
		vs = append(vs, m)
	}
	return vs
}

// optionsFor says all that there is to say about an array with members in order.
func optionsFor(s raidmaker.Spec, missing ...int) Options {
	o := Options{Level: levels[s.Level], Layout: layoutName(levels[s.Level], s.Layout), Chunk: s.Chunk, DataOffset: []int64{s.DataOffset}}
	if s.Level == -1 {
		o.Chunk = 0 // or md rounds every member down to it
	}
	next := 0
	for i := range s.Disks {
		o.Order = append(o.Order, next)
		for _, m := range missing {
			if m == i {
				o.Order[i] = Missing
			}
		}
		if o.Order[i] == next {
			next++
		}
	}
	return o
}

// labelled are members with room for superblocks of a version, and those written.
func labelled(data []byte, s raidmaker.Spec, version string) ([]*memory, []raidmaker.Super) {
	s.DataOffset = map[string]int64{"1.1": 8192, "1.2": 1 << 20}[version]
	room := s.Members(int64(len(data)))
	var supers []raidmaker.Super
	ms := memories(data, s)
	roles := make([]int, s.Disks)
	for i := range roles {
		roles[i] = i
	}
	for i, m := range ms {
		if version == "1.0" || version[0] == '0' {
			m.bytes = append(m.bytes, make([]byte, 128<<10)...)
		}
		sup := raidmaker.Super{
			Version: version, Spec: s, UUID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Name: "mail:0",
			Created: 1500000000, Updated: 1600000000, Events: 100, Room: room, Number: i, Roles: roles, Device: [16]byte{0xd0, byte(i)},
		}
		sup.Write(m.bytes)
		supers = append(supers, sup)
	}
	return ms, supers
}
