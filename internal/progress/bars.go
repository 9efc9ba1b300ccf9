package progress

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bars is the face for terminals: one bar for the stage at hand, the finished
// ones above it as lines of words.
type bars struct {
	state
	screen *mpb.Progress
	stop   func()

	mu     sync.Mutex
	bar    *mpb.Bar
	closed bool
	out    io.Writer // used when the bars are over
}

func newBars(o Options, extra ...mpb.ContainerOption) *bars {
	options := append([]mpb.ContainerOption{mpb.WithOutput(o.Out), mpb.WithRefreshRate(200 * time.Millisecond)}, extra...)
	b := &bars{screen: mpb.New(options...), out: o.Out}
	b.stop = ticker(step/2, b.refresh)
	return b
}

// Stage implements Sink.
func (b *bars) Stage(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.finish()
	b.begin(name, time.Now())
	b.bar = b.screen.New(0, style(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return name })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return tail(b.look(time.Now())) })),
		mpb.BarWidth(22),
	)
}

// style draws in one colour, so there is nothing for NO_COLOR to take away.
func style() mpb.BarFillerBuilder {
	return mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]")
}

// tail is what stands behind the bar.
func tail(v view) string {
	s := ""
	if share := v.share(); share >= 0 {
		s = fmt.Sprintf("%3d%%  ", int(share*100))
	}
	s += v.counts() + "  " + v.rate() + "  ETA " + v.eta()
	if v.remark != "" {
		s += "  " + v.remark
	}
	return s
}

// Total implements Sink.
func (b *bars) Total(messages, bytes int64) { b.expect(messages, bytes) }

// Add implements Sink.
func (b *bars) Add(messages, bytes int64) { b.add(messages, bytes) }

// refresh moves the bar to where the numbers are. It is not done in Add, which
// is called for every message and must be cheap.
func (b *bars) refresh() {
	const whole = 1000
	v := b.look(time.Now())
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar == nil || b.closed {
		return
	}
	if share := v.share(); share >= 0 {
		b.bar.SetTotal(whole, false)
		b.bar.SetCurrent(min(int64(share*whole), whole-1))
	}
}

// finish takes the bar away and leaves a line of words; the caller holds mu.
func (b *bars) finish() {
	if b.bar == nil {
		return
	}
	b.bar.Abort(true)
	b.bar.Wait()
	b.bar = nil
	io.WriteString(b.screen, wordLine(b.look(time.Now()), ended)+"\n")
}

// Write implements io.Writer: the words appear above the bar.
func (b *bars) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.out.Write(p)
	}
	return b.screen.Write(p)
}

func (b *bars) close() {
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finish()
	b.closed = true
	b.screen.Wait()
}
