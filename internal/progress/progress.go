// Package progress shows how far a long operation is: bars on a terminal,
// lines in a log, JSON lines on request, or nothing.
//
// Engines get a Meter, report what they expect and what they have done, and
// know nothing else; a zero Meter is silent, so nobody has to check for one.
// cmd/salvor makes the one Display of a process, hands out its Meter, sends
// what else goes to standard error through the Display (so that bars and words
// do not overwrite each other) and closes it.
//
// The package writes only to the writer it is given, which is standard error
// and never standard output. It decides nothing and returns no errors: an
// operation does not stop because nobody can watch it.
//
// Invariant: rates are taken from the last minute only; they and the times to
// come are "-" as long as they are not known. How times to come are guessed, and
// what makes their range, stands with the estimator.
package progress

import "sync"

// A Sink takes what a Meter reports. Engines use Meter; Sink is for the faces
// and for tests.
type Sink interface {
	// Stage begins a part of the work and ends the one before.
	Stage(name string)
	// Total says how much the stage has to do in all; 0 where it is unknown.
	Total(messages, bytes int64)
	// Add says that so much more has been done.
	Add(messages, bytes int64)
}

// A Fleet is a Sink that is also told what belongs to the work on many users.
type Fleet interface {
	// Users says how many users are done, and how many there are.
	Users(done, total int64)
	// Skip says that so much of the total needed no work.
	Skip(messages, bytes int64)
	// Anew says that the work goes on under other conditions (another pace), so
	// that what was measured so far tells nothing of the time to come.
	Anew()
	// Remark is shown with the numbers until the next one; "" for none.
	Remark(text string)
}

// A Meter reports progress. Its zero value reports to nobody. It may be copied
// and used by many goroutines.
type Meter struct{ sink Sink }

// NewMeter makes a Meter that reports to a sink; nil is nobody.
func NewMeter(s Sink) Meter { return Meter{s} }

// Stage begins a part of the work ("reading", "erasing") and ends the one
// before it: counts begin at zero and the total is unknown again.
func (m Meter) Stage(name string) {
	if m.sink != nil {
		m.sink.Stage(name)
	}
}

// Total says how much the stage has to do in all, in messages and in bytes;
// 0 where that is unknown. It may be corrected at any time.
func (m Meter) Total(messages, bytes int64) {
	if m.sink != nil {
		m.sink.Total(messages, bytes)
	}
}

// Add says that so many more messages and bytes have been done. It is cheap
// enough to be called for every message.
func (m Meter) Add(messages, bytes int64) {
	if m.sink != nil {
		m.sink.Add(messages, bytes)
	}
}

// Users says how many users are done, and how many there are in all.
func (m Meter) Users(done, total int64) {
	if f, ok := m.sink.(Fleet); ok {
		f.Users(done, total)
	}
}

// Skip says that so many messages and bytes of the total needed no work: they
// were there already. A Sink that knows no difference counts them as done.
func (m Meter) Skip(messages, bytes int64) {
	if f, ok := m.sink.(Fleet); ok {
		f.Skip(messages, bytes)
	} else {
		m.Add(messages, bytes)
	}
}

// Anew says that the work goes on under other conditions, such as another pace:
// the time to come is guessed from now on only.
func (m Meter) Anew() {
	if f, ok := m.sink.(Fleet); ok {
		f.Anew()
	}
}

// Remark has words shown with the numbers until the next ones come, such as why
// it goes slowly; "" for none.
func (m Meter) Remark(text string) {
	if f, ok := m.sink.(Fleet); ok {
		f.Remark(text)
	}
}

// A Count is a Sink that only counts, over all stages.
type Count struct {
	mu              sync.Mutex
	stages          []string
	messages, bytes int64
}

// Stage implements Sink.
func (c *Count) Stage(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stages = append(c.stages, name)
}

// Total implements Sink.
func (c *Count) Total(messages, bytes int64) {}

// Add implements Sink.
func (c *Count) Add(messages, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages += messages
	c.bytes += bytes
}

// Done gives what was added so far.
func (c *Count) Done() (messages, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages, c.bytes
}

// Stages gives the names of the stages so far.
func (c *Count) Stages() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.stages...)
}
