package volume

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	mostLogical  = 4096 // volumes of one group
	mostSegments = 1 << 16
	mostExtents  = 1 << 32 // LVM counts them in 32 bits
)

// A group is a volume group, with those of its physical volumes that are there.
type group struct {
	name   string
	text   *lvmSection
	extent int64 // in bytes
	here   []*physical
	old    bool              // the text may be older than what LVM used last
	taken  map[string]Ranges // of the physical volumes, by logical ones
	notes  []string
}

// readLVM puts together the logical volumes that lie on the given ones. used says of
// each of these whether logical volumes stand for it.
func readLVM(vs []Volume) (logical []Volume, used []bool, notes []string) {
	all, notes := physicals(vs)
	used = make([]bool, len(vs))
	groups, more := groupsOf(all)
	notes = append(notes, more...)
	names := map[string]bool{}
	for _, g := range groups {
		lvs := g.likely()
		notes = append(notes, g.notes...)
		for _, v := range lvs {
			if names[v.name] {
				v.name += " " + v.id
			}
			names[v.name] = true
			logical = append(logical, v)
		}
		for _, p := range g.here {
			used[p.index] = len(lvs) > 0
		}
	}
	return logical, used, notes
}

// physicals finds the volumes that have a label.
func physicals(vs []Volume) (all []*physical, notes []string) {
	ids := map[string]string{}
	for i, v := range vs {
		p, err := readPhysical(v)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: its first sectors cannot be read: %v", v.Name(), err))
			continue
		}
		if p == nil {
			if p, err = lostPhysical(v, i); p != nil && err == nil {
				all = append(all, p)
			}
			continue
		}
		if first := ids[p.id]; first != "" {
			notes = append(notes, fmt.Sprintf("%s: it is the same LVM physical volume as %s, which is taken; give only one copy of each disk", v.Name(), first))
			continue
		}
		ids[p.id] = v.Name()
		p.index = i
		all = append(all, p)
	}
	return all, notes
}

// groupsOf sorts physical volumes by their groups. The newest metadata of any of them
// tells which those are: the copy on one of them may be damaged, or old.
func groupsOf(all []*physical) (groups []*group, notes []string) {
	troubles := map[*physical]error{}
	byID := map[string]*group{}
	for _, p := range all {
		top, old, err := p.metadata()
		if top == nil {
			troubles[p] = err
			continue
		}
		text := lvmGroup(top)
		g := byID[text.text("id")]
		if g == nil {
			g = &group{name: text.name, text: text, old: old}
			byID[text.text("id")] = g
			groups = append(groups, g)
		} else if ours, theirs := text.number("seqno"), g.text.number("seqno"); ours > theirs || ours == theirs && g.old {
			g.text, g.old = text, old
		}
	}
	return groups, settle(groups, byID, all, troubles)
}

// settle gives each group the physical volumes that are its own.
func settle(groups []*group, byID map[string]*group, all []*physical, troubles map[*physical]error) (notes []string) {
	for _, g := range groups {
		if g.old {
			g.notef("its metadata is damaged, and number %s is taken, which was found beside it; volumes that were changed later are not right", g.text.text("seqno"))
		}
	}
	for _, p := range all {
		g := groupWith(groups, p.id)
		switch err := troubles[p]; {
		case p.lost: // later, when it is known which ones are missing
		case g != nil:
			g.here = append(g.here, p)
		case err != nil:
			notes = append(notes, fmt.Sprintf("%s: an LVM physical volume whose metadata is lost (%v); give the group's other disks, too", p.volume.Name(), err))
		default:
			notes = append(notes, fmt.Sprintf("%s: an LVM physical volume of no group that is known; give the group's other disks, too", p.volume.Name()))
		}
	}
	for _, p := range all {
		if p.lost && !byID[lvmGroup(p.top).text("id")].claim(p) {
			notes = append(notes, fmt.Sprintf("%s: it looks like an LVM physical volume of group %.128q that has lost its label; it is looked at as it is", p.volume.Name(), lvmGroup(p.top).name))
		}
	}
	return notes
}

func groupWith(groups []*group, id string) *group {
	for _, g := range groups {
		for _, pv := range g.text.sub("physical_volumes").sections {
			if plainID(pv.text("id")) == id {
				return g
			}
		}
	}
	return nil
}

// logical gives the group's volumes that people see.
func (g *group) logical() (vs []*joined) {
	extents := g.text.number("extent_size")
	if extents <= 0 || extents > 1<<32 {
		g.notef("its extents of %d sectors make no sense", extents)
		return nil
	}
	g.extent, g.taken = extents*lvmSector, map[string]Ranges{}
	disks := g.disks()
	lvs := g.text.sub("logical_volumes").sections
	if len(lvs) > mostLogical {
		g.notef("it claims %d logical volumes; the first %d are taken", len(lvs), mostLogical)
		lvs = lvs[:mostLogical]
	}
	for _, lv := range lvs {
		if !slices.Contains(lv.values["status"], "VISIBLE") {
			continue
		}
		if v := g.volume(lv, disks); v != nil {
			vs = append(vs, v)
		}
	}
	return vs
}

func (g *group) notef(format string, args ...any) {
	g.notes = append(g.notes, fmt.Sprintf("LVM group %s: ", g.name)+fmt.Sprintf(format, args...))
}

// A pvArea is where a physical volume keeps its extents.
type pvArea struct {
	volume Volume // nil: it is missing
	start  int64  // in bytes
	count  int64  // of extents
}

// disks finds the physical volumes by the names that the metadata gives them.
func (g *group) disks() map[string]pvArea {
	areas := map[string]pvArea{}
	for _, pv := range g.text.sub("physical_volumes").sections {
		start, count := pv.number("pe_start"), pv.number("pe_count")
		if start < 0 || count < 0 {
			g.notef("the place of physical volume %.20q makes no sense; what lies on it is unknown", pv.name)
			continue
		}
		a := pvArea{start: start * lvmSector, count: count}
		for _, p := range g.here {
			if p.id == plainID(pv.text("id")) {
				a.volume = p.volume
			}
		}
		if a.volume == nil {
			g.notef("physical volume %.20q (%.40s, once %.80q) is not among the disks; what lies on it is unknown: give it, too", pv.name, pv.text("id"), pv.text("device"))
		}
		areas[pv.name] = a
	}
	return areas
}

// volume puts one logical volume together. What is not linear is unknown in it; one
// of which nothing is linear is nil.
func (g *group) volume(lv *lvmSection, disks map[string]pvArea) *joined {
	v := &joined{name: fmt.Sprintf("LVM %s/%s", g.name, lv.name), id: lv.text("id")}
	var kinds []string
	for _, s := range lv.sections {
		if !strings.HasPrefix(s.name, "segment") {
			continue
		}
		if len(v.pieces) == mostSegments {
			g.notef("%.80q has more than %d segments; the others are left out", lv.name, mostSegments)
			break
		}
		p, kind := g.piece(s, disks)
		if kind != "" && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
		if p.size > 0 && p.at <= largestPartition-p.size {
			v.pieces = append(v.pieces, p)
		}
	}
	if len(kinds) > 0 {
		g.notef("%.80q is %s; only linear parts are supported, the others are unknown: activate the group on copies of the disks, and give /dev/%s/%s", lv.name, strings.Join(kinds, " and "), g.name, lv.name)
	}
	v.pieces = inOrder(v.pieces)
	for _, p := range v.pieces {
		v.size = p.at + p.size
	}
	if !slices.ContainsFunc(v.pieces, func(p piece) bool { return p.from != nil }) {
		if len(kinds) == 0 {
			g.notef("%.80q: no part of it is on the disks that are there", lv.name)
		}
		return nil
	}
	return v
}

// piece reads a segment. kind says what it is where it is not linear: its bytes are
// unknown then.
func (g *group) piece(s *lvmSection, disks map[string]pvArea) (p piece, kind string) {
	start, count := s.number("start_extent"), s.number("extent_count")
	most := min(mostExtents, largestPartition/g.extent)
	if start < 0 || count <= 0 || start > most || count > most {
		return piece{}, "damaged"
	}
	p = piece{at: start * g.extent, size: count * g.extent}
	stripes := s.values["stripes"]
	if kind := s.text("type"); kind != "striped" && kind != "linear" {
		return p, fmt.Sprintf("of the type %.20q", kind)
	} else if len(stripes) != 2 {
		return p, "striped over several disks"
	}
	disk, there := disks[stripes[0]]
	first := lvmNumber(stripes[1])
	if !there || first < 0 || first > disk.count || count > disk.count-first || first > most {
		return p, "damaged"
	}
	// No byte belongs to two logical volumes, and none is looked at twice.
	place := Range{disk.start + first*g.extent, p.size}
	if len(g.taken[stripes[0]].over(place)) > 0 {
		return p, "damaged"
	}
	g.taken[stripes[0]] = g.taken[stripes[0]].insert(place)
	p.from, p.off = disk.volume, place.Off
	return p, ""
}

// inOrder sorts pieces; of two that overlap the first one counts.
func inOrder(ps []piece) []piece {
	slices.SortStableFunc(ps, func(a, b piece) int { return cmp.Compare(a.at, b.at) })
	kept := ps[:0]
	end := int64(0)
	for _, p := range ps {
		if p.at >= end {
			kept = append(kept, p)
			end = p.at + p.size
		}
	}
	return kept
}
