package replicate

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"salvor/internal/objstore"
	"salvor/internal/vault"
)

// copyObjects copies what the copy does not have. The report's counts of
// objects begin anew, but for what was copied.
func (c *copier) copyObjects(ctx context.Context) error {
	there, err := c.list(ctx)
	if err != nil {
		return err
	}
	var missing []vault.Object
	var bytes int64
	c.report.Present, c.report.Damaged = 0, []Damage{}
	for _, o := range c.source.objects {
		right, err := c.right(ctx, o, there)
		if err != nil {
			return err
		}
		if right {
			c.report.Present++
			continue
		}
		missing = append(missing, o)
		bytes += o.Size
	}
	c.report.Objects = len(c.source.objects)
	c.report.Present -= c.report.Copied // in an earlier pass
	if c.o.DryRun {
		c.report.Copied, c.report.Bytes = len(missing), bytes
		return nil
	}
	if err := c.fits(ctx, bytes); err != nil {
		return err
	}
	c.o.Meter.Stage("copy")
	c.o.Meter.Total(int64(len(missing)), bytes)
	return c.send(ctx, missing, there)
}

// list gives the objects that lie in the copy, with their sizes.
func (c *copier) list(ctx context.Context) (map[vault.Object]int64, error) {
	there := map[vault.Object]int64{}
	if c.to == nil {
		return there, nil
	}
	for _, kind := range []vault.ObjectKind{vault.ObjectPack, vault.ObjectJournal, vault.ObjectCheckpoint} {
		err := c.to.Objects(ctx, kind, func(s vault.Stored) error {
			if !s.Foreign {
				there[bare(s.Object)] = s.Size
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

// right tells whether the copy has an object, as far as is looked.
func (c *copier) right(ctx context.Context, o vault.Object, there map[vault.Object]int64) (bool, error) {
	size, ok := there[bare(o)]
	if !ok || size != o.Size {
		return false, nil
	}
	if !c.o.ReadData {
		return true, nil
	}
	err := c.to.CheckObject(ctx, o)
	var damage *vault.DamageError
	if errors.As(err, &damage) {
		return false, nil
	}
	return err == nil, err
}

// fits refuses to begin what the copy's disk cannot hold.
func (c *copier) fits(ctx context.Context, bytes int64) error {
	disk, ok := c.to.Store().(objstore.Space)
	if !ok || bytes == 0 {
		return nil
	}
	free, err := disk.Free(ctx)
	if err == nil && free < bytes {
		err = fmt.Errorf("%d bytes are to be copied, and %d are free there: %w", bytes, free, objstore.ErrFull)
	}
	return err
}

// send copies objects, several at a time.
func (c *copier) send(ctx context.Context, missing []vault.Object, there map[vault.Object]int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := make(chan vault.Object)
	for range c.o.Workers {
		wg.Go(func() {
			for o := range work {
				err := c.sendOne(ctx, o)
				mu.Lock()
				_, broken := there[bare(o)]
				if err = c.note(o, broken, err); err != nil {
					cancel(err)
				}
				mu.Unlock()
			}
		})
	}
feed:
	for _, o := range missing {
		select {
		case work <- o:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

func (c *copier) sendOne(ctx context.Context, o vault.Object) error {
	if err := c.o.Pace.Wait(ctx, 1, o.Size); err != nil {
		return err
	}
	b, err := c.from.Fetch(ctx, o)
	if err != nil {
		return err
	}
	if err := c.to.Place(ctx, o, b); err != nil {
		return &placeError{err}
	}
	return nil
}

// placeError is an error of the copy: no damage to the source.
type placeError struct{ err error }

func (e *placeError) Error() string { return e.err.Error() }
func (e *placeError) Unwrap() error { return e.err }

// note counts what became of one object. What it returns ends the copy.
func (c *copier) note(o vault.Object, broken bool, err error) error {
	var damage *vault.DamageError
	var place *placeError
	switch {
	case err == nil:
		c.report.Copied++
		c.report.Bytes += o.Size
		if broken {
			c.report.Mended = append(c.report.Mended, o.Name())
		}
	case errors.As(err, &place):
		return err
	case errors.As(err, &damage):
		c.report.Damaged = append(c.report.Damaged, Damage{Object: o.Name(), What: damage.Error()})
	default:
		return err
	}
	c.o.Meter.Add(1, o.Size)
	return nil
}

// eraseErased erases in the copy what the source has erased, according to
// commits that the copy holds, when readers of the copy have had the grace to
// learn of it.
func (c *copier) eraseErased(ctx context.Context) error {
	there, err := c.list(ctx)
	if err != nil {
		return err
	}
	due, err := c.due(ctx)
	if err != nil {
		return err
	}
	for o, by := range c.source.erased {
		size, ok := there[o]
		if !ok {
			continue
		}
		if !due(by) || c.o.KeepErased {
			c.report.ToErase++
			c.report.ToEraseBytes += size
			continue
		}
		if !c.o.DryRun {
			err := c.to.Delete(ctx, o)
			var retained *objstore.RetainedError
			if errors.As(err, &retained) { // a later copy erases it
				c.report.ToErase++
				c.report.ToEraseBytes += size
				continue
			}
			if err != nil {
				return err
			}
		}
		c.report.Erased++
		c.report.ErasedBytes += size
	}
	return nil
}

// due tells of the number of a condemning commit whether it has lain in the
// copy for the grace, by the copy's own clock: when a restore from the copy
// began before that, it may still read what the commit condemns.
func (c *copier) due(ctx context.Context) (func(by uint64) bool, error) {
	never := func(uint64) bool { return false }
	if c.to == nil {
		return never, nil
	}
	now, err := c.o.Now(), error(nil)
	if !c.o.DryRun { // asking a directory for its time writes a file
		now, err = c.to.Now(ctx)
	}
	if errors.Is(err, vault.ErrNoClock) {
		return never, nil
	}
	if err != nil {
		return nil, err
	}
	arrived, err := c.to.Arrivals(ctx)
	if err != nil {
		return nil, err
	}
	return func(by uint64) bool {
		if by == 0 || by > uint64(len(arrived)) {
			return false
		}
		return c.o.Grace < 0 || !now.Before(arrived[by-1].Add(c.o.Grace))
	}, nil
}
