package objstore

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"salvor/internal/objstore/dir"
	"salvor/internal/objstore/object"
	"salvor/internal/objstore/s3"
)

// Options says how Open opens. The zero value opens what exists.
type Options struct {
	// Create makes the directory or the bucket when it is not there.
	Create bool
	// Lock makes a bucket that Create makes one with object lock.
	Lock bool
	// CredentialsFile is a file in the format of ~/.aws/credentials from which
	// an S3 store takes its keys; "" looks in the standard places.
	CredentialsFile string
	// Waiting, if set, is called when an S3 server has not answered for some
	// seconds; see s3.Options.
	Waiting func(patience time.Duration, err error)
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// Open opens the store that url names: "s3://BUCKET/PREFIX?endpoint=..&region=..",
// or a directory as a path, "file:PATH" or "file:///PATH". ErrURL when it names
// none; ErrNotExist when the directory or bucket is not there and o.Create is
// not set.
func Open(ctx context.Context, url string, o Options) (Store, error) {
	if strings.HasPrefix(url, "s3:") {
		s, err := s3.Open(ctx, url, s3.Options{Create: o.Create, Lock: o.Lock, CredentialsFile: o.CredentialsFile, Waiting: o.Waiting})
		if err != nil {
			return nil, err // and not an interface that holds a nil store
		}
		return s, nil
	}
	path, err := directory(url)
	if err != nil {
		return nil, err
	}
	s, err := dir.Open(ctx, path, dir.Options{Create: o.Create})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// CheckURL returns ErrURL unless url can name a store. It opens nothing.
func CheckURL(url string) error {
	if strings.HasPrefix(url, "s3:") {
		return s3.CheckURL(url)
	}
	_, err := directory(url)
	return err
}

// directory gives the path of a URL that names a directory.
func directory(url string) (string, error) {
	path := url
	if rest, ok := strings.CutPrefix(url, "file:"); ok {
		path = rest
		if strings.HasPrefix(rest, "//") {
			path = strings.TrimPrefix(rest, "//")
			if !strings.HasPrefix(path, "/") {
				return "", fmt.Errorf("open %s: %w; hint: after file:// comes an absolute path", url, object.ErrURL)
			}
		}
	} else if s := scheme.FindString(url); s != "" {
		return "", fmt.Errorf("open store: %w: unknown kind %q; hint: give a directory or s3://BUCKET/PREFIX", object.ErrURL, s)
	}
	return path, nil
}
