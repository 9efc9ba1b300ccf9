// Package s3 is an object store in an S3 bucket, through minio-go: Amazon's or
// any server that speaks its protocol and honours If-None-Match on PUT
// (whether it does is for the maker of a vault to prove, see internal/vault).
//
// Put is one conditional PUT with the SHA-256 of the body in the signature, so
// that the server compares what arrived; never a multipart upload, which has
// no such condition on many servers. Any attempt may have taken effect though
// its answer was lost: a later one is then refused (412), the object there is
// read and compared, and equal is success.
//
// minio-go's own retries are off. Here every operation is tried again for a
// bounded time (Options.Patience), every attempt has a deadline that grows
// with its size, and a connection on which nothing moves (Options.Stall) is
// dead; so no server, however silent, stops a run for ever. Everything an
// answer holds is bounded and checked. Secrets never get into errors.
//
// Only objstore.Open and tests call this package.
package s3

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"salvor/internal/objstore/object"
)

const (
	defaultPatience = 2 * time.Minute
	defaultStall    = time.Minute
	// Opening is often done by hand, with a URL that may be wrong.
	openPatience = 8 * time.Second
	openStall    = 15 * time.Second
	// slowest is the slowest transfer, in bytes per second, that is waited for.
	slowest = 16 << 10
)

// Options says how Open opens. The zero value opens a bucket that exists, with
// the keys from the standard places.
type Options struct {
	// Create makes the bucket when it is not there.
	Create bool
	// Lock makes that bucket one with versions and object lock.
	Lock bool
	// CredentialsFile, in the format of ~/.aws/credentials, is the only place
	// where keys are looked for; "" are the environment (AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; MINIO_ROOT_USER,
	// MINIO_ROOT_PASSWORD), the files of aws and mc in the home directory, and
	// the machine's role (unless AWS_EC2_METADATA_DISABLED=true), in this order.
	CredentialsFile string
	// Patience is for how long an operation that fails is tried again,
	// counted from the last sign of the server before its first failure, but
	// at least half of it after that; 0 is two minutes.
	Patience time.Duration
	// Stall is how long a connection may stay without a byte in either
	// direction; 0 is one minute.
	Stall time.Duration
	// Waiting, if set, is called when the server has not answered for some
	// seconds, from any goroutine and once until it works again: patience is
	// for how long an operation is tried, err what went wrong last.
	Waiting func(patience time.Duration, err error)

	quiet, tellAfter time.Duration // for tests; 0 are the constants
}

// Store is an object store in a bucket. It implements object.Store, Stater,
// Clock and Locker.
type Store struct {
	client *minio.Core
	keys   *keys
	loc    location
	signs  *signs
	o      Options
}

// Open opens the store that the URL rawURL names and asks the server once, so
// that wrong keys or a missing bucket are told here. See location for what the
// URL may hold.
func Open(ctx context.Context, rawURL string, o Options) (*Store, error) {
	loc, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Stall <= 0 {
		o.Stall = defaultStall
	}
	if o.quiet <= 0 {
		o.quiet, o.tellAfter = quiet, tellAfter
	}
	s := &Store{keys: newKeys(o.CredentialsFile), loc: loc, signs: newSigns(), o: o}
	s.client, err = minio.NewCore(loc.host, &minio.Options{
		Creds:        credentials.New(s.keys),
		Secure:       loc.secure,
		Region:       loc.region,
		BucketLookup: loc.lookup,
		Transport:    newTransport(o.Stall, s.signs),
		MaxRetries:   1,
	})
	if err != nil {
		return nil, badURL(err.Error())
	}
	if err := s.enter(ctx); err != nil {
		return nil, s.explain("open", "", err)
	}
	return s, nil
}

// CheckURL returns ErrURL unless rawURL can name a store. It asks nobody.
func CheckURL(rawURL string) error {
	_, err := parse(rawURL)
	return err
}

// String is the store's URL without its query.
func (s *Store) String() string { return s.loc.label }

// enter finds out whether the bucket is there and may be used.
func (s *Store) enter(ctx context.Context) error {
	a := attempts{patience: min(s.o.Patience, openPatience), limit: min(s.o.Stall, openStall)}
	err := s.try(ctx, a, s.probe)
	if code(err) != minio.NoSuchBucket {
		return err
	}
	if !s.o.Create {
		return missing{err}
	}
	return s.try(ctx, a, func(ctx context.Context) error {
		err := s.client.MakeBucket(ctx, s.loc.bucket, minio.MakeBucketOptions{Region: s.loc.region, ObjectLocking: s.o.Lock})
		if code(err) == minio.BucketAlreadyOwnedByYou {
			return nil // an attempt whose answer was lost, or another host
		}
		return err
	})
}

// missing is the error of a bucket that is not there when it is opened.
type missing struct{ error }

func (m missing) Unwrap() error { return m.error }

// probe lists one object: of all requests this one needs only the permission
// that every reader has, and answers with an error code that tells a missing
// bucket from one that may not be used.
func (s *Store) probe(ctx context.Context) error {
	for o := range s.client.ListObjectsIter(ctx, s.loc.bucket, minio.ListObjectsOptions{Prefix: s.loc.key(""), Recursive: true, MaxKeys: 1}) {
		return o.Err
	}
	return ctx.Err()
}

// Now implements object.Clock: the Date of a server's answer, in whole seconds.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := s.try(ctx, s.attempts(0), func(ctx context.Context) error {
		var date string
		if err := s.probe(withDate(ctx, &date)); err != nil {
			return err
		}
		var err error
		if now, err = parseDate(date); err != nil {
			return fatal{fmt.Errorf("answer without a usable Date: %.60q", date)}
		}
		return nil
	})
	return now, s.explain("ask the clock of", "", err)
}

// Stat implements object.Stater.
func (s *Store) Stat(ctx context.Context, name string) (object.Info, error) {
	info := object.Info{Name: name}
	err := object.CheckName(name)
	if err == nil {
		err = s.try(ctx, s.attempts(0), func(ctx context.Context) error {
			o, err := s.client.StatObject(ctx, s.loc.bucket, s.loc.key(name), minio.StatObjectOptions{})
			info.Size, info.Modified = o.Size, o.LastModified
			if code(err) == minio.NoSuchKey {
				// A HEAD's answer has no body that could tell a missing object
				// from a missing bucket.
				if perr := s.probe(ctx); perr != nil {
					return perr
				}
			}
			return err
		})
	}
	if err != nil {
		return object.Info{}, s.explain("stat", name, err)
	}
	return info, nil
}

// Delete implements object.Store. In a bucket with versions it hides the
// object; DeleteVersion erases.
func (s *Store) Delete(ctx context.Context, name string) error {
	err := object.CheckName(name)
	if err == nil {
		err = s.try(ctx, s.attempts(0), func(ctx context.Context) error {
			err := s.client.RemoveObject(ctx, s.loc.bucket, s.loc.key(name), minio.RemoveObjectOptions{})
			if code(err) == minio.NoSuchKey {
				return nil
			}
			return err
		})
	}
	return s.explain("delete", name, err)
}

// List implements object.Store.
func (s *Store) List(ctx context.Context, prefix string, yield func(object.Info) error) error {
	if err := object.CheckPrefix(prefix); err != nil {
		return s.explain("list", prefix, err)
	}
	after := ""
	for {
		var page []object.Info
		last := after
		err := s.try(ctx, s.attempts(0), func(ctx context.Context) error {
			var err error
			page, last, err = s.page(ctx, prefix, after)
			return err
		})
		if err != nil {
			return s.explain("list", prefix, err)
		}
		for _, info := range page {
			if err := yield(info); err != nil {
				return err
			}
		}
		if last == "" {
			return nil
		}
		after = last
	}
}

// page lists up to pageSize keys after the key after. It returns those of them
// that are names of objects, and the last key, or "" when there are no more.
func (s *Store) page(ctx context.Context, prefix, after string) (page []object.Info, last string, err error) {
	full, n := s.loc.key(prefix), 0
	last = after
	withoutOwner := false
	for o := range s.client.ListObjectsIter(ctx, s.loc.bucket, minio.ListObjectsOptions{
		Prefix: full, Recursive: true, StartAfter: after, MaxKeys: pageSize, FetchOwner: &withoutOwner,
	}) {
		if o.Err != nil {
			return nil, "", o.Err
		}
		if o.Key <= last || !strings.HasPrefix(o.Key, full) || o.Size < 0 {
			return nil, "", fatal{fmt.Errorf("the server's listing is out of order: %.300q after %.300q", o.Key, last)}
		}
		last = o.Key
		if name := s.loc.name(o.Key); object.CheckName(name) == nil {
			page = append(page, object.Info{Name: name, Size: o.Size, Modified: o.LastModified})
		}
		if n++; n == pageSize {
			return page, last, nil
		}
	}
	// The iterator ends without a word when the context does.
	return page, "", ctx.Err()
}

const pageSize = 1000 // S3's largest

// eof is for an object that is shorter than was asked for; io.ErrUnexpectedEOF
// from a connection is a different matter, and tried again.
func eof(size int64) error {
	return fatal{fmt.Errorf("%w: it has %d bytes", io.ErrUnexpectedEOF, size)}
}
