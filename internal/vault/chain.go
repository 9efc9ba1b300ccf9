package vault

import (
	"context"
	"errors"
	"fmt"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// Commits gives every commit after a known head, oldest first, each verified:
// its number and vault, the hash of the one before, the writer's certificate,
// role and signature. Head{} begins with the first. It is ErrRolledBack when
// the known head is not in the vault as it was, or a known revocation is gone.
// The commits that were given before an error are sound.
func (v *Vault) Commits(ctx context.Context, after Head, yield func(*Commit) error) error {
	v.forgetWriters() // a revocation may have come since
	found, err := v.listCommits(ctx)
	if err != nil {
		return err
	}
	if err := v.checkKnown(ctx, after, found); err != nil {
		return err
	}
	revoked, err := v.checkRevoked(ctx, found[:after.Number])
	if err != nil {
		return err
	}
	previous := after.Hash
	for _, i := range found[after.Number:] {
		c, err := v.readCommit(ctx, i)
		if err != nil {
			return err
		}
		if c.Previous != previous {
			return fmt.Errorf("verify %s: %w: it does not follow the commit before it", i.Name, ErrNotAuthentic)
		}
		previous = c.Hash
		if err := yield(c); err != nil {
			return err
		}
	}
	v.KnowRevoked(revoked)
	return nil
}

// Head gives the newest commit: its own signature is verified, not the chain
// before it. Number 0 when there is none.
func (v *Vault) Head(ctx context.Context) (Head, error) {
	found, err := v.listCommits(ctx)
	if err != nil || len(found) == 0 {
		return Head{Vault: v.config.ID}, err
	}
	c, err := v.readCommit(ctx, found[len(found)-1])
	if err != nil {
		return Head{}, err
	}
	return c.Head(), nil
}

// listCommits lists the commits' names and sizes: found[n] is commit n+1. A
// gap means that somebody took a commit away.
func (v *Vault) listCommits(ctx context.Context) ([]objstore.Info, error) {
	var found []objstore.Info
	err := v.store.List(ctx, commitsPrefix, func(i objstore.Info) error {
		n, err := parseCommitName(i.Name)
		if err != nil {
			return err
		}
		if want := uint64(len(found)) + 1; n != want {
			return fmt.Errorf("follow commits: %w", &DamageError{Object: commitName(want), Offset: -1,
				Expected: "the commit before " + i.Name, Err: objstore.ErrNotExist})
		}
		found = append(found, i)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list commits: %w", err)
	}
	return found, nil
}

// checkKnown compares a head that somebody knows with what the vault holds.
func (v *Vault) checkKnown(ctx context.Context, known Head, found []objstore.Info) error {
	if known.Vault != "" && known.Vault != v.config.ID {
		return fmt.Errorf("follow commits: %w: the known head is of vault %s, this is %s", ErrRolledBack, known.Vault, v.config.ID)
	}
	if known.Number == 0 {
		return nil
	}
	if known.Number > uint64(len(found)) {
		return fmt.Errorf("follow commits: %w: commit %d is known, the vault ends with %d", ErrRolledBack, known.Number, len(found))
	}
	i := found[known.Number-1]
	b, err := getListed(ctx, v.store, i, maxTextSize)
	if err != nil {
		return fmt.Errorf("follow commits: %w", err)
	}
	if got := chunk.Sum(b); got != known.Hash {
		return fmt.Errorf("follow commits: %w: %s has hash %s, known is %s", ErrRolledBack, i.Name, got, known.Hash)
	}
	return nil
}

// readCommit reads one commit and verifies all but its place in the chain.
func (v *Vault) readCommit(ctx context.Context, i objstore.Info) (*Commit, error) {
	b, err := getListed(ctx, v.store, i, maxTextSize)
	if err != nil {
		return nil, err
	}
	c, t, err := parseCommit(i.Name, b)
	if err != nil {
		return nil, err
	}
	if c.Vault != v.config.ID || commitName(c.Number) != i.Name {
		return nil, fmt.Errorf("verify %s: %w: it is commit %d of vault %s", i.Name, ErrNotAuthentic, c.Number, c.Vault)
	}
	w, err := v.writer(ctx, c.Writer)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", i.Name, err)
	}
	if err := t.verify(w.public, "writer "+w.Writer.String()); err != nil {
		return nil, err
	}
	if err := w.allow(c); err != nil {
		return nil, fmt.Errorf("verify %s: %w", i.Name, err)
	}
	return c, nil
}

// Commit makes c the commit after base, which is the head that the caller has
// followed the chain to. The caller fills Kind, Time and the lists, after
// everything in them is durable; the rest is filled here. ErrLostRace: another
// writer made that commit; follow the chain and start over.
func (v *Vault) Commit(ctx context.Context, w *HostKey, base Head, c *Commit) (Head, error) {
	c.Vault, c.Number, c.Previous, c.Writer = v.config.ID, base.Number+1, base.Hash, w.ID()
	name := commitName(c.Number)
	if err := v.checkBase(ctx, base); err != nil {
		return Head{}, fmt.Errorf("write %s: %w", name, err)
	}
	if err := v.mayWrite(ctx, c); err != nil {
		return Head{}, fmt.Errorf("write %s: %w", name, err)
	}
	b := c.marshal(w.writer)
	if len(b) > maxTextSize {
		return Head{}, fmt.Errorf("write %s: it names too many objects for one commit (%d bytes)", name, len(b))
	}
	err := v.store.Put(ctx, name, b)
	if errors.Is(err, objstore.ErrExists) {
		return Head{}, fmt.Errorf("write %s: %w", name, ErrLostRace)
	}
	if err != nil {
		return Head{}, fmt.Errorf("write %s: %w", name, err)
	}
	c.Hash = chunk.Sum(b)
	return c.Head(), nil
}

// checkBase makes sure that base is the last commit, as it was: a commit after
// one that was rolled back could never be verified, and one in a gap would hide
// the loss.
func (v *Vault) checkBase(ctx context.Context, base Head) error {
	found, err := v.listCommits(ctx)
	if err != nil {
		return err
	}
	if uint64(len(found)) > base.Number {
		return fmt.Errorf("%w: the vault has %d commits already", ErrLostRace, len(found))
	}
	return v.checkKnown(ctx, base, found)
}

// MayCommit is ErrNotAuthentic unless w may write a commit of this kind on top
// of base, so that nobody works all night for a commit that will be refused.
func (v *Vault) MayCommit(ctx context.Context, w *HostKey, base Head, kind CommitKind) error {
	writer, err := v.writer(ctx, w.ID())
	if err == nil {
		err = writer.allow(&Commit{Kind: kind, Number: base.Number + 1})
	}
	if err != nil {
		return fmt.Errorf("begin a %s commit: %w", kind, err)
	}
	return nil
}

// mayWrite refuses what readers would refuse, before it blocks the chain.
func (v *Vault) mayWrite(ctx context.Context, c *Commit) error {
	if err := v.RefuseReplica(ctx); err != nil {
		return err
	}
	v.forgetWriters()
	writer, err := v.writer(ctx, c.Writer)
	if err != nil {
		return err
	}
	if err := writer.allow(c); err != nil {
		return err
	}
	return c.check()
}
