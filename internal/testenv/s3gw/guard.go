package s3gw

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// A Guard is an HTTP proxy before a server that lets nobody delete anything, or
// put anything without the condition that there is nothing yet.
type Guard struct {
	// Endpoint is "http://127.0.0.1:PORT" of the proxy.
	Endpoint string
	refused  atomic.Int64
}

// NewGuard starts one before the server at endpoint; it ends with the test.
func NewGuard(t testing.TB, endpoint string) *Guard {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &Guard{}
	// The host that the request was signed for stays in it.
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.Out.Host = r.In.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && (r.Method != http.MethodPut || r.Header.Get("If-None-Match") != "*") {
			g.refused.Add(1)
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"))
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.Endpoint = server.URL
	return g
}

// Refused is how many requests were.
func (g *Guard) Refused() int { return int(g.refused.Load()) }
