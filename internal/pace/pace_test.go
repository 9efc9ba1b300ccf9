package pace

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests run in synctest's bubble: its clock is the test's own and jumps
// when everybody waits, so times are exact and cost nothing.

func wait(t *testing.T, l *Limiter, messages int, bytes int64) {
	t.Helper()
	if err := l.Wait(context.Background(), messages, bytes); err != nil {
		t.Fatal(err)
	}
}

func near(t *testing.T, got, want time.Duration) {
	t.Helper()
	if d := got - want; d < -time.Millisecond || d > 10*time.Millisecond {
		t.Errorf("took %v, want %v", got, want)
	}
}

func TestUnlimited(t *testing.T) {
	var none *Limiter
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var zero Limiter
		for range 1000 {
			wait(t, &zero, 1000, 1<<40)
			wait(t, none, 1000, 1<<40)
		}
		if time.Since(start) != 0 {
			t.Errorf("waited %v", time.Since(start))
		}
		if none.Rate() != (Rate{}) || zero.Rate() != (Rate{}) {
			t.Error("an unlimited limiter has a rate")
		}
	})
}

func TestRateIsKept(t *testing.T) {
	for _, c := range []struct {
		name  string
		rate  Rate
		bytes int64
		n     int
		want  time.Duration
	}{
		{"messages", Rate{Messages: 100}, 1 << 30, 1001, 10 * time.Second},
		{"bytes", Rate{Bytes: 1000}, 100, 101, 10 * time.Second},
		{"both, messages bind", Rate{Messages: 10, Bytes: 1e9}, 100, 101, 10 * time.Second},
		{"both, bytes bind", Rate{Messages: 1e6, Bytes: 1e6}, 1e5, 101, 10 * time.Second},
		{"items beyond the burst", Rate{Bytes: 1000}, 5000, 3, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewLimiter(c.rate)
				start := time.Now()
				for range c.n {
					wait(t, l, 1, c.bytes)
				}
				near(t, time.Since(start), c.want)
			})
		})
	}
}

// After a pause no more than a second's worth passes at once.
func TestBurstIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(Rate{Messages: 10})
		wait(t, l, 1, 0)
		time.Sleep(time.Hour)
		start := time.Now()
		for range 31 {
			wait(t, l, 1, 0)
		}
		near(t, time.Since(start), 2*time.Second)
	})
}

func TestSetWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(Rate{Messages: 0.001})
		wait(t, l, 1, 0)
		start := time.Now()
		go func() {
			time.Sleep(5 * time.Second)
			l.Set(Rate{Messages: 1e6})
		}()
		wait(t, l, 1, 0)
		near(t, time.Since(start), 5*time.Second)
		if l.Rate().Messages != 1e6 {
			t.Errorf("rate is %v", l.Rate())
		}
		l.Set(Rate{})
		wait(t, l, 1e9, 1e15)
		near(t, time.Since(start), 5*time.Second)
		l.Set(Rate{Messages: 10})
		start = time.Now()
		for range 11 {
			wait(t, l, 1, 0)
		}
		// What passed unlimited is not owed.
		near(t, time.Since(start), time.Second)
	})
}

func TestContextEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(Rate{Bytes: 1})
		wait(t, l, 1, 1e9)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		var group sync.WaitGroup
		for range 5 {
			// One waits for its turn's end, the others for their turn.
			group.Go(func() {
				if err := l.Wait(ctx, 1, 1); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		group.Wait()
		if err := l.Wait(ctx, 0, 0); err == nil {
			t.Error("a dead context passes")
		}
	})
}

// However many callers share a limiter and whatever they ask for, what passes
// in any window keeps the invariant of the package comment.
func TestAnyWindowKeepsTheRate(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		const rate, largest = 1000.0, 3000
		type passed struct {
			at    time.Duration
			bytes int64
		}
		var (
			mu  sync.Mutex
			all []passed
		)
		l, start := NewLimiter(Rate{Bytes: rate}), time.Now()
		var group sync.WaitGroup
		for i := range uint64(8) {
			r := rand.New(rand.NewPCG(seed, i))
			group.Go(func() {
				for range 50 {
					n := r.Int64N(largest)
					if err := l.Wait(context.Background(), 1, n); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					all = append(all, passed{time.Since(start), n})
					mu.Unlock()
					time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
				}
			})
		}
		group.Wait()
		for i := range all {
			var sum int64
			for _, p := range all[i:] {
				sum += p.bytes
				most := rate*((p.at-all[i].at).Seconds()+burst.Seconds()) + largest
				if float64(sum) > most+1 {
					t.Fatalf("%d bytes between %v and %v, at most %.0f", sum, all[i].at, p.at, most)
				}
			}
		}
	})
}

func TestParseRate(t *testing.T) {
	for s, want := range map[string]Rate{
		"": {}, "unlimited": {}, " Unlimited ": {}, "none": {},
		"200msg/s,20MB/s":   {200, 20e6},
		"20MB/s, 200 msg/s": {200, 20e6},
		"1.5MiB/s":          {0, 1.5 * (1 << 20)},
		"600msg/min":        {10, 0},
		"3600 messages/h":   {1, 0},
		"5GiB/h":            {0, 5 * (1 << 30) / 3600.0},
		"100B/s":            {0, 100},
		"1k/s":              {0, 1000},
	} {
		if got, err := ParseRate(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"20", "20/s", "MB/s", "0MB/s", "-1MB/s", "20MB", "20MB/day", "1MB/s,2MB/s", "1msg/s,", "x", "20 furlongs/s", "1e3MB/s"} {
		if got, err := ParseRate(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

func TestRateStringIsReadBack(t *testing.T) {
	for _, want := range []Rate{{}, {200, 20e6}, {0.5, 0}, {0, 1.5e9}, {0, 1234567}, {1000, 999}, {0, 0.25},
		{1.0 / 60, 0}, {7.0 / 3600, 0}, {math.Pi, 0}, {1e-9, 0}} {
		if got, err := ParseRate(want.String()); err != nil || got != want {
			t.Errorf("%v became %q and %v, %v", want, want.String(), got, err)
		}
	}
	if s := (Rate{1.0 / 60, 0}).String(); s != "1msg/min" {
		t.Errorf("got %q", s)
	}
	if s := (Rate{200, 20e6}).String(); s != "200msg/s,20MB/s" {
		t.Errorf("got %q", s)
	}
}

func TestBytes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1048576": 1 << 20, "500MB": 5e8, "2 GiB": 2 << 30, "1.5k": 1500, "1tb": 1e12} {
		if got, err := ParseBytes(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "MB", "-1", "1XB", "99999999TB", "1e3", "NaN", "inf"} {
		if got, err := ParseBytes(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, got)
		}
	}
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 8400: "8.4 kB", 99949: "99.9 kB", 99950: "100 kB", 999499: "999 kB",
		999500: "1.0 MB", 3.06e9: "3.1 GB", 2e12: "2.0 TB", 9e18: "9000 PB", -5e6: "-5.0 MB",
	} {
		if got := FormatBytes(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	f.Add("200msg/s,20MB/s")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRate(s)
		if err != nil {
			return
		}
		if r.Messages < 0 || r.Bytes < 0 {
			t.Fatalf("%q: %v", s, r)
		}
	})
}
