package catalog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"salvor/chunk"
)

// chunkRow is where a chunk lies and how many contents or parts need it.
type chunkRow struct {
	ref                 chunk.Ref
	id                  int64
	frame, offset, size int64
	refs                int64
	state               chunkState
}

type chunkState byte

const (
	chunkClean chunkState = iota // as in the file
	chunkDirty                   // in the file, changed since
	chunkFresh                   // not in the file yet
	chunkGone                    // removed
)

// maxCached bounds the rows that are kept, some 2 MB, and maxKnown the names
// that are known to be there or not, some 4 MB.
const (
	maxCached = 16 << 10
	maxKnown  = 48 << 10
)

// chunkCache holds the chunk rows that a transaction worked with last and
// writes them back in one go. A new message's chunks are asked for, added, found
// again and counted within a short time: this makes one statement of all that.
type chunkCache struct {
	t       *Tx
	index   map[chunk.Ref]int32 // into rows, or missing
	rows    []chunkRow
	unsaved int // rows to be written, at most
}

const missing = -1

func newChunkCache(t *Tx) *chunkCache {
	return &chunkCache{t: t, index: make(map[chunk.Ref]int32, 1024)}
}

// find gives the row of ref, nil when there is none. It is valid, and may be
// changed with touch, until the next call of find, add or flush.
func (k *chunkCache) find(ref chunk.Ref) (*chunkRow, error) {
	if i, ok := k.index[ref]; ok {
		return k.at(i), nil
	}
	r, found, err := k.t.w.readChunk(ref)
	if err != nil || !found {
		return nil, err
	}
	return k.keep(r)
}

func (k *chunkCache) at(i int32) *chunkRow {
	if i == missing || k.rows[i].state == chunkGone {
		return nil
	}
	return &k.rows[i]
}

// add makes a new row.
func (k *chunkCache) add(r chunkRow) (*chunkRow, error) {
	r.id, r.state = k.t.nextRow, chunkFresh
	k.t.nextRow++
	return k.keep(r)
}

func (k *chunkCache) keep(r chunkRow) (*chunkRow, error) {
	if len(k.rows) >= maxCached || len(k.index) >= maxKnown {
		if err := k.flush(); err != nil {
			return nil, err
		}
		clear(k.index)
		k.rows = k.rows[:0]
	}
	if r.state == chunkFresh {
		k.unsaved++
	}
	k.index[r.ref] = int32(len(k.rows))
	k.rows = append(k.rows, r)
	return &k.rows[len(k.rows)-1], nil
}

func (k *chunkCache) touch(r *chunkRow) {
	if r.state == chunkClean {
		r.state = chunkDirty
		k.unsaved++
	}
}

// drop removes the row from the file.
func (k *chunkCache) drop(r *chunkRow) error {
	was := r.state
	r.state = chunkGone
	if was == chunkFresh {
		return nil
	}
	if err := k.t.w.unplace(r); err != nil {
		return err
	}
	return k.t.w.prep("DELETE FROM chunk WHERE id = ?").int(r.id).run()
}

// flush writes the rows in the order of their ids and enters them into chunk_at
// in the order of its numbers: neighbours in a table cost the least.
func (k *chunkCache) flush() error {
	if k.unsaved == 0 {
		return nil
	}
	var unsaved, fresh []*chunkRow
	for i := range k.rows {
		switch r := &k.rows[i]; r.state {
		case chunkFresh:
			fresh = append(fresh, r)
			unsaved = append(unsaved, r)
		case chunkDirty:
			unsaved = append(unsaved, r)
		}
	}
	slices.SortFunc(unsaved, func(a, b *chunkRow) int { return cmp.Compare(a.id, b.id) })
	for _, r := range unsaved {
		if err := k.t.w.writeChunk(r); err != nil {
			return err
		}
	}
	slices.SortFunc(fresh, func(a, b *chunkRow) int { return cmp.Compare(a.head(), b.head()) })
	for _, r := range fresh {
		if err := k.t.w.enter(r.head(), r.id); err != nil {
			return err
		}
	}
	for _, r := range unsaved {
		r.state = chunkClean
	}
	k.unsaved = 0
	return nil
}

func (r *chunkRow) head() int64 {
	head, _ := splitID(r.ref.ID)
	return head
}

func splitID(id chunk.ID) (head int64, tail []byte) {
	return int64(binary.BigEndian.Uint64(id[:8])), id[8:]
}

func joinID(head int64, tail row, col int) (id chunk.ID) {
	binary.BigEndian.PutUint64(id[:8], uint64(head))
	tail.s.ColumnBytes(col, id[8:])
	return id
}

// readChunk looks a chunk up in the file.
func (c *conn) readChunk(ref chunk.Ref) (r chunkRow, found bool, err error) {
	head, tail := splitID(ref.ID)
	for place := head; ; place++ {
		id, taken, err := c.place(place)
		if err != nil || !taken {
			return r, false, err
		}
		found, err = c.prep("SELECT id, frame, offset, size, refs FROM chunk WHERE id = ? AND kind = ? AND head = ? AND tail = ?").
			int(id).int(int64(ref.Kind)).int(head).blob(tail).
			one(func(q row) {
				r = chunkRow{ref: ref, id: q.int(0), frame: q.int(1), offset: q.int(2), size: q.int(3), refs: q.int(4)}
			})
		if err != nil || found {
			return r, found, err
		}
	}
}

// place gives the chunk that chunk_at has at this number. The numbers wrap
// around, as Go's integers do.
func (c *conn) place(place int64) (id int64, taken bool, err error) {
	taken, err = c.prep("SELECT id FROM chunk_at WHERE place = ?").int(place).one(func(q row) { id = q.int(0) })
	return id, taken, err
}

// enter puts a chunk at the first free number from that of its hash on.
func (c *conn) enter(head, id int64) error {
	for ; ; head++ {
		err := c.prep("INSERT INTO chunk_at VALUES (?, ?) ON CONFLICT DO NOTHING").int(head).int(id).run()
		if err != nil || c.db.Changes() == 1 {
			return err
		}
	}
}

// unplace takes a chunk out of chunk_at and enters those again that stand right
// after it, because they may have been pushed on by it.
func (c *conn) unplace(r *chunkRow) error {
	place := r.head()
	for ; ; place++ {
		id, taken, err := c.place(place)
		if err != nil {
			return err
		}
		if !taken {
			return fmt.Errorf("%w: %s is in no index", ErrDamaged, r.ref)
		}
		if id == r.id {
			break
		}
	}
	leave := "DELETE FROM chunk_at WHERE place = ?"
	if err := c.prep(leave).int(place).run(); err != nil {
		return err
	}
	for place++; ; place++ {
		id, taken, err := c.place(place)
		if err != nil || !taken {
			return err
		}
		ref, _, err := c.refOf(id)
		if err == nil {
			err = c.prep(leave).int(place).run()
		}
		if err != nil {
			return err
		}
		head, _ := splitID(ref.ID)
		if err := c.enter(head, id); err != nil {
			return err
		}
	}
}

// refOf gives the name of the chunk with this row id.
func (c *conn) refOf(id int64) (ref chunk.Ref, found bool, err error) {
	found, err = c.prep("SELECT kind, head, tail FROM chunk WHERE id = ?").int(id).
		one(func(q row) {
			ref = chunk.Ref{Kind: chunk.Kind(q.int(0)), ID: joinID(q.int(1), q, 2)}
		})
	return ref, found, err
}

func (c *conn) writeChunk(r *chunkRow) error {
	if r.state == chunkDirty {
		return c.prep("UPDATE chunk SET frame = ?, offset = ?, size = ?, refs = ? WHERE id = ?").
			int(r.frame).int(r.offset).int(r.size).int(r.refs).int(r.id).run()
	}
	head, tail := splitID(r.ref.ID)
	return c.prep("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?)").
		int(r.id).int(int64(r.ref.Kind)).int(head).blob(tail).
		int(r.frame).int(r.offset).int(r.size).int(r.refs).run()
}

// chunk finds a chunk: through the cache of a transaction, where there is one.
// What is not there is remembered too: it is probably about to be added.
func (c *conn) chunk(ref chunk.Ref) (r chunkRow, found bool, err error) {
	if c.cache == nil {
		return c.readChunk(ref)
	}
	if i, ok := c.cache.index[ref]; ok {
		if k := c.cache.at(i); k != nil {
			return *k, true, nil
		}
		return r, false, nil
	}
	r, found, err = c.readChunk(ref)
	if err == nil && !found && len(c.cache.index) < maxKnown {
		c.cache.index[ref] = missing
	}
	return r, found, err
}

// standing gives the chunks that stand in the frame now, by offset. The frame's
// list also has ids of chunks that have left since.
func (c *conn) standing(f frameRow) (rows []chunkRow, err error) {
	for _, id := range f.chunks {
		_, err := c.prep("SELECT kind, head, tail, offset, size, refs FROM chunk WHERE id = ? AND frame = ?").int(id).int(f.id).
			one(func(q row) {
				rows = append(rows, chunkRow{ref: chunk.Ref{Kind: chunk.Kind(q.int(0)), ID: joinID(q.int(1), q, 2)},
					id: id, frame: f.id, offset: q.int(3), size: q.int(4), refs: q.int(5)})
			})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(rows, func(a, b chunkRow) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.ref.Kind, b.ref.Kind), bytes.Compare(a.ref.ID[:], b.ref.ID[:]))
	})
	return rows, nil
}
