package volume

// A Holed volume knows beforehand of bytes that are unknown, so that nobody needs
// to read there.
type Holed interface {
	// NextKnown is the first offset at or behind off at which there may be a known
	// byte; Size where there is none.
	NextKnown(off int64) int64
}

// A Forgetful volume can be told that some of its bytes will hardly be read again
// soon, so that they need not fill the machine's memory.
type Forgetful interface {
	Forget(r Range)
}

// NextData asks a volume that may be Sparse for the first offset at or behind off
// at which there may be something else than zeros: something else, or something
// unknown.
func NextData(v Volume, off int64) int64 {
	if s, ok := v.(Sparse); ok {
		return s.NextData(off)
	}
	return min(off, v.Size())
}

// NextKnown asks a volume that may be Holed for the first offset at or behind off
// at which there may be a known byte.
func NextKnown(v Volume, off int64) int64 {
	if h, ok := v.(Holed); ok {
		return h.NextKnown(off)
	}
	return min(off, v.Size())
}

// Forget tells a volume that may be Forgetful.
func Forget(v Volume, r Range) {
	if f, ok := v.(Forgetful); ok {
		f.Forget(r)
	}
}

// Notes is what an operator should know about a volume that was opened all the
// same: one line each, that says what, where, and what to do.
func Notes(v Volume) []string {
	if n, ok := v.(interface{ notes() []string }); ok {
		return n.notes()
	}
	return nil
}

// sectorOf is a volume's logical sector size in bytes; 0: it does not know.
func sectorOf(v Volume) int64 {
	if s, ok := v.(interface{ sectorSize() int64 }); ok {
		return s.sectorSize()
	}
	return 0
}
