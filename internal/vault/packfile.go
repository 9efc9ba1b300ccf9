package vault

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// A packFile is a pack that is being written, in memory: an age file whose
// hash is computed as it grows.
type packFile struct {
	stored bytes.Buffer
	hash   hash.Hash
	plain  io.WriteCloser // encrypts into stored
	offset int64          // of the next frame, in the plaintext
	footer int64          // rough length of the footer so far
	frames []FrameInfo
	chunks int            // in all frames
	after  []func() error // to be called when the pack is durable
}

// ageSlack is what age holds back before it writes: one chunk and its tag.
const ageSlack = 64<<10 + 16

func newPackFile(header string, recipients []age.Recipient, size int64) (*packFile, error) {
	p := &packFile{hash: sha256.New()}
	p.stored.Grow(int(size) + 2*ageSlack)
	return p, p.start(header, recipients)
}

// start begins a new pack in the same memory.
func (p *packFile) start(header string, recipients []age.Recipient) (err error) {
	p.stored.Reset()
	p.hash.Reset()
	p.frames, p.after, p.chunks = nil, nil, 0
	p.offset, p.footer = int64(len(header)), 0
	p.plain, err = age.Encrypt(io.MultiWriter(&p.stored, p.hash), recipients...)
	if err != nil {
		return fmt.Errorf("begin a pack: %w", err)
	}
	if _, err := io.WriteString(p.plain, header); err != nil {
		return fmt.Errorf("begin a pack: %w", err)
	}
	return nil
}

func (p *packFile) empty() bool { return len(p.frames) == 0 }

// room tells whether a frame of n bytes fits into a pack of size bytes.
func (p *packFile) room(n, size int64) bool {
	return int64(p.stored.Len())+ageSlack+p.footer+n <= size
}

func (p *packFile) add(f FrameInfo, stored []byte) error {
	f.Offset, f.Stored = p.offset, int64(len(stored))
	if _, err := p.plain.Write(stored); err != nil {
		return fmt.Errorf("encrypt a frame: %w", err)
	}
	p.offset += f.Stored
	p.frames = append(p.frames, f)
	p.chunks += len(f.Chunks)
	p.footer += 20
	for _, c := range f.Chunks {
		p.footer += 3
		if !c.ID.IsZero() {
			p.footer += int64(len(c.ID))
		}
	}
	return nil
}

// finish writes the footer and gives the pack's description; the bytes to
// store are in p.stored.
func (p *packFile) finish(enc *zstd.Encoder) (PackInfo, error) {
	if _, err := p.plain.Write(marshalFooter(enc, p.frames)); err != nil {
		return PackInfo{}, fmt.Errorf("encrypt a footer: %w", err)
	}
	if err := p.plain.Close(); err != nil {
		return PackInfo{}, fmt.Errorf("end a pack: %w", err)
	}
	info := PackInfo{Size: int64(p.stored.Len()), Frames: p.frames}
	p.hash.Sum(info.ID[:0])
	return info, nil
}
