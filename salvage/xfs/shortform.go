package xfs

// A short directory stands in its inode: how many entries, how many of them need
// 8 bytes for a number (then all have 8), the parent, the entries. One that is
// found in a freed inode is believed only where it has entries.
type short struct {
	up    uint64
	slots []slot
	end   int // of its entries, in bytes
}

// parseShort reads a short directory of a fork that may be longer than it. It is
// all or nothing: an entry that makes no sense tells that the others are guesses.
func parseShort(fork []byte, ftype bool, g *geometry) (sd short, ok bool) {
	if len(fork) < 6 {
		return sd, false
	}
	count, width := int(fork[0]), 4
	if fork[1] > 0 {
		width = 8
	}
	at := 2 + width
	if len(fork) < at {
		return sd, false
	}
	sd.up = shortNumber(fork[2:], width)
	if !g.plausible(sd.up) {
		return sd, false
	}
	for range count {
		s, ok := shortSlot(fork, at, width, ftype)
		if !ok || !g.plausible(s.ino) || !nameable(&s) {
			return sd, false
		}
		sd.slots = append(sd.slots, s)
		at += s.len
	}
	sd.end = at
	return sd, true
}

// remnants adds what a fork holds behind its directory: entries that it has given
// up. Removing an entry moves those behind it forward, in memory; what is written
// to disk is as long as the directory then is, and leaves the rest alone.
func (sd *short) remnants(fork []byte, ftype bool, g *geometry) {
	for at := sd.end; at < len(fork); {
		s, ok := remnant(fork, at, 4, ftype, g)
		if !ok {
			s, ok = remnant(fork, at, 8, ftype, g)
		}
		if !ok {
			at++
			continue
		}
		at += s.len
		sd.slots = append(sd.slots, s)
	}
}

// remnant reads one of them. The place that the entry would have in a block, a
// multiple of 8, tells it from noise.
func remnant(fork []byte, at, width int, ftype bool, g *geometry) (s slot, ok bool) {
	const firstPlace = 48 // behind a head, "." and ".."
	if s, ok = shortSlot(fork, at, width, ftype); !ok || ftype && s.ftype == 0 {
		return s, false
	}
	place := be.Uint16(fork[at+1:])
	s.deleted = true
	return s, place%8 == 0 && place >= firstPlace && nameable(&s) && g.plausible(s.ino)
}

// shortSlot reads the entry at a place: length, place in a block, name, type,
// number.
func shortSlot(fork []byte, at, width int, ftype bool) (s slot, ok bool) {
	if at+3 >= len(fork) {
		return s, false
	}
	n := int(fork[at])
	s = slot{at: at, len: 3 + n + width}
	if ftype {
		s.len++
	}
	if n == 0 || at+s.len > len(fork) {
		return s, false
	}
	s.name = fork[at+3 : at+3+n]
	if ftype {
		s.ftype = fork[at+3+n]
	}
	s.ino = shortNumber(fork[at+s.len-width:], width)
	return s, true
}

func shortNumber(b []byte, width int) uint64 {
	if width == 8 {
		return be.Uint64(b)
	}
	return uint64(be.Uint32(b))
}
