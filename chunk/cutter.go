package chunk

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
)

// Message is what Cut makes of a message. Recipe is the caller's; Parts and
// Header are valid until the next Cut, and as long as the stored bytes given
// to Cut are left alone.
type Message struct {
	ID         ID    // SHA-256 of the wire form
	SHA1       SHA1  // SHA-1 of the wire form
	Size       int64 // bytes of the wire form
	Stored     ID    // SHA-256 of the stored bytes
	StoredSize int64
	LineEnds   LineEnds
	Recipe     []byte // the bytes of the message chunk
	Parts      []Part // distinct, in order of first use
	Header     []byte // the message's own header in LF form, cut off at 256 KiB
}

// Part is a leaf body of a message, as it is or decoded.
type Part struct {
	ID   ID
	Data []byte
}

// maxSkeleton is how long the skeleton may get before header, preamble and
// the like become parts too. It keeps message chunks small, whatever comes.
const maxSkeleton = 1 << 20

// Cutter cuts messages and parts. Its buffers, up to twice the longest message,
// are used again from one call to the next until Trim gives them back. It is
// not for concurrent use.
type Cutter struct {
	params   Params
	splitter splitter
	scanner  scanner
	hasher   *WireHasher
	stored   hash.Hash
	coder    base64Coder
	decode   func(dst, body []byte) base64Run // a field so that a test can break it

	lf       []byte // the LF form, when it is not the stored bytes
	decoded  []byte
	segments []segment
	literals []leaf // the stretches of the LF form that make the skeleton
	skeleton int    // bytes in literals
	parts    []Part
	proof    Recipe
}

// NewCutter makes one; the error says what is wrong with the Params.
func NewCutter(p Params) (*Cutter, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	c := &Cutter{params: p, splitter: splitter{params: p}, hasher: NewWireHasher(), stored: sha256.New()}
	c.decode = c.coder.decode
	return c, nil
}

// Cut takes the stored bytes of one message, whatever they are.
func (c *Cutter) Cut(stored []byte) *Message {
	return c.CutUnless(stored, func(*Message) bool { return false })
}

// CutUnless is Cut for callers who may hold the message already. It asks
// known, with a Message that lacks Recipe, Parts and Header; they stay empty
// when the answer is yes, which saves half of the work.
func (c *Cutter) CutUnless(stored []byte, known func(*Message) bool) *Message {
	m := &Message{StoredSize: int64(len(stored))}
	lf, ends := ToLF(c.lf[:0], stored)
	if len(lf) != len(stored) {
		c.lf = lf
	}
	m.LineEnds = ends
	c.sums(m, stored)
	if !known(m) {
		c.complete(m, lf)
	}
	return m
}

// Trim gives back the buffers that are longer than keep bytes. What the last
// Cut returned is not valid any more.
func (c *Cutter) Trim(keep int) {
	if cap(c.lf) > keep {
		c.lf = nil
	}
	if cap(c.decoded) > keep {
		c.decoded = nil
	}
	clear(c.parts[:cap(c.parts)])
	c.splitter.forget()
	c.proof.skeleton = nil
}

// complete sets Recipe, Parts and Header.
func (c *Cutter) complete(m *Message, lf []byte) {
	c.scanner.scan(lf)
	c.assemble(lf, c.scanner.leaves)
	m.Recipe = c.recipe(lf)
	if !c.proven(m.Recipe, lf) {
		// No decoding, so nothing that could come out otherwise.
		c.assemble(lf, []leaf{{start: c.scanner.header, end: len(lf)}})
		m.Recipe = c.recipe(lf)
	}
	m.Parts = c.parts
	m.Header = lf[:min(c.scanner.header, maxHeader)]
}

// Split cuts a part by content; the pieces are slices of part, and the list
// is valid until the next Split. A part up to Params.Whole is one piece.
func (c *Cutter) Split(part []byte) [][]byte { return c.splitter.split(part) }

// sums computes the hashes of the wire form and of the stored bytes, block by
// block, so that memory is gone over once.
func (c *Cutter) sums(m *Message, stored []byte) {
	c.hasher.Reset()
	if m.LineEnds == EndsCRLF {
		c.hasher.writeWire(stored)
		m.ID, m.SHA1, m.Size = c.hasher.Sums()
		m.Stored = m.ID
		return
	}
	c.stored.Reset()
	for len(stored) > 0 {
		block := stored[:min(hashBlock, len(stored))]
		c.stored.Write(block)
		c.hasher.write(block)
		stored = stored[len(block):]
	}
	m.ID, m.SHA1, m.Size = c.hasher.Sums()
	c.stored.Sum(m.Stored[:0])
}

// assemble lays the message out as segments: parts where the leaves are long
// enough, skeleton between them.
func (c *Cutter) assemble(lf []byte, leaves []leaf) {
	c.segments, c.literals, c.parts = c.segments[:0], c.literals[:0], c.parts[:0]
	c.decoded, c.skeleton = room(c.decoded, decodedRoom(leaves)), 0
	pos := 0
	for _, l := range leaves {
		if l.base64 {
			pos = c.base64Leaf(lf, pos, l)
		} else {
			pos = c.rawLeaf(lf, pos, l.start, l.end)
		}
	}
	c.literal(lf, pos, len(lf))
}

// room gives an empty buffer for n bytes, buf itself where it has them. A new
// one has some to spare, so that it need not grow with every longer message.
func room(buf []byte, n int) []byte {
	if cap(buf) >= n {
		return buf[:0]
	}
	return make([]byte, 0, n+n/4)
}

// decodedRoom is how much the base64 leaves decode to at most.
func decodedRoom(leaves []leaf) int {
	n := 0
	for _, l := range leaves {
		if l.base64 {
			n += (l.end - l.start) / 4 * 3
		}
	}
	return n
}

// rawLeaf makes a part of lf[start:end] if that is long enough, and gives up
// to where the segments now reach.
func (c *Cutter) rawLeaf(lf []byte, pos, start, end int) int {
	if end-start < c.params.Inline {
		return pos
	}
	c.literal(lf, pos, start)
	c.part(segment{kind: segmentRaw}, lf[start:end])
	return end
}

// base64Leaf makes a part of what is exact base64 in the leaf, and treats the
// rest of the leaf as raw.
func (c *Cutter) base64Leaf(lf []byte, pos int, l leaf) int {
	body := lf[l.start:l.end]
	if len(body) < c.params.Inline {
		return pos
	}
	run := c.decode(c.decoded[len(c.decoded):], body)
	if len(run.data) < c.params.Inline {
		return c.rawLeaf(lf, pos, l.start, l.end)
	}
	c.decoded = c.decoded[:len(c.decoded)+len(run.data)]
	c.literal(lf, pos, l.start+run.start)
	c.part(segment{kind: segmentBase64, width: int64(run.width)}, run.data)
	return c.rawLeaf(lf, l.start+run.end, l.start+run.end, l.end)
}

// literal makes skeleton of lf[start:end], or a part when there is too much
// of it.
func (c *Cutter) literal(lf []byte, start, end int) {
	n := end - start
	if n == 0 {
		return
	}
	if c.skeleton+n > maxSkeleton {
		c.part(segment{kind: segmentRaw}, lf[start:end])
		return
	}
	c.skeleton += n
	c.literals = append(c.literals, leaf{start: start, end: end})
	c.segments = append(c.segments, segment{kind: segmentSkeleton, size: int64(n)})
}

func (c *Cutter) part(s segment, data []byte) {
	s.size = int64(len(data))
	s.id = sha256.Sum256(data)
	if c.known(s.id) == nil {
		c.parts = append(c.parts, Part{s.id, data[:len(data):len(data)]})
	}
	c.segments = append(c.segments, s)
}

// proven rebuilds the message from the recipe's bytes and the parts, as
// RebuildMessage does, and compares every byte with lf.
func (c *Cutter) proven(recipe, lf []byte) bool {
	if c.proof.parse(recipe) != nil {
		return false
	}
	same := true
	err := c.proof.walk(&c.coder, c.fetch, func(b []byte) bool {
		same = bytes.HasPrefix(lf, b)
		if same {
			lf = lf[len(b):]
		}
		return same
	})
	return err == nil && same && len(lf) == 0
}

// known gives the part of that ID. Nearly all messages have a handful; the
// bound on entities keeps the search short for all others.
func (c *Cutter) known(id ID) *Part {
	for i := range c.parts {
		if c.parts[i].ID == id {
			return &c.parts[i]
		}
	}
	return nil
}

func (c *Cutter) fetch(ref PartRef) ([]byte, error) {
	if p := c.known(ref.ID); p != nil {
		return p.Data, nil
	}
	return nil, fmt.Errorf("no part %s", ref.ID)
}

// recipe writes the recipe of the segments.
func (c *Cutter) recipe(lf []byte) []byte {
	const head, perSegment = 16, 48
	b := make([]byte, 0, head+perSegment*len(c.segments)+c.skeleton)
	b = appendRecipe(b, int64(len(lf)), c.segments)
	for _, l := range c.literals {
		b = append(b, lf[l.start:l.end]...)
	}
	return b
}
