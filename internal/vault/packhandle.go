package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"filippo.io/age"

	"salvor/internal/objstore"
)

const (
	ageChunk   = 64 << 10      // plain bytes that age encrypts at a time
	ageSealed  = ageChunk + 16 // the same encrypted
	readPiece  = 4 << 20       // plain bytes decrypted at a time
	smallPack  = 512 << 10     // packs up to this are fetched whole
	minAgeFile = 200           // bytes of the smallest age file
)

// A packHandle reads one pack by ranges, decrypted.
type packHandle struct {
	mu    sync.Mutex
	o     rangedObject
	src   rangedReader
	plain io.ReaderAt // nil until it was opened
	size  int64       // of the plaintext
	start int64       // of the first frame
	base  int64       // of the first encrypted chunk in the object
}

func newPackHandle(st objstore.Store, o Object, cache *blockCache) *packHandle {
	h := &packHandle{o: rangedObject{store: st, name: o.Name(), size: o.Size, cache: cache}}
	h.src.o = &h.o
	return h
}

// open decrypts the header and the last chunk, and verifies what the pack says
// of itself. It does so once.
func (h *packHandle) open(ctx context.Context, v *Vault, ids []age.Identity) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.plain != nil {
		return nil
	}
	if h.o.size < minAgeFile || h.o.size > maxObject {
		return damagef(h.o.name, "an object of %d to %d bytes, not %d", minAgeFile, maxObject, h.o.size)
	}
	h.src.ctx, h.src.err = ctx, nil
	if err := h.loadEnds(ctx); err != nil {
		return err
	}
	plain, size, err := age.DecryptReaderAt(&h.src, h.o.size, ids...)
	if h.src.err != nil {
		return h.src.err
	}
	if err != nil {
		return openError(h.o.name, err)
	}
	chunks := max((size+ageChunk-1)/ageChunk, 1)
	h.base = h.o.size - size - 16*chunks
	h.size = size
	header := make([]byte, min(256, size))
	if _, err := plain.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return h.readError(0, err)
	}
	if err := v.checkHeader(h.o.name, ObjectPack, header); err != nil {
		return err
	}
	h.start = int64(len(v.header(ObjectPack)))
	if size < h.start+trailerSize {
		return damagef(h.o.name, "a header and a footer")
	}
	h.plain = plain
	return nil
}

// loadEnds fetches what is read to open a pack: its beginning with the first
// chunk, which is not aligned to our blocks, and its last chunk.
func (h *packHandle) loadEnds(ctx context.Context) error {
	if h.o.size <= smallPack {
		return h.o.load(ctx, 0, h.o.size)
	}
	if err := h.o.load(ctx, 0, 2*blockSize); err != nil {
		return err
	}
	return h.o.load(ctx, h.o.size-ageSealed, ageSealed)
}

// read fills b from the plaintext at off.
func (h *packHandle) read(ctx context.Context, b []byte, off int64) error {
	n := int64(len(b))
	h.mu.Lock()
	defer h.mu.Unlock()
	if off < h.start || n > h.size-off {
		return &DamageError{Object: h.o.name, Offset: off, Expected: fmt.Sprintf("a plaintext of more than %d bytes", h.size)}
	}
	h.src.ctx, h.src.err = ctx, nil
	for at := int64(0); at < n; at += readPiece {
		if err := h.readPiece(ctx, b[at:min(at+readPiece, n)], off+at); err != nil {
			return err
		}
	}
	return nil
}

func (h *packHandle) readPiece(ctx context.Context, b []byte, off int64) error {
	// The encrypted chunks of this range.
	first := h.base + off/ageChunk*ageSealed
	end := min(h.base+((off+int64(len(b))-1)/ageChunk+1)*ageSealed, h.o.size)
	looking, err := h.o.look(ctx, first, end-first)
	if looking {
		defer h.o.forget()
	} else if err == nil {
		err = h.o.load(ctx, first, end-first)
	}
	if err != nil {
		return err
	}
	if _, err := h.plain.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
		return h.readError(off, err)
	}
	return nil
}

// readError tells damage from a store that failed.
func (h *packHandle) readError(off int64, err error) error {
	if h.src.err != nil {
		return h.src.err
	}
	return &DamageError{Object: h.o.name, Offset: off, Expected: "bytes that age authenticates", Err: err}
}
