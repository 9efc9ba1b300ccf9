package volume

import "math"

// Section gives a stretch of a volume as a volume of its own, like a partition. It
// may reach past the end of v: what lies there is unknown. Closing it does
// nothing: v belongs to who opened it.
func Section(v Volume, off, length int64, name string) Volume {
	off = max(0, off)
	return &section{below: v, off: off, size: min(max(0, length), math.MaxInt64-off), name: name}
}

type section struct {
	below     Volume
	off, size int64
	name      string
	entry     Entry // of a partition
}

func (s *section) Name() string { return s.name }

func (s *section) Size() int64 { return s.size }

func (s *section) Close() error { return nil }

func (s *section) sectorSize() int64 { return sectorOf(s.below) }

func (s *section) ReadAt(p []byte, off int64) ([]Range, error) {
	inside, unknown := split(off, len(p), s.size)
	blank(p, off, unknown)
	if inside.Len == 0 {
		return unknown, nil
	}
	more, err := s.below.ReadAt(p[inside.Off-off:inside.End()-off], s.off+inside.Off)
	if err != nil {
		return nil, err
	}
	return unknown.Add(Ranges(more).shift(-s.off)), nil
}

func (s *section) NextData(off int64) int64 {
	return s.next(off, NextData)
}

func (s *section) NextKnown(off int64) int64 {
	// Behind the end of what lies below, nothing is known.
	return s.next(off, func(v Volume, at int64) int64 {
		if at = NextKnown(v, at); at >= v.Size() {
			return math.MaxInt64
		}
		return at
	})
}

// next asks the volume below.
func (s *section) next(off int64, ask func(Volume, int64) int64) int64 {
	if off = max(0, off); off >= s.size {
		return s.size
	}
	at := max(off+s.off, ask(s.below, off+s.off))
	return min(at-s.off, s.size)
}

func (s *section) Forget(r Range) {
	if in := (Ranges{{0, s.size}}).Within(r); len(in) == 1 {
		Forget(s.below, Range{s.off + in[0].Off, in[0].Len})
	}
}

// Precede gives a volume whose front was cut off, with so many unknown bytes before
// what is left of it. Closing it does nothing: v belongs to who opened it.
func Precede(v Volume, missing int64, name string) Volume {
	missing = min(max(0, missing), math.MaxInt64-v.Size())
	return &joined{name: name, size: missing + v.Size(), pieces: []piece{{at: missing, size: v.Size(), from: v}}}
}

// Extend gives a volume that is known to have had more bytes than there are, say
// by its file system. The missing tail is unknown. It takes the place of v:
// closing it closes v. A volume that is large enough comes back as it is.
func Extend(v Volume, size int64) Volume {
	if size <= v.Size() {
		return v
	}
	return &extended{section{below: v, size: size, name: v.Name()}}
}

type extended struct{ section }

func (e *extended) Close() error { return e.below.Close() }

func (e *extended) notes() []string { return Notes(e.below) }
