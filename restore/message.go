package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/buffers"
)

// Chunks reads chunks out of the vault. The bytes may be shared with other
// callers and are only read. A chunk that is damaged, or missing in the vault,
// is an error of that chunk; see All for the errors that end everything. The
// bytes may be put into room where that is long enough: then they are not shared.
// Chunk is called by several goroutines at once.
type Chunks interface {
	Chunk(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error)
}

// Message gives one message as its source stored it, fetched from the vault
// and proven: the SHA-256 of the bytes returned is the entry's Stored. A
// *chunk.DamageError, or the error of chunks, says what is wrong with it.
func Message(ctx context.Context, c *catalog.Catalog, chunks Chunks, e *catalog.Entry) (stored []byte, err error) {
	b := builder{catalog: c, chunks: chunks}
	m, err := b.message(ctx, e)
	if err != nil {
		return nil, err
	}
	return m.stored, nil
}

// body is a message in both forms that destinations take.
type body struct{ stored, lf []byte }

// release gives the memory back for other messages.
func (b *body) release() {
	buffers.Put(b.lf)
	if len(b.lf) == 0 || len(b.stored) == 0 || &b.lf[0] != &b.stored[0] {
		buffers.Put(b.stored)
	}
}

const (
	keepPart    = 4 << 20  // bytes of a buffer that is kept for the next part
	maxPrealloc = 32 << 20 // bytes of memory that a declared size gets on trust
)

// A builder makes messages of chunks. It is not for concurrent use.
type builder struct {
	catalog *catalog.Catalog
	chunks  Chunks
	recipe  []byte // holds the message chunk until the next message
	part    []byte // holds a part until the next one
}

func (b *builder) message(ctx context.Context, e *catalog.Entry) (*body, error) {
	b.recipe = slices.Grow(b.recipe[:0], int(max(0, min(e.Where.Size, chunk.MaxRecipe))))
	recipe, err := b.chunk(ctx, e.Where, chunk.Ref{Kind: chunk.KindMessage, ID: e.Content}, b.recipe)
	if err != nil {
		return nil, err
	}
	left := e.Size
	fetch := func(p chunk.PartRef) ([]byte, error) {
		// A recipe that lies about sizes must not take memory before the
		// hash gives it away. No part is longer decoded than in the message.
		if left -= p.Size; left < 0 {
			return nil, &chunk.DamageError{Message: e.Content, Part: p.ID,
				What: fmt.Sprintf("parts of more than the %d bytes of the message", e.Size)}
		}
		return b.fetch(ctx, p)
	}
	var stored []byte
	var wrong error
	lf, err := chunk.RebuildProven(buffers.Get(int(min(e.Size, maxPrealloc))), e.Content, recipe, fetch, func(lf []byte) bool {
		stored, wrong = restoreEnds(e, lf)
		return wrong == nil
	})
	if err == nil {
		err = wrong // the message is right, what the record says of it is not
	}
	if err != nil {
		return nil, err
	}
	return &body{stored, lf}, nil
}

// restoreEnds gives the stored bytes, proven by their hash. That proves the LF
// form too: with the line ends given, no other one makes the same bytes.
func restoreEnds(e *catalog.Entry, lf []byte) ([]byte, error) {
	stored := lf
	var err error
	if e.LineEnds != chunk.EndsLF {
		room := min(e.StoredSize, 2*int64(len(lf)))
		stored, err = e.LineEnds.Restore(buffers.Get(int(room)), lf)
		if err != nil {
			return nil, &chunk.DamageError{Message: e.Content, What: "line ends of the record do not fit", Err: err}
		}
	}
	if sum := chunk.Sum(stored); sum != e.Stored {
		return nil, &chunk.DamageError{Message: e.Content,
			What: fmt.Sprintf("SHA-256 of the stored bytes is %s, want %s", sum, e.Stored)}
	}
	return stored, nil
}

// fetch gives a part, valid until the next call.
func (b *builder) fetch(ctx context.Context, p chunk.PartRef) ([]byte, error) {
	ref := chunk.Ref{Kind: chunk.KindData, ID: p.ID}
	at, found, err := b.catalog.Locate(ref)
	if err != nil {
		return nil, err
	}
	if found {
		b.reserve(p.Size)
		return b.chunk(ctx, at, ref, b.part)
	}
	list, found, err := b.catalog.PartChunks(p.ID)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &LostError{ref}
	}
	b.reserve(p.Size)
	for _, id := range list.Chunks {
		data, err := b.chunk(ctx, catalog.Location{}, chunk.Ref{Kind: chunk.KindData, ID: id}, b.part[len(b.part):])
		if err != nil {
			return nil, err
		}
		if int64(len(b.part)+len(data)) > p.Size {
			return nil, &chunk.DamageError{Part: p.ID, What: fmt.Sprintf("more than %d bytes", p.Size)}
		}
		b.part = append(b.part, data...) // where it may lie already
	}
	return b.part, nil
}

// reserve makes b.part empty, with room for n bytes.
func (b *builder) reserve(n int64) {
	if cap(b.part) > keepPart {
		b.part = nil
	}
	b.part = slices.Grow(b.part[:0], int(max(0, min(n, maxPrealloc))))
}

// chunk reads a chunk where it is said to be. When it is not there (or nobody
// has said), it is looked up: a prune may have moved it since, and erases the
// old place only a day later.
func (b *builder) chunk(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
	var first error
	if !at.Pack.IsZero() {
		data, err := b.chunks.Chunk(ctx, at, ref, room)
		if err == nil || ctx.Err() != nil {
			return data, err
		}
		first = err
	}
	now, found, err := b.catalog.Locate(ref)
	if err != nil {
		return nil, errors.Join(first, err)
	}
	if first != nil && (!found || now == at) {
		return nil, first
	}
	if !found {
		return nil, &LostError{ref}
	}
	return b.chunks.Chunk(ctx, now, ref, room)
}
