package carve

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// MaxBack is how far before a head Follow looks for the message to which it may
// belong, in bytes.
const MaxBack = 256 << 10

// before finds out whether a header that begins at a block goes on from what stands
// in the block before it: the rest of a header that is longer than a block, or a
// message within another. It fills in a verdict where that is so. b is the head.
func (p *Piece) before(ctx context.Context, r Blocks, o Options, b []byte) error {
	if p.Sign.Kind != Header {
		return nil
	}
	o.Limit = min(o.Back, MaxBack, p.Off) / o.Block * o.Block
	kept := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(kept)
	var last []byte // the line that the block before leaves open
	if o.Limit > 0 {
		text, err := textBlock(r, p.Off-o.Block, kept[:o.Block])
		if err != nil {
			return err
		}
		if text == nil {
			o.Limit = 0
		}
		last = bytes.Clone(text[bytes.LastIndexByte(text, '\n')+1:])
	}
	within := startsWithin(last, b)
	for off := p.Off - o.Block; off >= p.Off-o.Limit && o.Limit > 0; off -= o.Block {
		text, err := textBlock(r, off, kept[:o.Block])
		if err != nil || text == nil {
			o.Limit = 0
			break
		}
		if s, ok := Head(text); !ok || s.Kind != Header || s.Score < sure {
			continue
		}
		spans, err := p.spans(ctx, r, o, off, within)
		if err != nil {
			return err
		}
		if spans {
			p.Verdict, p.Why = Part, fmt.Sprintf("it goes on from the message that begins at byte %d", off)
			return nil
		}
	}
	if within {
		p.Verdict, p.Why = Broken, "it begins within a line of a header"
	}
	return nil
}

// textBlock reads a block that is text to its very end: zeros follow a file within its
// last block. nil: it is not.
func textBlock(r Blocks, off int64, b []byte) ([]byte, error) {
	unknown, err := r.ReadAt(b, off)
	if err != nil || len(unknown) > 0 || b[len(b)-1] == 0 || notText(b) {
		return nil, err
	}
	return b, nil
}

// spans tells whether the message that begins at from goes on at the piece: within a
// line, or as the header of a message that it announces.
func (p *Piece) spans(ctx context.Context, r Blocks, o Options, from int64, within bool) (bool, error) {
	at := p.Off - from
	w := &walk{reading: newReading(o.Block, 0, false), p: &Piece{Off: from}, o: o, kind: Header}
	w.o.Limit = at
	if err := w.run(&section{ctx: ctx, r: r, off: from, size: at}); err != nil {
		return false, err
	}
	m := &w.mime
	switch {
	case w.why != AtLimit || w.reading.torn || !m.inHeader:
		return false, nil
	case w.length > 0:
		return within, nil
	}
	return m.nested && m.once == 0, nil
}

// startsWithin tells whether the first field of a header is the rest of one of which
// the beginning is in the line before, or is missing.
func startsWithin(last, b []byte) bool {
	name := b[:fieldName(b)]
	if len(name) == 0 {
		return false
	}
	if whole := append(bytes.Clone(last), name...); len(last) > 0 && fieldName(append(whole, ':')) == len(whole) {
		if points[lower(string(whole))] > 0 || known(whole) && !known(name) {
			return true
		}
	}
	return name[0] >= 'a' && name[0] <= 'z' && !known(name) && othersAreLarge(b)
}

// known tells whether mail has a field of a name.
func known(name []byte) bool {
	return pointsOf(name) > 0 || opens(name) || strings.HasPrefix(lower(string(name)), "content-")
}

// othersAreLarge tells whether the names of all fields but the first begin with a
// capital, and there are some.
func othersAreLarge(b []byte) bool {
	n := 0
	_, b, _ = bytes.Cut(b, []byte("\n"))
	for line := range bytes.Lines(b) {
		if line[0] == '\n' || line[0] == '\r' || line[0] == 0 {
			break
		}
		if fieldName(line) == 0 {
			continue
		}
		if line[0] < 'A' || line[0] > 'Z' {
			return false
		}
		n++
	}
	return n >= 2
}
