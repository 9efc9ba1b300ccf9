package salvage

import (
	"context"
	"time"

	"salvor/salvage/carve"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// checkpoint is how often a sweep makes durable how far it is.
const checkpoint = 5 * time.Second

// sweep reads the volume once, from where an earlier sweep stopped, and notes all
// traces and all beginnings of messages.
func (s *scan) sweep(ctx context.Context) error {
	put := func(t fsys.Trace) error { return s.notes.trace(s.note.id, t) }
	if err := s.system.Known(ctx, put); err != nil {
		return err
	}
	s.o.Progress.Total(0, s.v.Size())
	s.o.Progress.Add(0, s.note.swept)
	last := time.Now()
	before := s.note.unknown
	o := volume.SweepOptions{From: s.note.swept, Progress: func(p volume.Progress) {
		s.note.unknown = before + p.Unknown
		s.passed(p.Done)
	}}
	err := volume.Sweep(ctx, s.v, o, func(w volume.Window) error {
		if err := s.system.Look(w, put); err != nil {
			return err
		}
		if s.older {
			return nil
		}
		if err := s.heads(w); err != nil {
			return err
		}
		if time.Since(last) < checkpoint {
			return nil
		}
		last = time.Now()
		return s.notes.mark(&s.note)
	})
	if err != nil {
		_ = s.notes.mark(&s.note) // where it works, the next run goes on from here
		return err
	}
	s.passed(s.v.Size())
	return s.notes.commit()
}

// passed moves the sweep's mark on.
func (s *scan) passed(to int64) {
	if to > s.note.swept {
		s.o.Progress.Add(0, to-s.note.swept)
		s.note.swept = to
	}
}

// heads notes at which blocks of a window messages may begin. Where the blocks are not
// known, what follows a line's end right off a usual block is the inside of a message.
func (s *scan) heads(w volume.Window) error {
	block, step, unknown := s.block(), s.step(), w.Unknown
	for at := (step - (w.Off-s.base())%step) % step; at < int64(len(w.Data)); at += step {
		if step < block && at%block != 0 && w.Data[at-1] == '\n' {
			continue
		}
		for len(unknown) > 0 && unknown[0].End() <= w.Off+at {
			unknown = unknown[1:]
		}
		b := w.Data[at:min(at+block, int64(len(w.Data)))]
		if len(unknown) > 0 && unknown[0].Off <= w.Off+at {
			continue // its first byte is not known
		}
		sign, ok := carve.Head(b)
		if !ok {
			continue
		}
		if err := s.notes.put("INSERT OR IGNORE INTO head (volume, off, sign) VALUES (?, ?, ?)", s.note.id, w.Off+at, string(sign.Kind)); err != nil {
			return err
		}
	}
	return nil
}

// base is where the first block is, in bytes from the volume's beginning.
func (s *scan) base() int64 {
	if b, ok := s.system.(interface{ Base() int64 }); ok {
		return b.Base() % s.block()
	}
	return 0
}
