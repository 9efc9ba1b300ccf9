package vault

import (
	"errors"
	"fmt"
	"io/fs"

	"filippo.io/age"

	"salvor/internal/objstore"
)

// What a caller decides by. All are wrapped with the object, the cause and,
// where there is one, the next step.
var (
	// ErrNoVault says that the store holds no config object.
	ErrNoVault = errors.New("there is no vault here")
	// ErrVaultExists says that Create found a vault, or what is left of one.
	ErrVaultExists = errors.New("there is already a vault here")
	// ErrNotConditional says that a store overwrites where it was asked to
	// create; no vault can be safe there.
	ErrNotConditional = errors.New("the store does not create objects only if absent")
	// ErrVersion says that an object is of a format version this salvor does
	// not know.
	ErrVersion = errors.New("unknown format version")
	// ErrNoIdentity says that there is no identity, or none that opens the
	// object.
	ErrNoIdentity = errors.New("no identity opens it")
	// ErrNotAuthentic says that a signature, certificate, role, number or vault
	// id is not what it must be.
	ErrNotAuthentic = errors.New("not authentic")
	// ErrLostRace says that somebody else wrote the commit of this number. The
	// writer follows the chain again and starts over.
	ErrLostRace = errors.New("another writer was first")
	// ErrRolledBack says that a commit which is known to have existed is
	// missing in the vault, or that other bytes stand in its place.
	ErrRolledBack = errors.New("the vault was rolled back or replaced")
	// ErrLocked says that somebody else holds the lease; see LockedError.
	ErrLocked = errors.New("the vault is locked")
	// ErrNoClock says that the store does not tell the time.
	ErrNoClock = errors.New("the store has no clock")
	// ErrRecipients says that recipients are malformed, or mixed in a way that
	// age refuses.
	ErrRecipients = errors.New("unusable recipients")
)

// A DamageError says that an object is missing, shortened, changed or not what
// it should be. A store that cannot be reached is no damage.
type DamageError struct {
	Object   string // the object's name in the store
	Offset   int64  // where in its plaintext, -1 for the object as a whole
	Expected string // what should have been there
	Err      error  // what was there instead, nil where Expected says it all
}

// Error names the object, the place and the expectation.
func (e *DamageError) Error() string {
	s := e.Object + " is damaged"
	if e.Offset >= 0 {
		s += fmt.Sprintf(" at plaintext offset %d", e.Offset)
	}
	s += ": want " + e.Expected
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// A LockedError says who holds the lease.
type LockedError struct{ Holder Holder }

// Error names the holder and what it does.
func (e *LockedError) Error() string {
	h := e.Holder
	return fmt.Sprintf("%v by %s (process %d on %s, since %s); wait until it is done, a dead holder is noticed by itself",
		ErrLocked, h.Purpose, h.PID, h.Host, h.Since.Local().Format("2006-01-02 15:04:05"))
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// A ModeWarning says that a file of secrets can be read by others.
type ModeWarning struct {
	Path string
	Mode fs.FileMode
}

// String says what to do about it.
func (w ModeWarning) String() string {
	return fmt.Sprintf("%s holds secrets and has mode %04o: run chmod 600 on it", w.Path, w.Mode.Perm())
}

// damagef is a DamageError of a whole object without a further cause.
func damagef(object, format string, args ...any) error {
	return &DamageError{Object: object, Offset: -1, Expected: fmt.Sprintf(format, args...)}
}

// readError turns what a store said about reading an object into damage where
// it is: the object is gone, too short, or lies on a bad sector. Everything
// else is passed on.
func readError(object string, err error) error {
	if errors.Is(err, objstore.ErrNotExist) {
		return &DamageError{Object: object, Offset: -1, Expected: "the object", Err: err}
	}
	if errors.Is(err, objstore.ErrDamaged) {
		return &DamageError{Object: object, Offset: -1, Expected: "enough of it to put it together", Err: err}
	}
	if isShort(err) {
		return &DamageError{Object: object, Offset: -1, Expected: "its full length", Err: err}
	}
	if unreadable(err) {
		return &DamageError{Object: object, Offset: -1, Expected: "bytes that the disk gives back", Err: err}
	}
	return err
}

// openError says what an age error means: no fitting identity or damage.
func openError(object string, err error) error {
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return fmt.Errorf("decrypt %s: %w (tried %d; give the identity file of this vault)", object, ErrNoIdentity, len(none.Errors))
	}
	return &DamageError{Object: object, Offset: -1, Expected: "an age file", Err: err}
}
