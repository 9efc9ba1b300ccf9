package wire

import (
	"fmt"
	"time"
)

// A server that sends a little now and then never is silent. So the oldest
// command in flight has a time of its own: some idle times, and what its bytes
// may take at the least speed, in either direction.
const idleTimes = 5

// watch begins the time of the command that is the oldest now; c.mu is held.
func (c *Conn) watch() {
	var oldest *Pending
	if len(c.inflight) > 0 && !c.inflight[0].writing {
		oldest = c.inflight[0]
	}
	if oldest == c.watched {
		return
	}
	c.watched = oldest
	if c.watcher != nil {
		c.watcher.Stop()
	}
	if oldest == nil {
		return
	}
	since, from := time.Now(), c.timed.moved.Load()
	c.watcher = time.AfterFunc(idleTimes*c.o.idle(), func() { c.check(oldest, since, from) })
}

// check ends the connection when the command's time is over, and else waits for
// what is left of it.
func (c *Conn) check(p *Pending, since time.Time, from int64) {
	c.mu.Lock()
	if c.watched != p {
		c.mu.Unlock()
		return
	}
	may := idleTimes*c.o.idle() + time.Duration((c.timed.moved.Load()-from)/leastSpeed)*time.Second
	if left := may - time.Since(since); left > 0 {
		c.watcher = time.AfterFunc(left, func() { c.check(p, since, from) })
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.fail(&Slow{p.cmd.name, may})
}

// A Slow says that the server sends something now and then and comes to no end;
// it stands in a Broken.
type Slow struct {
	Command string // its name; "" for what comes before the first
	For     time.Duration
}

// Error names the command and the time that it had.
func (e *Slow) Error() string {
	what := e.Command
	if what == "" {
		what = "its greeting"
	}
	return fmt.Sprintf("the server has not come to an end with %s within %v", what, e.For.Round(time.Millisecond))
}

// maxAnswers is how many answers a command takes unless it says otherwise.
const maxAnswers = 1 << 20

// count counts an answer that a command has taken.
func (p *Pending) count() error {
	most := p.cmd.MaxAnswers
	if most == 0 {
		most = maxAnswers
	}
	if p.answers++; p.answers > most {
		return &Endless{p.cmd.name, most}
	}
	return nil
}

// An Endless says that the server gives more answers to a command than there
// can be; it stands in a Broken.
type Endless struct {
	Command string
	Answers int64
}

// Error names the command and the bound.
func (e *Endless) Error() string {
	return fmt.Sprintf("the server gives more than %d answers to %s", e.Answers, e.Command)
}
