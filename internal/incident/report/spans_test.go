package report

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Spans hold every time that was added, once, in order, and are few.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		times := rapid.SliceOfN(rapid.OneOf(rapid.Int64Range(0, 1e6), rapid.Int64Range(-9.2e9, 9.2e9)), 0, 300).Draw(t, "times")
		for _, at := range times {
			s.add(time.Unix(at, 0))
		}
		out := s.in(time.UTC)
		if len(out) > mostSpans {
			t.Fatalf("%d spans", len(out))
		}
		var n int64
		for i, span := range out {
			n += span.Messages
			if span.To.Before(span.From) || i > 0 && !span.From.After(out[i-1].To) {
				t.Fatalf("%v", out)
			}
		}
		if n != int64(len(times)) {
			t.Fatalf("%d of %d", n, len(times))
		}
		for _, at := range times {
			found := false
			for _, span := range out {
				found = found || !time.Unix(at, 0).Before(span.From) && !time.Unix(at, 0).After(span.To)
			}
			if !found {
				t.Fatalf("%d is in none of %v", at, out)
			}
		}
	})
}

// An hour without mail parts two spans; less does not.
func TestSpanGaps(t *testing.T) {
	var s spans
	for _, minutes := range []int{0, 50, 110, 171, 171} {
		s.add(loss.Add(time.Duration(minutes) * time.Minute))
	}
	s.add(time.Time{})
	out := s.in(time.UTC)
	if len(out) != 2 || out[0].Messages != 3 || out[1].Messages != 2 || !out[0].To.Equal(loss.Add(110*time.Minute)) || s.undated != 1 {
		t.Errorf("%v", out)
	}
}

// However many messages there are, few spans are in memory.
func TestSpansAreBounded(t *testing.T) {
	var s spans
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		s.add(time.Unix(rng.Int64N(9e9), 0))
		if len(s.list) >= looseSpans {
			t.Fatal(len(s.list))
		}
	}
	var n int64
	for _, span := range s.in(time.UTC) {
		n += span.Messages
	}
	if n != 100000 {
		t.Error(n)
	}
}
