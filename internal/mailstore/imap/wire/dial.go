package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// Security says how a connection is protected.
type Security int

// The ways to protect a connection.
const (
	TLS      Security = iota // from the first byte: imaps
	StartTLS                 // begun by STARTTLS, and required
	Insecure                 // none
)

// Options of a connection. Addr is required.
type Options struct {
	Addr       string // host:port
	ServerName string // the name in the certificate; "" means Addr's host
	Security   Security
	Roots      *x509.CertPool // nil means the system's
	// Idle is how long the server may keep silent while a command is in flight;
	// 0 means two minutes. Connecting may take as long, and at most half a minute.
	Idle time.Duration
}

const (
	defaultIdle    = 2 * time.Minute
	longestConnect = 30 * time.Second
)

func (o *Options) idle() time.Duration {
	if o.Idle > 0 {
		return o.Idle
	}
	return defaultIdle
}

// patience is how long connecting may take.
func (o *Options) patience() time.Duration { return min(o.idle(), longestConnect) }

// Dial connects, begins TLS and reads the greeting. Errors are *DialError.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	dialer := net.Dialer{Timeout: o.patience()}
	nc, err := dialer.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, explain(&o, err)
	}
	most := idleTimes * o.idle()
	ctx, cancel := context.WithTimeoutCause(ctx, most, &Slow{For: most})
	defer cancel()
	// Until the reader runs, the context can only close the connection.
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	c, err := open(ctx, nc, o)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, explain(&o, err)
	}
	go c.readLoop()
	return c, nil
}

// open does what comes before the first command.
func open(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	if o.ServerName == "" {
		host, _, err := net.SplitHostPort(o.Addr)
		if err != nil {
			return nil, err
		}
		o.ServerName = host
	}
	timed := &timedConn{Conn: nc, idle: o.idle()}
	timed.busy(true)
	c := &Conn{o: o, timed: timed, nc: timed, caps: Caps{}, done: make(chan struct{}), silent: make(chan struct{})}
	if o.Security == TLS {
		if err := c.handshake(ctx); err != nil {
			return nil, err
		}
	}
	c.buffer()
	if err := c.greeting(); err != nil {
		return nil, err
	}
	if o.Security == StartTLS {
		if err := c.startTLS(ctx); err != nil {
			return nil, err
		}
	}
	timed.busy(false)
	return c, nil
}

func (c *Conn) buffer() {
	c.br = bufio.NewReaderSize(c.nc, 64<<10)
	c.bw = bufio.NewWriterSize(c.nc, 16<<10)
}

func (c *Conn) handshake(ctx context.Context) error {
	t := tls.Client(c.timed, &tls.Config{ServerName: c.o.ServerName, RootCAs: c.o.Roots, MinVersion: tls.VersionTLS12})
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.nc = t
	return nil
}

// greeting reads the first line of the server.
func (c *Conn) greeting() error {
	r, err := c.readResponse()
	if err != nil {
		return err
	}
	switch {
	case r.Tag != "*":
		return &Garbled{"no greeting", r.head()}
	case r.Name == "BYE":
		return fmt.Errorf("the server refuses the connection: %s", r.Text())
	case r.Name == "PREAUTH" && c.o.Security == StartTLS:
		// Whoever sits between could so keep the connection in the clear.
		return errors.New("the server is logged in before TLS has begun")
	case r.Name != "OK" && r.Name != "PREAUTH":
		return &Garbled{"no greeting", r.head()}
	}
	c.noteCode(r)
	return nil
}

// startTLS begins TLS. What came in the clear is forgotten (RFC 9051, section
// 6.2.1), and nothing may have come after the server's consent.
func (c *Conn) startTLS(ctx context.Context) error {
	if _, err := c.bw.WriteString("s STARTTLS\r\n"); err != nil {
		return err
	}
	if err := c.bw.Flush(); err != nil {
		return err
	}
	for {
		r, err := c.readResponse()
		if err != nil {
			return err
		}
		if r.Tag == "*" && r.Name != "BYE" {
			if c.stray++; c.stray > 100 {
				return &Garbled{"no answer to STARTTLS", r.head()}
			}
			continue
		}
		if r.Tag != "s" || r.Name != "OK" {
			return fmt.Errorf("the server does not begin TLS: %s %s", r.Name, r.Text())
		}
		break
	}
	if c.br.Buffered() > 0 {
		return errors.New("the server sends more before TLS has begun than it may")
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	c.caps, c.stray = Caps{}, 0
	c.buffer()
	return nil
}
