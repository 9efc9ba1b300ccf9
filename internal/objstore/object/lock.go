package object

import (
	"context"
	"fmt"
	"time"
)

// LockMode says who may end a lock before its time.
type LockMode string

// The modes, in S3's sense.
const (
	Governance LockMode = "governance" // whoever has a permission of its own for it
	Compliance LockMode = "compliance" // nobody
)

// Lock keeps a version of an object from being deleted before a time. The zero
// value is none.
type Lock struct {
	Mode  LockMode
	Until time.Time
}

// Version is one of the things that were stored under a name.
type Version struct {
	Info
	ID     string
	Marker bool // nothing but the word that the object is deleted
}

// Versioner is a Store that may keep what was stored under a name before: a
// bucket with versions.
type Versioner interface {
	// Versions calls yield for every version below a prefix, markers too: in
	// the order of names, and of one name the newest first.
	Versions(ctx context.Context, prefix string, yield func(Version) error) error
	// GetVersion is Get of one version.
	GetVersion(ctx context.Context, v Version, off, n int64) ([]byte, error)
	// DeleteVersion removes one version for good; nil when it is not there. A
	// locked one is an error of the server's own words.
	DeleteVersion(ctx context.Context, v Version) error
}

// Locker is a Versioner that can lock: a bucket with object lock.
type Locker interface {
	Versioner
	// CanLock tells whether this one does; ErrDenied when this user may not ask.
	CanLock(ctx context.Context) (bool, error)
	// PutLocked is Put of an object that is locked from the first moment.
	// ErrExists also when the object is there and hidden behind a marker.
	PutLocked(ctx context.Context, name string, body []byte, l Lock) error
	// PutVersion stores another version, whatever is there.
	PutVersion(ctx context.Context, name string, body []byte, l Lock) error
	// LockOf is the zero Lock when there is none.
	LockOf(ctx context.Context, v Version) (Lock, error)
	// Extend locks a version until a later time than it is.
	Extend(ctx context.Context, v Version, l Lock) error
}

// RetainedError says that an object was not, or not wholly, deleted because it
// is locked; later it can be.
type RetainedError struct {
	Name  string
	Until time.Time
}

// Error says until when.
func (e *RetainedError) Error() string {
	return fmt.Sprintf("%s is locked until %s", printable(e.Name), e.Until.UTC().Format(time.RFC3339))
}
