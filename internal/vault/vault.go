package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"filippo.io/age"

	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/objstore/locked"
)

// maxSmallText bounds config, certificates and revocations, in bytes.
const maxSmallText = 1 << 20

// A Vault is an opened vault. It is safe for concurrent use.
type Vault struct {
	store      objstore.Store // locks lies over it where there are locks
	locks      *locked.Store  // nil: nothing is locked
	config     Config
	recipients []age.Recipient

	mu      sync.Mutex
	writers map[WriterID]*writer // certificates that were verified, see writers
	revoked map[WriterID]uint64  // revocations that are known, see KnowRevoked
	aside   map[string][]string  // see asides; nil: not listed
}

// CreateOptions says what vault Create makes.
type CreateOptions struct {
	Root       *RootKey
	Recipients []string
	Cutting    chunk.Params
	PackSize   int64     // 0: DefaultPackSize
	Created    time.Time // zero: now
	Lock       LockRule  // zero: objects are not locked
}

// Create makes an empty vault in a store: ErrVaultExists where there is one
// or the remains of one, ErrNotConditional where the store would overwrite,
// ErrNotLocking where it does not lock what it should.
func Create(ctx context.Context, st objstore.Store, o CreateOptions) (*Vault, error) {
	c := newConfig(o)
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	st, err := c.lockNew(ctx, st)
	if err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	if err := refuseExisting(ctx, st); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	if err := proveConditional(ctx, st); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	err = st.Put(ctx, configName, c.marshal(o.Root))
	if errors.Is(err, objstore.ErrExists) {
		return nil, fmt.Errorf("create vault: %w: somebody made one at the same moment", ErrVaultExists)
	}
	if err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	v, err := newVault(ctx, st, c)
	if err == nil && v.locks != nil {
		if err = v.locks.Prove(ctx, configName); err != nil {
			// Without a lock it can go, and nothing is left of the attempt.
			err = errors.Join(err, st.Delete(ctx, configName))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	return v, nil
}

func newConfig(o CreateOptions) Config {
	c := Config{ID: randomHex(vaultIDLen / 2), Version: 1, Created: o.Created.UTC(), Root: o.Root.Public(),
		Recipients: o.Recipients, Cutting: o.Cutting, PackSize: o.PackSize, Lock: o.Lock}
	if c.PackSize == 0 {
		c.PackSize = DefaultPackSize
	}
	if o.Created.IsZero() {
		c.Created = time.Now().UTC()
	}
	return c
}

// refuseExisting looks for a vault, also for one that lost its config: a new
// config would make its objects look like garbage.
func refuseExisting(ctx context.Context, st objstore.Store) error {
	errFound := errors.New("found")
	for _, prefix := range []string{configName, "commits/", "keys/", "packs/"} {
		err := st.List(ctx, prefix, func(i objstore.Info) error {
			if prefix == configName && i.Name != configName {
				return nil
			}
			return errFound
		})
		if errors.Is(err, errFound) {
			return fmt.Errorf("%w: the store holds %s", ErrVaultExists, prefix)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const probePrefix = leasePrefix + "probe-"

// proveConditional writes a probe twice with different bytes. A store that
// accepts both would let one writer's commit replace another's.
func proveConditional(ctx context.Context, st objstore.Store) error {
	name := probePrefix + randomHex(8)
	first, second := []byte("first "+randomHex(8)), []byte("second "+randomHex(8))
	if err := st.Put(ctx, name, first); err != nil {
		return fmt.Errorf("write a probe: %w", err)
	}
	// A credential that may not delete is fine: the probe stays.
	defer st.Delete(ctx, name)
	err := st.Put(ctx, name, second)
	if err == nil {
		return fmt.Errorf("write a probe twice: %w (for S3: use a server that honours If-None-Match)", ErrNotConditional)
	}
	if !errors.Is(err, objstore.ErrExists) {
		return fmt.Errorf("write a probe twice: %w", err)
	}
	got, err := st.Get(ctx, name, 0, -1)
	if err != nil {
		return fmt.Errorf("read the probe: %w", err)
	}
	if string(got) != string(first) {
		return fmt.Errorf("read the probe: %w: the second write went through", ErrNotConditional)
	}
	return nil
}

// OpenOptions says which vault is expected. A host takes them from its key
// (HostKey.Pin): recipients of another root must never be encrypted to.
type OpenOptions struct {
	Root RootPublic // zero: the one that config names
	ID   string     // "": any
}

// Open reads the config of a vault: ErrNoVault, ErrVersion, or
// ErrNotAuthentic when it is not the expected one.
func Open(ctx context.Context, st objstore.Store, o OpenOptions) (*Vault, error) {
	if c, ok, err := lockedConfig(ctx, st, o); ok || err != nil {
		if err != nil {
			return nil, fmt.Errorf("open vault: %w", err)
		}
		return newVault(ctx, st, c)
	}
	b, err := getUnlisted(ctx, st, configName, maxSmallText)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, fmt.Errorf("%w: no config object; make one with salvor init", ErrNoVault)
	}
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	c, err := parseConfig(b)
	if err == nil {
		err = o.expect(c)
	}
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return newVault(ctx, st, c)
}

// expect is ErrNotAuthentic unless c is of the expected vault.
func (o OpenOptions) expect(c Config) error {
	if !o.Root.IsZero() && o.Root != c.Root {
		return fmt.Errorf("%w: its config is signed by %s, expected %s", ErrNotAuthentic, c.Root, o.Root)
	}
	if o.ID != "" && o.ID != c.ID {
		return fmt.Errorf("%w: it has id %s, expected %s", ErrNotAuthentic, c.ID, o.ID)
	}
	return nil
}

func newVault(ctx context.Context, st objstore.Store, c Config) (*Vault, error) {
	recipients, err := c.AgeRecipients()
	if err != nil {
		return nil, err
	}
	v := &Vault{store: st, config: c, recipients: recipients}
	return v, v.useLocks(ctx)
}

// Config is the vault's configuration.
func (v *Vault) Config() Config { return v.config }

// ID is the vault's id.
func (v *Vault) ID() string { return v.config.ID }

// Store is where the vault lies.
func (v *Vault) Store() objstore.Store { return v.store }

// Now is the time by the store's own clock, for ages of objects; ErrNoClock
// where the store has none.
func (v *Vault) Now(ctx context.Context) (time.Time, error) {
	c, ok := v.store.(objstore.Clock)
	if !ok {
		return time.Time{}, ErrNoClock
	}
	return c.Now(ctx)
}

// getUnlisted reads a whole object whose size no listing has told.
func getUnlisted(ctx context.Context, st objstore.Store, name string, max int64) ([]byte, error) {
	if s, ok := st.(objstore.Stater); ok {
		info, err := s.Stat(ctx, name)
		if err != nil {
			return nil, err
		}
		return getListed(ctx, st, info, max)
	}
	b, err := st.Get(ctx, name, 0, -1)
	if err == nil && int64(len(b)) > max {
		return nil, damagef(name, "at most %d bytes, not %d", max, len(b))
	}
	return b, err
}

// getListed reads an object of a known size, unless that is over max bytes.
func getListed(ctx context.Context, st objstore.Store, i objstore.Info, max int64) ([]byte, error) {
	if i.Size < 0 || i.Size > max {
		return nil, damagef(i.Name, "at most %d bytes, not %d", max, i.Size)
	}
	if i.Size == 0 {
		return nil, damagef(i.Name, "more than nothing")
	}
	b, err := st.Get(ctx, i.Name, 0, i.Size)
	if err != nil {
		return nil, readError(i.Name, err)
	}
	return b, nil
}

func isShort(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
