package volume

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
)

const (
	// lvmKept is how many bytes at the beginning of a physical volume pvcreate leaves to
	// labels and metadata. Texts begin on sectors in it, and older ones stay until the
	// ring comes round.
	lvmKept      = 1 << 20
	mostLVMTries = 16
)

var lvmTextHead = regexp.MustCompile(`^[A-Za-z0-9_.+-]{1,127} \{\nid = "[A-Za-z0-9-]{38}"\nseqno = ([0-9]{1,9})\n`)

// olderText finds the newest metadata that is still whole at the beginning of a
// volume, where the label or the header is damaged that would say where it stands. It
// is nil where there is none.
func olderText(v Volume) (*lvmSection, error) {
	b := make([]byte, min(lvmKept, v.Size()))
	if _, err := v.ReadAt(b, 0); err != nil {
		return nil, err
	}
	type text struct{ at, seqno int }
	var texts []text
	for at := 0; at+lvmSector <= len(b); at += lvmSector {
		if m := lvmTextHead.FindSubmatch(b[at : at+lvmSector]); m != nil {
			seqno, _ := strconv.Atoi(string(m[1]))
			texts = append(texts, text{at, seqno})
		}
	}
	slices.SortFunc(texts, func(a, b text) int { return cmp.Compare(b.seqno, a.seqno) })
	for _, t := range texts[:min(len(texts), mostLVMTries)] {
		if top, err := parseLVM(b[t.at:]); err == nil {
			return top, nil
		}
	}
	return nil, nil
}

// lostPhysical looks for a physical volume that has lost its label: one of which
// nothing is known but that metadata stands in it. It is nil where it is none.
func lostPhysical(v Volume, index int) (*physical, error) {
	if content, err := contentAt(v, 0); content != "" && content != contentLVM || err != nil {
		return nil, err
	}
	top, err := olderText(v)
	if top == nil || err != nil {
		return nil, err
	}
	return &physical{volume: v, index: index, lost: true, top: top}, nil
}

// claim finds out which of the group's physical volumes one without a label is: the
// only one that is missing, or the only one of its size. Only the operator can tell
// otherwise.
func (g *group) claim(p *physical) bool {
	var missing, fitting []*lvmSection
	for _, pv := range g.text.sub("physical_volumes").sections {
		id := plainID(pv.text("id"))
		if slices.ContainsFunc(g.here, func(p *physical) bool { return p.id == id }) {
			continue
		}
		missing = append(missing, pv)
		if pv.number("dev_size") == p.volume.Size()/lvmSector {
			fitting = append(fitting, pv)
		}
	}
	if len(fitting) != 1 && len(missing) != 1 {
		return false
	}
	pv := append(fitting, missing...)[0]
	p.id = plainID(pv.text("id"))
	g.here = append(g.here, p)
	g.notef("%s has lost its label, and is taken for physical volume %.20q", p.volume.Name(), pv.name)
	return true
}

// likely gives the group's volumes. What was put together with the help of a disk
// without a label, or of metadata that may be old, has to be likely: something known
// begins in one of the volumes. Else only what is beyond doubt counts.
func (g *group) likely() []*joined {
	before := slices.Clone(g.notes)
	lvs := g.logical()
	lost := func(p *physical) bool { return p.lost }
	if !g.old && !slices.ContainsFunc(g.here, lost) {
		return lvs
	}
	for _, v := range lvs {
		if content, err := contentAt(v, 0); content != "" && err == nil {
			return lvs
		}
	}
	g.notes = before
	g.here = slices.DeleteFunc(g.here, lost)
	if g.old || len(g.here) == 0 {
		g.notef("nothing known begins in any of its volumes; its disks are looked at as they are")
		return nil
	}
	return g.logical()
}
