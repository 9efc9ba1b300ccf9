package carve

import "salvor/salvage/volume"

// gaps are the stretches of a message of which nothing is known. Whether what
// stands behind one belongs to the message shows only later: when one of its
// boundaries comes, or base64 goes on in the very column.
type gaps struct {
	all    []volume.Range
	proven int  // how many of them something behind has proved to be in the message
	text   bool // one of them touches more than an attachment
	inPart int64
}

// maxGaps bounds the gaps of one message.
const maxGaps = 1024

func (g *gaps) open(r *reading, n int64) {
	if k := len(g.all); k > 0 && g.all[k-1].End() == r.off {
		g.all[k-1].Len += n
		return
	}
	if !r.mime.inAttachment() {
		g.text = true
	}
	g.inPart = r.mime.part.at
	if len(g.all) < maxGaps {
		g.all = append(g.all, volume.Range{Off: r.off, Len: n})
	} else {
		g.all[maxGaps-1].Len = r.off + n - g.all[maxGaps-1].Off
	}
}

// proved: base64 goes on where it should.
func (g *gaps) proved(l *line) {
	if len(g.all) > g.proven && l.at <= g.all[len(g.all)-1].Off {
		g.proven = len(g.all)
	}
}

// boundary: one of the message's boundaries has come. Where it is not the one of
// the part in which the gap began, more is missing than of that part.
func (g *gaps) boundary(innermost bool) {
	if len(g.all) > g.proven {
		g.proven = len(g.all)
		g.text = g.text || !innermost
	}
}

// doubtful is where the first gap begins behind which nothing was proved; -1:
// there is none.
func (g *gaps) doubtful() int64 {
	if g.proven < len(g.all) {
		return g.all[g.proven].Off
	}
	return -1
}
