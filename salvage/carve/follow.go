package carve

import (
	"context"
	"fmt"
	"io"
	"slices"

	"salvor/salvage/volume"
)

// Options say how Follow reads on.
type Options struct {
	// Block is the file system's, in bytes: a multiple of 512, at most 65536; 0
	// means 4096. Where nobody knows it, 512 is right, if slower.
	Block int64
	// Limit is the longest piece, in bytes; 0 means 256 MiB.
	Limit int64
	// Sizes are the sizes that an index promises of what might begin here, at most
	// 64 of them.
	Sizes []int64
	// Back is how many bytes right before the head nothing else explains: a message
	// that begins there may go on at it. More than MaxBack is not looked at.
	Back int64
}

// Reason is why a piece may end where it does.
type Reason string

// The reasons, each with what it is worth.
const (
	Promised    Reason = "promised"    // an index or a dbox's own header says so
	Stream      Reason = "stream"      // a compressed stream ends, and its checksum is right
	ZeroTail    Reason = "zeros"       // zeros fill the rest of a sector: a file ends
	StructEnd   Reason = "structure"   // the outermost multipart is closed
	NextHead    Reason = "next head"   // something else begins at the next block
	Foreign     Reason = "foreign"     // the next block does not fit
	UnknownNext Reason = "unknown"     // what comes cannot be read
	BlockEnd    Reason = "block"       // a line and a block end together
	VolumeEnd   Reason = "volume end"  // there is no more
	AtLimit     Reason = "limit"       // it would become longer than is allowed
	Misfit      Reason = "misfit"      // what comes belongs to something else
	ZeroBlock   Reason = "zero sector" // zeros begin with a sector: an end, or a hole
)

// An End is a length that a piece may have.
type End struct {
	Len int64
	Why Reason
}

// A Piece is what Follow found: a message, or a file that holds mail, as far as it
// stands in one run. All but Off is in bytes from its beginning.
type Piece struct {
	Sign Sign
	Off  int64 // on the volume
	Len  int64 // the most likely length: that of Ends[0]
	// Ends are all lengths that are plausible, the best first.
	Ends []End
	// Verdict is on the first Len bytes. Of files that hold several messages it is
	// Plausible at best: Check what Expand gives.
	Verdict Verdict
	Why     string // of any verdict but Whole
	// Sure is how much at the beginning belongs together as far as the structure
	// vouches for it; at least one block.
	Sure int64
	// Break is where something else most likely begins, a multiple of the block;
	// -1 where nothing says so.
	Break int64
	// Want is what has to come at Break.
	Want Want
	// Holes are ranges within Len that are unknown, or zero sectors.
	Holes []volume.Range
}

// Want says what the rest of a message has to look like, from a place on.
type Want struct {
	Boundaries []string // those that have to be closed still, the outermost first
	Header     bool     // a header goes on
	Base64     bool     // base64 goes on, in lines of Width characters
	Width      int64
	Column     int64 // characters of the present line that have come already
	CRLF       bool  // how lines end
}

const (
	defaultBlock = 4096
	defaultLimit = 256 << 20
	maxBlock     = bufferSize
	maxSizes     = 64
)

func (o Options) filled() (Options, error) {
	if o.Block == 0 {
		o.Block = defaultBlock
	}
	if o.Block < sector || o.Block%sector != 0 || o.Block > maxBlock {
		return o, fmt.Errorf("a block cannot have %d bytes", o.Block)
	}
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	o.Sizes = o.Sizes[:min(len(o.Sizes), maxSizes)]
	return o, nil
}

// Follow reads on from a head, a place at which Head has recognised something, to
// the end of it as far as it stands in one run. An error is one of reading or of
// the context; a head that turns out to be none gives a Piece that is NotMail.
func Follow(ctx context.Context, r Blocks, head int64, o Options) (Piece, error) {
	o, err := o.filled()
	if err != nil {
		return Piece{}, err
	}
	p := Piece{Off: head, Break: -1, Verdict: NotMail, Why: "it does not begin as mail does"}
	if head < 0 || head >= r.Size() {
		return p, nil
	}
	b := make([]byte, min(o.Limit, maxHeadBytes, r.Size()-head))
	if _, err := r.ReadAt(b, head); err != nil {
		return p, err
	}
	sign, ok := Head(b)
	if p.Sign = sign; !ok {
		return p, nil
	}
	p.Why = ""
	s := &section{ctx: ctx, r: r, off: head, size: min(o.Limit, r.Size()-head)}
	switch sign.Kind {
	case Dbox:
		err = p.followDbox(s, o)
	case Gzip, Bzip2, Zstd:
		err = p.followPacked(s, o)
	default:
		if err = p.followText(s, o); err == nil && p.Verdict != NotMail {
			err = p.before(ctx, r, o, b)
		}
	}
	return p, err
}

const maxHeadBytes = 4096

// A section is a stretch of a volume as a file. Reading what is unknown of it is
// noted.
type section struct {
	ctx     context.Context
	r       Blocks
	off     int64
	size    int64
	unknown []volume.Range // of the volume; the first of them
}

// ReadAt reads, giving zeros for what is unknown.
func (s *section) ReadAt(p []byte, off int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if off < 0 || off >= s.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.size-off))
	unknown, err := s.r.ReadAt(p[:n], s.off+off)
	if err != nil {
		return 0, err
	}
	if len(s.unknown) < maxGaps {
		s.unknown = append(s.unknown, unknown...)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// end puts a length in front, or behind the others.
func (p *Piece) end(n int64, why Reason, first bool) {
	if n <= 0 {
		return
	}
	for i, e := range p.Ends {
		if e.Len == n {
			if !first {
				return
			}
			p.Ends = append(p.Ends[:i], p.Ends[i+1:]...)
			break
		}
	}
	if first {
		p.Ends = append([]End{{n, why}}, p.Ends...)
	} else if len(p.Ends) < maxEnds {
		p.Ends = append(p.Ends, End{n, why})
	}
}

// maxEnds bounds the ends of one piece, but for promised ones.
const maxEnds = 48

// promise puts the sizes that an index promises among the ends: in front where
// something else says the same.
func (p *Piece) promise(o Options, most int64) {
	var with [2][]int64 // another end, a weak one or a good one
	for _, n := range o.Sizes {
		if n <= 0 || n > most {
			continue
		}
		i := slices.IndexFunc(p.Ends, func(e End) bool { return e.Len == n })
		switch {
		case i < 0:
			p.Ends = append(p.Ends, End{n, Promised})
		case p.Ends[i].Why == BlockEnd:
			with[0] = append(with[0], n)
		default:
			with[1] = append(with[1], n)
		}
	}
	for _, n := range append(with[0], with[1]...) {
		p.end(n, Promised, true)
	}
}

// close settles the length.
func (p *Piece) close() {
	if len(p.Ends) > 0 {
		p.Len = p.Ends[0].Len
	}
	if p.Break >= 0 && p.Sure > p.Break {
		p.Sure = p.Break
	}
	holes := p.Holes[:0:0]
	for _, h := range p.Holes {
		if h.Off < p.Len {
			h.Len = min(h.Len, p.Len-h.Off)
			holes = append(holes, h)
		}
	}
	p.Holes = holes
}
