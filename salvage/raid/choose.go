package raid

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// choose takes the best if it leads clearly, else it says among which to choose.
// all is what was tried.
func (in *inference) choose(good []trial, all []guess) (*decision, error) {
	if len(good) == 0 {
		return nil, fmt.Errorf("%w: nothing fits of %s", ErrUnsure, in.tried(all))
	}
	best := good[0]
	rival := "no other candidate holds"
	if len(good) > 1 {
		rival = "no other candidate has as much that agrees"
	}
	unsure := (best.score < enough || best.amiss) && in.o.Order == nil
	if len(good) > 1 && good[1].rank() == best.rank() {
		rival = fmt.Sprintf("the next candidate has %.0f, and a lead of %d is asked for", good[1].score, enough)
		unsure = unsure || best.score-good[1].score < enough
	}
	if unsure {
		var list []string
		for _, t := range good[:min(len(good), listed)] {
			list = append(list, in.words(t.guess))
		}
		return nil, fmt.Errorf("%w: of %d that are possible none leads; the likeliest: %s", ErrUnsure, len(good), strings.Join(list, "; or "))
	}
	g, others := in.simplest(best)
	d := in.decision(g)
	d.report.Inferred = append(d.report.Inferred, fmt.Sprintf("read as %s: evidence %.0f; %s", in.words(g), best.score, rival))
	d.report.Inferred = append(d.report.Inferred, best.notes...)
	d.report.Inferred = append(d.report.Inferred, in.doubts(g, best.proof, others)...)
	in.remark(d, best.start)
	return d, d.size()
}

// tried says which candidates there were.
func (in *inference) tried(all []guess) string {
	var levels, starts []string
	least, most, small, large := maxMembers, 0, int64(maxChunk), int64(0)
	for _, g := range all {
		if l := string(g.shape.level); !slices.Contains(levels, l) {
			levels = append(levels, l)
		}
		if at := fmt.Sprint(g.start); !slices.Contains(starts, at) {
			starts = append(starts, at)
		}
		least, most = min(least, g.shape.n), max(most, g.shape.n)
		small, large = min(small, g.chunk), max(large, g.chunk)
	}
	if len(all) == 0 {
		return "what is known of it"
	}
	slices.Sort(levels)
	places := fmt.Sprint(least)
	if most > least {
		places = fmt.Sprintf("%d to %d", least, most)
	}
	chunks := fmt.Sprint(small >> 10)
	if large > small {
		chunks = fmt.Sprintf("%d to %d", small>>10, large>>10)
	}
	return fmt.Sprintf("%s of %s members with chunks of %s KiB and data from byte %s", strings.Join(levels, ", "), places, chunks, strings.Join(starts, ", "))
}

// simplest gives the simplest array that makes the same volume as a trial that
// parity could not be held against, and the others: a RAID 6 of which a Q that nobody
// has seen is missing is a RAID 5, and without its P, too, a RAID 0.
func (in *inference) simplest(t trial) (guess, []guess) {
	if t.proof > 0 || missing(t.order) == 0 && len(t.same) == 0 {
		return t.guess, nil
	}
	all := append([]guess{t.guess}, t.same...)
	if in.o.Level == "" && in.o.Layout == "" && in.o.Order == nil {
		for _, sh := range in.shapes() {
			for _, order := range fewer(t.order, len(t.order)-sh.n) {
				g := guess{shape: sh, chunk: t.chunk, start: t.start, order: order}
				if in.recipe(g) == t.made {
					all = append(all, g)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b guess) int {
		return cmp.Or(missing(a.order)-missing(b.order), a.shape.claims()-b.shape.claims(), layoutRank(a.shape.layout)-layoutRank(b.shape.layout))
	})
	return all[0], all[1:]
}

// recipe is that of the volume that a guess makes; "" if it makes none.
func (in *inference) recipe(g guess) string {
	d := in.decision(g)
	if d.size() != nil {
		return ""
	}
	a, err := d.build(in.members)
	if err != nil {
		return ""
	}
	return d.recipe(a)
}

// fewer gives an order with n of its missing members taken out, in each way.
func fewer(order []int, n int) (all [][]int) {
	if n == 0 {
		return [][]int{order}
	}
	if n < 0 {
		return nil
	}
	for i, m := range order {
		if m >= 0 {
			continue
		}
		// What comes before stays, so that no two ways are the same.
		for _, rest := range fewer(order[i+1:], n-1) {
			all = append(all, slices.Concat(order[:i], rest))
		}
	}
	return all
}

func missing(order []int) (n int) {
	for _, m := range order {
		if m < 0 {
			n++
		}
	}
	return n
}

// claims orders shapes by how much they say that there was beside the data.
func (sh *shape) claims() int {
	return slices.Index([]Level{RAID0, RAID10, RAID4, RAID5, RAID6}, sh.level)
}

// doubts says what of a reading is not certain.
func (in *inference) doubts(g guess, proof int64, others []guess) (lines []string) {
	var list []string
	for _, o := range others {
		what := fmt.Sprintf("%s %s of %d", o.shape.level, layoutName(o.shape.level, o.shape.layout), o.shape.n)
		if n := missing(o.order); n > 0 {
			what += fmt.Sprintf(" with %d missing", n)
		}
		if o.shape.level != g.shape.level && !slices.Contains(list, what) {
			list = append(list, what)
		}
	}
	if len(list) > 0 {
		more := ""
		if len(list) > listed {
			list, more = list[:listed], " or the like"
		}
		lines = append(lines, fmt.Sprintf("it could be as well %s%s: the bytes are the same, and parity on members that were not given cannot be seen", strings.Join(list, ", "), more))
	}
	if proof == 0 {
		lines = append(lines, "its order is known by its content alone: there is no second copy and no parity left to hold it against")
	}
	return lines
}

// words describe a guess, with its members by their names.
func (in *inference) words(g guess) string {
	order := make([]string, len(g.order))
	for i, m := range g.order {
		order[i] = "missing"
		if m >= 0 {
			order[i] = in.members[m].Name()
		}
	}
	layout := ""
	if l := layoutName(g.shape.level, g.shape.layout); l != "" && g.shape.level != RAID0 {
		layout = " " + string(l)
	}
	return fmt.Sprintf("%s%s, chunk %d KiB, order %s, data offset %d", g.shape.level, layout, g.chunk>>10, strings.Join(order, ","), g.start)
}
