package catalog

import "salvor/chunk"

// packRow is what frames need to know of their pack.
type packRow struct{ id, size int64 }

func (c *conn) pack(id chunk.ID) (p packRow, found bool, err error) {
	found, err = c.prep("SELECT id, size FROM pack WHERE hash = ?").blob(id[:]).
		one(func(r row) { p = packRow{r.int(0), r.int(1)} })
	return p, found, err
}

func (r Pack) put(t *Tx) error {
	return t.w.prep(`INSERT INTO pack (hash, size, number, created_at, condemned, condemned_at, dead_bytes, dead_since, damaged, stored, live)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)
		ON CONFLICT (hash) DO UPDATE SET size = excluded.size, number = excluded.number,
		created_at = excluded.created_at, condemned = excluded.condemned, condemned_at = excluded.condemned_at,
		dead_bytes = excluded.dead_bytes, dead_since = excluded.dead_since, damaged = excluded.damaged`).
		blob(r.ID[:]).int(r.Size).int(int64(r.Commit)).time(r.CreatedAt).
		int(int64(r.Condemned)).timep(r.CondemnedAt).int(r.DeadBytes).timep(r.DeadSince).text(r.Damaged).run()
}

// remove takes a pack out with its frames and the chunks in it that nothing
// needs.
func (r Pack) remove(t *Tx) error {
	p, found, err := t.w.pack(r.ID)
	if err != nil || !found {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	frames, err := t.w.frames("SELECT "+frameColumns+" FROM frame WHERE pack = ?", p.id)
	if err != nil {
		return err
	}
	for _, f := range frames {
		if err := t.removeFrame(r, f); err != nil {
			return err
		}
	}
	t.packs.id = 0
	delete(t.packUse, p.id) // its row id may be used again
	return t.w.prep("DELETE FROM pack WHERE id = ?").int(p.id).run()
}

// frameRow is a stored frame.
type frameRow struct {
	id, pack, offset, stored, plain int64
	method                          string
	live                            int64   // plain bytes of its chunks that something needs
	chunks                          []int64 // row ids; only those that still stand here count
}

const frameColumns = "id, pack, offset, stored, plain, method, live, chunks"

func scanFrame(r row) frameRow {
	return frameRow{id: r.int(0), pack: r.int(1), offset: r.int(2), stored: r.int(3), plain: r.int(4),
		method: r.text(5), live: r.int(6), chunks: unpackInts(r.blob(7), 0)}
}

// share estimates how many of the frame's stored bytes are in use.
func (f frameRow) share(live int64) int64 {
	if f.plain == 0 {
		return 0
	}
	return f.stored * min(live, f.plain) / f.plain
}

// frames reads the frames of one pack, or one frame.
func (c *conn) frames(query string, key int64) (list []frameRow, err error) {
	st := c.prep(query).int(key)
	defer st.done()
	for {
		more, err := st.next()
		if err != nil || !more {
			return list, err
		}
		list = append(list, scanFrame(row{st.s}))
	}
}

func (t *Tx) packOf(r Frame) (int64, error) {
	return t.packs.get(r.Pack, func() (int64, error) {
		p, found, err := t.w.pack(r.Pack)
		if err == nil && !found {
			err = rowError(r, "no pack %s", r.Pack)
		}
		return p.id, err
	})
}

func (t *Tx) findFrame(pack, offset int64) (f frameRow, found bool, err error) {
	found, err = t.w.prep("SELECT " + frameColumns + " FROM frame WHERE pack = ? AND offset = ?").int(pack).int(offset).
		one(func(q row) { f = scanFrame(q) })
	return f, found, err
}

func (r Frame) put(t *Tx) error {
	pack, err := t.packOf(r)
	if err != nil {
		return err
	}
	old, found, err := t.findFrame(pack, r.Offset)
	if err != nil {
		return err
	}
	if found {
		return r.replace(t, old)
	}
	f := frameRow{id: t.nextFrame, pack: pack}
	t.nextFrame++
	for _, c := range r.Chunks {
		id, err := t.place(c, f.id)
		if err != nil {
			return err
		}
		f.chunks = append(f.chunks, id)
	}
	t.usage(pack, r.Stored, 0)
	return t.w.prep("INSERT INTO frame (" + frameColumns + ") VALUES (?, ?, ?, ?, ?, ?, 0, ?)").
		int(f.id).int(pack).int(r.Offset).int(r.Stored).int(r.Plain).text(r.Method).blob(packInts(f.chunks, 0)).run()
}

// replace puts a frame that is there already. A pack never changes, so only
// chunks can have been added to what is known of it.
func (r Frame) replace(t *Tx, old frameRow) error {
	if r.Stored != old.stored || r.Plain != old.plain || r.Method != old.method {
		return rowError(r, "the frame at %d of pack %s is another one", r.Offset, r.Pack)
	}
	known := map[int64]bool{}
	for _, id := range old.chunks {
		known[id] = true
	}
	for _, c := range r.Chunks {
		id, err := t.place(c, old.id)
		if err != nil {
			return err
		}
		if !known[id] {
			known[id] = true
			old.chunks = append(old.chunks, id)
		}
	}
	return t.w.prep("UPDATE frame SET chunks = ? WHERE id = ?").blob(packInts(old.chunks, 0)).int(old.id).run()
}

// place has the chunk stand in the frame from now on, wherever it was before.
func (t *Tx) place(c FrameChunk, frame int64) (id int64, err error) {
	ref := chunk.Ref{Kind: c.Kind, ID: c.ID}
	k, err := t.w.cache.find(ref)
	if err != nil {
		return 0, err
	}
	if k == nil {
		k, err = t.w.cache.add(chunkRow{ref: ref, frame: frame, offset: c.Offset, size: c.Size})
		if err != nil {
			return 0, err
		}
		return k.id, nil
	}
	id = k.id
	from, size, needed := k.frame, k.size, k.refs > 0
	k.frame, k.offset, k.size = frame, c.Offset, c.Size
	t.w.cache.touch(k)
	if !needed {
		return id, nil
	}
	if err := t.alive(from, -size); err != nil {
		return 0, err
	}
	return id, t.alive(frame, c.Size)
}

func (r Frame) remove(t *Tx) error {
	p, found, err := t.w.pack(r.Pack)
	if err != nil || !found {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	f, found, err := t.findFrame(p.id, r.Offset)
	if err != nil || !found {
		return err
	}
	return t.removeFrame(r, f)
}

// removeFrame removes a frame, on behalf of the row r, and the chunks in it
// that nothing needs.
func (t *Tx) removeFrame(r Row, f frameRow) error {
	for _, id := range f.chunks {
		ref, found, err := t.w.refOf(id)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		k, err := t.w.cache.find(ref)
		if err != nil {
			return err
		}
		if k == nil || k.id != id || k.frame != f.id {
			continue
		}
		if k.refs > 0 {
			return rowError(r, "%s is still needed", ref)
		}
		if err := t.forget(k); err != nil {
			return err
		}
	}
	t.usage(f.pack, -f.stored, -f.share(f.live))
	delete(t.frameUse, f.id)
	return t.w.prep("DELETE FROM frame WHERE id = ?").int(f.id).run()
}

func (r Part) put(t *Tx) error {
	ref := chunk.Ref{Kind: chunk.KindPart, ID: r.ID}
	k, err := t.w.cache.find(ref)
	if err != nil {
		return err
	}
	if k == nil {
		return rowError(r, "no %s", ref)
	}
	id := k.id
	old, _, had, err := t.w.part(id)
	if err != nil {
		return err
	}
	chunks := make([]int64, len(r.Chunks))
	for i, c := range r.Chunks {
		if chunks[i], err = t.need(r, chunk.Ref{Kind: chunk.KindData, ID: c}); err != nil {
			return err
		}
	}
	if had {
		if err := t.releaseAll(old); err != nil {
			return err
		}
	}
	return t.w.prep("INSERT OR REPLACE INTO part VALUES (?, ?, ?)").int(id).int(r.Size).blob(packInts(chunks, id)).run()
}

func (r Part) remove(t *Tx) error {
	ref := chunk.Ref{Kind: chunk.KindPart, ID: r.ID}
	k, err := t.w.cache.find(ref)
	if err != nil || k == nil {
		return err
	}
	if k.refs > 0 {
		return rowError(r, "it is still needed")
	}
	return t.forget(k)
}

// part reads a part's data chunks.
func (c *conn) part(id int64) (chunks []int64, size int64, found bool, err error) {
	found, err = c.prep("SELECT size, chunks FROM part WHERE id = ?").int(id).
		one(func(q row) { size, chunks = q.int(0), unpackInts(q.blob(1), id) })
	return chunks, size, found, err
}
