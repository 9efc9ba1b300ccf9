package progress

import (
	"math"
	"sync"
	"time"
)

const (
	// window is the stretch of time that rates are taken from.
	window = time.Minute
	// step is the least time between two samples of it.
	step = time.Second
	// settled is how much of a stage must be over before its end is guessed.
	settled = 3 * time.Second
)

// state is one stage's numbers, as the faces show them.
type state struct {
	mu      sync.Mutex
	stage   string
	started time.Time
	done    amount
	total   amount
	samples []sample // oldest first, the first is the stage's beginning
}

type amount struct{ messages, bytes int64 }

type sample struct {
	at   time.Time
	done amount
}

// view is what is to be shown at one moment.
type view struct {
	stage       string
	done, total amount
	elapsed     time.Duration
	// messages and bytes a second over the window; negative when unknown.
	messages, bytes float64
	// left is the time to come; negative when unknown.
	left time.Duration
}

func (s *state) begin(stage string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage, s.started = stage, now
	s.done, s.total = amount{}, amount{}
	s.samples = append(s.samples[:0], sample{at: now})
}

func (s *state) expect(messages, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total = amount{messages, bytes}
}

func (s *state) add(messages, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.messages += messages
	s.done.bytes += bytes
}

// look takes a sample and gives what is to be shown.
func (s *state) look(now time.Time) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sample(now)
	v := view{stage: s.stage, done: s.done, total: s.total, elapsed: now.Sub(s.started), messages: -1, bytes: -1, left: -1}
	if len(s.samples) == 0 {
		return v
	}
	first := s.samples[0]
	seconds := now.Sub(first.at).Seconds()
	if seconds < step.Seconds() {
		return v
	}
	v.messages = float64(s.done.messages-first.done.messages) / seconds
	v.bytes = float64(s.done.bytes-first.done.bytes) / seconds
	if v.elapsed >= settled {
		v.left = timeLeft(v)
	}
	return v
}

// sample remembers the present and forgets what is older than the window.
func (s *state) sample(now time.Time) {
	n := len(s.samples)
	if n == 0 || now.Sub(s.samples[n-1].at) < step {
		return
	}
	s.samples = append(s.samples, sample{now, s.done})
	old := 0
	for old < len(s.samples)-1 && now.Sub(s.samples[old].at) > window {
		old++
	}
	s.samples = append(s.samples[:0], s.samples[old:]...)
}

// timeLeft takes the slower of messages and bytes: ten thousand small messages
// take their time although they are few bytes.
func timeLeft(v view) time.Duration {
	left := time.Duration(-1)
	for _, kind := range []struct {
		done, total int64
		rate        float64
	}{{v.done.messages, v.total.messages, v.messages}, {v.done.bytes, v.total.bytes, v.bytes}} {
		if kind.total <= 0 {
			continue
		}
		remaining := float64(kind.total - kind.done)
		if remaining <= 0 {
			left = max(left, 0)
			continue
		}
		seconds := remaining / kind.rate
		if kind.rate <= 0 || seconds > math.MaxInt64/float64(time.Second)/2 {
			return -1
		}
		left = max(left, time.Duration(seconds*float64(time.Second)))
	}
	return left
}

// share is how much of the stage is done, of bytes where their total is known,
// else of messages; negative when unknown.
func (v view) share() float64 {
	switch {
	case v.total.bytes > 0:
		return min(1, float64(v.done.bytes)/float64(v.total.bytes))
	case v.total.messages > 0:
		return min(1, float64(v.done.messages)/float64(v.total.messages))
	}
	return -1
}
