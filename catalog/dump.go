package catalog

import (
	"context"
	"fmt"

	"salvor/chunk"
)

// Dump writes all rows as journal lines, each with its newline and only valid
// during the call, in an order that Apply accepts. That is a checkpoint. The
// order depends on nothing but the rows: two catalogs that hold the same rows
// give the same dump.
//
// Rows are not only those that were put: a Frame has the chunks that stand in
// it now, and a Counter keeps ids from being used again.
func (q queries) Dump(ctx context.Context, line func([]byte) error) error {
	return q.walk("dump catalog", func(c *conn) error {
		d := &dumper{ctx: ctx, c: c, line: line}
		for _, step := range []func() error{d.counters, d.runs, d.packs, d.parts, d.contents, d.mail, d.facts, d.ledgers, d.drills} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

type dumper struct {
	ctx  context.Context
	c    *conn
	line func([]byte) error
	buf  []byte
}

func (d *dumper) put(r Row) error {
	d.buf = appendLine(d.buf[:0], verbPut, r)
	return d.line(d.buf)
}

func dumpRow[T Row](d *dumper) func(T) error { return func(r T) error { return d.put(r) } }

func (d *dumper) counters() error {
	for _, name := range sequenceNames {
		var last int64
		if err := d.c.locked(func() (err error) { last, err = d.c.counter(name); return err }); err != nil {
			return err
		}
		if last == 0 {
			continue
		}
		if err := d.put(Counter{Table: name, Last: last}); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) runs() error {
	return stream(d.ctx, d.c, "SELECT "+runColumns+" FROM run ORDER BY number", noBind, scanRun, dumpRow[*Run](d))
}

func (d *dumper) eachPack(yield func(*PackUse) error) error {
	return stream(d.ctx, d.c, "SELECT "+packColumns+" FROM pack ORDER BY number, hash", noBind, scanPack, yield)
}

func (d *dumper) packs() error {
	return d.eachPack(func(p *PackUse) error {
		if err := d.put(p.Pack); err != nil {
			return err
		}
		return d.c.framesOf(d.ctx, p.ID, func(f *Frame, rows []chunkRow) error {
			for _, k := range rows {
				f.Chunks = append(f.Chunks, FrameChunk{k.ref.Kind, k.ref.ID, k.offset, k.size})
			}
			return d.put(f)
		})
	})
}

// each calls yield for all chunks of a kind, in the order of packs.
func (d *dumper) each(kind chunk.Kind, yield func(chunkRow) error) error {
	return d.eachPack(func(p *PackUse) error {
		return d.c.framesOf(d.ctx, p.ID, func(_ *Frame, rows []chunkRow) error {
			for _, k := range rows {
				if k.ref.Kind != kind {
					continue
				}
				if err := yield(k); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (d *dumper) parts() error {
	return d.each(chunk.KindPart, func(k chunkRow) error {
		var p Part
		var ok bool
		err := d.c.locked(func() (err error) { p, ok, err = d.c.wholePart(k.id, k.ref.ID); return err })
		if err != nil || !ok {
			return err
		}
		return d.put(p)
	})
}

func (d *dumper) contents() error {
	return d.each(chunk.KindMessage, func(k chunkRow) error {
		if k.refs == 0 {
			return nil
		}
		var r Content
		var ok bool
		err := d.c.locked(func() (err error) { r, ok, err = d.c.content(k.id, k.ref.ID); return err })
		if err == nil && !ok {
			err = fmt.Errorf("%w: no content row for %s", ErrDamaged, k.ref)
		}
		if err != nil {
			return err
		}
		return d.put(r)
	})
}

func (d *dumper) mail() error {
	if err := d.c.users(d.ctx, "", dumpRow[*User](d)); err != nil {
		return err
	}
	if err := stream(d.ctx, d.c, "SELECT "+mailboxColumns+" FROM mailbox m CROSS JOIN user u ON u.id = m.user ORDER BY m.id",
		noBind, scanMailbox, dumpRow[*Mailbox](d)); err != nil {
		return err
	}
	return stream(d.ctx, d.c, "SELECT "+recordColumns+recordTables+" ORDER BY r.id", noBind, scanRecord, dumpRow[*Record](d))
}

func (d *dumper) facts() error {
	if err := stream(d.ctx, d.c, "SELECT "+holdColumns+" FROM hold ORDER BY id", noBind, scanHold, dumpRow[*Hold](d)); err != nil {
		return err
	}
	if err := stream(d.ctx, d.c, "SELECT "+tombstoneColumns+" FROM tombstone ORDER BY user, content", noBind,
		scanTombstone, dumpRow[*Tombstone](d)); err != nil {
		return err
	}
	if err := stream(d.ctx, d.c, "SELECT attention, at, by FROM ack ORDER BY attention", noBind,
		func(r row) *Ack { return &Ack{Attention: r.text(0), At: r.time(1), By: r.text(2)} }, dumpRow[*Ack](d)); err != nil {
		return err
	}
	l, ok, err := d.c.lock()
	if err != nil || !ok {
		return err
	}
	return d.put(l)
}

func (d *dumper) ledgers() error {
	return stream(d.ctx, d.c, "SELECT "+incidentColumns+" FROM incident i ORDER BY i.name", noBind, scanIncident, func(i *Incident) error {
		if err := d.put(i); err != nil {
			return err
		}
		if err := d.c.claims(d.ctx, ClaimQuery{Incident: i.Name}, dumpRow[*Claim](d)); err != nil {
			return err
		}
		if err := d.c.gates(d.ctx, i.Name, dumpRow[*Gate](d)); err != nil {
			return err
		}
		return d.c.findings(d.ctx, FindingQuery{Incident: i.Name}, dumpRow[*Finding](d))
	})
}

func (d *dumper) drills() error { return d.c.drills(d.ctx, "ASC", dumpRow[*Drill](d)) }
