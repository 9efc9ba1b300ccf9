package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// ErrDiverged says that two copies of a vault do not belong to the same
// history any more: each has commits that the other has not.
var ErrDiverged = errors.New("the two have gone different ways")

// ErrReplica says that a vault is a copy: a commit made there would part it from
// the vault that it follows.
var ErrReplica = errors.New("this is a copy of a vault, and only copying writes to it")

// replicaName is the object that makes a vault a copy (section "Copies").
const replicaName = "replica"

func (v *Vault) replicaMark() []byte { return []byte("salvor replica 1\nvault " + v.config.ID + "\n") }

// IsReplica tells whether the vault is a copy that follows another store.
func (v *Vault) IsReplica(ctx context.Context) (bool, error) {
	found := false
	err := v.store.List(ctx, replicaName, func(i objstore.Info) error {
		found = found || i.Name == replicaName
		return nil
	})
	return found, err
}

// RefuseReplica is ErrReplica when the vault is a copy.
func (v *Vault) RefuseReplica(ctx context.Context) error {
	copied, err := v.IsReplica(ctx)
	if err == nil && copied {
		err = ErrReplica
	}
	return err
}

// Promote makes a copy a vault of its own: it may be written to, and nothing
// is copied to it any more. nil when it is one already.
func (v *Vault) Promote(ctx context.Context) error { return v.store.Delete(ctx, replicaName) }

// OpenReplica opens the copy of v in another store: ErrNoVault where there is
// none, ErrVaultExists where a vault lies that is no copy of this one, or what
// is left of one.
func (v *Vault) OpenReplica(ctx context.Context, st objstore.Store) (*Vault, error) {
	to, err := Open(ctx, st, OpenOptions{})
	if errors.Is(err, ErrNoVault) {
		if left := refuseExisting(ctx, st); left != nil {
			return nil, left
		}
	}
	if err != nil {
		return nil, err
	}
	if to.config.ID != v.config.ID || to.config.Root != v.config.Root {
		return nil, fmt.Errorf("%w: it has id %s, this one %s", ErrVaultExists, to.config.ID, v.config.ID)
	}
	copied, err := to.IsReplica(ctx)
	if err == nil && !copied {
		err = fmt.Errorf("%w: it is no copy (any more), but written to by itself", ErrVaultExists)
	}
	return to, err
}

// CreateReplica begins a copy of v in an empty store that has proven to create
// only if absent: the copy may have to take the place of v some day.
func (v *Vault) CreateReplica(ctx context.Context, st objstore.Store) (*Vault, error) {
	if err := refuseExisting(ctx, st); err != nil {
		return nil, err
	}
	if err := proveConditional(ctx, st); err != nil {
		return nil, err
	}
	b, err := getUnlisted(ctx, v.store, configName, maxSmallText)
	if err != nil {
		return nil, err
	}
	if _, err := parseConfig(b); err != nil {
		return nil, err
	}
	// The mark first: at no moment it is a vault that somebody may write to.
	if err := st.Put(ctx, replicaName, v.replicaMark()); err != nil {
		return nil, err
	}
	if err := st.Put(ctx, configName, b); err != nil {
		return nil, err
	}
	return v.OpenReplica(ctx, st)
}

// CopyKeys copies the certificates and revocations that to does not have, all
// verified, and puts them in the place of damaged ones. It names those that it
// wrote. ErrDiverged when to has a sound one that says something else.
func (v *Vault) CopyKeys(ctx context.Context, to *Vault) (written []string, err error) {
	defer to.forgetWriters()
	v.forgetWriters()
	if _, err := v.loadWriters(ctx); err != nil {
		return nil, err
	}
	var names []string
	err = v.store.List(ctx, keysPrefix, func(i objstore.Info) error {
		names = append(names, i.Name)
		return nil
	})
	for i := 0; err == nil && i < len(names); i++ {
		var did bool
		did, err = v.copyKey(ctx, to, names[i])
		if did {
			written = append(written, names[i])
		}
	}
	return written, err
}

func (v *Vault) copyKey(ctx context.Context, to *Vault, name string) (bool, error) {
	b, err := getUnlisted(ctx, v.store, name, maxSmallText)
	if err != nil {
		return false, err
	}
	if err := v.checkKey(name, b); err != nil { // it may be new since it was verified
		return false, err
	}
	there, err := to.store.Get(ctx, name, 0, -1)
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return true, to.store.Put(ctx, name, b)
	case err == nil && string(there) == string(b):
		return false, nil
	case err == nil && v.checkKey(name, there) == nil:
		return false, fmt.Errorf("%s: %w: both are signed by the root key, and they differ", name, ErrDiverged)
	}
	return true, to.replace(ctx, name, b)
}

// checkKey verifies one certificate or revocation by itself.
func (v *Vault) checkKey(name string, b []byte) error {
	id, revoked, err := parseKeyName(name)
	if err != nil {
		return err
	}
	if revoked {
		_, err = v.parseRevocation(name, id, b)
	} else {
		_, err = v.parseCert(name, id, b)
	}
	return err
}

// CopyCommit copies a commit that Commits gave, after everything that it names.
// ErrDiverged when to has another one of that number.
func (v *Vault) CopyCommit(ctx context.Context, to *Vault, c *Commit) error {
	name := commitName(c.Number)
	b, err := v.commitBytes(ctx, c)
	if err != nil {
		return err
	}
	err = to.store.Put(ctx, name, b)
	if errors.Is(err, objstore.ErrExists) {
		return fmt.Errorf("write %s: %w", name, ErrDiverged)
	}
	return err
}

// commitBytes reads again what Commits has verified.
func (v *Vault) commitBytes(ctx context.Context, c *Commit) ([]byte, error) {
	name := commitName(c.Number)
	b, err := getUnlisted(ctx, v.store, name, maxTextSize)
	if err == nil && chunk.Sum(b) != c.Hash {
		err = damagef(name, "the bytes that were verified a moment ago")
	}
	return b, err
}

// Fetch reads a whole object and compares it with its size and its name. It
// needs no identity. Damage is a *DamageError.
func (v *Vault) Fetch(ctx context.Context, o Object) ([]byte, error) { return v.fetch(ctx, o) }

// Place stores the bytes that Fetch gave, of this vault or of a copy. Damaged
// ones in their place are put aside.
func (v *Vault) Place(ctx context.Context, o Object, b []byte) error {
	if int64(len(b)) != o.Size || chunk.Sum(b) != o.ID {
		return damagef(o.Name(), "the SHA-256 that is its name")
	}
	return v.replace(ctx, o.Name(), b)
}

// Arrivals says when each commit was stored here, by the store's clock: the
// first one is commit 1's. In a copy that is later than the commit's own time.
func (v *Vault) Arrivals(ctx context.Context) ([]time.Time, error) {
	found, err := v.listCommits(ctx)
	if err != nil {
		return nil, err
	}
	at := make([]time.Time, len(found))
	for n, i := range found {
		at[n] = i.Modified
	}
	return at, nil
}
