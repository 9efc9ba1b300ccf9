package raid

import (
	"bytes"
	"crypto/subtle"
	"slices"

	"salvor/salvage/volume"
)

// Inference looks at blocks: the smallest chunk it can find is one block.
const block = 4096

// What a survey reads of every member: stretches, evenly spread.
const (
	surveyStretch  = 2 << 20 // bytes, two of the largest chunks that are tried
	surveySamples  = 64
	surveyLongest  = 1024
	largestGuessed = 1 << 20 // chunk, bytes
)

// A glance is what inference keeps of a block.
type glance struct {
	known bool
	zero  bool // nothing but zeros
	text  bool // nothing but text, and zeros at its end
	full  bool // text to the last byte
	head  bool // begins like a message
	lines int  // the length of nearly all of its lines, if they are long; else 0
	first int  // bytes up to and including the first line feed
	last  int  // bytes behind the last line feed
	// fold is the sum of the block's 16-byte words. Sums of blocks have the sums of
	// their folds, also when they are multiplied in the field of RAID 6.
	fold [16]byte
}

// A survey is glances at the same places of all members.
type survey struct {
	members []volume.Volume
	starts  []int64    // of the stretches, bytes from the beginning of the members
	end     int64      // of the largest member, bytes
	blocks  int        // per stretch
	seen    [][]glance // by member, stretches one after the other
}

// newSurvey reads every member at the same places, moved by skip[member] bytes.
// A member that gives up is unknown from there on.
func newSurvey(members []volume.Volume, skip []int64, samples int) *survey {
	if samples <= 0 {
		samples = surveySamples
	}
	samples = min(samples, surveyLongest)
	end := int64(0) // the smallest member may be one that was cut off
	for i, m := range members {
		end = max(end, m.Size()-skip[i])
	}
	s := &survey{members: members, blocks: surveyStretch / block, end: end}
	all := max(1, end/surveyStretch)
	for i := range min(all, int64(samples)) {
		s.starts = append(s.starts, i*all/min(all, int64(samples))*surveyStretch)
	}
	p := make([]byte, surveyStretch)
	for i, m := range members {
		var seen []glance
		for _, at := range s.starts {
			unknown, err := m.ReadAt(p, at+skip[i])
			if err != nil {
				unknown = []volume.Range{{Off: at + skip[i], Len: surveyStretch}}
			}
			for b := 0; b < len(p); b += block {
				var g glance
				if off := at + skip[i] + int64(b); len(within(unknown, off, off+block)) == 0 {
					g = glanceAt(p[b : b+block])
				}
				seen = append(seen, g)
			}
		}
		s.seen = append(s.seen, seen)
	}
	return s
}

// isText marks the bytes of mail: printable ASCII, tab, line feed, carriage return.
// Mail in 8 bits does not count; attachments are enough.
var isText = func() (t [256]bool) {
	for c := ' '; c <= '~'; c++ {
		t[c] = true
	}
	t['\t'], t['\n'], t['\r'] = true, true, true
	return t
}()

var heads = [][]byte{[]byte("Return-"), []byte("Received:"), []byte("From"), []byte("Date:"), []byte("Message-I"), []byte("Delivered"), []byte("Subject:"), []byte("To:")}

func glanceAt(p []byte) glance {
	g := glance{known: true}
	for i := 0; i < len(p); i += 16 {
		subtle.XORBytes(g.fold[:], g.fold[:], p[i:i+16])
	}
	if g.fold == ([16]byte{}) && isZero(p) {
		g.zero = true
		return g
	}
	body := bytes.TrimRight(p, "\x00")
	for _, c := range body {
		if !isText[c] {
			return g
		}
	}
	g.text, g.full = true, len(body) == len(p)
	for _, h := range heads {
		g.head = g.head || bytes.HasPrefix(body, h)
	}
	g.first = bytes.IndexByte(body, '\n') + 1
	g.last = len(body) - 1 - bytes.LastIndexByte(body, '\n')
	g.lines = regular(body)
	return g
}

// regular gives the length of the lines of a block, line feed included, when nearly
// all have the same, as those of attachments in base64 have.
func regular(p []byte) int {
	count, at := map[int]int{}, bytes.IndexByte(p, '\n')
	total, best := 0, 0
	for at >= 0 {
		next := bytes.IndexByte(p[at+1:], '\n')
		if next < 0 {
			break
		}
		n := next + 1
		count[n]++
		total++
		if count[n] > count[best] {
			best = n
		}
		at += n
	}
	if best < 40 || total < 10 || count[best]*10 < total*9 {
		return 0
	}
	return best
}

// follows says how well b continues a, as the logarithm of how much likelier the
// two are in neighbouring blocks of a file system than anywhere.
func follows(a, b *glance) float64 {
	switch {
	case !a.known || !b.known:
		return 0
	case a.full && a.lines > 0 && b.text && b.lines == a.lines:
		if a.last+b.first == a.lines {
			return 4
		}
		return -2.5
	case a.full && (b.head || b.zero):
		return -2
	case a.full && !b.text:
		return -1.5
	case a.full && b.text:
		return 0.3
	case a.text && b.head:
		return 0.7 // one message has ended, the next begins
	case (a.text || a.zero) && b.lines > 0 && !b.head:
		return -1.5 // the middle of an attachment out of nothing
	}
	return 0
}

// at gives a glance by member, stretch and block, which may lie in a neighbouring
// stretch; nil where nothing was read.
func (s *survey) at(member, sample, b int) *glance {
	to := sample + b/s.blocks
	if b < 0 {
		to = sample + (b+1)/s.blocks - 1
	}
	if to < 0 || to >= len(s.starts) || s.starts[to]-s.starts[sample] != int64(to-sample)*surveyStretch {
		return nil
	}
	return &s.seen[member][sample*s.blocks+b]
}

// wordy says whether much of what was seen is text: then a volume without any is
// made of the wrong members.
func (s *survey) wordy() bool {
	text, all := 0, 0
	for _, seen := range s.seen {
		for i := range seen {
			if seen[i].known && !seen[i].zero {
				all++
				if seen[i].lines > 0 {
					text++
				}
			}
		}
	}
	return text > 100 && text*5 > all
}

// A kinship is how the blocks at the same place of all members go together, as
// shares of the places that say something.
type kinship struct {
	places int
	equal  float64 // all are the same
	zero   float64 // the sum of all is zero: parity over all
	one    float64 // the sum of all is one of them: all but this have a parity, and this is Q
	twins  float64 // of those that nobody fills with zeros: most have their like
}

// kin compares the folds.
func (s *survey) kin() kinship {
	var k kinship
	var equal, zero, one, twins, full int
	folds := make([][16]byte, len(s.seen))
	for i := range s.seen[0] {
		sum, nonzero, known := [16]byte{}, 0, true
		for m := range s.seen {
			g := &s.seen[m][i]
			known = known && g.known
			folds[m] = g.fold
			subtle.XORBytes(sum[:], sum[:], g.fold[:])
			if g.fold != ([16]byte{}) {
				nonzero++
			}
		}
		if !known || nonzero < 2 {
			continue
		}
		k.places++
		single := singles(folds)
		if nonzero == len(folds) {
			full++
			if single <= len(folds)/2 {
				twins++
			}
		}
		switch {
		case sum == ([16]byte{}):
			zero++
		case slices.Contains(folds, sum):
			one++
		}
		if allEqual(folds) {
			equal++
		}
	}
	if k.places > 0 {
		n := float64(k.places)
		k.equal, k.zero, k.one = float64(equal)/n, float64(zero)/n, float64(one)/n
	}
	k.twins = float64(twins) / float64(max(full, 1))
	return k
}

func allEqual(folds [][16]byte) bool {
	return !slices.ContainsFunc(folds, func(f [16]byte) bool { return f != folds[0] })
}

// singles counts those who have not their like.
func singles(folds [][16]byte) (n int) {
	for i, f := range folds {
		if !slices.Contains(folds[:i], f) && !slices.Contains(folds[i+1:], f) {
			n++
		}
	}
	return n
}
