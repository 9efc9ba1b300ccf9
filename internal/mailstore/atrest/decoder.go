package atrest

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A zstd decoder holds the window that its stream asks for: 2 MiB at the level
// that Dovecot takes unless told otherwise, 8 MiB up to level 19, and 128 MiB at
// level 22, the highest. Those up to window are kept and used again.
const (
	window  = 8 << 20
	widest  = 128 << 20
	readout = 16 << 10
)

// newDecoder begins to decode a stream.
func newDecoder(form Form, f io.Reader) (io.Reader, error) {
	switch form {
	case Gzip:
		return gzip.NewReader(bufio.NewReaderSize(f, readout))
	case Bzip2:
		return bzip2.NewReader(bufio.NewReaderSize(f, readout)), nil
	}
	if p, ok := pool.Get().(*pooled); ok {
		return p, p.Reset(f)
	}
	return newZstd(f, window)
}

// newWide begins to decode a zstd stream that asks for a wide window.
func newWide(_ Form, f io.Reader) (io.Reader, error) { return newZstd(f, widest) }

// pool holds decoders that nobody uses.
var pool sync.Pool

// pooled is a zstd decoder that goes back to the pool.
type pooled struct {
	*zstd.Decoder
	window uint64
}

func newZstd(f io.Reader, window uint64) (io.Reader, error) {
	d, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	return &pooled{d, window}, err
}

// release is called when the decoder has done its work.
func (p *pooled) release() {
	if p.window > window || p.Reset(nil) != nil {
		p.Close()
		return
	}
	pool.Put(p)
}
