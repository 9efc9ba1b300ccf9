// Package object says what an object store is: its interface, its errors, and
// which names and sizes are good. The stores (dir, s3) and the wrappers for
// tests are written against it; everybody else uses the same things by their
// names in package objstore, which also opens stores.
//
// It holds no store, opens nothing and does no I/O.
package object

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// MaxName is the longest object name in bytes, short enough to be a file
	// name anywhere and to leave room for a bucket's prefix (S3 allows 1,024).
	MaxName = 255
	// MaxSize is the largest object in bytes: objects are held in memory, and
	// a server that says more is not believed.
	MaxSize = 1 << 30
)

// Info is what a store says about an object without reading it.
type Info struct {
	Name     string
	Size     int64     // bytes
	Modified time.Time // when it was written, by the store's clock
}

// Store keeps immutable objects by name. All methods are safe for concurrent
// use. Their errors wrap one of the Err values below where a caller can decide
// by it, or the context's error.
type Store interface {
	// Put stores body under a name that is free, whole or not at all; when it
	// returns nil the object survives a power cut. Where the name is taken it
	// returns nil when the object there has the same bytes, else ErrExists. Of
	// several writers at once exactly one creates the object. After any other
	// error the object may be there or not, but never in part. Body must not
	// be changed before Put returns.
	Put(ctx context.Context, name string, body []byte) error

	// Get returns n bytes from off on, or all from off on when n < 0. An
	// object that ends before off+n is io.ErrUnexpectedEOF.
	Get(ctx context.Context, name string, off, n int64) ([]byte, error)

	// List calls yield for every object whose name begins with prefix, in the
	// order of the names' bytes. Objects that come or go meanwhile are listed
	// or not. An error from yield ends the listing and is returned as it is.
	List(ctx context.Context, prefix string, yield func(Info) error) error

	// Delete removes an object for good; nil when it is not there.
	Delete(ctx context.Context, name string) error
}

// Near is a Store that is as near as memory: nothing is gained by asking it
// for more than is needed now.
type Near interface {
	// Fill is Get of len(p) bytes into p.
	Fill(ctx context.Context, name string, off int64, p []byte) error
}

// Stater is a Store that tells about one object.
type Stater interface {
	// Stat returns ErrNotExist when the object is not there.
	Stat(ctx context.Context, name string) (Info, error)
}

// Clock is a Store that has a clock of its own: the one by which
// Info.Modified is set, which need not be this host's.
type Clock interface {
	// Now is right to about a second.
	Now(ctx context.Context) (time.Time, error)
}

// Space is a Store that knows how much more it can hold.
type Space interface {
	// Free is in bytes, as far as this user may fill them.
	Free(ctx context.Context) (int64, error)
}

// Mover is a Store that gives an object another name without reading it, which
// also does for one that cannot be read.
type Mover interface {
	// Move returns ErrNotExist when from is not there, and ErrExists when to
	// is. When it returns nil the new name survives a power cut.
	Move(ctx context.Context, from, to string) error
}

// The errors by which callers decide (see also RetainedError).
var (
	// ErrNotExist says that there is no such object, or on opening no such
	// directory or bucket.
	ErrNotExist = errors.New("does not exist")
	// ErrExists says that the name holds other bytes.
	ErrExists = errors.New("exists already with other content")
	// ErrDenied says that the store refuses this user; trying again is no use.
	ErrDenied = errors.New("access denied")
	// ErrUnavailable says that the store cannot be reached or does not answer,
	// after the store's own retries; later it may.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrFull says that there is no space, or no quota, left.
	ErrFull = errors.New("no space left")
	// ErrDamaged says that the object is there, but too much of it is damaged
	// to give it; only stores that check what they hold know that.
	ErrDamaged = errors.New("is damaged")
	// ErrName says that the caller's object name, range or size is no good.
	ErrName = errors.New("invalid object name or range")
	// ErrURL says that a store's URL is no good.
	ErrURL = errors.New("invalid store URL")
)

// Error is the error of every operation of a store, in one line.
type Error struct {
	Op    string // "put", "get", "list", "delete", "stat", "open", ...
	Name  string // the object or prefix; "" when the operation has none
	Store string // the store as its user named it, without secrets
	Kind  error  // one of the Err values above; nil when none fits
	Err   error  // the cause; nil when Kind says it all
	Hint  string // what the operator can do; "" when nothing is known
}

// Error says what, where, why and what to do next.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Name != "" {
		b.WriteString(" " + printable(e.Name) + " in")
	}
	b.WriteString(" " + e.Store)
	if e.Kind != nil {
		b.WriteString(": " + e.Kind.Error())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString("; hint: " + e.Hint)
	}
	return b.String()
}

// printable is name itself, or what of a bad one fits into a line.
func printable(name string) string {
	if CheckPrefix(name) == nil {
		return name
	}
	return fmt.Sprintf("%.100q", name)
}

// Unwrap gives Kind and Err to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// CheckName returns ErrName unless name can name an object: 1 to MaxName bytes
// of a-z, 0-9, '.', '_', '-' in elements separated by single slashes, none of
// which begins with a dot. So no name leaves its directory or hides, and a
// store can keep files of its own under names that begin with a dot.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Errorf("%w: %d bytes long, want 1 to %d", ErrName, len(name), MaxName)
	}
	start := true // of an element
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-', c == '.' && !start:
			start = false
		case c == '/' && !start:
			start = true
		default:
			return fmt.Errorf("%w: %q is not allowed at byte %d", ErrName, name[i:i+1], i)
		}
	}
	if start {
		return fmt.Errorf("%w: it ends with a slash", ErrName)
	}
	return nil
}

// CheckPrefix returns ErrName unless some object's name can begin with prefix;
// "" is the prefix of all.
func CheckPrefix(prefix string) error {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return CheckName(prefix + "0")
	}
	return CheckName(prefix)
}

// CheckRange returns ErrName unless off and n are good for Store.Get.
func CheckRange(off, n int64) error {
	if off < 0 || n > MaxSize || off > MaxSize {
		return fmt.Errorf("%w: %d bytes at offset %d", ErrName, n, off)
	}
	return nil
}

// CheckSize returns ErrName when an object of n bytes is larger than MaxSize.
func CheckSize(n int64) error {
	if n > MaxSize {
		return fmt.Errorf("%w: an object of %d bytes, at most %d", ErrName, n, int64(MaxSize))
	}
	return nil
}
