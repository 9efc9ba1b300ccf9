package vault

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"filippo.io/age"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// Footer reads what a pack says of itself, without its frames. The IDs of data
// chunks are zero: they follow from the bytes (CheckPack).
func (r *Reader) Footer(ctx context.Context, o Object) (*PackInfo, error) {
	pack, err := r.open(ctx, o)
	if err != nil {
		return nil, err
	}
	b := make([]byte, trailerSize)
	if err := pack.read(ctx, b, pack.size-trailerSize); err != nil {
		return nil, err
	}
	t, err := parseTrailer(b)
	end := pack.size - trailerSize - t.stored
	if err != nil || end < pack.start {
		return nil, &DamageError{Object: o.Name(), Offset: pack.size - trailerSize, Expected: "a trailer", Err: err}
	}
	b = make([]byte, t.stored)
	if err := pack.read(ctx, b, end); err != nil {
		return nil, err
	}
	dec, err := r.decoder()
	if err != nil {
		return nil, err
	}
	defer r.dec.Put(dec)
	frames, err := parseFooter(dec, b, t.plain, pack.start, end)
	if err != nil {
		return nil, &DamageError{Object: o.Name(), Offset: end, Expected: "a footer", Err: err}
	}
	return &PackInfo{ID: o.ID, Size: o.Size, Frames: frames}, nil
}

// CheckPack reads a whole pack and verifies all of it: its hash, which is its
// name, header, footer and every frame. The PackInfo has the IDs of all
// chunks. It reads from front to back, in little memory.
func (r *Reader) CheckPack(ctx context.Context, o Object) (*PackInfo, error) {
	if err := r.v.checkSize(ctx, o); err != nil {
		return nil, err
	}
	info, err := r.Footer(ctx, o)
	if err != nil {
		return nil, err
	}
	src := &objectReader{ctx: ctx, store: r.v.store, o: o, hash: sha256.New()}
	plain, err := age.Decrypt(src, r.ids...)
	if src.err != nil {
		return nil, src.err
	}
	if err != nil {
		return nil, openError(o.Name(), err)
	}
	if err := r.checkFrames(src, plain, info); err != nil {
		return nil, err
	}
	if chunk.ID(src.hash.Sum(nil)) != o.ID {
		return nil, damagef(o.Name(), "the SHA-256 that is its name")
	}
	return info, nil
}

// checkFrames reads a pack's plaintext to its end.
func (r *Reader) checkFrames(src *objectReader, plain io.Reader, info *PackInfo) error {
	dec, err := r.decoder()
	if err != nil {
		return err
	}
	defer r.dec.Put(dec)
	name := src.o.Name()
	at := int64(0)
	read := func(b []byte) error {
		n, err := io.ReadFull(plain, b)
		at += int64(n)
		if src.err != nil {
			return src.err
		}
		if err != nil {
			return &DamageError{Object: name, Offset: at, Expected: "bytes that age authenticates", Err: err}
		}
		return nil
	}
	header := make([]byte, len(r.v.header(ObjectPack)))
	if err := read(header); err != nil {
		return err
	}
	var stored, buf []byte
	for _, f := range info.Frames {
		stored = slices.Grow(stored[:0], int(f.Stored))[:f.Stored]
		if err := read(stored); err != nil {
			return err
		}
		b, err := decodeFrame(dec, buf, stored, f.Method, f.Plain)
		if err != nil {
			return frameError(name, f.Offset, f.Method, err)
		}
		nameData(f.Chunks, b)
		if f.Method == methodZstd {
			buf = b[:0]
		}
	}
	_, err = io.Copy(io.Discard, plain)
	if src.err != nil {
		return src.err
	}
	if err != nil {
		return &DamageError{Object: name, Offset: at, Expected: "a footer that age authenticates", Err: err}
	}
	return nil
}

// frameError says what is wrong with a frame that could not be decoded.
func frameError(object string, offset int64, method string, err error) error {
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("read %s: %w", object, err)
	}
	return &DamageError{Object: object, Offset: offset, Expected: "a " + method + " frame", Err: err}
}

// An objectReader reads an object from front to back and hashes it.
type objectReader struct {
	ctx   context.Context
	store objstore.Store
	o     Object
	hash  hash.Hash
	off   int64  // of what is fetched next
	piece []byte // fetched and not yet read
	err   error  // the store's, or damage
}

const readPieceStored = 4 << 20

// Read implements io.Reader.
func (s *objectReader) Read(p []byte) (int, error) {
	if len(s.piece) == 0 {
		if s.off == s.o.Size {
			return 0, io.EOF
		}
		n := min(readPieceStored, s.o.Size-s.off)
		b, err := s.store.Get(s.ctx, s.o.Name(), s.off, n)
		if err != nil {
			s.err = readError(s.o.Name(), err)
			return 0, s.err
		}
		s.hash.Write(b)
		s.piece, s.off = b, s.off+n
	}
	n := copy(p, s.piece)
	s.piece = s.piece[n:]
	return n, nil
}

// nameData computes the IDs of data chunks.
func nameData(chunks []ChunkInfo, plain []byte) {
	for i, c := range chunks {
		if c.Kind == chunk.KindData {
			chunks[i].ID = chunk.Sum(plain[c.Offset : c.Offset+c.Size])
		}
	}
}
