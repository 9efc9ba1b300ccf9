package history

import (
	"context"
	"errors"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/vault"
)

// followAgain is how long a reader leaves the chain alone once it has looked:
// where many packs are missing, that is damage and not a prune.
const followAgain = 30 * time.Second

// Chunks gives the chunks of a vault to who puts messages together. A restore
// may read for longer than the grace of erasing: where a pack is not there any
// more, a prune may have packed its living rest anew, so the chain is followed
// and the chunk looked for again (docs/format.md, "Order of reading"). It is
// safe for concurrent use.
type Chunks struct {
	h      *History
	reader *vault.Reader

	mu       sync.Mutex
	followed time.Time
}

// Chunks makes a Chunks.
func (h *History) Chunks(r *vault.Reader) *Chunks { return &Chunks{h: h, reader: r} }

// Chunk gives the bytes of a chunk, which must not be changed, in room where
// vault.Reader.Chunk takes that. A *vault.DamageError says what is wrong with it.
func (c *Chunks) Chunk(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
	b, err := c.reader.Chunk(ctx, vault.Location(at), ref, room)
	if !errors.Is(err, objstore.ErrNotExist) {
		return b, err
	}
	now, found := c.locate(ctx, ref)
	if !found || now == at {
		return nil, err
	}
	return c.reader.Chunk(ctx, vault.Location(now), ref, room)
}

// locate says where a chunk lies now. What cannot be found out leaves the
// reader with the damage that it met.
func (c *Chunks) locate(ctx context.Context, ref chunk.Ref) (catalog.Location, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.followed) > followAgain {
		_, _ = c.h.Follow(ctx) // the catalog may know all the same: a prune on this host has told it
		c.followed = time.Now()
	}
	at, found, err := c.h.Catalog.Locate(ref)
	return at, found && err == nil
}
