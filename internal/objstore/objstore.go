// Package objstore is where a vault's objects lie: immutable byte strings with
// names, in a directory or an S3 bucket. Open finds the right store for a URL.
//
// The safety of the vault rests on Store.Put creating a name at most once, and
// on Put returning nil only when the object is durable; every store passes the
// conformance suite in storetest. Stores know nothing about what they hold:
// names, encryption and order of writes are internal/vault's business, which
// is also the only caller besides the commands.
//
// What a store is stands in package object, so that the stores need not import
// this one; the names here are the same things.
package objstore

import "salvor/internal/objstore/object"

type (
	// Store keeps immutable objects by name.
	Store = object.Store
	// Near is a Store that needs no reading ahead: directories.
	Near = object.Near
	// Stater is a Store that tells about one object; all stores here are.
	Stater = object.Stater
	// Clock is a Store with a clock of its own; all stores here are.
	Clock = object.Clock
	// Space is a Store that knows how much more it can hold: directories.
	Space = object.Space
	// Mover is a Store that can rename an object without reading it: directories.
	Mover = object.Mover
	// Versioner is a Store that may keep what was stored under a name before.
	Versioner = object.Versioner
	// Locker is a Store that can keep objects from being deleted: S3 with object lock.
	Locker = object.Locker
	// Lock is until when, and who may end it earlier.
	Lock = object.Lock
	// LockMode says who may end a lock before its time.
	LockMode = object.LockMode
	// Version is one of the things that were stored under a name.
	Version = object.Version
	// RetainedError says that an object cannot be deleted yet.
	RetainedError = object.RetainedError
	// Info is what a store says about an object without reading it.
	Info = object.Info
	// Error is the error of every operation of a store, in one line.
	Error = object.Error
)

// The errors by which callers decide; package object says when they come.
var (
	ErrNotExist    = object.ErrNotExist
	ErrExists      = object.ErrExists
	ErrDenied      = object.ErrDenied
	ErrUnavailable = object.ErrUnavailable
	ErrFull        = object.ErrFull
	ErrDamaged     = object.ErrDamaged
	ErrName        = object.ErrName
	ErrURL         = object.ErrURL
)

// The modes of locks.
const (
	Governance = object.Governance
	Compliance = object.Compliance
)

const (
	// MaxName is the longest object name in bytes.
	MaxName = object.MaxName
	// MaxSize is the largest object in bytes.
	MaxSize = object.MaxSize
)

// CheckName returns ErrName unless name can name an object.
func CheckName(name string) error { return object.CheckName(name) }

// CheckPrefix returns ErrName unless some object's name can begin with prefix.
func CheckPrefix(prefix string) error { return object.CheckPrefix(prefix) }

// CheckRange returns ErrName unless off and n are good for Store.Get.
func CheckRange(off, n int64) error { return object.CheckRange(off, n) }

// CheckSize returns ErrName when an object of n bytes is larger than MaxSize.
func CheckSize(n int64) error { return object.CheckSize(n) }
