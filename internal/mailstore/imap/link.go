package imap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"salvor/internal/mailstore/imap/wire"
)

// A link is one connection for a user's mail, which is made when it is needed,
// and again when the server hangs up. Not for several goroutines.
type link struct {
	s        *Source
	user     string
	conn     *wire.Conn
	box      string // what is selected, by its name on the wire; "" nothing
	selected *wire.Selected
	refused  error // why the server does not let us in; asking again locks accounts
}

func (l *link) close() {
	if l.conn == nil {
		return
	}
	// A second is enough for a server that is there.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.conn.Logout(ctx)
	l.drop()
}

// drop forgets a connection that is over.
func (l *link) drop() {
	if l.conn != nil {
		l.conn.Close()
	}
	l.conn, l.box, l.selected = nil, "", nil
}

// do calls f with a connection, again with a new one when the server hangs up
// in the middle, so f must be fit to begin anew.
func (l *link) do(ctx context.Context, f func(*wire.Conn) error) error {
	for try := 1; ; try++ {
		c, err := l.connect(ctx)
		if err != nil {
			return err
		}
		if err = f(c); err == nil || !wire.IsBroken(err) {
			l.s.down.over()
			return err
		}
		l.drop()
		if ctx.Err() != nil || try >= l.s.o.patience.tries || hopeless(err) || silent(err) && try > 1 {
			return err
		}
		if err := l.s.pause(ctx, try); err != nil {
			return err
		}
	}
}

// hopeless tells whether the connection ended because of what the server sent,
// and would again.
func hopeless(err error) bool {
	return tooLarge(err) || endless(err) || errors.Is(err, errManyMailboxes)
}

func tooLarge(err error) bool {
	var t *wire.TooLarge
	return errors.As(err, &t)
}

func endless(err error) bool {
	var e *wire.Endless
	return errors.As(err, &e)
}

// silent tells whether the server hung or dawdled, which costs minutes each time.
func silent(err error) bool {
	var s *wire.Silent
	return errors.As(err, &s) || slow(err)
}

func slow(err error) bool {
	var s *wire.Slow
	return errors.As(err, &s)
}

// mostAnswers is how many answers a FETCH of n messages may have in a mailbox:
// beside those that were asked for, one about each message's flags, and some.
func mostAnswers(sel *wire.Selected, n int64) int64 {
	return int64(sel.Messages) + n + 10_000
}

// pause waits longer each time.
func (s *Source) pause(ctx context.Context, try int) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return errClosed
	case <-time.After(s.o.patience.pause << (try - 1)):
		return nil
	}
}

var errClosed = errors.New("the mail store is closed")

// connect gives the connection, logged in. A server that cannot be reached is
// given some time, but only once for all that want something of it.
func (l *link) connect(ctx context.Context) (*wire.Conn, error) {
	if l.conn != nil && l.conn.Err() == nil {
		return l.conn, nil
	}
	l.drop()
	if l.s.ctx.Err() != nil {
		return nil, errClosed
	}
	if l.refused != nil {
		return nil, l.refused
	}
	for try := 1; ; try++ {
		if err := l.s.down.err(time.Now()); err != nil {
			return nil, err
		}
		err := l.dial(ctx)
		if err == nil {
			return l.conn, nil
		}
		var refusal *loginError
		if errors.As(err, &refusal) {
			l.refused = err
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if try >= l.s.o.patience.tries || silent(err) && try > 1 {
			var unreachable *wire.DialError
			if errors.As(err, &unreachable) || silent(err) && l.s.down.again() {
				l.s.down.begin(time.Now(), err)
			}
			return nil, err
		}
		if err := l.s.pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

// dial connects and logs in. Modification sequences are kept from the moment
// when a client shows interest in them.
func (l *link) dial(ctx context.Context) error {
	c, err := l.s.login(ctx, l.user)
	if err != nil {
		return err
	}
	if c.Caps().Has("CONDSTORE") {
		if err := c.Enable(ctx, "CONDSTORE"); wire.IsBroken(err) {
			c.Close()
			return err
		}
	}
	l.conn = c
	return nil
}

// examine opens a mailbox for reading, unless it is open already.
func (l *link) examine(ctx context.Context, c *wire.Conn, box string) (*wire.Selected, error) {
	if l.box == box && l.selected != nil {
		return l.selected, nil
	}
	l.box, l.selected = "", nil
	sel, err := c.Examine(ctx, box)
	if err != nil {
		return nil, err
	}
	l.box, l.selected = box, sel
	return sel, nil
}

// A downtime remembers that the server cannot be reached or does nothing, so
// that not every message of every user waits for it anew. It gets longer until
// the server has done something.
type downtime struct {
	mu    sync.Mutex
	until time.Time
	last  time.Duration
	why   error
	mute  bool // a login was not answered
}

const (
	shortestDown = 15 * time.Second
	longestDown  = 10 * time.Minute
)

func (d *downtime) begin(now time.Time, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = min(max(2*d.last, shortestDown), longestDown)
	d.until, d.why = now.Add(d.last), why
}

func (d *downtime) over() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last, d.why, d.mute = 0, nil, false
}

// again notes a login that was not answered, and tells whether the one before
// was not, either: a single one may be the fault of its user's mail.
func (d *downtime) again() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.mute
	d.mute = true
	return before
}

func (d *downtime) err(now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why == nil || now.After(d.until) {
		return nil
	}
	return fmt.Errorf("%w (a moment ago)", d.why)
}
