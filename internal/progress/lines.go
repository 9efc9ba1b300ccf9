package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// A line comes every ten seconds, and when a stage takes longer than some
// minutes, every minute: a log of a whole night shall be readable.
const (
	every  = 10 * time.Second
	rarely = time.Minute
	long   = 5 * time.Minute
)

// What a line is about.
const (
	moment = ""
	begun  = "begun"
	ended  = "done"
)

// lines is the face for logs.
type lines struct {
	state
	format func(v view, what string) string
	stop   func()

	out    sync.Mutex // serialises writes, and guards what follows
	w      io.Writer
	closed bool
	last   time.Time // when the last line was written
}

func newLines(w io.Writer, format func(view, string) string) *lines {
	l := &lines{format: format, w: w}
	l.stop = ticker(every, func() { l.line(moment) })
	// The samples that rates are taken from are finer than the lines.
	stopLines, stopSamples := l.stop, ticker(step, func() { l.look(time.Now()) })
	l.stop = func() { stopLines(); stopSamples() }
	return l
}

// Stage implements Sink.
func (l *lines) Stage(name string) {
	l.line(ended)
	l.begin(name, time.Now())
	l.line(begun)
}

// Total implements Sink.
func (l *lines) Total(messages, bytes int64) { l.expect(messages, bytes) }

// Add implements Sink.
func (l *lines) Add(messages, bytes int64) { l.add(messages, bytes) }

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.out.Lock()
	defer l.out.Unlock()
	return l.w.Write(p)
}

func (l *lines) close() {
	l.stop()
	l.line(ended)
	l.out.Lock()
	defer l.out.Unlock()
	l.closed = true
}

// line writes one line, if a stage has begun. Errors are nobody's concern:
// see the package comment.
func (l *lines) line(what string) {
	now := time.Now()
	v := l.look(now)
	if v.stage == "" {
		return
	}
	l.out.Lock()
	defer l.out.Unlock()
	if l.closed || what == moment && v.elapsed > long && now.Sub(l.last) < rarely-every/2 {
		return
	}
	l.last = now
	io.WriteString(l.w, l.format(v, what)+"\n")
}

// wordLine is for people who read logs.
func wordLine(v view, what string) string {
	switch what {
	case begun:
		return v.stage + ": begun"
	case ended:
		s := v.stage + ": done"
		if c := v.counts(); c != "" {
			s += ", " + c
		}
		return s + " in " + formatTime(v.elapsed)
	}
	s := v.stage + ":"
	if share := v.share(); share >= 0 {
		s += fmt.Sprintf(" %d%%,", int(share*100))
	}
	if c := v.counts(); c != "" {
		s += " " + c + ","
	}
	s += " " + v.rate() + ", "
	if eta := v.eta(); eta != "-" {
		s += "about " + eta + " left"
	} else {
		s += "time left -"
	}
	if v.remark != "" {
		s += "; " + v.remark
	}
	return s
}

// jsonLine is for programs. Seconds left are null when unknown.
func jsonLine(v view, what string) string {
	type pair struct {
		Done  int64 `json:"done"`
		Total int64 `json:"total,omitempty"`
	}
	if what == moment {
		what = "running"
	}
	row := struct {
		Progress string      `json:"progress"`
		Stage    string      `json:"stage"`
		Users    *pair       `json:"users,omitempty"`
		Messages pair        `json:"messages"`
		Bytes    pair        `json:"bytes"`
		Skipped  int64       `json:"skipped,omitempty"` // messages that were there already
		Seconds  float64     `json:"seconds"`
		Left     *float64    `json:"seconds_left"`
		Range    *[2]float64 `json:"seconds_left_range,omitempty"`
		Remark   string      `json:"remark,omitempty"`
	}{Progress: what, Stage: v.stage, Messages: pair{v.done.messages, v.total.messages}, Bytes: pair{v.done.bytes, v.total.bytes},
		Skipped: v.skipped.messages, Seconds: round(v.elapsed), Remark: v.remark}
	if v.all > 0 {
		row.Users = &pair{v.users, v.all}
	}
	if v.left.low >= 0 {
		left := round(v.left.middle)
		row.Left, row.Range = &left, &[2]float64{round(v.left.low), round(v.left.high)}
	}
	b, err := json.Marshal(row)
	if err != nil {
		// Numbers and strings always encode; JSON has no other way to say it.
		return `{"progress":"` + what + `"}`
	}
	return string(b)
}

// round gives seconds to a tenth.
func round(d time.Duration) float64 { return d.Round(100 * time.Millisecond).Seconds() }
