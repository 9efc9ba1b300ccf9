package raid

import (
	"cmp"
	"fmt"
	"slices"

	"salvor/salvage/volume"
)

const (
	listed = 3 // candidates that an error tells
	enough = 8 // by how much the best has to lead: about 1 to 3000
)

// infer finds out how members without superblocks make an array: which level,
// order, layout and chunk size, from three kinds of evidence. Parity: which sums of
// members are zero. Content: which block continues which; the lines of attachments
// do so with 1 to 77 against chance. Structure: whether copies of the file system's
// superblock are where it says. The best candidates are put together, and compared
// with themselves by Check.
func infer(members []volume.Volume, o Options) (*decision, error) {
	if len(members) == 1 && o.Level == "" {
		return nil, fmt.Errorf("%w: there is only one, %s, and it has no superblock; give level, chunk size, layout and order", ErrUnsure, members[0].Name())
	}
	if o.Level == Linear {
		return nil, fmt.Errorf("%w: a linear array shows no order; give it", ErrUnsure)
	}
	skip := make([]int64, len(members))
	if len(o.DataOffset) > 0 {
		for i := range members {
			skip[i], _ = o.offset(i)
		}
	}
	s := newSurvey(members, skip, o.Samples)
	in := &inference{members: members, o: o, s: s, kin: s.kin()}
	in.starts = in.begin()
	if d := in.mirrors(); d != nil {
		return d, d.size()
	}
	all := in.candidates()
	return in.choose(in.verify(all), all)
}

// An inference is one run of infer.
type inference struct {
	members []volume.Volume
	o       Options
	s       *survey
	kin     kinship
	starts  []int64          // candidates for the beginning of the data, relative to the survey
	anchors map[int64]string // what was found at the beginnings; empty if nothing was
}

// begin finds where the data may begin.
func (in *inference) begin() []int64 {
	if len(in.o.DataOffset) > 0 {
		return []int64{0}
	}
	in.anchors = map[int64]string{}
	var starts []int64
	for _, f := range findStarts(in.members) {
		if !slices.Contains(starts, f.at) && len(starts) < 4 {
			starts = append(starts, f.at)
			in.anchors[f.at] = fmt.Sprintf("%s begins at %d of %s", f.kind, f.at, in.members[f.member].Name())
		}
	}
	if len(starts) > 0 {
		return starts
	}
	return usualStarts[:6]
}

// mirrors decides on RAID 1, which is the easy one.
func (in *inference) mirrors() *decision {
	if in.o.Level != RAID1 && (in.o.Level != "" || in.kin.places < 20 || in.kin.equal < 0.9) {
		return nil
	}
	d := &decision{level: RAID1, room: in.o.MemberSize}
	for i := range in.members {
		d.slots = append(d.slots, &slot{sources: []*source{in.source(i, in.starts[0])}})
	}
	d.report.Inferred = []string{fmt.Sprintf("level raid1: %.1f %% of %d places that were compared are equal on all members", 100*in.kin.equal, in.kin.places)}
	if in.o.Level != "" {
		d.report.Inferred = nil
	}
	in.remark(d, in.starts[0])
	return d
}

func (in *inference) source(i int, start int64) *source {
	if off, ok := in.o.offset(i); ok {
		start = off
	}
	return &source{vol: in.members[i], member: i, start: start, room: max(0, in.members[i].Size()-start)}
}

// remark says how the beginning was found.
func (in *inference) remark(d *decision, start int64) {
	switch {
	case len(in.o.DataOffset) > 0:
	case in.anchors[start] != "":
		d.report.Inferred = append(d.report.Inferred, fmt.Sprintf("data offset %d: %s", start, in.anchors[start]))
	default:
		d.report.Inferred = append(d.report.Inferred, fmt.Sprintf("data offset %d is a guess: nothing that a volume begins with was found", start))
	}
}

// shapes lists the layouts that parity does not rule out.
func (in *inference) shapes() (all []*shape) {
	k := len(in.members)
	add := func(level Level, n int) {
		if in.o.Level != "" && in.o.Level != level || in.o.Order != nil && len(in.o.Order) != n {
			return
		}
		layouts := Layouts(level)
		if level == RAID0 || level == RAID4 {
			layouts = []Layout{""}
		}
		for _, l := range layouts {
			if in.o.Layout != "" && in.o.Layout != l {
				continue
			}
			number, err := l.number(level)
			if err != nil || level == RAID10 && n > k+1 && number>>8&0xff > 1 {
				continue // far copies of two lost members have holes that fit to anything
			}
			if sh, err := newShape(level, number, n); err == nil {
				all = append(all, sh)
			}
		}
	}
	sure := in.kin.places >= 20
	switch {
	case in.o.Level == RAID4:
		add(RAID4, k)
		add(RAID4, k+1)
	case sure && in.kin.twins > 0.9:
		add(RAID10, k)
		add(RAID10, k+1)
		add(RAID10, k+2)
	case sure && in.kin.zero > 0.9:
		add(RAID5, k)
	case sure && in.kin.one+in.kin.zero > 0.9:
		add(RAID6, k)
	default:
		add(RAID0, k)
		add(RAID10, k)
		add(RAID10, k+1)
		add(RAID10, k+2)
		add(RAID5, k+1)
		add(RAID6, k+1)
		add(RAID6, k+2)
	}
	return all
}

// candidates gives the best guesses by content, the best first.
func (in *inference) candidates() (all []guess) {
	chunks := []int64{in.o.Chunk}
	if in.o.Chunk == 0 {
		chunks = nil
		for c := int64(block); c <= largestGuessed; c *= 2 {
			chunks = append(chunks, c)
		}
	}
	shapes := in.shapes()
	for _, start := range in.starts {
		for _, chunk := range chunks {
			tables := map[[2]int]*table{}
			for _, sh := range shapes {
				key := [2]int{sh.period, sh.parts()}
				t := tables[key]
				if t == nil {
					t = in.s.newTable(start, max(chunk, block), sh.period, sh.parts(), in.kin)
					tables[key] = t
				}
				found := []guess{{shape: sh, order: in.o.Order}}
				if in.o.Order == nil {
					found = sh.search(t, len(in.members))
				} else {
					found[0].score = sh.score(t, in.o.Order)
				}
				for _, g := range found {
					g.chunk, g.start = chunk, start
					all = append(all, g)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b guess) int { return cmp.Compare(b.score, a.score) })
	return all
}

func (in *inference) decision(g guess) *decision {
	d := &decision{level: g.shape.level, layout: g.shape.layout, chunk: g.chunk, room: in.o.MemberSize}
	for _, m := range g.order {
		s := &slot{}
		if m >= 0 {
			s.sources = []*source{in.source(m, g.start)}
		}
		d.slots = append(d.slots, s)
	}
	return d
}
