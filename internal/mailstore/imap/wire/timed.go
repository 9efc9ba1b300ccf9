package wire

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// timedConn notices a server that hangs: while something is awaited of it, a
// read that brings nothing for idle fails, and so does a line or a literal that
// comes drop by drop.
type timedConn struct {
	net.Conn
	idle time.Duration
	// moved counts the bytes that were read and written.
	moved atomic.Int64

	mu      sync.Mutex
	awaited bool
	until   time.Time // when the answer that has begun must be there; zero: none has
}

// Least speed of an answer that has begun, in bytes a second.
const leastSpeed = 2 << 10

// busy says whether something is awaited of the server.
func (t *timedConn) busy(awaited bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.awaited == awaited {
		return
	}
	t.awaited = awaited
	t.setDeadline()
}

// begun says that n more bytes of an answer are to come in one piece; below
// zero, that it is complete.
func (t *timedConn) begun(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Time{}
	if n >= 0 {
		t.until = time.Now().Add(t.idle + time.Duration(n/leastSpeed)*time.Second)
	}
}

// setDeadline also wakes up a read that waits already.
func (t *timedConn) setDeadline() {
	switch {
	case !t.until.IsZero():
		at := time.Now().Add(t.idle)
		if t.until.Before(at) {
			at = t.until
		}
		t.Conn.SetReadDeadline(at)
	case t.awaited:
		t.Conn.SetReadDeadline(time.Now().Add(t.idle))
	default:
		t.Conn.SetReadDeadline(time.Time{})
	}
}

// Read reads with the deadline.
func (t *timedConn) Read(p []byte) (int, error) {
	t.mu.Lock()
	t.setDeadline()
	t.mu.Unlock()
	n, err := t.Conn.Read(p)
	t.moved.Add(int64(n))
	acknowledge(t.Conn)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = &Silent{t.idle}
	}
	return n, err
}

// Write writes in pieces, each of which has its time.
func (t *timedConn) Write(p []byte) (done int, err error) {
	const piece = 256 << 10
	for done < len(p) && err == nil {
		var n int
		t.Conn.SetWriteDeadline(time.Now().Add(t.idle))
		n, err = t.Conn.Write(p[done:min(done+piece, len(p))])
		done += n
		t.moved.Add(int64(n))
	}
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = &Silent{t.idle}
	}
	return done, err
}
