package imap

import (
	"context"
	"fmt"
	"strconv"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// contents are what a mailbox held when it was opened: on Cyrus by the hashes
// that it knows, elsewhere by size until a message of that size is asked for.
type contents struct {
	onWire string
	next   uint32 // UIDNEXT
	known  map[hashed]int
	sizes  map[int64][]uint32 // UIDs that were not fetched yet; nil on Cyrus
	bodies map[chunk.ID]int   // of those that were
	// ghosts is how many messages the server lists and has no content of.
	ghosts int
}

type hashed struct {
	sha1 chunk.SHA1
	size int64
}

// maxMessages bounds what a server may list of one mailbox.
const maxMessages = 1 << 24

// contents lists a mailbox once.
func (h *holding) contents(ctx context.Context, onWire string) (*contents, error) {
	if k := h.sums[onWire]; k != nil {
		return k, nil
	}
	var k *contents
	err := h.do(ctx, func(c *wire.Conn) (err error) {
		k, err = h.listContents(ctx, c, onWire)
		return err
	})
	if err != nil {
		return nil, err
	}
	h.sums[onWire] = k
	return k, nil
}

func (h *holding) listContents(ctx context.Context, c *wire.Conn, onWire string) (*contents, error) {
	h.link.box = "" // what was told when it was selected may be old
	sel, err := h.link.examine(ctx, c, onWire)
	if err != nil {
		return nil, err
	}
	k := &contents{onWire: onWire, next: sel.UIDNext, bodies: map[chunk.ID]int{}}
	items := "UID RFC822.SIZE"
	cyrus := c.Caps().Has("DIGEST=SHA1")
	if cyrus {
		// Cyrus promises hashes of files that are lost. A byte of each shows
		// which are: for those there is no answer.
		items += " DIGEST.SHA1 BODY.PEEK[]<0.1>"
		k.known = map[hashed]int{}
	} else {
		k.sizes = map[int64][]uint32{}
	}
	if sel.Messages == 0 {
		return k, nil
	}
	seen := map[uint32]bool{}
	p, err := c.Fetch(ctx, wire.FetchQuery{UIDs: "1:*", Items: items, MaxAnswers: mostAnswers(sel, int64(sel.Messages)), Yield: func(m *wire.Fetched) error {
		size, err := m.Items["RFC822.SIZE"].Uint(63)
		if m.UID == 0 || err != nil || seen[m.UID] {
			return nil // news of flags
		}
		if cyrus {
			var sum chunk.SHA1
			if sum.UnmarshalText(m.Items["DIGEST.SHA1"].Bytes) != nil || len(m.Items["BODY[]<0>"].Bytes) == 0 {
				return nil
			}
			k.known[hashed{sum, int64(size)}]++
		} else {
			k.sizes[int64(size)] = append(k.sizes[int64(size)], m.UID)
		}
		if seen[m.UID] = true; len(seen) > maxMessages {
			return fmt.Errorf("more than %d messages in one mailbox", maxMessages)
		}
		return nil
	}})
	if err == nil {
		_, err = p.Wait(ctx)
	}
	k.ghosts = max(0, int(sel.Messages)-len(seen))
	return k, err
}

// copies counts the copies of a message. Bodies are fetched only where the size
// is that of the message.
func (h *holding) copies(ctx context.Context, k *contents, w mailstore.Wanted) (int, error) {
	if k.sizes == nil {
		return k.known[hashed{w.SHA1, w.Size}], nil
	}
	uids := k.sizes[w.Size]
	if len(uids) == 0 {
		return k.bodies[w.Content], nil
	}
	err := h.fetchBodies(ctx, k.onWire, wire.SetOf(uids...), func(_ uint32, id chunk.ID) { k.bodies[id]++ })
	if err != nil {
		return 0, err
	}
	delete(k.sizes, w.Size)
	return k.bodies[w.Content], nil
}

// fetchBodies gives the identity of each message of a set that is still there,
// in no order.
func (h *holding) fetchBodies(ctx context.Context, onWire string, set wire.Set, take func(uid uint32, id chunk.ID)) error {
	done := map[uint32]bool{}
	return h.do(ctx, func(c *wire.Conn) error {
		if _, err := h.link.examine(ctx, c, onWire); err != nil {
			return err
		}
		for part := range set.Chunks(1000, 4000) {
			p, err := c.Fetch(ctx, wire.FetchQuery{UIDs: part.String(), Items: "UID BODY.PEEK[]", MaxLiteral: h.d.s.o.MaxMessage, Yield: func(m *wire.Fetched) error {
				body, ok := m.Items["BODY[]"]
				if !ok || body.Kind != wire.String || done[m.UID] || !set.Contains(m.UID) {
					return nil
				}
				done[m.UID] = true
				id, _, _ := chunk.WireSums(body.Bytes)
				take(m.UID, id)
				return nil
			}})
			if err == nil {
				_, err = p.Wait(ctx)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// present yields the identity of every message of a mailbox.
func (h *holding) present(ctx context.Context, onWire string, yield func(chunk.ID) error) error {
	var all wire.Set
	err := h.do(ctx, func(c *wire.Conn) (err error) {
		h.link.box = ""
		sel, err := h.link.examine(ctx, c, onWire)
		if err != nil || sel.Messages == 0 {
			return err
		}
		all, err = c.Search(ctx, "ALL")
		return err
	})
	if err != nil {
		return err
	}
	var first error
	err = h.fetchBodies(ctx, onWire, all, func(_ uint32, id chunk.ID) {
		if first == nil {
			first = yield(id)
		}
	})
	if first != nil {
		return first
	}
	return err
}

// arrivals are the messages of a mailbox from a UID on.
func (h *holding) arrivals(ctx context.Context, onWire string, from uint32) (set wire.Set, err error) {
	err = h.do(ctx, func(c *wire.Conn) error {
		h.link.box = ""
		if _, err := h.link.examine(ctx, c, onWire); err != nil {
			return err
		}
		found, err := c.Search(ctx, "UID "+strconv.FormatUint(uint64(from), 10)+":*")
		set = nil
		for _, r := range found { // "*" is the last message, also when its UID is lower
			if r.Last >= from {
				set = append(set, wire.Range{First: max(r.First, from), Last: r.Last})
			}
		}
		return err
	})
	return set, err
}
