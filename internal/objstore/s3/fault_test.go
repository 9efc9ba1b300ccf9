package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"salvor/internal/objstore/object"
	"salvor/internal/objstore/s3"
	"salvor/internal/objstore/storetest"
	"salvor/internal/testenv/s3gw"
)

// behind opens a store through a proxy.
func behind(t *testing.T, server *s3gw.Server, o s3.Options) (*s3.Store, *s3gw.Proxy) {
	t.Helper()
	proxy := s3gw.NewProxy(t, server.Endpoint)
	return open(t, s3gw.URL(proxy.Endpoint, bucket, "p"), o), proxy
}

// direct opens the same store without the proxy.
func direct(t *testing.T, server *s3gw.Server) *s3.Store {
	t.Helper()
	return open(t, server.URL(bucket, "p"), s3.Options{})
}

func wantObject(t *testing.T, s *s3.Store, name string, body []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), name, 0, -1)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("Get %s: %d bytes, error %v; want %d bytes", name, len(got), err, len(body))
	}
}

func wantNothing(t *testing.T, s *s3.Store, name string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), name); !errors.Is(err, object.ErrNotExist) {
		t.Errorf("Stat %s: %v, want ErrNotExist", name, err)
	}
}

// TestServerRestarts kills the server in the middle of a Put.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := start(t)
	s, proxy := behind(t, server, s3.Options{})
	body := storetest.Bytes(1, 8<<20)
	middle, dead := make(chan struct{}), make(chan struct{})
	proxy.Set(s3gw.Fault{CutRequest: 3 << 20, Connections: 1, Hold: func() {
		close(middle)
		<-dead
	}})
	done := make(chan error, 1)
	go func() { done <- s.Put(t.Context(), "packs/x", body) }()
	<-middle
	server.Stop(t)
	close(dead)
	time.Sleep(700 * time.Millisecond)
	server.Restart(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if proxy.Connections() < 3 {
		t.Errorf("%d connections: nothing was tried while the server was away", proxy.Connections())
	}
	wantObject(t, direct(t, server), "packs/x", body)
}

// TestCutInTheMiddle cuts the request, with nothing left behind that anybody
// could take for the object.
func TestCutInTheMiddle(t *testing.T) {
	t.Parallel()
	server := start(t)
	s, proxy := behind(t, server, quick)
	body := storetest.Bytes(2, 4<<20)
	proxy.Set(s3gw.Fault{CutRequest: 2 << 20})
	wantRefused(t, s.Put(t.Context(), "packs/x", body), object.ErrUnavailable, "gave up after")
	wantNothing(t, direct(t, server), "packs/x")
	s, proxy = behind(t, server, s3.Options{})
	proxy.Set(s3gw.Fault{CutRequest: 2 << 20, Connections: 1})
	if err := s.Put(t.Context(), "packs/x", body); err != nil {
		t.Fatal(err)
	}
	wantObject(t, direct(t, server), "packs/x", body)
}

// TestAnswerLost loses the answer to a Put that took effect.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	server := start(t)
	s, proxy := behind(t, server, s3.Options{})
	body := storetest.Bytes(3, 100000)
	proxy.Set(s3gw.Fault{CutAnswer: -1, Connections: 1})
	if err := s.Put(t.Context(), "packs/x", body); err != nil {
		t.Fatal(err)
	}
	wantObject(t, direct(t, server), "packs/x", body)

	// The same when another writer was first: the lost answer was a refusal.
	if err := direct(t, server).Put(t.Context(), "commits/1", []byte("theirs")); err != nil {
		t.Fatal(err)
	}
	proxy.Set(s3gw.Fault{CutAnswer: -1, Connections: 1})
	if err := s.Put(t.Context(), "commits/1", []byte("ours!!")); !errors.Is(err, object.ErrExists) {
		t.Errorf("Put: %v, want ErrExists", err)
	}
	wantObject(t, s, "commits/1", []byte("theirs"))
}

// TestDamagedOnTheWay flips a bit of the body behind TCP's back.
func TestDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	server := start(t)
	s, proxy := behind(t, server, s3.Options{})
	body := storetest.Bytes(4, 1<<20)
	proxy.Set(s3gw.Fault{Corrupt: 500000, Connections: 1})
	if err := s.Put(t.Context(), "packs/x", body); err != nil {
		t.Fatal(err)
	}
	if proxy.Connections() < 3 {
		t.Errorf("%d connections: the damaged body was not refused", proxy.Connections())
	}
	wantObject(t, direct(t, server), "packs/x", body)
}

// TestGetCut cuts answers: a body cut short is not a short object.
func TestGetCut(t *testing.T) {
	t.Parallel()
	server := start(t)
	s, proxy := behind(t, server, s3.Options{})
	body := storetest.Bytes(5, 1<<20)
	if err := s.Put(t.Context(), "x", body); err != nil {
		t.Fatal(err)
	}
	proxy.Set(s3gw.Fault{CutAnswer: 300000, Connections: 1})
	wantObject(t, s, "x", body)
	s, proxy = behind(t, server, quick)
	proxy.Set(s3gw.Fault{CutAnswer: 300000})
	for _, n := range []int64{-1, 1 << 20} {
		got, err := s.Get(t.Context(), "x", 0, n)
		wantRefused(t, err, object.ErrUnavailable, "get x in s3://")
		if got != nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Get: %d bytes, and the error looks like a short object: %v", len(got), err)
		}
	}
	proxy.Set(s3gw.Fault{CutAnswer: 200})
	err := s.List(t.Context(), "", func(object.Info) error { return nil })
	wantRefused(t, err, object.ErrUnavailable)
}

// calls are all operations, each with a name.
func calls(ctx context.Context, s *s3.Store) map[string]func() error {
	return map[string]func() error{
		"put":    func() error { return s.Put(ctx, "new", storetest.Bytes(6, 1<<20)) },
		"get":    func() error { _, err := s.Get(ctx, "x", 0, -1); return err },
		"list":   func() error { return s.List(ctx, "", func(object.Info) error { return nil }) },
		"delete": func() error { return s.Delete(ctx, "x") },
		"stat":   func() error { _, err := s.Stat(ctx, "x"); return err },
		"now":    func() error { _, err := s.Now(ctx); return err },
	}
}

// each runs all operations at once and checks their errors.
func each(ctx context.Context, s *s3.Store, check func(name string, err error)) {
	var wg sync.WaitGroup
	for name, call := range calls(ctx, s) {
		wg.Go(func() { check(name, call()) })
	}
	wg.Wait()
}

// TestServerStaysAway has every operation give up.
func TestServerStaysAway(t *testing.T) {
	t.Parallel()
	server := start(t)
	s := open(t, server.URL(bucket, "p"), quick)
	server.Stop(t)
	began := time.Now()
	each(t.Context(), s, func(name string, err error) {
		wantRefused(t, err, object.ErrUnavailable, "connection refused", "is the server running", "127.0.0.1")
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("giving up took %v", took)
	}
}

// TestServerIsSilent has every operation give up on a server that accepts
// connections and says nothing.
func TestServerIsSilent(t *testing.T) {
	t.Parallel()
	server := start(t)
	s, proxy := behind(t, server, quick)
	proxy.Set(s3gw.Fault{Silent: true})
	began := time.Now()
	each(t.Context(), s, func(name string, err error) {
		wantRefused(t, err, object.ErrUnavailable, "no answer in time")
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("giving up took %v", took)
	}
}

// TestCancelInTheMiddle is Ctrl-C while the server is silent.
func TestCancelInTheMiddle(t *testing.T) {
	t.Parallel()
	server := start(t)
	s, proxy := behind(t, server, s3.Options{})
	proxy.Set(s3gw.Fault{Silent: true})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	began := time.Now()
	each(ctx, s, func(name string, err error) {
		if !errors.Is(err, context.Canceled) || errors.Is(err, object.ErrUnavailable) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// TestSlowIsNotSilent takes several times Stall for one answer, but never
// stands still.
func TestSlowIsNotSilent(t *testing.T) {
	t.Parallel()
	server := start(t)
	s, proxy := behind(t, server, s3.Options{Patience: 5 * time.Second, Stall: 600 * time.Millisecond})
	body := storetest.Bytes(7, 80000)
	if err := s.Put(t.Context(), "x", body); err != nil {
		t.Fatal(err)
	}
	proxy.Set(s3gw.Fault{Delay: 40 * time.Millisecond, Piece: 2000})
	began := time.Now()
	wantObject(t, s, "x", body)
	if took := time.Since(began); took < 1200*time.Millisecond {
		t.Errorf("took %v: the proxy was not slow", took)
	}
}

// TestRaceOfHosts is a race of two stores, as two hosts have them, while
// answers get lost: one of them wins, both know which.
func TestRaceOfHosts(t *testing.T) {
	t.Parallel()
	server := start(t)
	a, proxy := behind(t, server, s3.Options{})
	b := direct(t, server)
	for round := range 6 {
		name := "commits/" + string(rune('0'+round))
		proxy.Set(s3gw.Fault{CutAnswer: -1, Connections: round % 3})
		if round%3 == 0 {
			proxy.Set(s3gw.Fault{})
		}
		errs := make([]error, 2)
		bodies := [][]byte{[]byte("from host a"), []byte("from host b")}
		var wg sync.WaitGroup
		for i, s := range []*s3.Store{a, b} {
			wg.Go(func() { errs[i] = s.Put(t.Context(), name, bodies[i]) })
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !errors.Is(errs[1-winner], object.ErrExists) {
			t.Fatalf("round %d: %v and %v; want one success and ErrExists", round, errs[0], errs[1])
		}
		wantObject(t, b, name, bodies[winner])
	}
}
