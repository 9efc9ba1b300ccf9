package xfs

// A short directory stands in its inode: how many entries, how many of them need
// 8 bytes for a number (then all have 8), the parent, the entries. One that is
// found in a freed inode is believed only where it has entries.
type short struct {
	up    uint64
	slots []slot
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
		if at+3 >= len(fork) {
			return sd, false
		}
		n := int(fork[at])
		s := slot{at: at, len: 3 + n + width}
		if ftype {
			s.len++
		}
		if n == 0 || at+s.len > len(fork) {
			return sd, false
		}
		s.name = fork[at+3 : at+3+n]
		if ftype {
			s.ftype = fork[at+3+n]
		}
		s.ino = shortNumber(fork[at+s.len-width:], width)
		if !g.plausible(s.ino) || !nameable(&s) {
			return sd, false
		}
		sd.slots = append(sd.slots, s)
		at += s.len
	}
	return sd, true
}

func shortNumber(b []byte, width int) uint64 {
	if width == 8 {
		return be.Uint64(b)
	}
	return uint64(be.Uint32(b))
}
