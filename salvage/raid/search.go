package raid

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

const (
	exhaustive = 7  // slots up to which all orders are tried
	climbs     = 30 // from so many random orders the best is searched otherwise
	keptOrders = 6  // of every layout
)

// A guess is a candidate with its evidence.
type guess struct {
	shape *shape
	chunk int64
	start int64
	order []int // slot -> member, or -1
	score float64
}

// search finds the best orders of a shape. With fewer members than slots, some
// slots have none.
func (sh *shape) search(t *table, members int) (best []guess) {
	order := make([]int, sh.n)
	for i := range order {
		order[i] = i
		if i >= members {
			order[i] = -1
		}
	}
	keep := func(o []int, score float64) {
		if len(best) == keptOrders && score <= best[len(best)-1].score {
			return
		}
		if slices.ContainsFunc(best, func(g guess) bool { return slices.Equal(g.order, o) }) {
			return
		}
		best = append(best, guess{shape: sh, order: slices.Clone(o), score: score})
		slices.SortStableFunc(best, func(a, b guess) int { return cmp.Compare(b.score, a.score) })
		best = best[:min(len(best), keptOrders)]
	}
	if sh.n <= exhaustive {
		permute(order, 0, func(o []int) { keep(o, sh.score(t, o)) })
		return best
	}
	rng := rand.New(rand.NewPCG(uint64(sh.n), uint64(sh.layout))) // the same every time
	for range climbs {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		keep(order, sh.climb(t, order))
	}
	return best
}

// climb improves an order until no exchange of two places and no rotation of all
// does; it gives the score.
func (sh *shape) climb(t *table, order []int) float64 {
	score := sh.score(t, order)
	for better := true; better; {
		better = false
		for range order {
			slices.Reverse(order[:1])
			slices.Reverse(order[1:])
			slices.Reverse(order)
			if now := sh.score(t, order); now > score {
				score, better = now, true
				break
			}
		}
		for i := range order {
			for j := range i {
				order[i], order[j] = order[j], order[i]
				if now := sh.score(t, order); now > score {
					score, better = now, true
				} else {
					order[i], order[j] = order[j], order[i]
				}
			}
		}
	}
	return score
}

// permute gives all orders; missing members, which are equal, only once.
func permute(o []int, from int, yield func([]int)) {
	if from == len(o) {
		yield(o)
		return
	}
	missing := false
	for i := from; i < len(o); i++ {
		if o[i] < 0 {
			if missing {
				continue
			}
			missing = true
		}
		o[from], o[i] = o[i], o[from]
		permute(o, from+1, yield)
		o[from], o[i] = o[i], o[from]
	}
}
