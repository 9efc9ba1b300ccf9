package raid

import (
	"sync/atomic"

	"salvor/salvage/volume"
)

// A source is one member as it serves one slot.
type source struct {
	vol    volume.Volume
	member int            // index among the members that Open was given
	start  int64          // where its data begins, bytes
	room   int64          // how many bytes of data it has; behind them all is unknown
	bad    []volume.Range // in the data: what md knew to be lost there
	tier   int            // 0 is fresh; the higher the staler
	super  *super
	dead   atomic.Pointer[error]
}

// read fills p from off of the data, and gives what is unknown, relative to the
// data. A member that gives up is unknown from then on.
func (s *source) read(p []byte, off int64) []volume.Range {
	all := []volume.Range{{Off: off, Len: int64(len(p))}}
	n := max(0, min(int64(len(p)), s.room-off))
	if n == 0 || s.dead.Load() != nil {
		clear(p)
		return all
	}
	unknown, err := s.vol.ReadAt(p[:n], s.start+off)
	if err != nil {
		s.dead.Store(&err)
		clear(p)
		return all
	}
	out := make([]volume.Range, 0, len(unknown))
	for _, u := range unknown {
		out = append(out, volume.Range{Off: u.Off - s.start, Len: u.Len})
	}
	if n < int64(len(p)) {
		clear(p[n:])
		out = append(out, volume.Range{Off: off + n, Len: int64(len(p)) - n})
	}
	for _, b := range within(s.bad, off, off+n) {
		clear(p[b.Off-off : b.End()-off])
		out = append(out, b)
	}
	return tidy(out)
}

// A slot is a place in the array with those who can serve it, the best first; the
// place of a missing member has none.
type slot struct{ sources []*source }

// has says whether a member of at most this tier has all of [0, end).
func (s *slot) has(tier int, end int64) bool {
	for _, src := range s.sources {
		if src.tier <= tier && src.room >= end && src.dead.Load() == nil {
			return true
		}
	}
	return false
}

// read fills p from off on with what the sources of at most this tier know: what
// the first does not know is asked of the next.
func (s *slot) read(p []byte, off int64, tier int) []volume.Range {
	unknown := []volume.Range{{Off: off, Len: int64(len(p))}}
	first := true
	for _, src := range s.sources {
		if src.tier > tier || len(unknown) == 0 {
			break
		}
		if first {
			unknown, first = src.read(p, off), false
			continue
		}
		var left []volume.Range
		for _, u := range unknown {
			left = append(left, src.read(p[u.Off-off:u.End()-off], u.Off)...)
		}
		unknown = left
	}
	if first {
		clear(p)
	}
	return unknown
}
