package pace

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A place is a made-up destination, whose time for a message is what the test
// says at that moment.
type place struct {
	mu     sync.Mutex
	takes  func(bytes int64) time.Duration
	passed int
	users  sync.WaitGroup
}

func (p *place) set(f func(bytes int64) time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takes = f
}

// rate gives how many messages a second pass in some time from now on.
func (p *place) rate(d time.Duration) float64 {
	p.mu.Lock()
	before := p.passed
	p.mu.Unlock()
	time.Sleep(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(p.passed-before) / d.Seconds()
}

// fill has some users add messages of heavy-tailed sizes until ctx ends.
func (p *place) fill(ctx context.Context, g *Governor, users int, seed uint64) {
	for u := range users {
		rng := rand.New(rand.NewPCG(seed, uint64(u)))
		p.users.Go(func() {
			for {
				bytes := int64(min(20e6, 3000*math.Pow(1-rng.Float64(), -0.9)))
				if g.Wait(ctx, 1, bytes) != nil {
					return
				}
				p.mu.Lock()
				takes := p.takes(bytes)
				p.mu.Unlock()
				begun := time.Now()
				time.Sleep(takes)
				g.Took(bytes, time.Since(begun))
				p.mu.Lock()
				p.passed++
				p.mu.Unlock()
			}
		})
	}
}

// in runs a test with a governor above a rate and a destination that is filled.
func in(t *testing.T, r Rate, users int, takes func(int64) time.Duration, f func(g *Governor, p *place)) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		g, p := NewGovernor(NewLimiter(r)), &place{takes: takes}
		p.fill(ctx, g, users, seed)
		defer func() { stop(); p.users.Wait() }()
		f(g, p)
	})
}

// server takes so long for a message and for a megabyte, more or less.
func server(message, megabyte time.Duration) func(int64) time.Duration {
	rng := rand.New(rand.NewPCG(1, 2))
	return func(bytes int64) time.Duration {
		mean := float64(message) + float64(megabyte)*float64(bytes)/1e6
		return time.Duration(mean * math.Exp(rng.NormFloat64()*0.5))
	}
}

// A healthy destination is never held back, whatever its ways.
func TestGovernorLeavesTheHealthyAlone(t *testing.T) {
	n := 0
	for name, takes := range map[string]func(int64) time.Duration{
		"an IMAP server":        server(8*time.Millisecond, 30*time.Millisecond),
		"far away":              server(150*time.Millisecond, 500*time.Millisecond),
		"a local disk":          server(100*time.Microsecond, 2*time.Millisecond),
		"a disk with batches":   batches(server(100*time.Microsecond, 2*time.Millisecond), 4000, 3*time.Second),
		"a server with batches": batches(server(20*time.Microsecond, 0), 500, 400*time.Millisecond),
		"a server with pauses":  batches(server(8*time.Millisecond, 30*time.Millisecond), 3000, 8*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			in(t, Rate{}, 4, takes, func(g *Governor, p *place) {
				for passed := 0.0; passed < 200_000; n++ {
					passed += p.rate(time.Second)
					if note := g.Note(); note != "" || g.own.Rate() != (Rate{}) {
						t.Fatalf("after %.0f messages it says %q", passed, note)
					}
				}
			})
		})
	}
	if n < 60 {
		t.Errorf("only %d looks", n)
	}
}

// batches has every n-th message wait for all of them.
func batches(takes func(int64) time.Duration, n int, flush time.Duration) func(int64) time.Duration {
	count := 0
	return func(bytes int64) time.Duration {
		if count++; count%n == 0 {
			return takes(bytes) + flush
		}
		return takes(bytes)
	}
}

// A destination whose answers come ten times slower is spared, and used again
// when it has recovered.
func TestGovernorSlowsDownAndRecovers(t *testing.T) {
	in(t, Rate{}, 4, server(8*time.Millisecond, 30*time.Millisecond), func(g *Governor, p *place) {
		time.Sleep(2 * time.Minute)
		before := p.rate(30 * time.Second)
		p.set(server(80*time.Millisecond, 300*time.Millisecond))
		time.Sleep(45 * time.Second)
		slow := p.rate(15 * time.Second)
		// By itself it would fall to a tenth.
		if slow > before/15 || slow < before/deepest*0.9 {
			t.Errorf("%.0f msg/s before, %.0f while it is slow", before, slow)
		}
		if note := g.Note(); !strings.HasPrefix(note, "slowed down to ") || !strings.Contains(note, "times slower") {
			t.Errorf("it says %q", note)
		}
		p.set(server(8*time.Millisecond, 30*time.Millisecond))
		time.Sleep(20 * time.Second)
		if note := g.Note(); !strings.Contains(note, "recovered") {
			t.Errorf("it says %q", note)
		}
		time.Sleep(40 * time.Second)
		if after := p.rate(30 * time.Second); after < before*0.95 || g.Note() != "" {
			t.Errorf("%.0f msg/s before, %.0f after; it says %q", before, after, g.Note())
		}
	})
}

// A server that others keep busy answers in time again when less is asked of it:
// the rate settles where it can bear it.
func TestGovernorFindsWhatIsBorne(t *testing.T) {
	var g *Governor
	var mu sync.Mutex
	load, capacity := 0.0, 1e9 // messages a second
	last := time.Time{}
	busy := func(bytes int64) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if !last.IsZero() {
			load *= math.Exp(-now.Sub(last).Seconds() / 5)
		}
		load, last = load+0.2, now
		return time.Duration(float64(10*time.Millisecond) * max(1, math.Pow(load/capacity, 4)))
	}
	in(t, Rate{}, 4, busy, func(gov *Governor, p *place) {
		g = gov
		time.Sleep(2 * time.Minute)
		before := p.rate(10 * time.Second)
		mu.Lock()
		capacity = before / 4
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		rate := p.rate(2 * time.Minute)
		if rate < before/10 || rate > before/2 {
			t.Errorf("%.0f msg/s before, %.0f where %.0f are borne; it says %q", before, rate, before/4, g.Note())
		}
	})
}

// What stays slower becomes what is expected.
func TestGovernorGetsUsedToIt(t *testing.T) {
	in(t, Rate{}, 4, server(20*time.Millisecond, 30*time.Millisecond), func(g *Governor, p *place) {
		time.Sleep(time.Minute)
		p.set(server(200*time.Millisecond, 300*time.Millisecond))
		time.Sleep(time.Minute)
		if g.Note() == "" {
			t.Fatal("it did not slow down")
		}
		time.Sleep(45 * time.Minute)
		if note := g.Note(); note != "" {
			t.Errorf("after 45 minutes it says %q", note)
		}
	})
}

// The operator's rate holds above all, and can be changed meanwhile.
func TestGovernorKeepsTheRate(t *testing.T) {
	in(t, Rate{Messages: 50}, 4, server(8*time.Millisecond, 0), func(g *Governor, p *place) {
		time.Sleep(time.Minute)
		if rate := p.rate(20 * time.Second); rate > 50.5 || rate < 49 {
			t.Errorf("%.1f msg/s", rate)
		}
		p.set(server(90*time.Millisecond, 0))
		time.Sleep(time.Minute)
		if rate := p.rate(20 * time.Second); rate > 26 || rate < 1 {
			t.Errorf("%.1f msg/s while it is slow", rate)
		}
		g.Set(Rate{Messages: 1})
		time.Sleep(5 * time.Second)
		if rate := p.rate(20 * time.Second); rate > 1.1 {
			t.Errorf("%.1f msg/s of 1", rate)
		}
	})
}

// What it costs to be watched, for each message.
func BenchmarkGovernor(b *testing.B) {
	g := NewGovernor(NewLimiter(Rate{}))
	for b.Loop() {
		if err := g.Wait(context.Background(), 1, 9000); err != nil {
			b.Fatal(err)
		}
		g.Took(9000, time.Millisecond)
	}
}
