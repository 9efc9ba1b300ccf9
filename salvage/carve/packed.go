package carve

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// How compressed files begin.
const (
	gzipMagic  = "\x1f\x8b\x08"
	bzip2Magic = "1AY&SY" // behind "BZh" and a digit
	zstdMagic  = "\x28\xb5\x2f\xfd"
)

// zstdWindow bounds what a decoder of zstd may remember.
const zstdWindow = 8 << 20

// packing tells how something is compressed, "" for not at all.
func packing(b []byte) Kind {
	switch {
	case bytes.HasPrefix(b, []byte(gzipMagic)):
		return Gzip
	case len(b) >= 10 && bytes.HasPrefix(b, []byte("BZh")) && b[3] >= '1' && b[3] <= '9' && string(b[4:10]) == bzip2Magic:
		return Bzip2
	case bytes.HasPrefix(b, []byte(zstdMagic)):
		return Zstd
	}
	return ""
}

// packedHead decompresses a little. What compresses by large blocks gives
// nothing from the first 4 KiB, and is taken with a low score.
func packedHead(b []byte) (Sign, bool) {
	kind := packing(b)
	if kind == "" {
		return Sign{}, false
	}
	if kind == Zstd {
		if _, err := zstdFrame(bytes.NewReader(b), int64(len(b))); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return Sign{}, false
		}
	}
	out, err := begin(kind, bytes.NewReader(b))
	if len(out) == 0 {
		cut := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
		return Sign{Kind: kind, Score: 2}, cut && kind != Gzip
	}
	if packing(out) != "" {
		return Sign{}, false
	}
	s, ok := Head(out)
	return Sign{Kind: kind, Score: s.Score}, ok
}

// begin gives the first bytes that come out.
func begin(kind Kind, r io.Reader) ([]byte, error) {
	in, done, err := unpack(kind, r)
	if err != nil {
		return nil, err
	}
	defer done()
	out := make([]byte, 2048)
	n, err := io.ReadFull(in, out)
	return out[:n], err
}

// Decoders of zstd cost a lot to make.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(1<<40))
	if err != nil {
		return err
	}
	return d
}}

// unpack gives a reader of what comes out; done has to be called at the end.
func unpack(kind Kind, r io.Reader) (out io.Reader, done func(), err error) {
	nothing := func() {}
	switch kind {
	case Gzip:
		g, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return g, nothing, nil
	case Bzip2:
		return bzip2.NewReader(r), nothing, nil
	case Zstd:
		switch d := zstdDecoders.Get().(type) {
		case *zstd.Decoder:
			if err := d.Reset(r); err != nil {
				return nil, nil, err
			}
			return d, func() {
				if d.Reset(nil) == nil {
					zstdDecoders.Put(d)
				}
			}, nil
		case error:
			return nil, nil, d
		}
	}
	return nil, nil, fmt.Errorf("%q is no compression", kind)
}

var errNoFrame = errors.New("this is no frame of zstd")

// zstdFrame gives the length of the frame of zstd at the beginning of r, by the
// lengths of its blocks (RFC 8878, section 3.1.1). io.ErrUnexpectedEOF says that
// size bytes do not hold it all.
func zstdFrame(r io.ReaderAt, size int64) (int64, error) {
	var b [18]byte
	n, err := r.ReadAt(b[:min(size, 18)], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if n < 9 || string(b[:4]) != zstdMagic || b[4]&0x08 != 0 {
		return 0, errNoFrame
	}
	at := int64(5)
	single := b[4]&0x20 != 0
	if !single {
		if exponent := int(b[5]>>3) + 10; exponent > 23 { // more than zstdWindow
			return 0, errNoFrame
		}
		at++
	}
	at += int64([]int{0, 1, 2, 4}[b[4]&3])
	if content := b[4] >> 6; content > 0 || single {
		at += 1 << content
	}
	for range size/3 + 1 {
		var h [4]byte
		if at+3 > size {
			return 0, io.ErrUnexpectedEOF
		}
		if _, err := r.ReadAt(h[:3], at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		word := binary.LittleEndian.Uint32(h[:])
		kind, length := word>>1&3, int64(word>>3)
		switch {
		case kind == 3 || length > 128<<10 && kind != 1 || length > zstdWindow:
			return 0, errNoFrame
		case kind == 1:
			length = 1
		}
		at += 3 + length
		if word&1 != 0 {
			break
		}
	}
	if b[4]&0x04 != 0 {
		at += 4
	}
	if at > size {
		return 0, io.ErrUnexpectedEOF
	}
	return at, nil
}

// A counted reader knows how much of its source has been used, to the byte. The
// decoders of package compress read single bytes from it.
type counted struct {
	in   *bufio.Reader
	n    int64
	fail error // of the source, but io.EOF
}

func count64(r io.Reader) *counted { return &counted{in: bufio.NewReaderSize(r, 64<<10)} }

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	c.see(err)
	return n, err
}

func (c *counted) ReadByte() (byte, error) {
	b, err := c.in.ReadByte()
	if err == nil {
		c.n++
	}
	c.see(err)
	return b, err
}

func (c *counted) see(err error) {
	if err != nil && !errors.Is(err, io.EOF) {
		c.fail = err
	}
}

// unpacked reads what comes out of a compressed object, within limits. It ends
// with io.EOF, ErrDamaged, ErrLimit, or an error of the source.
type unpacked struct {
	out   io.Reader
	in    *counted
	n     int64
	limit int64
	ratio int64
	after bool // two bytes behind the end of bzip2 were read
	err   error
}

// freeRatio is how much may come out, however little went in.
const freeRatio = 16 << 20

func (u *unpacked) Read(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	room := u.limit - u.n
	if most := freeRatio + u.ratio*u.in.n - u.n; most < room {
		room = most
	}
	if room <= 0 {
		var one [1]byte
		if n, err := io.ReadFull(u.out, one[:]); n == 0 {
			u.err = u.why(err)
		} else {
			u.err = ErrLimit
		}
		return 0, u.err
	}
	n, err := u.out.Read(p[:min(int64(len(p)), room)])
	u.n += int64(n)
	if err != nil {
		u.err = u.why(err)
	}
	return n, u.err
}

// why gives the error that ends the reading.
func (u *unpacked) why(err error) error {
	var structural bzip2.StructuralError
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case u.in.fail != nil:
		return u.in.fail
	case u.n > 0 && errors.Is(err, gzip.ErrHeader): // behind a whole stream
		return io.EOF
	case errors.As(err, &structural) && structural == bzip2After:
		u.after = true
		return io.EOF
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// bzip2After says that something else stands behind a whole stream.
const bzip2After = bzip2.StructuralError("bad magic value in continuation file")
