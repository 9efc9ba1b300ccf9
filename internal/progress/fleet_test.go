package progress

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A fleet is made-up work: users with messages of heavy-tailed sizes, and what
// each kind of work costs.
type fleet struct {
	name                    string
	user, message, megabyte float64 // seconds
	noise                   float64 // of each cost: sigma of a logarithmic normal distribution
	smallFirst              bool
	skipped                 float64 // share of the messages that are there already
	workers                 int     // users at a time
	late                    bool    // as a pace does it: the next message waits for the last one's size
}

// simulate does the work in a time of its own, and gives by how much the guess's
// middle was wrong when a share of the time was over, and whether the truth was
// in the range.
func (f fleet) simulate(t *testing.T, rng *rand.Rand, share float64) (wrong float64, inside bool) {
	t.Helper()
	const users, messages = 200, 30_000
	type user struct{ sizes []float64 }
	all := make([]user, users)
	for range messages {
		// Few users have most of the mail; few messages have most of the bytes.
		u := int(float64(users) * math.Pow(rng.Float64(), 3))
		all[u].sizes = append(all[u].sizes, min(40e6, 3000*math.Pow(1-rng.Float64(), -0.9)))
	}
	rng.Shuffle(users, func(i, j int) { all[i], all[j] = all[j], all[i] })
	if f.smallFirst {
		slices.SortStableFunc(all, func(a, b user) int { return len(a.sizes) - len(b.sizes) })
	}
	var bytes float64
	for _, u := range all {
		for _, size := range u.sizes {
			bytes += math.Trunc(size)
		}
	}
	start := time.Unix(1e9, 0)
	now := start
	s := state{clock: func() time.Time { return now }}
	s.begin("restore", start)
	s.expect(messages, int64(bytes))
	s.Users(0, users)
	type look struct {
		at   float64
		left guess
	}
	var looks []look
	pass := func(seconds float64) {
		// Several at a time: each cost is a share of the wall clock.
		end := now.Add(time.Duration(seconds / float64(f.workers) * math.Exp(rng.NormFloat64()*f.noise) * float64(time.Second)))
		for next := now.Add(step); next.Before(end) && end.Sub(now) > step; next = next.Add(step) {
			s.look(next)
		}
		now = end
	}
	seen, owed := now, 0.0
	for i, u := range all {
		pass(f.user)
		for _, size := range u.sizes {
			if rng.Float64() < f.skipped {
				pass(f.message / 50)
				s.Skip(1, int64(size))
			} else {
				if !f.late {
					owed = f.message + f.megabyte*size/1e6
				}
				pass(owed)
				owed = f.message + f.megabyte*size/1e6
				s.add(1, int64(size))
			}
			if now.Sub(seen) >= step {
				seen = now
				looks = append(looks, look{now.Sub(start).Seconds(), s.look(now).left})
			}
		}
		s.Users(int64(i+1), users)
	}
	whole := now.Sub(start).Seconds()
	for _, l := range looks {
		if l.at < whole*share {
			continue
		}
		truth := whole - l.at
		if l.left.low < 0 {
			return math.Inf(1), false
		}
		return math.Abs(l.left.middle.Seconds()-truth) / truth, l.left.low.Seconds() <= truth && truth <= l.left.high.Seconds()
	}
	return math.Inf(1), false
}

// After a tenth of the work on a steady source the middle of the guess is within
// 20 % of the truth.
func TestGuessAfterATenth(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i, f := range []fleet{
		{name: "messages cost", message: 0.05, workers: 1},
		{name: "bytes cost", megabyte: 0.5, message: 0.001, workers: 1},
		{name: "both cost", message: 0.02, megabyte: 0.2, noise: 0.3, workers: 4},
		{name: "users cost", user: 2, message: 0.03, megabyte: 0.1, noise: 0.3, workers: 4},
		{name: "small users first", user: 1, message: 0.02, megabyte: 0.2, noise: 0.3, smallFirst: true, workers: 4},
		{name: "paced by bytes", megabyte: 0.2, workers: 1, late: true},
		{name: "paced by both", message: 0.01, megabyte: 0.1, workers: 1, late: true, smallFirst: true},
		{name: "a third is there", user: 1, message: 0.02, megabyte: 0.2, noise: 0.3, skipped: 0.3, workers: 4},
	} {
		t.Run(f.name, func(t *testing.T) {
			const rounds = 20
			var within, inside int
			var errors []string
			for k := range rounds {
				wrong, in := f.simulate(t, rand.New(rand.NewPCG(seed, uint64(i*rounds+k))), 0.1)
				if wrong <= 0.2 {
					within++
				}
				if in {
					inside++
				}
				errors = append(errors, fmt.Sprintf("%.0f%%", wrong*100))
			}
			t.Logf("wrong by %s; %d of %d inside the range", strings.Join(errors, " "), inside, rounds)
			// How much is there already is known only when all was looked at: then the
			// range must have the truth.
			if f.skipped == 0 && within < rounds-2 || f.skipped > 0 && inside < rounds-2 {
				t.Errorf("only %d of %d guesses are within 20 %%, %d have the truth in their range", within, rounds, inside)
			}
		})
	}
}

// A fleet's line has users, what is there already, a range and a remark.
func TestFleetLines(t *testing.T) {
	for face, want := range map[Face]string{
		Lines: "restore: 33%, 1 of 3 users, 30 of 90 messages, 30.0 MB of 90.0 MB, 10 there already, 1.0 MB/s, about 55s-1m05s left; slowed down\n",
		JSON:  `"users":{"done":1,"total":3},"messages":{"done":30,"total":90},"bytes":{"done":30000000,"total":90000000},"skipped":10,`,
	} {
		synctest.Test(t, func(t *testing.T) {
			var out buffer
			d := Open(Options{Out: &out, Face: face})
			m := d.Meter()
			m.Stage("restore")
			m.Total(100, 100e6)
			m.Users(1, 3)
			m.Remark("slowed down")
			time.Sleep(time.Second / 2)
			m.Skip(10, 10e6)
			for range 60 {
				m.Add(1, 1e6)
				time.Sleep(time.Second)
			}
			d.Close()
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in:\n%s", want, out.String())
			}
		})
	}
	// Who knows no difference counts what was skipped as done.
	var c Count
	NewMeter(&c).Skip(3, 4)
	if n, b := c.Done(); n != 3 || b != 4 {
		t.Errorf("counted %d, %d", n, b)
	}
}

// A log of a long night has a line a minute.
func TestLongLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		d := Open(Options{Out: &out, Face: Lines})
		m := d.Meter()
		m.Stage("restore")
		for range 3600 {
			m.Add(1, 1)
			time.Sleep(time.Second)
		}
		d.Close()
		if n := strings.Count(out.String(), "\n"); n < 80 || n > 90 {
			t.Errorf("%d lines in an hour", n)
		}
	})
}

func TestRangeWords(t *testing.T) {
	for _, c := range []struct {
		low, high time.Duration
		want      string
	}{
		{129 * time.Minute, 161 * time.Minute, "2h10m-2h40m"},
		{58 * time.Second, 59 * time.Second, "58s-59s"},
		{95 * time.Second, 122 * time.Second, "1m35s-2m00s"},
		{119 * time.Hour, 121 * time.Hour, "5d"},
		{40 * time.Hour, 50 * time.Hour, "40h00m-50h00m"},
		{0, 0, "0s"},
		{4900 * time.Millisecond, 6 * time.Second, "5s-6s"},
	} {
		if got := (view{left: guess{c.low, (c.low + c.high) / 2, c.high}}).eta(); got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.low, c.high, got, c.want)
		}
	}
	if got := (view{left: noGuess}).eta(); got != "-" {
		t.Errorf("got %q", got)
	}
}

// Whatever comes in, the guess is a range or none, and memory is bounded.
func FuzzEstimator(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 200, 0, 0, 0, 9, 9, 9, 9})
	f.Add([]byte(strings.Repeat("\x01\x00\xff\x02", 900)))
	f.Fuzz(func(t *testing.T, b []byte) {
		now := time.Unix(1e9, 0)
		s := state{clock: func() time.Time { return now }}
		s.begin("x", now)
		for len(b) >= 4 {
			now = now.Add(time.Duration(b[0]) * time.Duration(b[0]) * time.Millisecond)
			switch b[1] % 8 {
			case 0:
				s.expect(int64(b[2])<<b[3]%60, int64(b[3])<<b[2]%60)
			case 1:
				s.Users(int64(b[2]), int64(b[3]))
			case 2:
				s.Skip(int64(b[2]), int64(b[3])<<40)
			case 3:
				s.Anew()
			default:
				s.add(int64(b[2]), int64(b[3])<<(b[2]%50))
			}
			v := s.look(now)
			if g := v.left; g != noGuess && (g.low < 0 || g.low > g.middle || g.middle > g.high) {
				t.Fatalf("guess %v", g)
			}
			if len(s.estimate.notches) > maxNotches || !json.Valid([]byte(jsonLine(v, moment))) {
				t.Fatalf("%d notches, %s", len(s.estimate.notches), jsonLine(v, moment))
			}
			b = b[4:]
		}
	})
}
