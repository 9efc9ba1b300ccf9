package progress

import (
	"math"
	"sort"
	"time"
)

// What makes work: its kinds, each with a cost of its own that nobody knows
// beforehand. A message costs its round trips, a byte its transport, a user the
// opening of an account, and what is skipped the look at it.
const (
	ofMessages = iota
	ofBytes
	ofUsers
	ofSkipped
	kinds
)

// labour is an amount of each kind.
type labour [kinds]float64

func (l labour) minus(m labour) labour {
	for i := range l {
		l[i] -= m[i]
	}
	return l
}

// costs gives how long an amount takes at these costs, in seconds.
func (l labour) costs(c labour) (seconds float64) {
	for i := range l {
		seconds += l[i] * c[i]
	}
	return seconds
}

// An estimator guesses when a stage will be done. It notes what was done after
// every so many additions, learns from that what each kind of work costs (least
// squares, no cost below zero), and applies it to what is left. So it stays right
// when the mix changes: small users before large ones, short messages before
// long ones. How much the guess varies with what it is taken from (all that was
// measured, the last half of it, the last quarter) and with how evenly the work
// went makes the range.
type estimator struct {
	began   time.Time
	notches []notch // cumulative, the first one is zero; at most maxNotches
	step    int     // additions to a notch
	since   int     // additions since the last one
}

// A notch is what was done by a time.
type notch struct {
	at   float64 // seconds
	done labour
}

// maxNotches bounds an estimator's memory. When it is reached, every other notch
// goes, and the step doubles.
const maxNotches = 512

func (e *estimator) begin(now time.Time) {
	*e = estimator{began: now, notches: []notch{{}}, step: 1}
}

// again forgets what was measured: the work goes on under other conditions.
func (e *estimator) again(now time.Time, done labour) {
	e.begin(now)
	e.notches[0].done = done
}

// due counts an addition, and tells whether a notch is to be made.
func (e *estimator) due() bool {
	e.since++
	return len(e.notches) > 0 && e.since >= e.step
}

func (e *estimator) note(now time.Time, done labour) {
	e.since = 0
	e.notches = append(e.notches, notch{now.Sub(e.began).Seconds(), done})
	if len(e.notches) < maxNotches {
		return
	}
	kept := e.notches[:1]
	for i := 2; i < len(e.notches); i += 2 {
		kept = append(kept, e.notches[i])
	}
	e.notches, e.step = kept, 2*e.step
}

// A guess is how long the rest may take. It is none when low is negative.
type guess struct{ low, middle, high time.Duration }

var noGuess = guess{-1, -1, -1}

// least is the narrowest range that is claimed, to either side; enough how long a
// part of the time must be to say something of its own.
const (
	least  = 0.08
	enough = time.Minute
)

// guess tells how long the rest takes. known says of which kinds the rest is
// known; the others cost time, but are taken to be over.
func (e *estimator) guess(now time.Time, done, left labour, known [kinds]bool) guess {
	if len(e.notches) < 2 {
		return noGuess
	}
	all := append(e.notches[:len(e.notches):len(e.notches)], notch{now.Sub(e.began).Seconds(), done})
	last := all[len(all)-1]
	cost := learn(thin(all), known)
	low, high, found := math.Inf(1), 0.0, false
	for _, part := range []float64{1, 0.5, 0.25} {
		if part < 1 && last.at*part < enough.Seconds() {
			continue // one large message would decide
		}
		begin := at(all, last.at*(1-part))
		came := last.done.minus(begin.done)
		expected := came.costs(cost)
		if expected <= 0 {
			continue // nothing came in that time
		}
		seconds := within(left.costs(cost)*(last.at-begin.at)/expected, last.at-begin.at, came, left, known)
		low, high, found = min(low, seconds), max(high, seconds), true
	}
	const most = float64(math.MaxInt64) / float64(time.Second) / 4
	if !found || high > most {
		return noGuess
	}
	margin := max(least, unevenness(all, cost))
	low, high = low*(1-margin)*(1-skips(all)), high*(1+margin)
	of := func(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
	return guess{of(low), of((low + high) / 2), of(high)}
}

// within keeps what was learned from little in bounds: when each kind has its
// cost, the rest takes no longer than if that one of them took all the time of
// which relatively most is left, and no shorter than if that one did of which
// least is. What was skipped took time too, so there is no lower bound then.
func within(seconds, took float64, came, left labour, known [kinds]bool) float64 {
	low, high := math.Inf(1), 0.0
	for kind, is := range known {
		if is && came[kind] > 0 {
			alone := took * left[kind] / came[kind]
			low, high = min(low, alone), max(high, alone)
		}
	}
	if came[ofSkipped] > 0 {
		low = 0
	}
	return max(min(seconds, high), min(low, high))
}

// at gives what was done by a time, between two notches by their share of it.
func at(all []notch, seconds float64) notch {
	i := max(1, sort.Search(len(all)-1, func(i int) bool { return all[i].at >= seconds }))
	a, b := all[i-1], all[i]
	share := 1.0
	if b.at > a.at {
		share = min(1, max(0, (seconds-a.at)/(b.at-a.at)))
	}
	for k := range a.done {
		a.done[k] += share * (b.done[k] - a.done[k])
	}
	return notch{a.at + share*(b.at-a.at), a.done}
}

// skips is the share of what came lately that needed no work. As much of the rest
// may need none, or nothing more of it: that is a matter of where an earlier
// restore ended.
func skips(all []notch) float64 {
	last := all[len(all)-1]
	d := last.done.minus(at(all, last.at*0.75).done)
	if d[ofSkipped] <= 0 {
		return 0
	}
	return d[ofSkipped] / (d[ofSkipped] + max(0, d[ofMessages]))
}

// blocks are what unevenness parts the time into.
const blocks = 8

// unevenness is the standard error of the pace, as a share of it: that of the
// mean over some stretches of time.
func unevenness(all []notch, cost labour) float64 {
	last := all[len(all)-1]
	var sum, squares float64
	n := 0
	for i := range blocks {
		from, to := at(all, last.at*float64(i)/blocks), at(all, last.at*float64(i+1)/blocks)
		if took := to.at - from.at; took > 0 {
			pace := to.done.minus(from.done).costs(cost) / took
			sum, squares, n = sum+pace, squares+pace*pace, n+1
		}
	}
	if n < 3 || sum == 0 {
		return 0.25 // too little is known
	}
	mean := sum / float64(n)
	variance := max(0, squares/float64(n)-mean*mean) / float64(n-1)
	return min(0.5, math.Sqrt(variance)/mean)
}

// stretches is how many stretches the costs are learned from.
const stretches = 100

// thin leaves notches that part what was done into long stretches, each after
// something small: what is paced is paid for afterwards, so that the time of a
// large message at the end of a stretch would count in the next one.
func thin(all []notch) []notch {
	apart := len(all) / stretches
	if apart < 2 {
		return all
	}
	kept := all[:1:1]
	for i := apart; i < len(all)-1; i += apart {
		best := i
		for j := i - apart/2 + 1; j <= i+apart/2 && j < len(all)-1; j++ {
			if all[j].done[ofBytes]-all[j-1].done[ofBytes] < all[best].done[ofBytes]-all[best-1].done[ofBytes] {
				best = j
			}
		}
		kept = append(kept, all[best])
	}
	return append(kept, all[len(all)-1])
}

// learn finds the costs that explain best how long the stretches between notches
// took. Of all choices of kinds it takes the best one whose costs are not
// negative; there are few. Kinds of unknown extent help to explain, so that their
// time is not taken for the others', but users' alone explain nothing.
func learn(all []notch, known [kinds]bool) labour {
	var products [kinds][kinds]float64
	var times labour
	for i := 1; i < len(all); i++ {
		took, d := all[i].at-all[i-1].at, all[i].done.minus(all[i-1].done)
		for j := range kinds {
			times[j] += took * d[j]
			for k := range kinds {
				products[j][k] += d[j] * d[k]
			}
		}
	}
	var best labour
	most := 0.0 // of the sum of squares that is explained
	for choice := 1; choice < 1<<kinds; choice++ {
		if !sensible(choice, known) {
			continue
		}
		cost, ok := solve(products, times, choice)
		if explained := cost.costs(times); ok && explained > most*(1+1e-9) {
			best, most = cost, explained
		}
	}
	return best
}

// sensible tells whether a choice of kinds can say something about the rest.
func sensible(choice int, known [kinds]bool) bool {
	has := func(kind int) bool { return choice>>kind&1 != 0 }
	return (known[ofMessages] || !has(ofMessages)) && (known[ofBytes] || !has(ofBytes)) && (known[ofUsers] || !has(ofUsers)) &&
		(has(ofMessages) || has(ofBytes))
}

// solve gives the costs of the chosen kinds by Gauss's elimination; ok is false
// when they cannot be told apart, or one would be negative.
func solve(products [kinds][kinds]float64, times labour, choice int) (cost labour, ok bool) {
	var rows [kinds][kinds + 1]float64
	for i := range kinds {
		for j := range kinds {
			if choice>>i&1 != 0 && choice>>j&1 != 0 {
				rows[i][j] = products[i][j]
			}
		}
		rows[i][kinds] = times[i]
		if choice>>i&1 == 0 {
			rows[i][i], rows[i][kinds] = 1, 0
		}
	}
	for i := range kinds {
		// The matrix is positive semidefinite: its diagonal is the pivot.
		if choice>>i&1 != 0 && rows[i][i] <= 1e-9*products[i][i] {
			return cost, false
		}
		for j := range kinds {
			if j == i {
				continue
			}
			f := rows[j][i] / rows[i][i]
			for k := i; k <= kinds; k++ {
				rows[j][k] -= f * rows[i][k]
			}
		}
	}
	for i := range kinds {
		if cost[i] = rows[i][kinds] / rows[i][i]; cost[i] < 0 || math.IsNaN(cost[i]) || math.IsInf(cost[i], 0) {
			return cost, false
		}
	}
	return cost, true
}
