package wire

import (
	"bufio"
	"context"
	"net"
	"sync"
	"time"
)

// A Conn is a connection to an IMAP server. Commands of several goroutines may
// be in flight at the same time; the server carries them out in the order in
// which they were sent.
type Conn struct {
	o     Options
	timed *timedConn
	nc    net.Conn // timed, or TLS over it
	br    *bufio.Reader

	sending sync.Mutex // held while one command is written
	bw      *bufio.Writer

	mu         sync.Mutex
	caps       Caps
	inflight   []*Pending // as they were sent
	tags       int
	err        error // why the connection is over
	bye        string
	stray      int           // answers that nobody took since a command ended
	strayBytes int64         // and their text
	watched    *Pending      // whose time runs
	watcher    *time.Timer   // see watch
	done       chan struct{} // closed when it is over
	silent     chan struct{} // closed when no Handle will be called any more
}

// Answers that no command takes, between the ends of two commands. Many are
// usual where somebody expunges a large mailbox meanwhile.
const (
	maxStray      = 1 << 20
	maxStrayBytes = 64 << 20
)

// Server is the server's host and port.
func (c *Conn) Server() string { return c.o.Addr }

// Secure tells whether the connection is encrypted.
func (c *Conn) Secure() bool { return c.o.Security != Insecure }

// Err tells why the connection is over, nil while it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Done is closed when the connection is over.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection without a word; commands in flight fail.
func (c *Conn) Close() error {
	c.fail(errClosed)
	return nil
}

// fail ends the connection; the first reason counts.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = &Broken{Server: c.o.Addr, Bye: c.bye, Err: err}
	waiting := c.inflight
	c.inflight = nil
	c.watch()
	close(c.done)
	c.mu.Unlock()
	c.timed.Conn.Close()
	for _, p := range waiting {
		p.end(nil, c.err)
	}
}

func (c *Conn) readLoop() {
	defer close(c.silent)
	for {
		r, err := c.readResponse()
		if err == nil {
			err = c.dispatch(r)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// limits are the widest of the commands in flight: whose answer comes is not
// known before it is read.
func (c *Conn) limits() limits {
	lim := limits{defaultText, defaultLiteral}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.inflight {
		lim.text = max(lim.text, p.cmd.MaxText)
		lim.literal = max(lim.literal, p.cmd.MaxLiteral)
	}
	return lim
}

// dispatch hands an answer to whom it belongs.
func (c *Conn) dispatch(r *Response) error {
	switch r.Tag {
	case "+":
		return c.goOn(r)
	case "*":
		return c.untagged(r)
	}
	c.mu.Lock()
	var mine *Pending
	for i, p := range c.inflight {
		if p.tag == r.Tag {
			mine = p
			c.inflight = append(c.inflight[:i:i], c.inflight[i+1:]...)
			break
		}
	}
	c.stray, c.strayBytes = 0, 0
	c.timed.busy(len(c.inflight) > 0)
	c.watch()
	c.mu.Unlock()
	if mine == nil {
		return &Garbled{"an answer to no command", r.head()}
	}
	switch r.Name {
	case "OK":
		c.noteCode(r)
		mine.end(r, nil)
	case "NO", "BAD":
		code, args := r.Code()
		mine.end(r, &Refused{Command: mine.cmd.name, Bad: r.Name == "BAD", Code: code, Args: clean(args), Text: mine.cmd.censor(r.Text())})
	default:
		mine.end(nil, &Broken{Server: c.o.Addr, Err: &Garbled{"no OK, NO or BAD", r.head()}})
		return &Garbled{"no OK, NO or BAD", r.head()}
	}
	return nil
}

// goOn passes a "+" to the command that waits for one.
func (c *Conn) goOn(r *Response) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.inflight {
		if p.waiting {
			p.waiting = false
			p.goOn <- string(r.Parts[0].Text[r.rest:])
			return nil
		}
	}
	return &Garbled{"it asks for more, and nothing is left to send", r.head()}
}

// untagged offers an answer to the commands in flight, the oldest first.
func (c *Conn) untagged(r *Response) error {
	c.mu.Lock()
	if r.Name == "BYE" {
		c.bye = r.Text()
		if c.bye == "" {
			c.bye = "BYE"
		}
	}
	waiting := append([]*Pending(nil), c.inflight...)
	c.mu.Unlock()
	if r.Name == "CAPABILITY" {
		c.setCaps(string(r.Parts[0].Text[r.rest:]))
	}
	for _, p := range waiting {
		if p.cmd.Handle == nil {
			continue
		}
		mine, err := p.cmd.Handle(r)
		if mine && err == nil {
			err = p.count()
		}
		if mine || err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stray++
	c.strayBytes += int64(len(r.Parts[0].Text))
	if c.stray > maxStray || c.strayBytes > maxStrayBytes {
		return &Garbled{"answers without end that nobody asked for", r.head()}
	}
	return nil
}

// A Pending is a command in flight.
type Pending struct {
	c   *Conn
	cmd *Command
	tag string

	answers int64       // that it took; the reader's
	writing bool        // by StartWritten, as long as that takes; under the connection's mu
	waiting bool        // for a "+"; under the connection's mu
	goOn    chan string // its text; has room for one

	once sync.Once
	done chan struct{}
	resp *Response
	err  error
}

func (p *Pending) end(r *Response, err error) {
	p.once.Do(func() {
		p.resp, p.err = r, err
		close(p.done)
	})
}

// Wait waits for the command's end and gives its tagged OK; errors are
// *Refused, *Broken, or the context's cause. A context that ends closes the
// connection, since nobody can tell any more what state it is in.
func (p *Pending) Wait(ctx context.Context) (*Response, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.c.fail(context.Cause(ctx))
		<-p.done
	}
	if p.resp == nil {
		<-p.c.silent // what Handle writes is the caller's from now on
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
	}
	return p.resp, p.err
}

// Do sends a command and waits for its end.
func (c *Conn) Do(ctx context.Context, cmd *Command) (*Response, error) {
	p, err := c.Start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return p.Wait(ctx)
}
