package vault

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"salvor/chunk"
)

// How the bytes of a frame are stored.
const (
	methodZstd = "zstd" // one zstd frame (RFC 8878)
	methodRaw  = "raw"  // as they are
)

const (
	// MaxChunk is the largest chunk in bytes.
	MaxChunk = 64 << 20
	// smallChunk is the length up to which chunks share a frame: compressed
	// together they take 5 % less, and one costs a millisecond to get back.
	smallChunk = 64 << 10
	// solidFrame is the length at which such a frame is full. A part that many
	// users have lies in the frame of the first of them: with frames of 1 MiB,
	// restoring everybody decoded sixteen times what it needed, for 0.8 % less
	// storage.
	solidFrame = 256 << 10
	// window is how far back zstd looks for repetitions, in long chunks too.
	window = 1 << 20
)

// ChunkInfo says where a chunk lies in the plain bytes of its frame.
type ChunkInfo struct {
	Kind         chunk.Kind
	ID           chunk.ID // zero for data chunks where only a footer was read
	Offset, Size int64
}

// FrameInfo is a run of chunks that are compressed together.
type FrameInfo struct {
	Offset int64 // in the pack's plaintext
	Stored int64 // bytes there
	Plain  int64 // bytes when decoded
	Method string
	Chunks []ChunkInfo
}

// Location says where a chunk lies: everything that reading it needs.
type Location struct {
	Pack                                 chunk.ID
	PackSize                             int64
	FrameOffset, FrameStored, FramePlain int64
	Method                               string
	Offset, Size                         int64
}

// compressor encodes frames. It is not for concurrent use.
type compressor struct {
	enc, fast *zstd.Encoder
	dec       *zstd.Decoder
	check     []byte
}

func newCompressor() (*compressor, error) {
	var c compressor
	var errs [3]error
	c.enc, errs[0] = newEncoder(zstd.SpeedDefault)
	c.fast, errs[1] = newEncoder(zstd.SpeedFastest)
	c.dec, errs[2] = newDecoder()
	return &c, errors.Join(errs[:]...)
}

func (c *compressor) close() {
	c.enc.Close()
	c.fast.Close()
	c.dec.Close()
}

func newEncoder(level zstd.EncoderLevel) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level),
		zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
}

// newDecoder gives a decoder of frames that takes no more than a frame may
// hold, whatever the frame claims.
func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxChunk+solidFrame), zstd.WithDecodeAllCapLimit(true))
}

// encode appends the stored form of plain to dst. What it compressed it has
// also decoded and compared: a compressor's bug must not become a pack. There
// is no quick try before: the encoder itself hurries over what does not shrink,
// so that samples cost as much time as they saved, and 1.5 % of the storage.
//
// A frame of one long chunk is a piece of an attachment, and most kinds of
// attachments are compressed already: the fastest level takes a third less time
// for 0.2 % more storage.
func (c *compressor) encode(dst, plain []byte, long bool) (stored []byte, method string, err error) {
	enc := c.enc
	if long {
		enc = c.fast
	}
	stored = enc.EncodeAll(plain, dst)
	if len(stored)-len(dst) >= len(plain)-len(plain)/128 {
		return append(dst, plain...), methodRaw, nil
	}
	if cap(c.check) < len(plain) {
		c.check = make([]byte, 0, max(len(plain), solidFrame))
	}
	back, err := decodeFrame(c.dec, c.check[:0], stored[len(dst):], methodZstd, int64(len(plain)))
	if err == nil && !bytes.Equal(back, plain) {
		err = errors.New("other bytes came back")
	}
	if err != nil {
		return nil, "", fmt.Errorf("compress %d bytes and decode them again: %w (suspect this machine's memory)", len(plain), err)
	}
	return stored, methodZstd, nil
}

// decodeFrame gives the plain bytes of a frame, in dst where it has room.
func decodeFrame(dec *zstd.Decoder, dst, stored []byte, method string, plain int64) ([]byte, error) {
	switch method {
	case methodRaw:
		if int64(len(stored)) != plain {
			return nil, fmt.Errorf("%d bytes are stored, not %d", len(stored), plain)
		}
		return stored, nil
	case methodZstd:
		if int64(cap(dst)) < plain {
			dst = make([]byte, 0, plain)
		}
		// The capacity is the limit of what is decoded.
		b, err := dec.DecodeAll(stored, dst[:0:plain])
		if err != nil {
			return nil, err
		}
		if int64(len(b)) != plain {
			return nil, fmt.Errorf("%d bytes were decoded, not %d", len(b), plain)
		}
		return b, nil
	}
	return nil, fmt.Errorf("%w: frame method %.20q", ErrVersion, method)
}
