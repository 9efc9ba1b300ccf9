package faulty

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"salvor/internal/objstore/dir"
	"salvor/internal/objstore/object"
	"salvor/internal/objstore/storetest"
)

func under(t *testing.T) object.Store {
	t.Helper()
	s, err := dir.Open(t.Context(), t.TempDir(), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestNoFaults: without a fault the wrapper is as good a store as the other.
func TestNoFaults(t *testing.T) {
	storetest.Run(t, func(t *testing.T) object.Store { return New(under(t)) })
}

func TestFailBeforeAndAfter(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		effect Effect
		there  bool
	}{{FailBefore, false}, {FailAfter, true}} {
		s := New(under(t), Fault{Effect: test.effect, Op: Put, Name: "packs/", Nth: 2, Err: broken})
		for i, name := range []string{"packs/1", "commits/1", "packs/2", "packs/3"} {
			err := s.Put(t.Context(), name, []byte(name))
			if want := name == "packs/2"; want != errors.Is(err, broken) {
				t.Errorf("Put %d: %v", i, err)
			}
		}
		_, err := s.Get(t.Context(), "packs/2", 0, -1)
		if test.there != (err == nil) {
			t.Errorf("effect %v: Get after the fault: %v", test.effect, err)
		}
		if s.Met() != 1 || s.Count(Put, "") != 4 || s.Count(Put, "packs/") != 3 || s.Count(Get, "") != 1 {
			t.Errorf("met %d faults in %v", s.Met(), s.Calls())
		}
	}
}

func TestLasting(t *testing.T) {
	s := New(under(t), Fault{Nth: 3, Lasting: true})
	var failed []bool
	for range 5 {
		failed = append(failed, errors.Is(s.Delete(t.Context(), "x"), object.ErrUnavailable))
	}
	for i, f := range failed {
		if f != (i >= 2) {
			t.Fatalf("calls failed: %v", failed)
		}
	}
}

// TestEveryCallInTurn is the loop that this package is for.
func TestEveryCallInTurn(t *testing.T) {
	n := 1
	for ; ; n++ {
		s := New(under(t), Fault{Nth: n})
		err := errors.Join(s.Put(t.Context(), "a", nil), s.Put(t.Context(), "b", nil), s.Delete(t.Context(), "a"))
		if s.Met() == 0 {
			break
		}
		if err == nil {
			t.Errorf("call %d did not fail", n)
		}
	}
	if n != 4 {
		t.Errorf("%d calls were failed in turn, want 3", n-1)
	}
}

func TestDamage(t *testing.T) {
	body := storetest.Bytes(1, 1000)
	for _, test := range []struct {
		fault  Fault
		off, n int64
		want   func([]byte) []byte // nil: io.ErrUnexpectedEOF
	}{
		{Fault{Effect: Flip, At: 8001}, 0, -1, func(b []byte) []byte { b[0] ^= 2; return b }},
		{Fault{Effect: Flip, At: 7}, 500, 10, func(b []byte) []byte { b[500] ^= 0x80; return b[500:510] }},
		{Fault{Effect: Flip}, 0, 0, func(b []byte) []byte { return nil }},
		{Fault{Effect: Truncate, At: 600}, 0, -1, func(b []byte) []byte { return b[:600] }},
		{Fault{Effect: Truncate, At: 600}, 500, -1, func(b []byte) []byte { return b[500:600] }},
		{Fault{Effect: Truncate, At: 600}, 500, 100, func(b []byte) []byte { return b[500:600] }},
		{Fault{Effect: Truncate, At: 600}, 500, 101, nil},
		{Fault{Effect: Truncate, At: 600}, 601, -1, nil},
		{Fault{Effect: Truncate}, 0, -1, func(b []byte) []byte { return nil }},
	} {
		s := New(under(t))
		if err := s.Put(t.Context(), "x", body); err != nil {
			t.Fatal(err)
		}
		s.Set(test.fault)
		got, err := s.Get(t.Context(), "x", test.off, test.n)
		if test.want == nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) || got != nil {
				t.Errorf("%+v: %d bytes, %v", test, len(got), err)
			}
		} else if want := test.want(bytes.Clone(body)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: got %d bytes, %v; want %d", test.fault, len(got), err, len(want))
		}
	}
}

func TestSlow(t *testing.T) {
	s := New(under(t), Fault{Effect: Slow, Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, "x", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put: %v", err)
	}
	s.Set(Fault{Effect: Slow, Delay: 30 * time.Millisecond})
	began := time.Now()
	if err := s.Put(t.Context(), "x", nil); err != nil || time.Since(began) < 30*time.Millisecond {
		t.Errorf("Put: %v after %v", err, time.Since(began))
	}
}
