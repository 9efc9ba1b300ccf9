package piece

import (
	"bytes"
	"context"
	"fmt"

	"salvor/chunk"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// A Match is a message that was proved: the wire form of these bytes has the size
// and the SHA-1 of the Want.
type Match struct {
	Want    Want
	Extents []fsys.Extent // by Logical, from 0 to Stored without a gap
	Stored  int64         // how many bytes it has as it lies there
}

// A Run is what hashing from a head on came to.
type Run struct {
	// Matches are the wanted messages that begin at the head; nearly always none or
	// one, more where an index promises the same bytes several times.
	Matches []Match
	// Text is how many bytes there are before the NULs behind a message; 0: no end
	// was found. Wire and SHA1 are its wire form's.
	Text, Wire int64
	SHA1       chunk.SHA1
	// Read is how many bytes were looked at.
	Read int64
	Stop Stop
}

// Stop says why a run ended.
type Stop string

// Why runs end.
const (
	Proved   Stop = "proved"     // with a match
	Ended    Stop = "ended"      // text, then NULs
	Foreign  Stop = "foreign"    // a block that is no mail
	Unread   Stop = "unreadable" // a block that nobody can read
	TooLarge Stop = "too large"  // longer than everything that is wanted
	Used     Stop = "end"        // the last block that was to be looked at
)

// fewSizes is how many wanted sizes within a block are all tried. Where more fall
// into it, only those are that stand behind a line's end or before a NUL.
const fewSizes = 8

// Run hashes from head on, and compares with everything that is wanted at every
// place where a message may end: at sizes that are wanted, where NULs begin, at
// the end of a block. It stops where text ends or what follows is no mail. limit
// is how many bytes may be looked at, 0: as many as the largest message wanted
// has. An unreadable place is no error, but ends the run.
func (o *Owed) Run(ctx context.Context, v volume.Volume, head, blockSize, limit int64) (*Run, error) {
	if limit <= 0 || limit > o.largest+blockSize {
		limit = o.largest + blockSize
	}
	limit = min(limit, v.Size()-head)
	return o.prove(ctx, v, blockSize, true, []fsys.Extent{{Off: head, Len: limit}})
}

// Extents is Run for a file whose extents are known and whose size is not: a
// block map alone, a freed inode. They must begin at Logical 0; what stands
// behind a gap is not looked at. The last extent may be longer than the message.
func (o *Owed) Extents(ctx context.Context, v volume.Volume, blockSize int64, list []fsys.Extent) (*Run, error) {
	return o.prove(ctx, v, blockSize, false, list)
}

// prover is one run.
type prover struct {
	*Owed
	ctx  context.Context
	wire *wire
	run  *Run
	list []fsys.Extent
	ends []int
}

const firstRead, largestRead = 16 << 10, 512 << 10

func (o *Owed) prove(ctx context.Context, v volume.Volume, blockSize int64, strict bool, list []fsys.Extent) (*Run, error) {
	if blockSize < 512 || blockSize > largestBlock {
		return nil, fmt.Errorf("prove messages on %s: a block size of %d bytes makes no sense", v.Name(), blockSize)
	}
	p := &prover{Owed: o, ctx: ctx, wire: newWire(), run: &Run{Stop: Used}, list: list}
	buf := make([]byte, min(max(firstRead, blockSize), largestRead))
	for _, e := range list {
		if e.Logical != p.run.Read {
			break // a gap: nothing behind it can be proved
		}
		for at := int64(0); at < e.Len; {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			part := buf[:min(int64(len(buf)), e.Len-at)]
			unknown, err := readExtent(v, part, e, at)
			if err != nil {
				return nil, fmt.Errorf("read %s at %d: %w", v.Name(), e.Off+at, err)
			}
			done, err := p.window(part, e.Off+at, blockSize, strict, unknown)
			if done || err != nil {
				return p.run, err
			}
			at += int64(len(part))
			if len(buf) < largestRead {
				buf = make([]byte, 2*len(buf))
			}
		}
	}
	return p.run, nil
}

// readExtent reads what a file has there: zeros where nothing was written.
func readExtent(v volume.Volume, p []byte, e fsys.Extent, at int64) ([]volume.Range, error) {
	if e.Unwritten {
		clear(p)
		return nil, nil
	}
	return v.ReadAt(p, e.Off+at)
}

// window takes what was read, and tells whether that was the last of it.
func (p *prover) window(data []byte, off, blockSize int64, strict bool, unknown []volume.Range) (bool, error) {
	for len(data) > 0 {
		block := data[:min(blockSize, int64(len(data)))]
		if len(unknown) > 0 && unknown[0].Off < off+int64(len(block)) {
			p.run.Stop = Unread
			return true, nil
		}
		if strict && (isZero(block) || foreign(block)) {
			p.run.Stop = Foreign
			if block[0] == 0 && p.run.Read > 0 {
				p.ended(p.run.Read)
				p.run.Stop = Ended
			}
			return true, nil
		}
		text, err := p.block(block)
		switch {
		case err != nil:
			return true, err
		case len(p.run.Matches) > 0:
			p.run.Stop = Proved
		case strict && len(block)-text >= shortestTail:
			p.run.Stop = Ended
		case p.wire.size > p.largest:
			p.run.Stop = TooLarge
		default:
			data, off = data[len(block):], off+int64(len(block))
			continue
		}
		return true, nil
	}
	return false, nil
}

// shortestTail is how many NULs at the end of a block are not taken for content.
const shortestTail = 16

// block hashes a block and compares at every end in it. It gives where its text
// ends.
func (p *prover) block(b []byte) (text int, err error) {
	text = textEnd(b)
	p.findEnds(b, text)
	from := 0
	for _, end := range p.ends {
		p.wire.write(b[from:end])
		from = end
		sum := p.wire.now()
		stored := p.run.Read + int64(end)
		if end == text && end < len(b) {
			p.ended(stored)
		}
		wants, err := p.find(p.ctx, p.wire.size, sum)
		if err != nil {
			return 0, err
		}
		for _, w := range wants {
			p.run.Matches = append(p.run.Matches, Match{Want: w, Extents: cutExtents(p.list, stored), Stored: stored})
		}
	}
	p.wire.write(b[from:])
	p.run.Read += int64(len(b))
	return text, nil
}

// ended notes where the text ends, when it does so for the first time.
func (p *prover) ended(stored int64) {
	if p.run.Text == 0 {
		p.run.Text, p.run.Wire, p.run.SHA1 = stored, p.wire.size, p.wire.now()
	}
}

// findEnds lists where in a block a message may end, in stored bytes: the end of
// the text before NULs in any case, else only where a size is wanted.
func (p *prover) findEnds(b []byte, text int) {
	p.ends = p.ends[:0]
	all := p.few(p.wire.size, p.wire.size+2*int64(len(b)), fewSizes)
	cr, size := p.wire.cr, p.wire.size
	put := func(end int) {
		if end > 0 && (len(p.ends) == 0 || p.ends[len(p.ends)-1] < end) {
			p.ends = append(p.ends, end)
		}
	}
	// A segment ends behind an LF that lacks its CR: wire and stored bytes keep
	// their distance within it.
	for from := 0; from < len(b); {
		to, lacks := segment(b, from, cr)
		last := size + int64(to-from)
		for s := p.next(size, last); s <= last; s = p.next(s, last) {
			at := from + int(s-size)
			if lacks && s == last {
				break // between the CR that is added and the LF
			}
			if all || at == len(b) || b[at-1] == '\n' || b[at] == 0 && (at == text || b[at-1] != 0) {
				put(at)
			}
		}
		size = last
		if lacks {
			size++
			if p.hasSize(size) {
				put(to)
			}
		}
		from, cr = to, b[to-1] == '\r'
	}
	if text < len(b) {
		p.ends = insert(p.ends, text)
	}
}

// segment gives where the stored bytes from from on end behind an LF that lacks
// its CR, or the end of the block.
func segment(b []byte, from int, cr bool) (to int, lacks bool) {
	for i := from; i < len(b); i++ {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			break
		}
		i += j
		if i > 0 {
			cr = b[i-1] == '\r'
		}
		if !cr {
			return i + 1, true
		}
	}
	return len(b), false
}

// insert puts a number into a sorted list, once; 0 is no end.
func insert(list []int, n int) []int {
	i := len(list)
	for i > 0 && list[i-1] > n {
		i--
	}
	if n == 0 || i > 0 && list[i-1] == n {
		return list
	}
	list = append(list, 0)
	copy(list[i+1:], list[i:])
	list[i] = n
	return list
}

// cutExtents gives the extents of the first so many bytes.
func cutExtents(list []fsys.Extent, size int64) []fsys.Extent {
	var out []fsys.Extent
	for _, e := range list {
		if e.Logical >= size {
			break
		}
		e.Len = min(e.Len, size-e.Logical)
		out = append(out, e)
	}
	return out
}
