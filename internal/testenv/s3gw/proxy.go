package s3gw

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Fault says what a Proxy does to a connection. The zero value does nothing.
type Fault struct {
	// CutRequest closes both sides after so many bytes of the request; 0 not.
	CutRequest int64
	// Hold, if set, is called before CutRequest cuts, and may wait.
	Hold func()
	// CutAnswer closes the client's side after so many bytes of the answer,
	// which the server believes to have given; -1 closes it before the first.
	CutAnswer int64
	// Silent swallows the request and never answers.
	Silent bool
	// Delay is waited before every piece of the answer.
	Delay time.Duration
	// Piece is the size of those pieces in bytes; 0 is 32 KiB.
	Piece int
	// Corrupt flips a bit in the request's byte with this index; 0 none.
	Corrupt int64
	// Connections is how many connections have the fault; 0 is all.
	Connections int
}

// Proxy is a TCP proxy before a server.
type Proxy struct {
	// Endpoint is "http://127.0.0.1:PORT" of the proxy.
	Endpoint string

	target   string
	listener net.Listener
	accepted atomic.Int64

	mu    sync.Mutex
	fault Fault
	left  int // connections that the fault still meets; negative: all
}

// NewProxy starts a proxy before the server at endpoint; it ends with the test.
func NewProxy(t testing.TB, endpoint string) *Proxy {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Endpoint: "http://" + l.Addr().String(), target: u.Host, listener: l}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.accept()
	}()
	t.Cleanup(func() {
		_ = l.Close() // ends accept
		<-done
	})
	return p
}

// Set makes a fault meet the connections from now on.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.left = f, f.Connections
	if f.Connections == 0 {
		p.left = -1
	}
}

// Connections is how many connections there have been.
func (p *Proxy) Connections() int { return int(p.accepted.Load()) }

func (p *Proxy) next() Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return Fault{}
	}
	p.left--
	return p.fault
}

func (p *Proxy) accept() {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		wg.Go(func() { p.serve(c, p.next()) })
	}
}

func (p *Proxy) serve(client net.Conn, f Fault) {
	defer client.Close()
	if f.Silent {
		_, _ = io.Copy(io.Discard, client) // until the client gives up
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return // the client sees its connection closed
	}
	defer server.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if request(server, client, f) {
			_ = client.Close()
			_ = server.Close()
			return
		}
		_ = server.(*net.TCPConn).CloseWrite()
	})
	wg.Go(func() {
		answer(client, server, f)
		_ = client.Close()
	})
	wg.Wait()
}

// request copies a request and tells whether it was cut.
func request(server io.Writer, client io.Reader, f Fault) (cut bool) {
	if f.Corrupt > 0 {
		if _, err := io.CopyN(server, client, f.Corrupt); err != nil {
			return true
		}
		b := make([]byte, 1)
		if _, err := io.ReadFull(client, b); err != nil {
			return true
		}
		b[0] ^= 1
		if _, err := server.Write(b); err != nil {
			return true
		}
	}
	if f.CutRequest > 0 {
		_, _ = io.CopyN(server, client, f.CutRequest)
		if f.Hold != nil {
			f.Hold()
		}
		return true
	}
	_, _ = io.Copy(server, client)
	return false
}

// answer copies an answer; a cut one is read to its end all the same.
func answer(client io.Writer, server io.Reader, f Fault) {
	limit := f.CutAnswer
	if f.Piece == 0 {
		f.Piece = 32 << 10
	}
	buf := make([]byte, f.Piece)
	for given := int64(0); ; {
		n, err := server.Read(buf)
		if n > 0 && limit != 0 {
			n = int(min(int64(n), max(limit, 0)-given))
		}
		time.Sleep(f.Delay)
		if _, werr := client.Write(buf[:n]); werr != nil || err != nil {
			return
		}
		given += int64(n)
		if limit != 0 && given >= max(limit, 0) {
			_, _ = io.Copy(io.Discard, server)
			return
		}
	}
}
