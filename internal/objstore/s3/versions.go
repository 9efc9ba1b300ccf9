package s3

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"salvor/internal/objstore/object"
)

// Versions implements object.Versioner.
func (s *Store) Versions(ctx context.Context, prefix string, yield func(object.Version) error) error {
	if err := object.CheckPrefix(prefix); err != nil {
		return s.explain("list versions of", prefix, err)
	}
	after := ""
	for {
		var batch []object.Version
		last := after
		err := s.try(ctx, s.attempts(0), func(ctx context.Context) (err error) {
			batch, last, err = s.versionsAfter(ctx, prefix, after)
			return err
		})
		if err != nil {
			return s.explain("list versions of", prefix, err)
		}
		for _, v := range batch {
			if err := yield(v); err != nil {
				return err
			}
		}
		if last == "" {
			return nil
		}
		after = last
	}
}

// versionBatch is how many versions are listed and put in order at a time. One
// object has no more: only who attacks the vault makes more than a handful.
const versionBatch = 10 * pageSize

// versionsAfter lists all versions of some keys after the key after, in the
// order of keys. It returns the last of these keys, or "" when there are no more.
//
// A server gives its answers, of at most pageSize versions each, in the order of
// keys; but within an answer some give the markers after everything else. So a
// key is complete when pageSize versions have come after a later one.
func (s *Store) versionsAfter(ctx context.Context, prefix, after string) (batch []object.Version, last string, err error) {
	full := s.loc.key(prefix)
	var all []minio.ObjectInfo
	more := false
	for o := range s.client.ListObjectsIter(ctx, s.loc.bucket, minio.ListObjectsOptions{
		Prefix: full, Recursive: true, StartAfter: after, MaxKeys: pageSize, WithVersions: true,
	}) {
		switch {
		case o.Err != nil:
			return nil, "", o.Err
		case !strings.HasPrefix(o.Key, full) || o.Size < 0:
			return nil, "", fatal{fmt.Errorf("the server lists %.300q among the versions of %.300q", o.Key, full)}
		case o.Key <= after: // some servers begin with the key after which to begin
			continue
		}
		if all = append(all, o); len(all)%pageSize == 0 {
			extend(ctx, 0) // an attempt's time is for one answer
		}
		if more = len(all) == versionBatch; more {
			break
		}
	}
	if ctx.Err() != nil { // the iterator ends without a word then
		return nil, "", ctx.Err()
	}
	if more {
		last = completeBefore(all)
	}
	slices.SortStableFunc(all, func(a, b minio.ObjectInfo) int { return cmp.Compare(a.Key, b.Key) })
	if more {
		end := slices.IndexFunc(all, func(o minio.ObjectInfo) bool { return o.Key >= last })
		if end == 0 {
			return nil, "", fatal{fmt.Errorf("there are more than %d versions of %.300q", versionBatch-pageSize, last)}
		}
		all, last = all[:end], all[end-1].Key
	}
	for _, o := range all {
		if name := s.loc.name(o.Key); object.CheckName(name) == nil {
			batch = append(batch, object.Version{Info: object.Info{Name: name, Size: o.Size, Modified: o.LastModified}, ID: o.VersionID, Marker: o.IsDeleteMarker})
		}
	}
	return batch, last, nil
}

// completeBefore gives the first key of which versions may be missing, where a
// listing was cut off.
func completeBefore(all []minio.ObjectInfo) (key string) {
	for _, o := range all[:len(all)-pageSize] {
		key = max(key, o.Key)
	}
	return key
}
