package carve

import (
	"bytes"
	"fmt"
	"slices"

	"salvor/salvage/volume"
)

// A walk is the following of one message or mbox, block by block.
type walk struct {
	*reading
	p     *Piece
	o     Options
	kind  Kind
	off   int64 // of the present block, in the piece
	why   Reason
	until int64 // where it ended
	torn  bool  // it ended within a line
	lines []int64
	after int64 // behind the last boundary, the first place where a line and a block end; 0: none
	holes int64 // in a row
	seen  int   // how much of odd
	// passed is how many blocks that look like heads it has gone over.
	passed int
}

const (
	// maxHole is the longest hole that is passed over.
	maxHole = 4 << 20
	// maxEpilogue is how much may stand behind the last boundary.
	maxEpilogue = 64 << 10
	// maxPassed bounds the heads within a message, and with them how often a block
	// is read again for another head before it.
	maxPassed = 64
	// maxLineEnds is how many blocks that end with a line are kept as ends.
	maxLineEnds = 16
)

// followText follows a message or an mbox.
func (p *Piece) followText(s *section, o Options) error {
	w := &walk{reading: newReading(o.Block, 0, p.Sign.Kind == Mbox), p: p, o: o, kind: p.Sign.Kind}
	if err := w.run(s); err != nil {
		return err
	}
	w.settle()
	p.promise(o, s.size)
	p.close()
	if p.Break > 0 {
		return p.want(s, o)
	}
	return nil
}

// run goes on until it stops.
func (w *walk) run(s *section) error {
	o := w.o
	kept := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(kept)
	buf := kept[:bufferSize/o.Block*o.Block]
	for w.why == "" {
		if w.off >= s.size {
			w.stop(s.size, VolumeEnd)
			if s.size == o.Limit {
				w.why = AtLimit
			}
			break
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), s.size-w.off)]
		if w.off == 0 { // most mail is short
			b = b[:min(int64(len(b)), max(o.Block, 8<<10/o.Block*o.Block))]
		}
		unknown, err := s.r.ReadAt(b, s.off+w.off)
		if err != nil {
			return err
		}
		for len(b) > 0 && w.why == "" {
			n := min(int64(len(b)), o.Block)
			w.block(b[:n], within(unknown, s.off+w.off, n))
			w.off += n
			b = b[n:]
		}
	}
	return nil
}

// within gives what of sorted ranges of a volume lies in n bytes from off on,
// counted from there.
func within(ranges []volume.Range, off, n int64) (out []volume.Range) {
	for _, u := range ranges {
		from, to := max(u.Off-off, 0), min(u.End()-off, n)
		if from < to {
			out = append(out, volume.Range{Off: from, Len: to - from})
		}
	}
	return out
}

func (w *walk) stop(at int64, why Reason) {
	w.until, w.why, w.torn = at, why, w.length > 0
}

// block takes the next block, or stops.
func (w *walk) block(b []byte, unknown []volume.Range) {
	at := int64(0)
	for _, u := range unknown {
		if w.known(b[at:u.Off], w.off+at); w.why != "" {
			return
		}
		if w.hole(u.Len, UnknownNext); w.why != "" {
			return
		}
		at = u.End()
	}
	w.known(b[at:], w.off+at)
}

// hole passes over bytes that are unknown or zero where the message is not
// complete without them.
func (w *walk) hole(n int64, why Reason) {
	if w.holes += n; w.off == 0 || w.holes > maxHole || w.complete() {
		w.stop(w.reading.off, why)
		return
	}
	w.gap(n)
}

// complete tells whether the message may end here.
func (w *walk) complete() bool {
	m := &w.mime
	if m.open() || m.inHeader && m.header == 0 {
		return false
	}
	return m.part.encoding != "base64" || m.part.base64.complete() || m.epilogue
}

// known takes bytes that were read, at a place in the piece.
func (w *walk) known(b []byte, at int64) {
	if len(b) == 0 {
		return
	}
	if at > 0 && at%w.o.Block == 0 && w.another(b) {
		w.stop(at, NextHead)
		return
	}
	if notText(b) {
		w.stop(at/w.o.Block*w.o.Block, Foreign)
		return
	}
	for len(b) > 0 && w.why == "" {
		text, rest := b, b[len(b):]
		if i := bytes.IndexByte(b, 0); i >= 0 {
			text, rest = b[:i], b[i:]
		}
		if len(text) > 0 {
			w.holes = 0
			w.feed(text)
			w.look()
		}
		if b = rest; len(b) > 0 && w.why == "" {
			b = w.zeros(b)
		}
	}
	w.boundary()
}

// zeros takes the zeros at the beginning of b and gives what follows.
func (w *walk) zeros(b []byte) []byte {
	pos := w.reading.off
	n := min(int64(len(b)), sector-pos%sector)
	if len(bytes.TrimLeft(b[:n], "\x00")) > 0 { // some mail holds a NUL
		n = int64(len(b) - len(bytes.TrimLeft(b, "\x00")))
		w.feed(b[:n])
		return b[n:]
	}
	if pos%sector != 0 {
		w.stop(pos, ZeroTail)
		return nil
	}
	w.hole(n, ZeroBlock)
	return b[n:]
}

// notText tells text from other bytes; zeros that fill a sector do not count.
func notText(b []byte) bool {
	n, all := 0, 0
	for len(b) > 0 {
		k := min(len(b), sector)
		part := b[:k]
		if part[k-1] == 0 {
			part = bytes.TrimRight(part, "\x00")
		}
		n += controls(part)
		all += len(part)
		b = b[k:]
	}
	return n > 2 && n*32 > all
}

// another tells whether something else begins with the present block.
func (w *walk) another(b []byte) bool {
	s, ok := Head(b)
	if !ok {
		return false
	}
	if w.passed++; w.passed > maxPassed {
		return true
	}
	if w.reading.torn { // behind a hole
		return s.Score >= sure
	}
	atLine := w.length == 0
	if s.Kind == Mbox && w.kind == Mbox && (w.blank || !atLine) {
		return false
	}
	if w.mime.inHeader && s.Kind == Header {
		return w.anotherHeader(b, s.Score)
	}
	return s.Score >= sure || atLine
}

// look stops where something that was read does not fit. Nothing foreign can
// stand in the first block.
func (w *walk) look() {
	for ; w.seen < len(w.odd); w.seen++ {
		if at := w.odd[w.seen].Off; at > 0 {
			w.stop(at, Misfit)
			w.torn = !slices.Contains(w.lines, at)
			return
		}
	}
}

// boundary is called where a block ends.
func (w *walk) boundary() {
	m := &w.mime
	switch at := w.reading.off; {
	case w.why != "":
	case m.epilogue && !w.mbox && at-m.closed <= 2:
		w.stop(at, StructEnd)
	case m.epilogue && !w.mbox && at-m.closed > maxEpilogue:
		w.stop(at, AtLimit)
	case w.length == 0 && w.complete() && at%w.o.Block == 0:
		if len(w.lines) == maxLineEnds {
			w.lines = append(w.lines[:0], w.lines[1:]...)
		}
		w.lines = append(w.lines, at)
		if w.after == 0 && m.epilogue {
			w.after = at
		}
	}
}

// settle makes ends and a verdict of where and why the walk stopped.
func (w *walk) settle() {
	p, m := w.p, &w.mime
	p.Holes = w.gaps.all
	closed := int64(0)
	if m.epilogue && !w.mbox {
		closed = m.closed
	}
	if g := w.gaps.doubtful(); g >= 0 && closed == 0 {
		w.until, w.why = g, UnknownNext
		p.Break = g / w.o.Block * w.o.Block
	}
	filled := w.after > 0 && w.after <= w.until // and not followed by zeros, as files are
	switch {
	case filled && m.stray > w.after:
		p.end(w.after, BlockEnd, true)
		p.end(w.until, w.why, false)
		p.end(closed, StructEnd, false)
		w.until, w.why = w.after, BlockEnd
	case closed == 0, w.why == ZeroTail, w.why == ZeroBlock, w.why == StructEnd, w.why == NextHead && !w.torn:
		p.end(w.until, w.why, true)
		p.end(closed, StructEnd, false)
	case filled:
		p.end(w.after, BlockEnd, true)
		p.end(closed, StructEnd, false)
		p.end(w.until, w.why, false)
	default:
		p.end(closed, StructEnd, true)
		p.end(w.until, w.why, false)
	}
	for _, n := range slices.Backward(w.lines) {
		if n < w.until {
			p.end(n, BlockEnd, false)
		}
	}
	p.Sure = w.until
	if w.weak >= 0 {
		p.Sure = min(p.Sure, w.weak)
	}
	w.judge(closed)
}

// judge judges the first of the ends.
func (w *walk) judge(closed int64) {
	p := w.p
	cut := w.why != ZeroTail && w.why != StructEnd && closed == 0
	w.finish()
	p.Verdict, p.Why = w.verdict()
	if w.mime.index {
		p.Verdict, p.Why = NotMail, "it is a copy of headers in an index"
	}
	if p.Verdict == Broken && closed > 0 && w.why == Misfit {
		p.Verdict, p.Why = Plausible, "it is closed, and something else follows"
	}
	switch {
	case p.Verdict == NotMail:
		return
	case p.Break >= 0:
		p.Verdict, p.Why = Broken, fmt.Sprintf("nothing shows how it goes on behind byte %d", p.Break)
	case cut && (w.torn || w.why == UnknownNext || w.why == AtLimit || w.why == VolumeEnd && w.torn):
		p.Verdict, p.Why = Broken, fmt.Sprintf("it breaks off at byte %d: %s", w.until, w.why)
	}
	switch {
	case w.why == AtLimit && p.Verdict == Broken:
	case p.Verdict == Broken && p.Break < 0 && (w.why == Misfit || w.why == NextHead || w.why == Foreign || w.why == UnknownNext):
		p.Break = w.until / w.o.Block * w.o.Block
	case p.Verdict == Broken && p.Break < 0 && w.doubted >= 0:
		p.Break = w.doubted
	case p.Verdict == Whole && (w.weak >= 0 && w.weak < p.Ends[0].Len):
		p.Verdict, p.Why = Plausible, fmt.Sprintf("nothing vouches for what follows byte %d", w.weak)
	case p.Verdict == Whole && closed > 0 && w.why != StructEnd && w.why != ZeroTail:
		p.Verdict, p.Why = Plausible, "something follows its last boundary, and it may be its own"
	case p.Verdict == Whole && (!w.mime.opener || !w.mime.from):
		p.Verdict, p.Why = Plausible, "it may begin within a header"
	case p.Verdict == Whole && (w.mime.alien < 0 || w.mime.alien > 0 && w.until-w.mime.alien <= 4):
		p.Verdict, p.Why = Plausible, "it may be a part of another message"
	case p.Verdict == Whole && cut:
		p.Verdict, p.Why = Plausible, "its end is known by what follows only: "+string(w.why)
	}
	if w.kind == Mbox && p.Verdict == Whole {
		p.Verdict, p.Why = Plausible, "an mbox may hold more"
	}
}

// want reads the piece up to its break once more, to say what has to come there.
func (p *Piece) want(s *section, o Options) error {
	d := newReading(o.Block, 0, p.Sign.Kind == Mbox)
	kept := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(kept)
	buf := kept[:]
	for d.off < p.Break {
		n, err := s.ReadAt(buf[:min(int64(len(buf)), p.Break-d.off)], d.off)
		if n == 0 {
			return err
		}
		d.feed(buf[:n])
	}
	m := &d.mime
	for _, l := range m.levels {
		p.Want.Boundaries = append(p.Want.Boundaries, string(l.boundary))
	}
	p.Want.Header = m.inHeader
	p.Want.CRLF = d.ends[crlf] > d.ends[lf]
	if b := &m.part.base64; !m.inHeader && m.part.encoding == "base64" && m.part.at > 0 && b.short == 0 && !b.loose {
		p.Want.Base64, p.Want.Width, p.Want.Column = true, b.width, d.length
	}
	return nil
}
