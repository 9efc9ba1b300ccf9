package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"salvor/internal/objstore/object"
)

// noLockCodes say that a bucket, or an object in it, has no lock.
var noLockCodes = []string{"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration", "InvalidBucketObjectLockConfiguration"}

// CanLock implements object.Locker.
func (s *Store) CanLock(ctx context.Context) (bool, error) {
	enabled := ""
	err := s.try(ctx, s.attempts(0), func(ctx context.Context) (err error) {
		enabled, _, _, _, err = s.client.GetObjectLockConfig(ctx, s.loc.bucket)
		return err
	})
	if unlocked(err) || status(err) == http.StatusNotImplemented || status(err) == http.StatusMethodNotAllowed {
		return false, nil
	}
	return enabled == "Enabled", s.explain("ask for the object lock of", "", err)
}

func unlocked(err error) bool { return slices.Contains(noLockCodes, code(err)) }

// status is the HTTP status of a server's answer; 0 when there was none.
func status(err error) int {
	var r minio.ErrorResponse
	errors.As(err, &r) // stays zero where there was no answer
	return r.StatusCode
}

// lockOptions are those of a PUT, and the MD5 that S3 wants with a lock.
func lockOptions(body []byte, l object.Lock) (o minio.PutObjectOptions, sum string) {
	o = minio.PutObjectOptions{DisableMultipart: true, DisableContentSha256: true}
	if l.Until.IsZero() {
		return o, ""
	}
	o.Mode, o.RetainUntilDate = mode(l), l.Until
	digest := md5.Sum(body)
	return o, base64.StdEncoding.EncodeToString(digest[:])
}

func mode(l object.Lock) minio.RetentionMode {
	return minio.RetentionMode(strings.ToUpper(string(l.Mode)))
}

// PutLocked implements object.Locker.
func (s *Store) PutLocked(ctx context.Context, name string, body []byte, l object.Lock) error {
	return s.putLocked(ctx, name, body, func(ctx context.Context, key, sum string) error {
		return s.create(ctx, key, body, sum, l)
	})
}

// PutVersion implements object.Locker.
func (s *Store) PutVersion(ctx context.Context, name string, body []byte, l object.Lock) error {
	return s.putLocked(ctx, name, body, func(ctx context.Context, key, sum string) error {
		o, md5 := lockOptions(body, l)
		_, err := s.client.PutObject(ctx, s.loc.bucket, key, bytes.NewReader(body), int64(len(body)), md5, sum, o)
		return err
	})
}

func (s *Store) putLocked(ctx context.Context, name string, body []byte, put func(ctx context.Context, key, sum string) error) error {
	err := object.CheckName(name)
	if err == nil {
		err = object.CheckSize(int64(len(body)))
	}
	if err == nil {
		sum := sha256.Sum256(body)
		err = s.try(ctx, s.attempts(int64(len(body))), func(ctx context.Context) error {
			return put(ctx, s.loc.key(name), hex.EncodeToString(sum[:]))
		})
	}
	return s.explain("put", name, err)
}

// GetVersion implements object.Versioner.
func (s *Store) GetVersion(ctx context.Context, v object.Version, off, n int64) ([]byte, error) {
	err := object.CheckName(v.Name)
	if err == nil {
		err = object.CheckRange(off, n)
	}
	switch {
	case err != nil:
	case off+max(n, 0) > v.Size:
		err = eof(v.Size)
	case n == 0 || off == v.Size:
		return nil, nil
	}
	var data []byte
	if err == nil {
		err = s.try(ctx, s.attempts(0), func(ctx context.Context) (err error) {
			data, err = s.fetch(ctx, s.loc.key(v.Name), v.ID, off, n)
			return err
		})
	}
	if err != nil {
		return nil, s.explain("get", v.Name, err)
	}
	return data, nil
}

// DeleteVersion implements object.Versioner.
func (s *Store) DeleteVersion(ctx context.Context, v object.Version) error {
	err := object.CheckName(v.Name)
	if err == nil {
		err = s.try(ctx, s.attempts(0), func(ctx context.Context) error {
			err := s.client.RemoveObject(ctx, s.loc.bucket, s.loc.key(v.Name), minio.RemoveObjectOptions{VersionID: v.ID})
			if code(err) == minio.NoSuchKey || code(err) == minio.NoSuchVersion {
				return nil
			}
			return err
		})
	}
	return s.explain("delete", v.Name, err)
}

// LockOf implements object.Locker.
func (s *Store) LockOf(ctx context.Context, v object.Version) (l object.Lock, err error) {
	if err = object.CheckName(v.Name); err == nil {
		err = s.try(ctx, s.attempts(0), func(ctx context.Context) error {
			m, until, err := s.client.GetObjectRetention(ctx, s.loc.bucket, s.loc.key(v.Name), v.ID)
			if err == nil && m != nil && until != nil {
				l = object.Lock{Mode: object.LockMode(strings.ToLower(string(*m))), Until: *until}
			}
			return err
		})
	}
	if unlocked(err) {
		return object.Lock{}, nil
	}
	return l, s.explain("ask for the lock of", v.Name, err)
}

// Extend implements object.Locker.
func (s *Store) Extend(ctx context.Context, v object.Version, l object.Lock) error {
	err := object.CheckName(v.Name)
	if err == nil {
		m, until := mode(l), l.Until
		err = s.try(ctx, s.attempts(0), func(ctx context.Context) error {
			return s.client.PutObjectRetention(ctx, s.loc.bucket, s.loc.key(v.Name),
				minio.PutObjectRetentionOptions{Mode: &m, RetainUntilDate: &until, VersionID: v.ID})
		})
	}
	return s.explain("lock", v.Name, err)
}
