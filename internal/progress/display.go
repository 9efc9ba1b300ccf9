package progress

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// A Face is a way of showing progress.
type Face int

// The faces.
const (
	// Auto is Bars where the output is a terminal that can move its cursor,
	// else Lines.
	Auto Face = iota
	// None shows nothing.
	None
	// Lines writes a line at a stage's beginning and end, and one every ten
	// seconds between.
	Lines
	// Bars draws a bar that moves.
	Bars
	// JSON writes what Lines writes, as one JSON object a line.
	JSON
)

// Options says how progress is shown. Its zero value is right for a program
// whose standard error may be a terminal or a log.
type Options struct {
	// Out is where progress goes, nil for standard error.
	Out io.Writer
	// Face is the way of showing it.
	Face Face
	// Getenv looks up TERM and NO_COLOR, nil for os.Getenv.
	Getenv func(string) string
}

// A Display shows the progress of one process.
type Display struct {
	face  face
	meter Meter
	once  sync.Once
}

// face is a Sink that can be written past and closed.
type face interface {
	Sink
	io.Writer
	// close ends the last stage.
	close()
}

// Open begins to show progress. The Display must be closed.
func Open(o Options) *Display {
	if o.Out == nil {
		o.Out = os.Stderr
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Face == Auto {
		o.Face = Lines
		if isTerminal(o.Out) && o.Getenv("TERM") != "dumb" {
			o.Face = Bars
		}
	}
	d := &Display{}
	switch o.Face {
	case Bars:
		d.face = newBars(o)
	case JSON:
		d.face = newLines(o.Out, jsonLine)
	case Lines:
		d.face = newLines(o.Out, wordLine)
	default:
		d.face = silent{o.Out}
		return d
	}
	d.meter = NewMeter(d.face)
	return d
}

// Meter gives what engines report to; silent when nothing is shown, also after
// Close and for a nil Display.
func (d *Display) Meter() Meter {
	if d == nil {
		return Meter{}
	}
	return d.meter
}

// Write writes words (warnings, logs) to the same output, above a bar that is
// being drawn. It should be given whole lines.
func (d *Display) Write(p []byte) (int, error) { return d.face.Write(p) }

// Close ends the last stage and leaves the cursor on a line of its own. What
// is reported afterwards is not shown; Write goes on working.
func (d *Display) Close() {
	if d != nil {
		d.once.Do(d.face.close)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// silent shows nothing.
type silent struct{ io.Writer }

func (silent) Stage(string)     {}
func (silent) Total(_, _ int64) {}
func (silent) Add(_, _ int64)   {}
func (silent) close()           {}

// ticker calls f every d until stop is called; stop waits for the last call.
func ticker(d time.Duration, f func()) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				f()
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
