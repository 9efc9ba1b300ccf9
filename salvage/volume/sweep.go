package volume

import (
	"context"
	"fmt"
)

// SweepOptions steer a sweep. The zero value sweeps a whole volume.
type SweepOptions struct {
	// From is where to begin, in bytes: the Done of an earlier sweep's Progress.
	From int64
	// Window is how many bytes are handed on at once; 0: 4 MiB. It is rounded up to
	// WindowAlign, and no more than 256 MiB.
	Window int
	// Pace, if set, is called before so many bytes are read, and returns when they
	// may be.
	Pace func(ctx context.Context, bytes int64) error
	// Progress, if set, is called whenever Done has grown, by the goroutine that
	// called Sweep.
	Progress func(Progress)
}

// Progress says how far a sweep came, in bytes. Looked at, holes and unknown make
// Done, less what lay before SweepOptions.From.
type Progress struct {
	Done    int64 // everything before this offset was handed on, or skipped
	Looked  int64 // handed on, and known
	Holes   int64 // skipped: nothing but zeros
	Unknown int64 // unknown, whether it was skipped or handed on
}

const (
	usualWindow   = 4 << 20
	largestWindow = 256 << 20
	// buffers is one that is looked at, and two that are read meanwhile.
	buffers = 3
)

// Sweep hands on a volume window by window, in order, each once. While one is
// looked at, the next ones are read. The holes of a Sparse volume, and windows in
// which nothing is known, are skipped. It ends with the first error of each, of
// the volume, or of ctx.
//
// When it ends early, it does not wait for a read that is under way, which may take
// a dying disk minutes; that read ends by itself, at the latest after the volume
// was closed.
func Sweep(ctx context.Context, v Volume, o SweepOptions, each func(Window) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	inner, stop := context.WithCancel(ctx)
	defer stop()
	s := &sweeper{volume: v, pace: o.Pace, from: max(0, o.From) &^ (WindowAlign - 1),
		window: o.size(), steps: make(chan step, buffers), free: make(chan []byte, buffers)}
	for range buffers {
		s.free <- nil
	}
	go s.read(inner)
	return s.hand(ctx, o.Progress, each)
}

func (o SweepOptions) size() int64 {
	if o.Window <= 0 {
		return usualWindow
	}
	return (int64(min(o.Window, largestWindow)) + WindowAlign - 1) &^ (WindowAlign - 1)
}

type sweeper struct {
	volume Volume
	pace   func(context.Context, int64) error
	from   int64
	window int64
	steps  chan step
	free   chan []byte // nil: not made yet
}

// A step is a window, or a stretch that is skipped.
type step struct {
	Window
	end     int64
	holes   int64
	unknown int64
	err     error
}

// read sends step after step, and an error as the last one.
func (s *sweeper) read(ctx context.Context) {
	defer close(s.steps)
	for off := s.from; off < s.volume.Size(); {
		next := s.skip(off)
		if next.end == off {
			next = s.fill(ctx, off)
		}
		select {
		case s.steps <- next:
		case <-ctx.Done():
			return
		}
		if next.err != nil {
			return
		}
		off = next.end
	}
}

// skip finds out whether anything is worth reading at off. What it skips ends where a
// window may begin.
func (s *sweeper) skip(off int64) step {
	if end := s.align(NextKnown(s.volume, off)); end > off {
		return step{Window: Window{Off: off}, end: end, unknown: end - off}
	}
	if end := s.align(NextData(s.volume, off)); end > off {
		return step{Window: Window{Off: off}, end: end, holes: end - off}
	}
	return step{end: off}
}

func (s *sweeper) align(off int64) int64 {
	if off >= s.volume.Size() {
		return s.volume.Size()
	}
	return off &^ (WindowAlign - 1)
}

// fill reads the window at off.
func (s *sweeper) fill(ctx context.Context, off int64) step {
	n := min(s.window, s.volume.Size()-off)
	var b []byte
	select {
	case b = <-s.free:
	case <-ctx.Done():
		return step{err: ctx.Err()}
	}
	if s.pace != nil {
		if err := s.pace(ctx, n); err != nil {
			return step{err: err}
		}
	}
	if b == nil {
		b = make([]byte, min(s.window, s.volume.Size()))
	}
	unknown, err := s.volume.ReadAt(b[:n], off)
	if err != nil {
		err = fmt.Errorf("sweep %s: %w", s.volume.Name(), err)
	}
	return step{Window: Window{off, b[:n], unknown}, end: off + n, unknown: Ranges(unknown).Total(), err: err}
}

// hand takes the steps and hands on their windows.
func (s *sweeper) hand(ctx context.Context, progress func(Progress), each func(Window) error) error {
	done := Progress{Done: s.from}
	for {
		var next step
		var more bool
		select {
		case next, more = <-s.steps:
		case <-ctx.Done():
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !more:
			return nil
		case next.err != nil:
			return next.err
		}
		if known := int64(len(next.Data)) - next.unknown; known > 0 {
			if err := each(next.Window); err != nil {
				return err
			}
			done.Looked += known
		}
		if next.Data != nil {
			Forget(s.volume, Range{next.Off, int64(len(next.Data))})
			s.free <- next.Data[:cap(next.Data)]
		}
		done.Done = next.end
		done.Holes += next.holes
		done.Unknown += next.unknown
		if progress != nil {
			progress(done)
		}
	}
}
