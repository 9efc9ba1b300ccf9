package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// asidePrefix is where a repair puts what was damaged (section "Damaged
// objects"): nothing is thrown away that somebody may still read a part of.
const asidePrefix = "damaged/"

// replace puts good bytes under a name whose object is missing or damaged.
func (v *Vault) replace(ctx context.Context, name string, good []byte) error {
	err := v.store.Put(ctx, name, good)
	if !errors.Is(err, objstore.ErrExists) && !unreadable(err) {
		return err
	}
	if err := v.putAside(ctx, name); err != nil {
		return fmt.Errorf("put aside the damaged %s: %w", name, err)
	}
	return v.store.Put(ctx, name, good)
}

// putAside gives a damaged object another name.
func (v *Vault) putAside(ctx context.Context, name string) error {
	v.mu.Lock()
	v.aside = nil
	v.mu.Unlock()
	aside := asidePrefix + name + "."
	if m, ok := v.store.(objstore.Mover); ok {
		return m.Move(ctx, name, aside+randomHex(8))
	}
	b, err := v.store.Get(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b) // so that a second try makes no second copy
	if err := v.store.Put(ctx, aside+hex.EncodeToString(sum[:8]), b); err != nil {
		return err
	}
	return v.store.Delete(ctx, name)
}

// unreadable tells whether the medium below does not give an object's bytes:
// that is damage to this object, not a store that is away.
func unreadable(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, objstore.ErrDamaged)
}

// asides gives the names of what was put aside of an object. It lists all of it
// once: a prune deletes thousands of objects, of which nothing was put aside. What
// another process puts aside meanwhile is of no object that is to be deleted.
func (v *Vault) asides(ctx context.Context, name string) ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.aside == nil {
		found := map[string][]string{}
		err := v.store.List(ctx, asidePrefix, func(i objstore.Info) error {
			of := strings.TrimPrefix(i.Name, asidePrefix)
			of = of[:max(0, strings.LastIndexByte(of, '.'))]
			found[of] = append(found[of], i.Name)
			return nil
		})
		if err != nil {
			return nil, err
		}
		v.aside = found
	}
	return v.aside[name], nil
}

// MendChain puts certificates and commits from a copy of the vault in the place
// of damaged or missing ones, where they fit between their neighbours, and
// names them. The end of the chain is not its business: a vault that lost its
// last commits was rolled back. A chain that is whole costs one reading of it.
func (v *Vault) MendChain(ctx context.Context, from *Vault) (mended []string, err error) {
	if v.sound(ctx) {
		return nil, nil
	}
	mended, err = from.CopyKeys(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("mend keys: %w", err)
	}
	if v.sound(ctx) {
		return mended, nil
	}
	whole := map[uint64]*Commit{}
	err = from.Commits(ctx, Head{}, func(c *Commit) error {
		whole[c.Number] = c
		return nil
	})
	if err != nil {
		return mended, fmt.Errorf("mend commits: the other copy: %w", err)
	}
	own, last, err := v.readableCommits(ctx)
	if err != nil {
		return mended, err
	}
	var previous chunk.ID
	for n := uint64(1); n <= last; n++ {
		c := own[n]
		if c == nil {
			c = whole[n]
			next := own[n+1]
			if c == nil || c.Previous != previous || next != nil && next.Previous != c.Hash {
				return mended, nil // following the chain says what is wrong with it
			}
			if err := v.mendCommit(ctx, from, c); err != nil {
				return mended, err
			}
			mended = append(mended, commitName(n))
		}
		previous = c.Hash
	}
	return mended, nil
}

// sound tells whether the whole chain can be followed. Why it cannot shows when
// it is followed again.
func (v *Vault) sound(ctx context.Context) bool {
	return v.Commits(ctx, Head{}, func(*Commit) error { return nil }) == nil
}

// readableCommits gives the commits that are valid by themselves, and the
// highest number of all.
func (v *Vault) readableCommits(ctx context.Context) (own map[uint64]*Commit, last uint64, err error) {
	own = map[uint64]*Commit{}
	err = v.store.List(ctx, commitsPrefix, func(i objstore.Info) error {
		n, err := parseCommitName(i.Name)
		if err != nil {
			return err
		}
		last = n
		c, err := v.readCommit(ctx, i)
		var damage *DamageError
		switch {
		case err == nil:
			own[n] = c
		case errors.As(err, &damage), errors.Is(err, ErrNotAuthentic): // to be mended
		default:
			return err
		}
		return nil
	})
	return own, last, err
}

func (v *Vault) mendCommit(ctx context.Context, from *Vault, c *Commit) error {
	b, err := from.commitBytes(ctx, c)
	if err != nil {
		return err
	}
	return v.replace(ctx, commitName(c.Number), b)
}
