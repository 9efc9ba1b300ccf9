package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"salvor/internal/objstore/object"
	"salvor/internal/objstore/s3"
	"salvor/internal/testenv/s3gw"
)

const emptyList = `<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`

func contents(keys ...string) string {
	var b strings.Builder
	b.WriteString("<ListBucketResult>")
	for _, k := range keys {
		fmt.Fprintf(&b, "<Contents><Key>%s</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>", k)
	}
	return b.String() + "<IsTruncated>false</IsTruncated></ListBucketResult>"
}

// hostile opens a store at a server that answers as the test wants. It is
// opened before the server begins to lie.
func hostile(t *testing.T, answer http.HandlerFunc) *s3.Store {
	t.Helper()
	return hostileFor(t, 300*time.Millisecond, answer)
}

func hostileFor(t *testing.T, patience time.Duration, answer http.HandlerFunc) *s3.Store {
	t.Helper()
	opened := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !opened {
			opened = true
			_, _ = io.WriteString(w, emptyList)
			return
		}
		w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return open(t, s3gw.URL(server.URL, bucket, "p"), s3.Options{Patience: patience, Stall: 2 * time.Second})
}

// TestHostileList gives listings that a good server does not.
func TestHostileList(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, answer string }{
		{"out of order", contents("p/b", "p/a")},
		{"twice", contents("p/a", "p/a")},
		{"outside the prefix", contents("p/a", "q/b")},
		{"before the prefix", contents("a")},
		{"negative size", strings.Replace(contents("p/a"), "<Size>1<", "<Size>-1<", 1)},
		{"size too large", strings.Replace(contents("p/a"), "<Size>1<", "<Size>99999999999999999999<", 1)},
		{"no XML", "all is well"},
		{"cut", contents("p/a")[:60]},
		{"truncated without a token", strings.Replace(contents("p/a"), "false", "true", 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := hostile(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, test.answer) })
			err := s.List(t.Context(), "", func(i object.Info) error { return nil })
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("List: %v", err)
			}
		})
	}
}

// TestForeignKeys: keys that are no objects' names are not listed.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	s := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, contents("p/", "p/../x", "p/A", "p/a", "p/a/", "p/b%0a", "p/c"))
	})
	var got []string
	err := s.List(t.Context(), "", func(i object.Info) error { got = append(got, i.Name); return nil })
	if err != nil || strings.Join(got, " ") != "a c" {
		t.Errorf("List: %q, %v", got, err)
	}
}

// TestEndlessList: an answer that never ends does not fill the memory.
func TestEndlessList(t *testing.T) {
	t.Parallel()
	s := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		filler := []byte("<Contents><Key>" + strings.Repeat("x", 1<<20))
		for range 100 {
			if _, err := w.Write(filler); err != nil {
				return
			}
		}
	})
	if err := s.List(t.Context(), "", func(i object.Info) error { return nil }); err == nil {
		t.Error("List took an endless answer")
	}
}

func TestHostileGet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		off, n int64
		answer func(w http.ResponseWriter)
	}{
		{"range ignored", 5, 5, func(w http.ResponseWriter) { _, _ = io.WriteString(w, "0123456789abcdef") }},
		{"another range", 5, 5, func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-4/16")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "01234")
		}},
		{"more than asked for", 0, 5, func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-15/16")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "0123456789abcdef")
		}},
		{"overflowing range", 0, 5, func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-9223372036854775807/16")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "01234")
		}},
		{"a tebibyte promised", 0, -1, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1099511627776")
			_, _ = io.WriteString(w, "x")
		}},
		{"a gibibyte promised", 0, -1, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1073741824")
			_, _ = io.WriteString(w, "x")
		}},
		{"no length", 0, -1, func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "y")
		}},
		{"redirect", 0, -1, func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}},
		{"beyond the end, but it is not", 0, 5, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := hostile(t, func(w http.ResponseWriter, r *http.Request) { test.answer(w) })
			got, err := s.Get(t.Context(), "x", test.off, test.n)
			if err == nil || got != nil {
				t.Errorf("Get: %q, %v", got, err)
			}
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, object.ErrNotExist) {
				t.Errorf("a lie is taken for a fact about the object: %v", err)
			}
		})
	}
}

// TestOddServers has one that knows no conditions, one without a clock, a full
// and a busy one.
func TestOddServers(t *testing.T) {
	t.Parallel()
	s := hostile(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotImplemented) })
	err := s.Put(t.Context(), "x", nil)
	if err == nil || errors.Is(err, object.ErrUnavailable) || !strings.Contains(err.Error(), "501") {
		t.Errorf("Put: %v", err)
	}
	s = hostile(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		_, _ = io.WriteString(w, emptyList)
	})
	if now, err := s.Now(t.Context()); err == nil {
		t.Errorf("Now: %v from a server without a clock", now)
	}
	s = hostile(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInsufficientStorage) })
	wantRefused(t, s.Put(t.Context(), "x", nil), object.ErrFull)
	requests := 0
	s = hostileFor(t, 10*time.Second, func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests < 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	if err := s.Put(t.Context(), "x", nil); err != nil {
		t.Errorf("Put at a server that is busy once: %v", err)
	}
}
