package main

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"salvor/internal/mailgen"
	"salvor/internal/pace"
	"salvor/internal/testenv/dovecot"
)

// A lane leads to a server; what the server says comes as late as is set.
type lane struct {
	net.Listener
	late atomic.Int64 // nanoseconds
}

func newLane(t *testing.T, to string) *lane {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := &lane{Listener: listener}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			go func() { io.Copy(server, client); server.Close() }()
			go func() { io.Copy(client, lateReader{server, l}); client.Close() }()
		}
	}()
	return l
}

// A lateReader keeps back each answer.
type lateReader struct {
	io.Reader
	lane *lane
}

func (r lateReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	time.Sleep(time.Duration(r.lane.late.Load()))
	return n, err
}

// A server that becomes slow while it is filled is spared, and what holds the
// restore back is said; when it has recovered the restore comes to its end.
func TestRestoreSparesASlowServer(t *testing.T) {
	server := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}})
	road := newLane(t, server.Addr())
	w := newWorld(t).withPassword()
	_, err := mailgen.Create(context.Background(), mailgen.Options{Root: w.path("mail"), Users: 3, Messages: 3000, Seed: 6, Shape: mailgen.Tiny})
	must(t, err)
	w.run("init")
	w.run("backup", "--quiet", "maildir:"+w.path("mail", "%u"))
	restore := w.begin("restore", "--all", "--pace", "100msg/s", "--to", "imap://backup@"+road.Addr().String()+"?tls=none")
	w.paceOf(restore, "100msg/s")
	remark := func(what string, is func(string) bool) {
		t.Helper()
		var r pace.Running
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if r = w.paceOf(restore, "100msg/s"); is(r.Note) {
				return
			}
		}
		t.Fatalf("not %s in a minute: %q", what, r.Note)
	}
	time.Sleep(8 * time.Second) // it learns what the server takes
	remark("left alone", func(s string) bool { return s == "" })
	road.late.Store(int64(200 * time.Millisecond))
	remark("slowed down", func(s string) bool { return strings.HasPrefix(s, "slowed down to ") })
	road.late.Store(0)
	remark("recovered", func(s string) bool { return s == "" })
	w.run("pace", "none")
	restore.ends(2 * time.Minute)
	for _, want := range []string{"salvor: slowed down to ", "salvor: no longer slowed down\n"} {
		if !strings.Contains(restore.out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &restore.out)
		}
	}
}
