package imap

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"salvor/internal/mailstore"
)

// A cutter stands between a client and a server, and cuts the connection over
// which a mark comes from the client, once.
type cutter struct {
	l    net.Listener
	mark []byte
	// deliver: the mark and what follows reach the server, whose answers then reach
	// nobody.
	deliver bool
	mu      sync.Mutex
	cuts    int
	over    chan struct{} // closed when the server has answered what was cut off
}

func newCutter(t *testing.T, to int, mark string, deliver bool) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutter{l: l, mark: []byte(mark), deliver: deliver, over: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to})
			if err != nil {
				client.Close()
				continue
			}
			serving.Go(func() { p.pass(client, server) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return p
}

func (p *cutter) port() int { return p.l.Addr().(*net.TCPAddr).Port }

// isFirst tells whether a connection is to be cut.
func (p *cutter) isFirst() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts++
	return p.cuts == 1
}

func (p *cutter) pass(client net.Conn, server *net.TCPConn) {
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(client, server); client.Close() })
	defer answers.Wait()
	defer server.Close()
	defer client.Close()
	var before []byte
	buf := make([]byte, 4096)
	for {
		n, err := client.Read(buf)
		before = append(before, buf[:n]...)
		if bytes.Contains(before, p.mark) && bytes.HasSuffix(before, []byte("\r\n")) && p.isFirst() {
			defer close(p.over)
			client.Close()
			if p.deliver {
				_, _ = server.Write(buf[:n])
				answers.Wait() // of which the first cannot be passed on
			}
			return
		}
		if _, e := server.Write(buf[:n]); e != nil || err != nil {
			return
		}
	}
}

// At real servers, what was cut off is found when it has arrived, and is not when
// it has not; either way it was sent once.
func TestAppendCutOff(t *testing.T) {
	t.Parallel()
	const end = "the end of the message\r\n"
	for name, p := range posters(t) {
		for _, deliver := range []bool{true, false} {
			for kind, text := range map[string]string{"": "Subject: plain\r\n\r\n" + end, " odd": "Subject: \xff\xfe 8 bits\r\n\r\n" + end} {
				label := name + kind + map[bool]string{true: ", arrived", false: ", lost"}[deliver]
				t.Run(label, func(t *testing.T) {
					t.Parallel()
					mark := end + "\r\n" // the command's end
					if name == "cyrus admin" && kind != "" {
						mark = "SYNCRESTORE"
					}
					cut := newCutter(t, p.port, mark, deliver)
					box := strings.NewReplacer(",", "", " ", "-").Replace(label)
					if err := liveAt(t, p.port, p.as, "alice").Make(t.Context(), mailstore.Mailbox{Name: box}); err != nil {
						t.Fatal(err)
					}
					l := liveAt(t, cut.port(), p.as, "alice")
					before := mustStand(t, l, box)
					_, err := l.Append(t.Context(), delivery(box, text, `\Seen`))
					if !errors.Is(err, mailstore.ErrUnanswered) {
						t.Errorf("%v", err)
					}
					select {
					case <-cut.over:
					case <-time.After(10 * time.Second):
						t.Fatal("nothing was cut off")
					}
					got := look(t, l, box, mailstore.Sought{From: before.UIDNext, Forms: l.Forms([]byte(text))})
					if want := map[bool]int{true: 1}[deliver]; len(got) != want || deliver && !got[0].same || cut.isFirst() {
						t.Errorf("found %+v", got)
					}
					if n := len(p.login().Examine(box).Messages); n != len(got) {
						t.Errorf("%d messages", n)
					}
				})
			}
		}
	}
}
