package raid

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

const (
	verified    = 20        // candidates that are put together and looked at
	verifiedFar = 3         // of each layout whose copies the survey cannot compare, beside those
	anchorGain  = 6         // evidence of a superblock's copy in its place, and against one that is not
	agreeGain   = 30        // evidence of parity or copies that agree, at most
	firmProof   = 8 * block // bytes of each member, not zeros, that do not agree by chance
)

// A trial is a guess that was put together.
type trial struct {
	guess
	d     *decision
	a     *Array
	made  string // its recipe: who has the same is the same
	notes []string
	proof int64   // bytes of each member at which parity or copies agree
	amiss bool    // the file system is larger, or has most copies of its superblock elsewhere
	same  []guess // others that make the same volume
}

// rank orders trials by what is no matter of degree: one whose parity or copies agree
// stands before all that nothing can be held against, and one that does not fit
// to the superblock of its file system behind all others. Content decides between equals.
func (t *trial) rank() int {
	r := 0
	if t.proof >= firmProof {
		r++
	}
	if t.amiss {
		r -= 2
	}
	return r
}

// verify puts the best guesses together and looks whether they contradict
// themselves. Those that make the same volume are one.
func (in *inference) verify(all []guess) (good []trial) {
	tried, far := 0, map[*shape]int{}
	for _, g := range all {
		if tried >= verified && (!g.shape.far() || far[g.shape] >= verifiedFar) {
			continue
		}
		t := trial{guess: g, d: in.decision(g)}
		if t.d.size() != nil {
			continue
		}
		a, err := t.d.build(in.members)
		if err != nil {
			continue
		}
		t.a, t.made = a, t.d.recipe(a)
		if i := slices.IndexFunc(good, func(o trial) bool { return o.made == t.made }); i >= 0 {
			good[i].same = append(good[i].same, g)
			continue
		}
		tried++
		far[g.shape]++
		if in.holds(&t) {
			good = append(good, t)
		}
	}
	slices.SortStableFunc(good, func(a, b trial) int {
		return cmp.Or(cmp.Compare(b.rank(), a.rank()), cmp.Compare(b.score, a.score))
	})
	return good
}

// far tells whether copies stand where the survey, which looks at neighbouring chunks,
// does not compare them.
func (sh *shape) far() bool { return sh.level == RAID10 && sh.layout>>8&0xff > 1 }

// holds tells whether a trial does not contradict itself, and adds to its evidence.
func (in *inference) holds(t *trial) bool {
	checked, _ := t.a.Check(context.Background(), CheckOptions{Samples: 8})
	told := checked.Bytes - checked.Empty
	if checked.Bytes > 0 && told < firmProof {
		checked, _ = t.a.Check(context.Background(), CheckOptions{Samples: 64})
		told = checked.Bytes - checked.Empty
	}
	if told > 0 {
		if checked.Contradicted*20 > told {
			return false
		}
		t.score += min(agreeGain, float64(told/block))
		t.proof = told - checked.Contradicted
		t.notes = append(t.notes, fmt.Sprintf("parity or copies agree at %d of %d KiB compared", (told-checked.Contradicted)>>10, told>>10))
	}
	right, wrong := anchors(t.a)
	t.score += anchorGain * float64(right-wrong)
	t.amiss = right > 0 && wrong > right || !fits(t.a)
	if right == 0 && len(in.anchors) > 0 {
		return false // a volume begins there, but not like this
	}
	if right > 1 {
		t.notes = append(t.notes, fmt.Sprintf("%d of %d superblocks of the file system are in their places", right, right+wrong))
	}
	// Only breaks count, for other candidates show other places; and with too
	// many of them it is not this, whatever else there is.
	on, off, places := flow(t.a, t.chunk)
	if on+off >= 10 && off*3 > on+off || in.s.wordy() && places >= 40 && on+off < places/20 {
		return false
	}
	t.score -= 2 * float64(off)
	return true
}

// flow looks how the chunks of a volume follow each other, those that had to be
// derived among them: at how many of the places that it looks at the text goes on, and
// at how many it breaks off. Places without anything, of which a volume that is hardly
// filled has most, are not counted.
func flow(a *Array, chunk int64) (on, off, places int) {
	const most = 200
	p := make([]byte, 2*block)
	chunks := a.Size() / chunk
	for i := range min(most, chunks-1) {
		at := (i*(chunks-1)/min(most, chunks-1)+1)*chunk - block
		unknown, err := a.ReadAt(p, at)
		if err != nil {
			break
		}
		if len(unknown) > 0 {
			continue
		}
		x, y := glanceAt(p[:block]), glanceAt(p[block:])
		if x.zero && y.zero {
			continue
		}
		places++
		switch f := follows(&x, &y); {
		case f > 0:
			on++
		case f < 0:
			off++
		}
	}
	return on, off, places
}
