package s3

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestWaitingIsTold has a server that is silent, and one that fails: the caller
// hears of each once, soon, and again only after the server has worked.
func TestWaitingIsTold(t *testing.T) {
	t.Parallel()
	const (
		works int32 = iota
		silent
		failing
	)
	var mode atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mode.Load() {
		case silent:
			<-r.Context().Done()
		case failing:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "application/xml")
			w.Write([]byte(`<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>`))
		}
	}))
	t.Cleanup(server.Close)
	var told []string
	o := Options{Patience: 2 * time.Second, Stall: time.Second, quiet: 300 * time.Millisecond, tellAfter: 200 * time.Millisecond,
		Waiting: func(patience time.Duration, err error) {
			if patience != 2*time.Second {
				t.Errorf("patience %v", patience)
			}
			told = append(told, err.Error())
		}}
	s, err := Open(t.Context(), "s3://bucket?region=us-east-1&endpoint="+server.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode  int32
		words string
	}{{works, ""}, {silent, "no answer for 300ms"}, {works, ""}, {failing, "503"}, {works, ""}} {
		mode.Store(c.mode)
		told = nil
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		_, err := s.Now(ctx)
		cancel()
		if (err == nil) != (c.mode == works) {
			t.Errorf("mode %d: %v", c.mode, err)
		}
		if c.words == "" && len(told) != 0 || c.words != "" && (len(told) != 1 || !strings.Contains(told[0], c.words)) {
			t.Errorf("mode %d: told %q, want once %q", c.mode, told, c.words)
		}
	}
}
