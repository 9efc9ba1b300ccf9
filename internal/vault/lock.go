package vault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"salvor/internal/objstore"
	"salvor/internal/objstore/locked"
)

// Bounds of LockRule.Days. A nightly prune, which may fail now and then, must be
// able to extend the locks in time; and what was locked by mistake in the mode
// compliance stays for so long.
const (
	MinLockDays = 3
	MaxLockDays = 3650
)

// ErrNotLocking says that a store does not lock the objects that it should.
var ErrNotLocking = locked.ErrNotLocking

// A LockRule says how the objects of a vault are locked in their store (section
// "locked objects"). The zero value is not at all.
type LockRule struct {
	Mode objstore.LockMode
	Days int // of 24 hours, from putting or extending on
}

// String is "MODE DAYS".
func (r LockRule) String() string { return string(r.Mode) + " " + strconv.Itoa(r.Days) }

// ParseLockRule reads what String gives.
func ParseLockRule(s string) (LockRule, error) {
	mode, digits, _ := strings.Cut(s, " ")
	days, err := strconv.Atoi(digits)
	r := LockRule{objstore.LockMode(mode), days}
	if err != nil || r.String() != s {
		return LockRule{}, fmt.Errorf("lock %.60q: want a mode and days", s)
	}
	return r, r.Validate()
}

// Validate says what is wrong with a rule that is not zero.
func (r LockRule) Validate() error {
	if r.Mode != objstore.Governance && r.Mode != objstore.Compliance {
		return fmt.Errorf("lock mode %.20q: want %s or %s", string(r.Mode), objstore.Governance, objstore.Compliance)
	}
	if r.Days < MinLockDays || r.Days > MaxLockDays {
		return fmt.Errorf("lock for %d days: want %d to %d", r.Days, MinLockDays, MaxLockDays)
	}
	return nil
}

// Time is how long a lock lasts.
func (r LockRule) Time() time.Duration { return time.Duration(r.Days) * 24 * time.Hour }

func (c Config) validateLock() error {
	if c.Lock == (LockRule{}) {
		return nil
	}
	if len(c.Targets) > 0 {
		return errors.New("locked objects cannot be spread over several targets")
	}
	return c.Lock.Validate()
}

// lockedName tells which objects are locked: all that a commit names, commits
// themselves, and what they are verified by. Leases, and what repairs put aside,
// have to go at any time.
func lockedName(name string) bool {
	return !strings.HasPrefix(name, leasePrefix) && !strings.HasPrefix(name, asidePrefix) && name != replicaName
}

// over lays the rule over a store; ErrNotLocking where that cannot lock at all.
func (r LockRule) over(st objstore.Store) (*locked.Store, error) {
	s, ok := locked.New(st, locked.Rules{Mode: r.Mode, For: r.Time(), Locked: lockedName,
		Sum: func(name string) ([32]byte, bool) {
			o, ok := objectOf(name)
			return o.ID, ok
		}})
	if !ok {
		return nil, fmt.Errorf("%w: it has no clock, or no versions", ErrNotLocking)
	}
	return s, nil
}

// lockNew is the store as a new vault will use it.
func (c Config) lockNew(ctx context.Context, st objstore.Store) (objstore.Store, error) {
	if c.Lock.Days == 0 {
		return st, nil
	}
	if err := CanLock(ctx, st); err != nil {
		return nil, err
	}
	return c.Lock.over(st)
}

// CanLock is ErrNotLocking when a store says that it cannot lock objects.
func CanLock(ctx context.Context, st objstore.Store) error {
	bucket, ok := st.(objstore.Locker)
	if !ok {
		return fmt.Errorf("%w: only an S3 bucket with object lock does", ErrNotLocking)
	}
	can, err := bucket.CanLock(ctx)
	if err == nil && !can {
		err = fmt.Errorf("%w: the bucket has no object lock", ErrNotLocking)
	}
	return err
}

// useLocks locks from now on what is put, in a vault that wants that. A copy in
// a store that cannot lock is used without: see LocksMissing.
func (v *Vault) useLocks(ctx context.Context) error {
	if l, ok := v.store.(*locked.Store); ok {
		v.locks = l
	}
	bucket, ok := v.store.(objstore.Locker)
	if v.config.Lock.Days == 0 || v.locks != nil || !ok {
		return nil
	}
	can, err := bucket.CanLock(ctx)
	if errors.Is(err, objstore.ErrDenied) {
		can, err = true, nil // putting will tell
	}
	if err != nil || !can {
		return err
	}
	if v.locks, err = v.config.Lock.over(v.store); err == nil {
		v.store = v.locks
	}
	return err
}

// LocksMissing tells whether the vault should be locked and is not, because its
// store cannot: it is a copy, or came from one.
func (v *Vault) LocksMissing() bool { return v.config.Lock.Days > 0 && v.locks == nil }

// lockedConfig gives the oldest config of a vault with locks that the store
// still has and that is the expected one; ok is false when it has none. What
// somebody put on top of it, or hid it with, is passed over.
func lockedConfig(ctx context.Context, st objstore.Store, o OpenOptions) (c Config, ok bool, err error) {
	bucket, is := st.(objstore.Versioner)
	if !is {
		return c, false, nil
	}
	var all []objstore.Version
	err = bucket.Versions(ctx, configName, func(v objstore.Version) error {
		if v.Name == configName && !v.Marker && v.Size <= maxSmallText {
			all = append(all, v)
		}
		return nil
	})
	if err != nil { // without versions, or without the right to list them: it is read as it is
		return c, false, ctx.Err()
	}
	for i := len(all) - 1; i >= 0; i-- {
		b, err := bucket.GetVersion(ctx, all[i], 0, -1)
		if err != nil {
			return c, false, ctx.Err()
		}
		if c, err = parseConfig(b); err == nil && c.Lock.Days > 0 && o.expect(c) == nil {
			return c, true, nil
		}
	}
	return Config{}, false, nil
}

// Retained is until when the locks of an object keep it from being deleted; a
// moment that is past, or zero, when nothing does.
func (v *Vault) Retained(ctx context.Context, o Object) (time.Time, error) {
	if v.locks == nil {
		return time.Time{}, nil
	}
	return v.locks.Retained(ctx, o.Name())
}

// Covered calls yield for every locked object that somebody overwrote or hid;
// what it was before is what readers get.
func (v *Vault) Covered(ctx context.Context, yield func(name string) error) error {
	if v.locks == nil {
		return nil
	}
	return v.locks.Covered(ctx, yield)
}

// LockExtension says which locks to extend; see ExtendLocks.
type LockExtension struct {
	Until  time.Time
	From   string    // the name of the first object; "": all
	Limit  int       // objects at most; 0: all
	Before time.Time // those put then or later have a lock that is long enough
	// Keep tells whether an object that is named by its hash is needed.
	Keep func(Object) bool
}

// LocksExtended is what ExtendLocks did.
type LocksExtended = locked.Extended

// ExtendLocks locks objects until a later time: those that Keep wants, and all
// commits, certificates and the config. In a vault without locks it does
// nothing.
func (v *Vault) ExtendLocks(ctx context.Context, o LockExtension) (LocksExtended, error) {
	if v.locks == nil {
		return LocksExtended{}, nil
	}
	return v.locks.Extend(ctx, locked.Extension{Until: o.Until, From: o.From, Limit: o.Limit, Before: o.Before, Keep: func(name string) bool {
		object, ok := objectOf(name)
		if !ok {
			return !hashedName(name)
		}
		return o.Keep(Object{Kind: object.Kind, ID: object.ID})
	}})
}

// hashedName tells whether a name is among those of packs, journals and
// checkpoints, be it a good one or not.
func hashedName(name string) bool {
	for _, k := range []ObjectKind{ObjectPack, ObjectJournal, ObjectCheckpoint} {
		if strings.HasPrefix(name, k.prefix()) {
			return true
		}
	}
	return false
}
