package vault

import (
	"context"
	"fmt"
	"maps"

	"salvor/internal/objstore"
)

// A revocation is an object of its own that no commit names: who has stolen a
// writer key and writes to the store could remove it, and write on. So whoever
// follows the chain remembers the revocations it has seen, as it does its head.
// And it may take back commits that were followed before it came.

// KnowRevoked says which revocations were seen before: writers, and the number
// of the last commit that is to be believed of each. Where one of them is gone,
// Commits is ErrRolledBack. No commit that was followed before may be one that
// they take back.
func (v *Vault) KnowRevoked(known map[WriterID]uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := maps.Clone(v.revoked)
	if all == nil {
		all = map[WriterID]uint64{}
	}
	maps.Copy(all, known)
	v.revoked = all
}

// Revoked gives the revocations that KnowRevoked named, and those under which
// Commits has followed the chain to its end since.
func (v *Vault) Revoked() map[WriterID]uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revoked
}

// checkRevoked compares the known revocations with those in the vault, and
// gives the latter. One that is new must not take back a commit that was
// followed already.
func (v *Vault) checkRevoked(ctx context.Context, followed []objstore.Info) (map[WriterID]uint64, error) {
	writers, err := v.loadWriters(ctx)
	if err != nil {
		return nil, err
	}
	known, found := v.Revoked(), map[WriterID]uint64{}
	for id, w := range writers {
		if w.Revoked != nil {
			found[id] = w.Revoked.Last
		}
	}
	for id, last := range known {
		if now, ok := found[id]; !ok || now > last {
			return nil, fmt.Errorf("follow commits: %w: writer %s is known to be revoked after commit %d, and the vault does not say so any more; "+
				"hint: `salvor key revoke %s --last %d` says it again", ErrRolledBack, id, last, id, last)
		}
	}
	for id, last := range found {
		if before, ok := known[id]; ok && before == last || last >= uint64(len(followed)) {
			continue
		}
		if err := v.refuseTakenBack(ctx, writers[id], followed[last:]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// refuseTakenBack looks for commits of a writer among those that its revocation
// takes back.
func (v *Vault) refuseTakenBack(ctx context.Context, w *writer, commits []objstore.Info) error {
	for _, i := range commits {
		b, err := getListed(ctx, v.store, i, maxTextSize)
		if err != nil {
			return err
		}
		c, _, err := parseCommit(i.Name, b)
		if err != nil {
			return err
		}
		if c.Writer != w.Writer {
			continue
		}
		if err := w.allow(c); err != nil {
			return fmt.Errorf("verify %s: %w", i.Name, err)
		}
	}
	return nil
}
