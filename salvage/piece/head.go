package piece

import (
	"bytes"
	"mime"
)

// A front is what follows a head on the volume, block by block.
type front struct {
	off      int64
	looks    []look
	wires    []int64 // size of the wire form of the first block, the first two, ...
	natural  int     // how many blocks run on as far as looks can tell
	boundary uint32  // of the message's MIME structure, 0: none
}

// beyond is how many blocks are looked at behind the place where a head's text
// does not seem to run on: that may be wrong.
const beyond = 64

// longestHeader is within how many bytes a boundary must be named.
const longestHeader = 64 << 10

// front looks at what follows a head, at most so many bytes of it.
func (p *Puzzle) front(head, size int64) (*front, error) {
	f := &front{off: head}
	for at := head; at < head+size; at += p.blockSize {
		if at > head && !p.isFree(at) {
			break
		}
		l, err := p.at(at)
		if err != nil {
			return nil, err
		}
		if l.text == 0 {
			break
		}
		n := len(f.looks)
		wire := int64(l.text) + int64(l.bare)
		if n > 0 {
			before := &f.looks[n-1]
			wire += f.wires[n-1] + joined(before, &l)
			if f.natural == 0 && fit(before, &l, p.blockSize) == misfit {
				f.natural = n
			}
			if before.ended(p.blockSize) || f.natural > 0 && n > f.natural+beyond {
				break
			}
		} else if l.is(firstLF) {
			wire++
		}
		f.looks, f.wires = append(f.looks, l), append(f.wires, wire)
	}
	if f.natural == 0 {
		f.natural = len(f.looks)
	}
	header := make([]byte, min(int64(f.natural)*p.blockSize, longestHeader, p.v.Size()-head))
	if _, err := p.v.ReadAt(header, head); err != nil {
		return nil, err
	}
	f.boundary = boundaryOf(header)
	return f, nil
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
	strand *strand
	looks  []look  // of the last block, the one before, ...
	wires  []int64 // size of the wire form of the last block, the last two, ..., but for joined
}

// back looks at the blocks of a strand from its end, as far as a message of this
// size can reach.
func (p *Puzzle) back(s *strand, size int64) (*back, error) {
	b := &back{strand: s}
	wire := int64(0)
	for at := s.end(p.blockSize) - p.blockSize; at >= s.off && wire < size; at -= p.blockSize {
		// Looks are made in batches, forwards.
		if n := int64(len(b.looks)); n%blockBatch == 0 {
			if _, err := p.at(max(s.off, at-(blockBatch-1)*p.blockSize)); err != nil {
				return nil, err
			}
		}
		l, err := p.at(at)
		if err != nil {
			return nil, err
		}
		wire += int64(l.text) + int64(l.bare)
		if n := len(b.looks); n > 0 {
			wire += joined(&l, &b.looks[n-1])
		}
		b.looks, b.wires = append(b.looks, l), append(b.wires, wire)
	}
	return b, nil
}
