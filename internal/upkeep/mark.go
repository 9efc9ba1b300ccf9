package upkeep

import (
	"context"
	"errors"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/vault"
)

// mark records in the vault which packs are damaged. From then on their chunks
// count as absent, and the next backup reads the messages that need them again
// from the source, as far as it still has them, and stores them anew. A pack
// that is found whole again loses its mark.
func (c *checker) mark(ctx context.Context) error {
	if c.h.Host == nil || !c.changed(ctx) {
		return nil
	}
	return c.exclusive(ctx, func(ctx context.Context) error {
		change, err := c.h.Begin(ctx, vault.CommitPrune)
		if err != nil {
			return err
		}
		now := c.o.Now()
		err = c.marks(ctx, change.Tx)
		if err == nil {
			err = change.Tx.Put(catalog.Run{Number: change.Number(), Kind: "check", Started: now, Finished: now, Host: c.h.Host.Host()})
		}
		if err != nil {
			return errors.Join(err, change.Abandon())
		}
		_, err = change.Commit(ctx, now)
		return err
	})
}

// exclusive is the history's; a copy is not written to, and the vault that it
// follows has marks of its own.
func (c *checker) exclusive(ctx context.Context, fn func(context.Context) error) error {
	err := c.h.Exclusive(ctx, "check", fn)
	if errors.Is(err, vault.ErrReplica) {
		return nil
	}
	return err
}

// replaceJournals writes a checkpoint when a journal or the last checkpoint is
// damaged, while this host's catalog still knows what stood in it: without it
// a lost catalog could not be rebuilt.
func (c *checker) replaceJournals(ctx context.Context) error {
	if c.journals == 0 || c.h.Host == nil {
		return nil
	}
	return c.exclusive(ctx, func(ctx context.Context) (err error) {
		p := &pruner{h: c.h, now: c.o.Now(), report: &PruneReport{}, o: PruneOptions{CheckpointEvery: -1, Now: c.o.Now}}
		if p.past, err = readPast(ctx, c.h); err != nil {
			return err
		}
		return p.checkpoint(ctx)
	})
}

// changed tells whether the marks differ from what this check found.
func (c *checker) changed(ctx context.Context) bool {
	for id, what := range c.verdicts {
		if p, ok, err := c.h.Catalog.Pack(id); err == nil && ok && p.Damaged != what {
			return true
		}
	}
	return false
}

func (c *checker) marks(ctx context.Context, tx *catalog.Tx) error {
	for id, what := range c.verdicts {
		p, ok, err := tx.Pack(id)
		if err != nil {
			return err
		}
		if !ok || p.Damaged == what {
			continue
		}
		p.Damaged = what
		if err := tx.Put(p.Pack); err != nil {
			return err
		}
		if what != "" {
			if err := readAgain(ctx, tx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// readAgain has the next backup read the messages of a pack again.
func readAgain(ctx context.Context, tx *catalog.Tx, pack chunk.ID) error {
	boxes := map[int64]bool{}
	var ids []int64
	err := tx.Entries(ctx, catalog.Query{InPacks: []chunk.ID{pack}}, func(e *catalog.Entry) error {
		boxes[e.Mailbox] = true
		ids = append(ids, e.ID)
		return nil
	})
	for i := 0; err == nil && i < len(ids); i++ {
		var rec catalog.Record
		if rec, _, err = tx.Record(ids[i]); err == nil {
			rec.SourceState = ""
			err = tx.Put(rec)
		}
	}
	for id := range boxes {
		if err != nil {
			return err
		}
		var box catalog.Mailbox
		if box, _, err = tx.Mailbox(id); err == nil {
			box.State = ""
			err = tx.Put(box)
		}
	}
	return err
}

// compare holds what a pack really contains against what the catalog expects
// of it.
func (c *checker) compare(ctx context.Context, info *vault.PackInfo) error {
	type place struct{ frame, offset int64 }
	there := map[place]vault.ChunkInfo{}
	for _, f := range info.Frames {
		for _, ch := range f.Chunks {
			there[place{f.Offset, ch.Offset}] = ch
		}
	}
	return c.h.Catalog.LiveFrames(ctx, info.ID, func(f *catalog.Frame) error {
		for _, want := range f.Chunks {
			got := there[place{f.Offset, want.Offset}]
			if got.Kind != want.Kind || got.Size != want.Size || (want.Kind == chunk.KindData && got.ID != want.ID) {
				return &vault.DamageError{Object: info.Object().Name(), Offset: f.Offset,
					Expected: "the " + (chunk.Ref{Kind: want.Kind, ID: want.ID}).String() + " that the catalog knows there"}
			}
		}
		return nil
	})
}
