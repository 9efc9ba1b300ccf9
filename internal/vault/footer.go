package vault

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"salvor/chunk"
)

// A pack's plaintext ends with its footer, one zstd frame of text, and a
// trailer of fixed length that tells how long the footer is, stored and plain
// (section "packs").
const (
	trailerSize   = 32
	trailerFormat = "footer %012d %011d\n"
	maxFooter     = 64 << 20 // plain bytes
	maxFooterZstd = 16 << 20 // stored bytes
	maxPackChunks = 1 << 20
)

// PackInfo says what a pack holds.
type PackInfo struct {
	ID     chunk.ID
	Size   int64 // stored bytes
	Frames []FrameInfo
}

// Object is the pack as commits name it.
func (p PackInfo) Object() Object { return Object{Kind: ObjectPack, ID: p.ID, Size: p.Size} }

// marshalFooter gives footer and trailer for the frames of a pack.
func marshalFooter(enc *zstd.Encoder, frames []FrameInfo) []byte {
	var b bytes.Buffer
	for _, f := range frames {
		fmt.Fprintf(&b, "frame %s %d %d\n", f.Method, f.Stored, f.Plain)
		for _, c := range f.Chunks {
			if c.Kind == chunk.KindData {
				fmt.Fprintf(&b, "data %d\n", c.Size)
			} else {
				fmt.Fprintf(&b, "%s %d %s\n", c.Kind, c.Size, c.ID)
			}
		}
	}
	out := enc.EncodeAll(b.Bytes(), nil)
	return fmt.Appendf(out, trailerFormat, len(out), b.Len())
}

// A trailer tells where the footer is, and bounds what decoding it may take.
type trailer struct{ stored, plain int64 }

func parseTrailer(b []byte) (t trailer, err error) {
	f := strings.Fields(string(b))
	if len(f) != 3 {
		return t, errors.New("the trailer is not one")
	}
	t.stored, _ = strconv.ParseInt(f[1], 10, 64)
	t.plain, _ = strconv.ParseInt(f[2], 10, 64)
	if fmt.Sprintf(trailerFormat, t.stored, t.plain) != string(b) || t.stored < 0 || t.plain < 0 || t.stored > maxFooterZstd || t.plain > maxFooter {
		return t, errors.New("the trailer is not one")
	}
	return t, nil
}

// parseFooter reads a footer of a plain length. The frames begin at start and
// fill the plaintext up to end, the footer's own offset.
func parseFooter(dec *zstd.Decoder, stored []byte, length, start, end int64) ([]FrameInfo, error) {
	plain, err := decodeFrame(dec, nil, stored, methodZstd, length)
	if err != nil {
		return nil, err
	}
	p := footerParser{offset: start}
	lines := bufio.NewScanner(bytes.NewReader(plain))
	for lines.Scan() {
		if err := p.line(lines.Text()); err != nil {
			return nil, fmt.Errorf("footer line %.100q: %w", lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	if p.offset != end {
		return nil, fmt.Errorf("the frames end at %d, the footer begins at %d", p.offset, end)
	}
	return p.frames, nil
}

type footerParser struct {
	frames []FrameInfo
	offset int64 // of the next frame
	filled int64 // of the plain bytes of the last frame
	chunks int
}

func (p *footerParser) line(s string) error {
	f := strings.Split(s, " ")
	if f[0] == "frame" {
		return p.frame(f)
	}
	return p.chunk(f)
}

func (p *footerParser) frame(f []string) error {
	if err := p.close(); err != nil {
		return err
	}
	if len(f) != 4 {
		return errors.New("want frame, method, stored and plain length")
	}
	stored, err1 := parseLength(f[2], maxObject)
	plain, err2 := parseLength(f[3], MaxChunk)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	p.frames = append(p.frames, FrameInfo{Offset: p.offset, Stored: stored, Plain: plain, Method: f[1]})
	p.offset += stored
	p.filled = 0
	return nil
}

func (p *footerParser) chunk(f []string) error {
	c := ChunkInfo{Offset: p.filled}
	switch {
	case len(f) == 2 && f[0] == chunk.KindData.String():
		c.Kind = chunk.KindData
	case len(f) == 3 && f[0] == chunk.KindMessage.String():
		c.Kind = chunk.KindMessage
	case len(f) == 3 && f[0] == chunk.KindPart.String():
		c.Kind = chunk.KindPart
	default:
		return errors.New("want a kind of chunk, its length and, but for data, its id")
	}
	var err error
	if c.Size, err = parseLength(f[1], MaxChunk); err != nil {
		return err
	}
	if c.Kind != chunk.KindData {
		if err := parseHex(c.ID[:], f[2]); err != nil {
			return err
		}
	}
	if p.chunks++; p.chunks > maxPackChunks || len(p.frames) == 0 {
		return errors.New("a chunk too many, or outside of a frame")
	}
	p.filled += c.Size
	last := &p.frames[len(p.frames)-1]
	last.Chunks = append(last.Chunks, c)
	return nil
}

// close checks that the chunks of the last frame fill it.
func (p *footerParser) close() error {
	if n := len(p.frames); n > 0 && p.filled != p.frames[n-1].Plain {
		return fmt.Errorf("frame %d holds %d bytes, its chunks %d", n, p.frames[n-1].Plain, p.filled)
	}
	return nil
}

func parseLength(s string, max int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > max || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("length %.30q: want 0 to %d", s, max)
	}
	return n, nil
}
