package catalog

import (
	"context"
	"fmt"

	"salvor/chunk"
)

// HasChunk tells whether the vault holds the chunk, so that it need not be
// stored again. A chunk in a condemned or damaged pack counts as absent.
func (q queries) HasChunk(ref chunk.Ref) (has bool, err error) {
	err = q.look("look for chunk in catalog", func(c *conn) (err error) {
		has, err = c.has(ref)
		return err
	})
	return has, err
}

func (c *conn) has(ref chunk.Ref) (bool, error) {
	k, found, err := c.chunk(ref)
	if err != nil || !found {
		return false, err
	}
	absent := true
	_, err = c.prep("SELECT p.condemned <> 0 OR p.damaged <> '' FROM frame f CROSS JOIN pack p ON p.id = f.pack WHERE f.id = ?").
		int(k.frame).one(func(r row) { absent = r.bool(0) })
	return !absent, err
}

// HasContent tells whether there is a Content row and its message chunk need
// not be stored again.
func (q queries) HasContent(id chunk.ID) (has bool, err error) {
	ref := chunk.Ref{Kind: chunk.KindMessage, ID: id}
	err = q.look("look for content in catalog", func(c *conn) error {
		k, found, err := c.chunk(ref)
		if err != nil || !found || k.refs == 0 {
			return err
		}
		has, err = c.has(ref)
		return err
	})
	return has, err
}

// Location says where in the vault a chunk lies.
type Location struct {
	Pack     chunk.ID
	PackSize int64
	// The frame: offset in the pack's plaintext, length there, length once
	// decompressed, and how ("zstd" or "raw").
	FrameOffset, FrameStored, FramePlain int64
	Method                               string
	// The chunk in the frame's plain bytes.
	Offset, Size int64
}

// Locate finds a chunk; ok is false when the catalog knows none. Chunks of
// condemned packs are found as long as the pack is there.
func (q queries) Locate(ref chunk.Ref) (l Location, ok bool, err error) {
	err = q.look("locate chunk in catalog", func(c *conn) error {
		if c.cache == nil {
			l, ok, err = c.locate(ref)
			return err
		}
		k, found, err := c.chunk(ref)
		if err != nil || !found {
			return err
		}
		l, ok, err = c.location(k)
		return err
	})
	return l, ok, err
}

// locate is readChunk and location in one statement: a restore asks for every
// part of every message.
func (c *conn) locate(ref chunk.Ref) (l Location, found bool, err error) {
	head, tail := splitID(ref.ID)
	for place := head; ; place++ {
		lost := false
		taken, err := c.prep(`SELECT k.kind = ? AND k.head = ? AND k.tail = ?, p.id IS NULL,
			p.hash, p.size, f.offset, f.stored, f.plain, f.method, k.offset, k.size
			FROM chunk_at a CROSS JOIN chunk k ON k.id = a.id
			LEFT JOIN frame f ON f.id = k.frame LEFT JOIN pack p ON p.id = f.pack WHERE a.place = ?`).
			int(int64(ref.Kind)).int(head).blob(tail).int(place).
			one(func(r row) {
				if found, lost = r.bool(0), r.bool(1); found && !lost {
					l = Location{Pack: r.id(2), PackSize: r.int(3), FrameOffset: r.int(4), FrameStored: r.int(5),
						FramePlain: r.int(6), Method: r.text(7), Offset: r.int(8), Size: r.int(9)}
				}
			})
		if err == nil && found && lost {
			err = fmt.Errorf("%w: %s lies in no frame", ErrDamaged, ref)
		}
		if err != nil || found || !taken {
			return l, found, err
		}
	}
}

func (c *conn) location(k chunkRow) (l Location, ok bool, err error) {
	ok, err = c.prep(`SELECT p.hash, p.size, f.offset, f.stored, f.plain, f.method
		FROM frame f CROSS JOIN pack p ON p.id = f.pack WHERE f.id = ?`).int(k.frame).
		one(func(r row) {
			l = Location{Pack: r.id(0), PackSize: r.int(1), FrameOffset: r.int(2), FrameStored: r.int(3),
				FramePlain: r.int(4), Method: r.text(5), Offset: k.offset, Size: k.size}
		})
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s lies in no frame", ErrDamaged, k.ref)
	}
	return l, ok, err
}

// Content gives the content with this id; ok is false when there is none.
func (q queries) Content(id chunk.ID) (r Content, ok bool, err error) {
	err = q.lookSettled("read content from catalog", func(c *conn) error {
		k, found, err := c.chunk(chunk.Ref{Kind: chunk.KindMessage, ID: id})
		if err != nil || !found {
			return err
		}
		r, ok, err = c.content(k.id, id)
		return err
	})
	return r, ok, err
}

func (c *conn) content(row_ int64, id chunk.ID) (r Content, ok bool, err error) {
	var parts []int64
	r.ID = id
	ok, err = c.prep("SELECT size, date, sha1, parts, sender, recipients, subject, message_id FROM content WHERE id = ?").int(row_).
		one(func(q row) {
			r.Size, r.Date, parts = q.int(0), q.timep(1), unpackInts(q.blob(3), row_)
			q.s.ColumnBytes(2, r.SHA1[:])
			r.From, r.To, r.Subject, r.MessageID = q.text(4), q.text(5), q.text(6), q.text(7)
		})
	if err != nil || !ok {
		return r, ok, err
	}
	r.Parts, err = c.refsOf(parts)
	return r, ok, err
}

func (c *conn) refsOf(ids []int64) ([]chunk.Ref, error) {
	var refs []chunk.Ref
	for _, id := range ids {
		ref, found, err := c.refOf(id)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("%w: a chunk that is needed is not in the index", ErrDamaged)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// PartChunks gives the data chunks of a long part, in order; ok is false when
// there is no such Part row.
func (q queries) PartChunks(id chunk.ID) (p Part, ok bool, err error) {
	err = q.lookSettled("read part from catalog", func(c *conn) error {
		k, found, err := c.chunk(chunk.Ref{Kind: chunk.KindPart, ID: id})
		if err != nil || !found {
			return err
		}
		p, ok, err = c.wholePart(k.id, id)
		return err
	})
	return p, ok, err
}

func (c *conn) wholePart(row int64, id chunk.ID) (p Part, ok bool, err error) {
	chunks, size, ok, err := c.part(row)
	if err != nil || !ok {
		return p, ok, err
	}
	refs, err := c.refsOf(chunks)
	p = Part{ID: id, Size: size}
	for _, r := range refs {
		p.Chunks = append(p.Chunks, r.ID)
	}
	return p, true, err
}

// PackUse is a pack and how much of it is needed.
type PackUse struct {
	Pack
	// Live estimates the stored bytes that something needs, Dead those that
	// nothing needs any more. A pack without any needed chunk is dead as a whole.
	Live, Dead int64
}

const packColumns = "hash, size, number, created_at, condemned, condemned_at, dead_bytes, dead_since, stored, live, damaged"

func scanPack(r row) *PackUse {
	p := &PackUse{Pack: Pack{ID: r.id(0), Size: r.int(1), Commit: uint64(r.int(2)), CreatedAt: r.time(3),
		Condemned: uint64(r.int(4)), CondemnedAt: r.timep(5), DeadBytes: r.int(6), DeadSince: r.timep(7), Damaged: r.text(10)}}
	if p.Live = r.int(9); p.Live > 0 {
		p.Dead = max(0, r.int(8)-p.Live)
	} else {
		p.Live, p.Dead = 0, p.Size
	}
	return p
}

// Pack gives the pack with this id; ok is false when there is none.
func (q queries) Pack(id chunk.ID) (p PackUse, ok bool, err error) {
	err = q.lookSettled("read pack from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + packColumns + " FROM pack WHERE hash = ?").blob(id[:]).
			one(func(r row) { p = *scanPack(r) })
		return err
	})
	return p, ok, err
}

// Packs lists all packs, the oldest first.
func (q queries) Packs(ctx context.Context, yield func(*PackUse) error) error {
	return q.walk("list packs of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+packColumns+" FROM pack ORDER BY number, hash", noBind, scanPack, yield)
	})
}

// DeadPacks lists the packs of which nothing is needed, also condemned ones.
func (q queries) DeadPacks(ctx context.Context, yield func(*PackUse) error) error {
	return q.walk("list dead packs of catalog", func(c *conn) error {
		return stream(ctx, c, "SELECT "+packColumns+" FROM pack WHERE live <= 0 ORDER BY number, hash", noBind, scanPack, yield)
	})
}

// LiveFrames lists a pack's frames in order, each with those of its chunks that
// something needs; frames without any are left out. That is what has to be
// copied before the pack can go.
func (q queries) LiveFrames(ctx context.Context, pack chunk.ID, yield func(*Frame) error) error {
	return q.walk("list live frames of catalog", func(c *conn) error {
		return c.framesOf(ctx, pack, func(f *Frame, rows []chunkRow) error {
			for _, k := range rows {
				if k.refs > 0 {
					f.Chunks = append(f.Chunks, FrameChunk{k.ref.Kind, k.ref.ID, k.offset, k.size})
				}
			}
			if len(f.Chunks) == 0 {
				return nil
			}
			return yield(f)
		})
	})
}

// framesOf reads a pack's frames in order, with the chunks that stand in them,
// in the order of their offsets.
func (c *conn) framesOf(ctx context.Context, pack chunk.ID, yield func(*Frame, []chunkRow) error) error {
	var p packRow
	err := c.locked(func() (err error) {
		p, _, err = c.pack(pack)
		return err
	})
	if err != nil {
		return err
	}
	return stream(ctx, c, "SELECT "+frameColumns+" FROM frame WHERE pack = ? ORDER BY offset",
		func(st *stmt) { st.int(p.id) }, scanFrame,
		func(f frameRow) error {
			var rows []chunkRow
			if err := c.locked(func() (err error) { rows, err = c.standing(f); return err }); err != nil {
				return err
			}
			return yield(&Frame{Pack: pack, Offset: f.offset, Stored: f.stored, Plain: f.plain, Method: f.method}, rows)
		})
}
