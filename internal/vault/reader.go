package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"salvor/chunk"
	"salvor/internal/buffers"
)

// ReaderOptions bounds a Reader's memory, in bytes.
type ReaderOptions struct {
	FrameCache int64 // of decoded frames; 0: 96 MiB
	BlockCache int64 // of fetched blocks; 0: 16 MiB
}

// maxHandles is how many packs are kept open; each costs 64 KiB.
const maxHandles = 48

// A Reader gives chunks back. It is safe for concurrent use; a frame that
// several ask for is fetched and decoded once.
type Reader struct {
	v    *Vault
	ids  []age.Identity
	dec  sync.Pool // of *zstd.Decoder
	blox *blockCache

	mu      sync.Mutex
	frames  *lru[frameKey, *plainFrame]
	loading map[frameKey]*frameLoad
	packs   *lru[chunk.ID, *packHandle]
}

type frameKey struct {
	pack   chunk.ID
	offset int64
}

// A frameLoad is a frame that somebody is fetching.
type frameLoad struct{ done chan struct{} }

// NewReader makes a reader. With no identity it is ErrNoIdentity; whether one
// of them opens the packs shows with the first.
func (v *Vault) NewReader(ids []age.Identity, o ReaderOptions) (*Reader, error) {
	if len(ids) == 0 {
		return nil, fmt.Errorf("read packs: %w: none was given", ErrNoIdentity)
	}
	if o.FrameCache <= 0 {
		o.FrameCache = 96 << 20
	}
	if o.BlockCache <= 0 {
		o.BlockCache = 16 << 20
	}
	r := &Reader{v: v, ids: ids, blox: newBlockCache(max(o.BlockCache, 1<<20)),
		frames: newLRU[frameKey, *plainFrame](o.FrameCache), loading: map[frameKey]*frameLoad{},
		packs: newLRU[chunk.ID, *packHandle](maxHandles)}
	r.frames.dropped = (*plainFrame).drop
	return r, nil
}

// Chunk gives the bytes of a chunk, in room where that is long enough; else they
// are shared, and the caller must not change them. They are authentic, since age has decrypted them and a signed commit
// names the pack, but not compared with their ID: messages are proven by what
// is rebuilt, which is the caller's work. Damage is a *DamageError.
//
// A long chunk, with a frame to itself, is decoded into room at once, and not
// kept for others.
func (r *Reader) Chunk(ctx context.Context, l Location, ref chunk.Ref, room []byte) ([]byte, error) {
	name := Object{Kind: ObjectPack, ID: l.Pack}.Name()
	if l.Offset < 0 || l.Size < 0 || l.Offset > l.FramePlain-l.Size {
		return nil, fmt.Errorf("read %s: %w", ref, &DamageError{Object: name, Offset: l.FrameOffset,
			Expected: fmt.Sprintf("a chunk of %d bytes at %d inside a frame of %d", l.Size, l.Offset, l.FramePlain)})
	}
	if alone := l.Offset == 0 && l.Size == l.FramePlain && l.Size > smallChunk; alone && int64(cap(room)) >= l.Size {
		plain, err := r.decode(ctx, name, l, room[:0])
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", ref, err)
		}
		return plain[:l.Size:l.Size], nil
	}
	f, err := r.frame(ctx, name, l)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return r.chunkOf(f, l, room), nil
}

// ProvenChunk is Chunk for who stores the bytes again, message or no message:
// data chunks are compared with their ID.
func (r *Reader) ProvenChunk(ctx context.Context, l Location, ref chunk.Ref) ([]byte, error) {
	b, err := r.Chunk(ctx, l, ref, nil)
	if err == nil && ref.Kind == chunk.KindData && chunk.Sum(b) != ref.ID {
		return nil, fmt.Errorf("read %s: %w", ref, &DamageError{Object: Object{Kind: ObjectPack, ID: l.Pack}.Name(), Offset: l.FrameOffset,
			Expected: fmt.Sprintf("the chunk at %d of the frame", l.Offset)})
	}
	return b, err
}

// frame gives a decoded frame, from memory or by loading it once for all who
// ask. The caller releases it.
func (r *Reader) frame(ctx context.Context, name string, l Location) (*plainFrame, error) {
	key := frameKey{l.Pack, l.FrameOffset}
	for {
		r.mu.Lock()
		if f, ok := r.frames.get(key); ok {
			f.users++
			r.mu.Unlock()
			return r.checkPlain(name, l, f)
		}
		load := r.loading[key]
		if load == nil {
			load = &frameLoad{done: make(chan struct{})}
			r.loading[key] = load
			r.mu.Unlock()
			return r.load(ctx, name, key, l, load)
		}
		r.mu.Unlock()
		select {
		case <-load.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// It is in memory now, unless the other caller's context has ended, its
		// location was wrong, or much else was read meanwhile: then it is our turn.
	}
}

// checkPlain refuses a location that disagrees with the one by which the frame
// was decoded.
func (r *Reader) checkPlain(name string, l Location, f *plainFrame) (*plainFrame, error) {
	if n := len(f.bytes); int64(n) != l.FramePlain {
		r.release(f, false)
		return nil, &DamageError{Object: name, Offset: l.FrameOffset, Expected: fmt.Sprintf("a frame of %d bytes, not %d", l.FramePlain, n)}
	}
	return f, nil
}

func (r *Reader) load(ctx context.Context, name string, key frameKey, l Location, into *frameLoad) (*plainFrame, error) {
	room := buffers.Get(int(min(l.FramePlain, MaxChunk)))
	plain, err := r.decode(ctx, name, l, room)
	f := &plainFrame{bytes: plain, room: room, users: 1, gone: err != nil}
	r.mu.Lock()
	delete(r.loading, key)
	if err == nil {
		r.frames.put(key, f, int64(len(plain)))
	}
	r.mu.Unlock()
	close(into.done)
	if err != nil {
		r.release(f, false)
		return nil, err
	}
	return f, nil
}

// decode fetches a frame and decodes it, into room if that is long enough.
func (r *Reader) decode(ctx context.Context, name string, l Location, room []byte) ([]byte, error) {
	if l.FrameStored < 0 || l.FrameStored > maxObject || l.FramePlain < 0 || l.FramePlain > MaxChunk {
		return nil, &DamageError{Object: name, Offset: l.FrameOffset, Expected: "a frame of sound lengths"}
	}
	pack, err := r.open(ctx, Object{Kind: ObjectPack, ID: l.Pack, Size: l.PackSize})
	if err != nil {
		return nil, err
	}
	stored := room[:0]
	if l.Method != methodRaw { // else they are what is given back
		stored = buffers.Get(int(l.FrameStored))
		defer buffers.Put(stored)
	}
	stored = slices.Grow(stored, int(l.FrameStored))[:l.FrameStored]
	if err := pack.read(ctx, stored, l.FrameOffset); err != nil {
		return nil, err
	}
	dec, err := r.decoder()
	if err != nil {
		return nil, err
	}
	defer r.dec.Put(dec)
	plain, err := decodeFrame(dec, room, stored, l.Method, l.FramePlain)
	if err != nil {
		return nil, frameError(name, l.FrameOffset, l.Method, err)
	}
	return plain, nil
}

func (r *Reader) decoder() (*zstd.Decoder, error) {
	if d, ok := r.dec.Get().(*zstd.Decoder); ok {
		return d, nil
	}
	return newDecoder()
}

// open gives the handle of a pack, whose header was verified.
func (r *Reader) open(ctx context.Context, o Object) (*packHandle, error) {
	r.mu.Lock()
	h, ok := r.packs.get(o.ID)
	if !ok || h.o.size != o.Size {
		h = newPackHandle(r.v.store, o, r.blox)
		r.packs.put(o.ID, h, 1)
	}
	r.mu.Unlock()
	err := h.open(ctx, r.v, r.ids)
	if errors.Is(err, ErrNoIdentity) {
		// A damaged age header looks the same as somebody else's.
		if damage := r.v.CheckObject(ctx, o); damage != nil {
			return nil, damage
		}
	}
	return h, err
}
