package pace

import (
	"context"
	"fmt"
	"math/bits"
	"sync"
	"time"
)

// A Governor is a Limiter that also slows down by itself while a destination
// answers slower than it used to, and speeds up again when it has recovered. Its
// callers Wait before each message and tell with Took how long the destination
// needed for it. It may be used by many goroutines.
//
// How it judges: messages are sorted into classes by size (powers of two), and
// of each class it learns how long one takes. In stretches of some seconds it
// compares the time that messages took with what was expected of them, where
// less than quick is expected of nobody: what a local disk does in batches is no
// matter. When three stretches in a row took more than four times as long, the
// rate of messages is halved (from what really passed), and again after three
// more, down to a twentieth of what it was before, or one a second. While they
// take less than twice as long it grows by a tenth of what it was at first, until
// it is back there and the limit falls away; in between nothing changes. A
// destination that stays slower is, in the end, not slow any more: after about
// twenty minutes that is what is expected of it.
type Governor struct {
	*Limiter
	own Limiter // what it allows itself

	mu      sync.Mutex
	classes [classes]class
	stretch stretch
	slow    int     // stretches in a row that were too slow
	usual   float64 // messages a second while all is well
	first   float64 // the same before it slowed down; 0: it does not
	ratio   float64 // of the last stretch
}

// NewGovernor makes one above a limiter, whose rate it never exceeds.
func NewGovernor(l *Limiter) *Governor { return &Governor{Limiter: l} }

const (
	classes  = 16
	smallest = 12 // log2 of the bytes of the first class
	tooSlow  = 4.0
	inARow   = 3
	fine     = 2.0
	quick    = 0.005 // seconds for a message
	slowest  = 1.0   // messages a second
	deepest  = 20.0  // the rate before is divided by this at most
	familiar = 48    // messages of a class before it says something

	least    = 2 * time.Second // of a stretch ...
	atLeast  = 16              // ... and its messages ...
	longest  = 10 * time.Second
	believed = 30 * time.Minute // how long it takes until slowness is learned (to two thirds)

	faster = 0.5 // how much of a faster stretch is learned at once
	noise  = 0.1 // and of one that is a little slower
)

// A class is what is known of messages of one size.
type class struct {
	known int     // messages
	each  float64 // seconds that one takes
}

// A stretch is what came in some seconds, by class.
type stretch struct {
	began    time.Time
	messages [classes]int
	seconds  [classes]float64
	all      int
}

// classOf sorts by size: up to 4 kB, 8 kB, 16 kB ...
func classOf(bytes int64) int {
	return min(classes-1, max(0, bits.Len64(uint64(max(0, bytes)))-smallest))
}

// Wait returns when so many messages and bytes may pass.
func (g *Governor) Wait(ctx context.Context, messages int, bytes int64) error {
	if err := g.own.Wait(ctx, messages, 0); err != nil {
		return err
	}
	return g.Limiter.Wait(ctx, messages, bytes)
}

// Took says how long the destination needed for one message of so many bytes.
func (g *Governor) Took(bytes int64, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	s := &g.stretch
	if s.began.IsZero() {
		s.began = now.Add(-took)
	}
	c := classOf(bytes)
	s.messages[c]++
	s.seconds[c] += took.Seconds()
	s.all++
	if long := now.Sub(s.began); long >= least && s.all >= atLeast || long >= longest {
		g.judge(now.Sub(s.began).Seconds())
		*s = stretch{began: now}
	}
}

// judge looks at the stretch that is over; it lasted so many seconds.
func (g *Governor) judge(lasted float64) {
	var took, expected float64
	for i, c := range g.classes {
		if c.known >= familiar {
			took += g.stretch.seconds[i]
			expected += float64(g.stretch.messages[i]) * max(c.each, quick)
		}
	}
	if expected > 0 {
		g.ratio = took / expected
	}
	for i := range g.classes {
		if n := g.stretch.messages[i]; n > 0 {
			g.classes[i].learn(n, g.stretch.seconds[i], g.ratio, lasted)
		}
	}
	passed := float64(g.stretch.all) / lasted
	switch {
	case expected <= 0:
	case g.ratio > tooSlow:
		if g.slow++; g.slow >= inARow {
			g.slow = 0
			g.slower(passed)
		}
	default:
		g.slow = 0
		if g.ratio >= fine {
			break
		}
		if g.first > 0 {
			g.quicken()
		} else {
			g.usual += (passed - g.usual) * faster
		}
	}
}

// learn takes a stretch's messages of the class into what is known of it.
func (c *class) learn(n int, seconds, ratio, lasted float64) {
	each := seconds / float64(n)
	weight := noise * min(1, float64(n)/familiar)
	switch {
	case c.known < familiar: // the mean of all
		weight = float64(n) / float64(c.known+n)
	case each < c.each:
		weight = faster * min(1, float64(n)/familiar)
	case ratio > fine:
		weight = min(1, lasted/believed.Seconds())
	}
	c.each += (each - c.each) * weight
	c.known += n
}

func (g *Governor) slower(passed float64) {
	if g.first == 0 {
		g.first = max(g.usual, passed, slowest)
	}
	rate := passed
	if own := g.own.Rate().Messages; own > 0 {
		rate = min(own, passed)
	}
	g.own.Set(Rate{Messages: max(slowest, g.first/deepest, rate/2)})
}

func (g *Governor) quicken() {
	rate := g.own.Rate().Messages + max(g.first/10, slowest)
	if rate >= g.first*1.2 {
		g.first = 0
		g.own.Set(Rate{})
		return
	}
	g.own.Set(Rate{Messages: rate})
}

// Note says, for people, that it has slowed down, how much, and why; "" when it
// has not.
func (g *Governor) Note() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first == 0 {
		return ""
	}
	rate := g.own.Rate().Messages
	if g.ratio < fine {
		return fmt.Sprintf("at most %.0f msg/s, and faster again: the destination has recovered", rate)
	}
	return fmt.Sprintf("slowed down to %.0f msg/s: the destination answers %.0f times slower than it did", rate, g.ratio)
}
