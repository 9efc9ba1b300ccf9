package carve

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"salvor/salvage/volume"
)

// followDbox follows a dbox file from message to message: each header says where
// its message ends, and something recognisable has to stand there.
func (p *Piece) followDbox(s *section, o Options) error {
	head := make([]byte, min(s.size, maxDboxHead))
	if _, err := s.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	at, size, ok := parseDboxHead(head)
	if !ok {
		at, size = 0, minRecord
	}
	for n := 0; n < maxRecords; n++ {
		d, err := readRecord(s, at, size, s.size)
		switch {
		case err == nil:
			at = d.end
			p.end(at, Promised, true)
			p.Ends = p.Ends[:min(len(p.Ends), maxLineEnds)]
			continue
		case errors.Is(err, ErrDamaged):
			return p.brokenRecord(s, o, d)
		case !errors.Is(err, errNoRecord):
			return err
		}
		break
	}
	p.Verdict, p.Why = Plausible, "a dbox may hold more"
	p.Sure = at
	if holes, err := p.unknown(s, at); err != nil {
		return err
	} else if len(holes) > 0 {
		p.Verdict, p.Why, p.Holes, p.Break = Broken, fmt.Sprintf("byte %d cannot be read", holes[0].Off), holes, -1
	}
	p.promise(o, s.size)
	p.close()
	return nil
}

// unknown gives what of the first n bytes cannot be read.
func (p *Piece) unknown(s *section, n int64) (out []volume.Range, err error) {
	buf := make([]byte, 64<<10)
	for at := int64(0); at < n; at += int64(len(buf)) {
		s.unknown = s.unknown[:0]
		if _, err := s.ReadAt(buf[:min(int64(len(buf)), n-at)], at); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for _, u := range within(s.unknown, s.off+at, int64(len(buf))) {
			u.Off += at
			if k := len(out); k > 0 && out[k-1].End() == u.Off {
				out[k-1].Len += u.Len
			} else if len(out) < maxGaps {
				out = append(out, u)
			}
		}
	}
	return out, nil
}

// brokenRecord finds where a message of a dbox stops being itself.
func (p *Piece) brokenRecord(s *section, o Options, d record) error {
	w := &walk{reading: newReading(o.Block, d.body, false), p: p, o: o, kind: Header, off: d.body}
	first := (d.body + o.Block) / o.Block * o.Block
	most := min(s.size, d.body+d.size)
	buf := make([]byte, o.Block)
	for w.why == "" && w.off < most {
		b := buf[:min(max(first, w.off/o.Block*o.Block+o.Block)-w.off, most-w.off)]
		s.unknown = s.unknown[:0]
		if _, err := s.ReadAt(b, w.off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if w.off == d.body && packing(b) != "" {
			w.stop(first, Misfit)
			break
		}
		w.block(b, within(s.unknown, s.off+w.off, int64(len(b))))
		w.off += int64(len(b))
	}
	if w.why == "" {
		w.stop(most, Misfit)
	}
	p.Holes = w.gaps.all
	p.Verdict, p.Why = Broken, fmt.Sprintf("the message at byte %d has not its %d bytes", d.body, d.size)
	p.end(w.until, w.why, len(p.Ends) == 0)
	p.end(w.until, w.why, true)
	p.Break = w.until / o.Block * o.Block
	p.Sure = min(max(d.body, o.Block), w.until)
	p.promise(o, s.size)
	p.close()
	return nil
}

// followPacked decompresses a compressed object to find its end.
func (p *Piece) followPacked(s *section, o Options) error {
	size := s.size
	if p.Sign.Kind == Zstd {
		n, err := zstdFrame(s, s.size)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errNoFrame) {
			return err
		}
		if n > 0 {
			size = n
		}
	}
	in := count64(&knownReader{s: s, end: size})
	err := p.decompress(in, 4*o.Limit)
	if in.fail != nil && !errors.Is(in.fail, errUnknown) {
		return in.fail
	}
	n := in.n
	if err == nil {
		p.Verdict, p.Sure = Whole, n
		p.end(n, Stream, true)
	} else {
		p.Verdict, p.Why = Broken, fmt.Sprintf("it cannot be decompressed behind byte %d", n)
		if p.Break = max(n-1, 0) / o.Block * o.Block; p.Break == 0 {
			p.Break = -1
		}
		p.Sure = min(o.Block, n)
		p.end(n, Misfit, true)
		if in.fail != nil && len(p.Ends) > 0 {
			p.Ends[0].Why = UnknownNext
		}
	}
	p.promise(o, s.size)
	p.close()
	return nil
}

// decompress reads a compressed object to its end, and not a byte further.
func (p *Piece) decompress(in *counted, limit int64) error {
	for first := true; ; first = false {
		if next, _ := in.in.Peek(len(gzipMagic)); !first && string(next) != gzipMagic {
			return nil
		}
		out, done, err := unpack(p.Sign.Kind, in)
		if err != nil {
			return err
		}
		if g, ok := out.(*gzip.Reader); ok {
			g.Multistream(false)
		}
		u := &unpacked{out: out, in: in, limit: limit, ratio: 1024}
		_, err = io.Copy(io.Discard, u)
		done()
		if u.after {
			in.n -= 2
		}
		if err != nil || p.Sign.Kind != Gzip {
			return err
		}
		limit -= u.n
	}
}

var errUnknown = errors.New("what comes cannot be read")

// knownReader reads a section up to what is unknown.
type knownReader struct {
	s       *section
	at, end int64
}

func (k *knownReader) Read(p []byte) (int, error) {
	k.s.unknown = k.s.unknown[:0]
	n, err := k.s.ReadAt(p[:min(int64(len(p)), max(k.end-k.at, 0))], k.at)
	if k.at >= k.end {
		return 0, io.EOF
	}
	if u := k.s.unknown; len(u) > 0 {
		if n = int(max(u[0].Off-k.s.off-k.at, 0)); n == 0 {
			return 0, errUnknown
		}
		err = nil
	}
	k.at += int64(n)
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	return n, err
}
