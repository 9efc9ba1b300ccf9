package piece

import (
	"bytes"
	"fmt"
	"mime"
	"slices"
)

// A front is the beginning of a message, block by block: what is known of it, and
// what follows on the volume.
type front struct {
	offs     []int64 // where the blocks are
	looks    []look
	wires    []int64 // size of the wire form of the first block, the first two, ...
	known    int     // how many blocks are the message's for sure
	natural  int     // how many blocks run on as far as looks can tell
	boundary uint32  // of the message's MIME structure, 0: none
}

// beyond is how many blocks are looked at behind the place where a head's text
// does not seem to run on: that may be wrong.
const beyond = 64

// longestHeader is within how many bytes a boundary must be named.
const longestHeader = 64 << 10

// front looks at known blocks and what follows them, at most so many bytes of it.
func (p *Puzzle) front(known []int64, size int64) (*front, error) {
	f := &front{}
	most := int((size + p.blockSize - 1) / p.blockSize)
	for n := 0; n < most; n++ {
		sure := n < len(known)
		var at int64
		if sure {
			at = known[n]
		} else if at = f.offs[n-1] + p.blockSize; !p.isFree(at) {
			break
		}
		l, err := p.at(at)
		if err != nil {
			return nil, err
		}
		if l.text == 0 || !f.add(at, l, sure, p.blockSize) {
			break
		}
	}
	if f.natural == 0 {
		f.natural = len(f.looks)
	}
	if n := len(f.looks); n == 0 || n < len(known) && !f.looks[n-1].ended(p.blockSize) {
		return &front{}, nil // it is damaged, or no message
	}
	return f, p.readBoundary(f)
}

// add takes a block, and tells whether it did and another one may follow.
func (f *front) add(at int64, l look, sure bool, blockSize int64) bool {
	n := len(f.looks)
	wire := int64(l.text) + int64(l.bare)
	if n == 0 {
		wire += choose64(l.is(firstLF), 1, 0)
	} else {
		before := &f.looks[n-1]
		if before.ended(blockSize) || f.natural > 0 && n > f.natural+beyond {
			return false
		}
		wire += f.wires[n-1] + joined(before, &l)
		if !sure && f.natural == 0 && fit(before, &l, blockSize) == misfit {
			f.natural = n
		}
	}
	if sure {
		f.known++
	}
	f.offs, f.looks, f.wires = append(f.offs, at), append(f.looks, l), append(f.wires, wire)
	return true
}

// readBoundary reads the header.
func (p *Puzzle) readBoundary(f *front) error {
	var header []byte
	for _, off := range f.offs[:min(int64(f.natural), longestHeader/p.blockSize)] {
		b := make([]byte, p.blockSize)
		if _, err := p.v.ReadAt(b, off); err != nil {
			return fmt.Errorf("read %s at %d: %w", p.v.Name(), off, err)
		}
		header = append(header, b...)
		if bytes.Contains(b, []byte("\n\n")) || bytes.Contains(b, []byte("\n\r\n")) {
			break
		}
	}
	f.boundary = boundaryOf(header)
	return nil
}

// boundaryOf gives the hash of the boundary that a message's header names, else 0.
func boundaryOf(message []byte) uint32 {
	for rest := message; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if empty(line) {
			break
		}
		for len(after) > 0 && (after[0] == ' ' || after[0] == '\t') {
			n := bytes.IndexByte(after, '\n') + 1
			if n == 0 {
				n = len(after)
			}
			line, after = append(line[:len(line):len(line)], after[:n]...), after[n:]
		}
		rest = after
		const name = "content-type:"
		if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
			continue
		}
		value := bytes.TrimSpace(line[len(name):])
		_, params, _ := mime.ParseMediaType(string(bytes.ReplaceAll(value, []byte("\n"), nil)))
		if b := params["boundary"]; b != "" {
			return boundaryHash([]byte(b))
		}
		return 0
	}
	return 0
}

// A back is the end of a message, read backwards.
type back struct {
	offs  []int64 // where the last block is, the one before, ...
	looks []look
	wires []int64 // size of the wire form of the last block, the last two, ..., but for joined
	known int     // how many blocks are the message's for sure
}

// back looks at the blocks of a strand from its end, as far as a message of this
// size can reach.
func (p *Puzzle) back(s *strand, size int64) (*back, error) {
	b := &back{known: 1}
	for at := s.end(p.blockSize) - p.blockSize; at >= s.off && b.wire() < size; at -= p.blockSize {
		// Looks are made in batches, forwards.
		if int64(len(b.looks))%blockBatch == 0 {
			if _, err := p.at(max(s.off, at-(blockBatch-1)*p.blockSize)); err != nil {
				return nil, err
			}
		}
		if err := p.extend(b, at); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// extend puts a block before an end.
func (p *Puzzle) extend(b *back, at int64) error {
	l, err := p.at(at)
	if err != nil {
		return err
	}
	wire := b.wire() + int64(l.text) + int64(l.bare)
	if n := len(b.looks); n > 0 {
		wire += joined(&l, &b.looks[n-1])
	}
	b.offs, b.looks, b.wires = append(b.offs, at), append(b.looks, l), append(b.wires, wire)
	return nil
}

func (b *back) wire() int64 {
	if len(b.wires) == 0 {
		return 0
	}
	return b.wires[len(b.wires)-1]
}

// parts gives the last so many blocks as runs, in the order of the message.
func (b *back) parts(blocks int, blockSize int64) []part {
	offs := slices.Clone(b.offs[:blocks])
	slices.Reverse(offs)
	return partsOf(offs, blockSize)
}

// partsOf puts blocks together to runs.
func partsOf(offs []int64, blockSize int64) []part {
	var list []part
	for _, off := range offs {
		if n := len(list); n > 0 && list[n-1].off+list[n-1].blocks*blockSize == off {
			list[n-1].blocks++
		} else {
			list = append(list, part{off, 1})
		}
	}
	return list
}
