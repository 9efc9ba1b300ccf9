package progress

import (
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

// state is one stage's numbers, as the faces show them. Its exported methods are
// those of a Fleet.
type state struct {
	mu         sync.Mutex
	clock      func() time.Time // nil: time.Now
	stage      string
	started    time.Time
	done       amount
	total      amount // with what is skipped
	skipped    amount
	users, all int64 // done, and in all
	remark     string
	samples    []sample // oldest first, the first is the stage's beginning
	estimate   estimator
}

type amount struct{ messages, bytes int64 }

type sample struct {
	at   time.Time
	done amount
}

// view is what is to be shown at one moment.
type view struct {
	stage       string
	done, total amount // total is what is to be done, without what was skipped
	skipped     amount
	users, all  int64
	remark      string
	elapsed     time.Duration
	// messages and bytes a second over the window; negative when unknown.
	messages, bytes float64
	// left is the time to come; negative when unknown.
	left guess
}

func (s *state) now() time.Time {
	if s.clock != nil {
		return s.clock()
	}
	return time.Now()
}

func (s *state) begin(stage string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage, s.started = stage, now
	s.done, s.total, s.skipped, s.users, s.all, s.remark = amount{}, amount{}, amount{}, 0, 0, ""
	s.samples = append(s.samples[:0], sample{at: now})
	s.estimate.begin(now)
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
	s.notch()
}

// Skip implements Fleet.
func (s *state) Skip(messages, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped.messages += messages
	s.skipped.bytes += bytes
	s.notch()
}

// Users implements Fleet.
func (s *state) Users(done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users, s.all = done, total
}

// Remark implements Fleet.
func (s *state) Remark(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remark = text
}

// Anew implements Fleet.
func (s *state) Anew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.estimate.again(s.now(), s.labour())
}

// notch lets the estimator note what is done; the caller holds mu.
func (s *state) notch() {
	if s.estimate.due() {
		s.estimate.note(s.now(), s.labour())
	}
}

func (s *state) labour() labour {
	return labour{ofMessages: float64(s.done.messages), ofBytes: float64(s.done.bytes),
		ofUsers: float64(s.users), ofSkipped: float64(s.skipped.messages)}
}

// look takes a sample and gives what is to be shown.
func (s *state) look(now time.Time) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sample(now)
	v := view{stage: s.stage, done: s.done, total: s.remaining(), skipped: s.skipped, users: s.users, all: s.all, remark: s.remark,
		elapsed: now.Sub(s.started), messages: -1, bytes: -1, left: noGuess}
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
	v.left = s.timeLeft(v, now)
	return v
}

// remaining is the total without what needed no work.
func (s *state) remaining() amount {
	left := func(total, skipped, done int64) int64 {
		if total <= 0 {
			return 0
		}
		return max(total-skipped, done)
	}
	return amount{left(s.total.messages, s.skipped.messages, s.done.messages), left(s.total.bytes, s.skipped.bytes, s.done.bytes)}
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

// timeLeft guesses when the stage is over, if anything can be known of that.
func (s *state) timeLeft(v view, now time.Time) guess {
	known := [kinds]bool{ofMessages: s.total.messages > 0, ofBytes: s.total.bytes > 0, ofUsers: s.all > 0}
	if !known[ofMessages] && !known[ofBytes] {
		return noGuess
	}
	left := labour{ofMessages: float64(max(0, v.total.messages-v.done.messages)), ofBytes: float64(max(0, v.total.bytes-v.done.bytes))}
	if left == (labour{}) {
		return guess{}
	}
	if now.Sub(s.estimate.began) < settled || v.messages <= 0 && v.bytes <= 0 {
		return noGuess // too early, or nothing moves: the end is unknown, not later and later
	}
	left[ofUsers] = float64(max(0, s.all-s.users))
	return s.estimate.guess(now, s.labour(), left, known)
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
