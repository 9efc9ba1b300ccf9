package upkeep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/vault"
)

// condemnDead condemns packs that hold no living chunk any more.
func (p *pruner) condemnDead(ctx context.Context) error {
	var dead []catalog.Pack
	err := p.tx.Packs(ctx, func(u *catalog.PackUse) error {
		if u.Condemned == 0 && u.Live == 0 {
			dead = append(dead, u.Pack)
		}
		return nil
	})
	for i := 0; err == nil && i < len(dead); i++ {
		err = p.condemn(dead[i])
	}
	return err
}

func (p *pruner) condemn(row catalog.Pack) error {
	now := p.now
	row.Condemned, row.CondemnedAt = p.number(), &now
	row.DeadBytes = row.Size
	if row.DeadSince == nil {
		row.DeadSince = &now
	}
	object := vault.Object{Kind: vault.ObjectPack, ID: row.ID}
	p.condemned[object] = true
	if p.change != nil {
		p.change.Condemn(object)
	}
	p.report.Condemned++
	p.report.CondemnBytes += row.Size
	return p.tx.Put(row)
}

func (p *pruner) number() uint64 {
	if p.change != nil {
		return p.change.Number()
	}
	return 1
}

// rewrite packs the living rest of half-dead packs again, the deadest first,
// and condemns the old ones. It needs the operator's identity.
func (p *pruner) rewrite(ctx context.Context) error {
	half, err := p.halfDead(ctx)
	if err != nil || len(half) == 0 {
		return err
	}
	if p.o.Reader == nil {
		p.report.NeedIdentity = true
		return nil
	}
	var budget int64
	var done []catalog.Pack
	for i, u := range half {
		if budget += u.Size; budget > p.o.RewriteBytes && len(done) > 0 {
			p.report.Postponed = len(half) - i
			break
		}
		err := p.copyLiving(ctx, u.Pack)
		var damage *vault.DamageError
		if errors.As(err, &damage) {
			p.report.Damaged = append(p.report.Damaged, damage.Error())
			continue // it stays as it is: what is left of it may be all there is
		}
		if err != nil {
			return err
		}
		done = append(done, u.Pack)
	}
	if p.change != nil {
		if err := p.change.Flush(); err != nil {
			return err
		}
	}
	for _, row := range done {
		p.report.Rewritten++
		if err := p.condemn(row); err != nil {
			return err
		}
	}
	return nil
}

// halfDead lists packs worth rewriting and notes since when they hold dead
// bytes.
func (p *pruner) halfDead(ctx context.Context) ([]catalog.PackUse, error) {
	var half, changed []catalog.PackUse
	err := p.tx.Packs(ctx, func(u *catalog.PackUse) error {
		if u.Condemned != 0 {
			return nil
		}
		dead := u.Dead
		if dead != u.DeadBytes {
			u.DeadBytes = dead
			if u.DeadSince == nil && dead > 0 {
				now := p.now
				u.DeadSince = &now
			}
			changed = append(changed, *u)
		}
		old := u.DeadSince != nil && p.now.Sub(*u.DeadSince) >= p.o.RewriteAge
		if dead > 0 && (float64(dead) >= p.o.RewriteDead*float64(u.Size) || old) {
			half = append(half, *u)
		}
		return nil
	})
	for i := 0; err == nil && i < len(changed); i++ {
		err = p.tx.Put(changed[i].Pack)
	}
	slices.SortStableFunc(half, func(a, b catalog.PackUse) int {
		return cmp.Compare(float64(b.DeadBytes)/float64(b.Size), float64(a.DeadBytes)/float64(a.Size))
	})
	return half, err
}

// copyLiving adds a pack's living chunks to the change's packer. The packer
// ignores a chunk that it has already.
func (p *pruner) copyLiving(ctx context.Context, row catalog.Pack) error {
	if p.change == nil {
		return nil
	}
	packer, err := p.change.Packer(ctx)
	if err != nil {
		return err
	}
	return p.tx.LiveFrames(ctx, row.ID, func(f *catalog.Frame) error {
		for _, c := range f.Chunks {
			ref := chunk.Ref{Kind: c.Kind, ID: c.ID}
			at := vault.Location{Pack: row.ID, PackSize: row.Size, FrameOffset: f.Offset, FrameStored: f.Stored,
				FramePlain: f.Plain, Method: f.Method, Offset: c.Offset, Size: c.Size}
			data, err := p.o.Reader.ProvenChunk(ctx, at, ref)
			if err != nil {
				return err
			}
			if err := packer.Add(ref, data); err != nil {
				return err
			}
		}
		return nil
	})
}

// remaining counts the dead bytes that are still stored.
func (p *pruner) remaining(ctx context.Context) error {
	p.report.Remaining, p.report.Between = 0, 0
	return p.tx.Packs(ctx, func(u *catalog.PackUse) error {
		p.report.Remaining += u.Dead
		if u.Condemned == 0 {
			p.report.Between += u.Dead
		}
		return nil
	})
}

// checkpoint writes the whole catalog as it is now, so that the journals
// before it, which still tell of expired mail, can be erased.
func (p *pruner) checkpoint(ctx context.Context) error {
	due := p.past.checkpoint.IsZero() || p.now.Sub(p.past.checkpoint) >= p.o.CheckpointEvery
	if !due {
		return nil
	}
	wanted := p.o.CheckpointEvery < 0 || len(p.past.superseded()) >= maxJournals
	if !wanted {
		var err error
		if wanted, err = p.expiredSince(ctx, p.past.checkpoint); err != nil || !wanted {
			return err
		}
	}
	past, err := readPast(ctx, p.h)
	if err != nil {
		return err
	}
	change, err := p.h.Begin(ctx, vault.CommitCheckpoint)
	if err != nil {
		return err
	}
	w, err := p.h.Vault.NewJournal(ctx, vault.ObjectCheckpoint)
	if err == nil {
		err = change.Tx.Dump(ctx, w.Line)
	}
	var objects []vault.Object
	if err == nil {
		objects, err = w.Close()
	}
	if err == nil {
		err = p.readBack(ctx, objects)
	}
	if err != nil {
		return errors.Join(err, change.Abandon())
	}
	change.Checkpoints(objects...)
	change.Condemn(past.superseded()...)
	if _, err := change.Commit(ctx, p.o.Now()); err != nil {
		return err
	}
	p.report.Checkpoint = true
	return nil
}

// readBack reads a checkpoint again before anything relies on it: the journals
// that it replaces will be erased.
func (p *pruner) readBack(ctx context.Context, objects []vault.Object) error {
	if _, err := p.h.Lines(ctx, objects, func([]byte) error { return nil }); err != nil {
		return fmt.Errorf("read back the checkpoint: %w", err)
	}
	return nil
}

// expiredSince tells whether any prune after the last checkpoint let mail
// expire.
func (p *pruner) expiredSince(ctx context.Context, last time.Time) (expired bool, err error) {
	err = p.h.Catalog.Runs(ctx, 0, func(r *catalog.Run) error {
		if expired = expired || (r.Kind == string(vault.CommitPrune) && r.Gone > 0); expired || r.Finished.Before(last) {
			return catalog.ErrStop
		}
		return nil
	})
	if errors.Is(err, catalog.ErrStop) {
		err = nil
	}
	return expired, err
}

// maxJournals is how many journals may pile up before a checkpoint is written
// although nothing has expired: replaying them all takes longer and longer.
const maxJournals = 200
