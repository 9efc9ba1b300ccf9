package catalog

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"salvor/chunk"
)

// Reference counts. A message chunk is needed by its content, a data or part
// chunk by the contents that name it, a data chunk also by parts. How much of a
// frame and of a pack is needed follows from that; it is added up in memory and
// written now and then.

// maxUse bounds the changes that are kept in memory.
const maxUse = 4096

type packUse struct{ stored, live int64 }

// need counts one more reference to the chunk, on behalf of the row r.
func (t *Tx) need(r Row, ref chunk.Ref) (id int64, err error) {
	k, err := t.w.cache.find(ref)
	if err != nil {
		return 0, err
	}
	if k == nil {
		return 0, rowError(r, "no %s", ref)
	}
	id = k.id
	k.refs++
	t.w.cache.touch(k)
	if k.refs > 1 {
		return id, nil
	}
	return id, t.alive(k.frame, k.size)
}

// release takes one reference back. The last one takes the chunk out of the
// index, and what it needs itself loses a reference.
func (t *Tx) release(id int64) error {
	k, err := t.chunkRow(id)
	if err != nil || k == nil {
		return err
	}
	k.refs--
	t.w.cache.touch(k)
	if k.refs > 0 {
		return nil
	}
	if err := t.alive(k.frame, -k.size); err != nil {
		return err
	}
	return t.forget(k)
}

func (t *Tx) releaseAll(ids []int64) error {
	for _, id := range ids {
		if err := t.release(id); err != nil {
			return err
		}
	}
	return nil
}

// chunkRow finds a chunk by its row id. The row may only be in the cache.
func (t *Tx) chunkRow(id int64) (*chunkRow, error) {
	ref, found, err := t.w.refOf(id)
	if err == nil && !found {
		if err = t.w.cache.flush(); err == nil {
			ref, found, err = t.w.refOf(id)
		}
	}
	if err != nil || !found {
		return nil, err
	}
	return t.w.cache.find(ref)
}

// forget takes a chunk that nothing needs out of the index.
func (t *Tx) forget(k *chunkRow) error {
	id, kind := k.id, k.ref.Kind
	if err := t.w.cache.drop(k); err != nil || kind != chunk.KindPart {
		return err
	}
	chunks, _, found, err := t.w.part(id)
	if err != nil || !found {
		return err
	}
	if err := t.w.prep("DELETE FROM part WHERE id = ?").int(id).run(); err != nil {
		return err
	}
	return t.releaseAll(chunks)
}

// alive notes that so many plain bytes more (or less) of a frame are needed.
func (t *Tx) alive(frame, bytes int64) error {
	t.frameUse[frame] += bytes
	if len(t.frameUse) < maxUse {
		return nil
	}
	return t.flushLive()
}

// usage notes that a pack has more stored bytes in frames, or more of them in use.
func (t *Tx) usage(pack, stored, live int64) {
	u := t.packUse[pack]
	t.packUse[pack] = packUse{u.stored + stored, u.live + live}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func (t *Tx) flushLive() error {
	for _, id := range sortedKeys(t.frameUse) {
		var f frameRow
		found, err := t.w.prep("SELECT pack, stored, plain, live FROM frame WHERE id = ?").int(id).
			one(func(q row) { f = frameRow{pack: q.int(0), stored: q.int(1), plain: q.int(2), live: q.int(3)} })
		if err != nil {
			return err
		}
		if !found {
			continue // removed since, and the pack knows
		}
		live := f.live + t.frameUse[id]
		t.usage(f.pack, 0, f.share(live)-f.share(f.live))
		if err := t.w.prep("UPDATE frame SET live = ? WHERE id = ?").int(live).int(id).run(); err != nil {
			return err
		}
	}
	clear(t.frameUse)
	for _, id := range sortedKeys(t.packUse) {
		u := t.packUse[id]
		if err := t.w.prep("UPDATE pack SET stored = stored + ?, live = live + ? WHERE id = ?").
			int(u.stored).int(u.live).int(id).run(); err != nil {
			return err
		}
	}
	clear(t.packUse)
	return nil
}

// packInts writes row ids as varints of their distances, the first one from
// base. What came together lies together, so most take one or two bytes.
func packInts(ids []int64, base int64) []byte {
	if len(ids) == 0 {
		return nil
	}
	b := make([]byte, 0, 2*len(ids)+8)
	for _, id := range ids {
		b = binary.AppendVarint(b, id-base)
		base = id
	}
	return b
}

func unpackInts(b []byte, base int64) (ids []int64) {
	for len(b) > 0 {
		d, n := binary.Varint(b)
		if n <= 0 {
			return ids
		}
		base += d
		ids = append(ids, base)
		b = b[n:]
	}
	return ids
}
