package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/s3gw"
)

// TestS3Hangs has a server that stops answering in the middle of a backup: the
// operator hears of it, SIGTERM ends the backup soon, and the vault is whole.
func TestS3Hangs(t *testing.T) {
	t.Parallel()
	server := s3gw.Start(t)
	server.MakeBucket(t, "salvor-hang")
	target, err := url.Parse(server.Endpoint)
	must(t, err)
	var armed atomic.Bool
	hangs := make(chan struct{})
	hang := sync.OnceFunc(func() { close(hangs) })
	through := &httputil.ReverseProxy{Director: func(r *http.Request) { r.URL.Scheme, r.URL.Host = target.Scheme, target.Host }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if armed.Load() && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/packs/") {
			hang()
		}
		select {
		case <-hangs:
			<-r.Context().Done()
		default:
			through.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(proxy.CloseClientConnections)
	w := newWorld(t)
	w.env = append(w.env, "AWS_ACCESS_KEY_ID="+s3gw.Access, "AWS_SECRET_ACCESS_KEY="+s3gw.Secret,
		"SALVOR_VAULT="+s3gw.URL(proxy.URL, "salvor-hang", "v"))
	source := "maildir:" + w.path("mail", "%u")
	w.letters("INBOX", "", "first")
	w.run("init")
	w.run("backup", source)
	w.letters("second", "", "second")

	armed.Store(true)
	var said bytes.Buffer
	cmd := w.command("backup", source)
	cmd.Stderr = &said
	must(t, cmd.Start())
	<-hangs
	time.Sleep(5 * time.Second) // so that the waiting is told before the end
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	asked := time.Now()
	err = cmd.Wait()
	if took := time.Since(asked); took > 20*time.Second {
		t.Errorf("took %v to stop", took)
	}
	if code := exitOf(err); code != exitInterrupted || !strings.Contains(said.String(), "the store does not answer, trying again for up to 2m0s") {
		t.Errorf("exit %d: %s", code, &said)
	}

	w.env = append(w.env, "SALVOR_VAULT="+server.URL("salvor-hang", "v"))
	w.run("backup", source)
	w.run("check", "--read-data")
	w.run("restore", "alice", "--to", "maildir:"+w.path("back"))
	w.same("alice", "back")
}
