package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/minio/minio-go/v7"

	"salvor/internal/objstore/object"
)

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, name string, body []byte) error {
	err := object.CheckName(name)
	if err == nil {
		err = object.CheckSize(int64(len(body)))
	}
	if err == nil {
		sum := sha256.Sum256(body)
		err = s.try(ctx, s.attempts(int64(len(body))), func(ctx context.Context) error {
			return s.create(ctx, s.loc.key(name), body, hex.EncodeToString(sum[:]), object.Lock{})
		})
	}
	return s.explain("put", name, err)
}

// errGone asks for another attempt: the object that was in the way of ours had
// vanished when it was to be compared.
var errGone = errors.New("the object comes and goes while it is written")

// create makes one attempt to create the object key, locked unless l is zero.
func (s *Store) create(ctx context.Context, key string, body []byte, sum string, l object.Lock) error {
	o, md5 := lockOptions(body, l)
	o.SetMatchETagExcept("*")
	_, err := s.client.PutObject(ctx, s.loc.bucket, key, bytes.NewReader(body), int64(len(body)), md5, sum, o)
	if code(err) != minio.PreconditionFailed {
		return err
	}
	info, err := s.client.StatObject(ctx, s.loc.bucket, key, minio.StatObjectOptions{})
	if err == nil && info.Size != int64(len(body)) {
		return object.ErrExists
	}
	var there []byte
	if err == nil {
		there, err = s.fetch(ctx, key, "", 0, -1)
	}
	switch {
	case code(err) == minio.NoSuchKey && !l.Until.IsZero():
		return object.ErrExists // hidden behind a marker: some servers count that as there
	case code(err) == minio.NoSuchKey:
		return errGone
	case err != nil:
		return err
	case !bytes.Equal(there, body):
		return object.ErrExists
	}
	return nil
}

// Get implements object.Store.
func (s *Store) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	err := object.CheckName(name)
	if err == nil {
		err = object.CheckRange(off, n)
	}
	if err == nil && n == 0 {
		err = s.within(ctx, name, off)
		return nil, s.explain("get", name, err)
	}
	var data []byte
	if err == nil {
		err = s.try(ctx, s.attempts(0), func(ctx context.Context) error {
			var err error
			data, err = s.fetch(ctx, s.loc.key(name), "", off, n)
			return err
		})
	}
	if code(err) == minio.InvalidRange {
		// It begins at the object's end, or after it.
		if werr := s.within(ctx, name, off+max(n, 0)); werr != nil || n < 0 {
			return nil, s.explain("get", name, werr)
		}
	}
	if err != nil {
		return nil, s.explain("get", name, err)
	}
	return data, nil
}

// within returns io.ErrUnexpectedEOF when the object ends before off.
func (s *Store) within(ctx context.Context, name string, off int64) error {
	info, err := s.Stat(ctx, name)
	if err == nil && off > info.Size {
		err = eof(info.Size)
	}
	return err
}

// fetch makes one attempt to read n bytes from off on, all when n < 0. version
// "" is the newest.
func (s *Store) fetch(ctx context.Context, key, version string, off, n int64) ([]byte, error) {
	o := minio.GetObjectOptions{VersionID: version}
	var err error
	ranged := off > 0 || n >= 0
	switch {
	case n >= 0:
		err = o.SetRange(off, off+n-1)
	case off > 0:
		err = o.SetRange(off, 0)
	}
	if err != nil {
		return nil, err
	}
	body, info, header, err := s.client.GetObject(ctx, s.loc.bucket, key, o)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	size := info.Size
	if ranged {
		if size, err = rangeLength(header, off); err != nil {
			return nil, err
		}
	}
	if size < 0 || object.CheckSize(size) != nil || n >= 0 && size > n {
		return nil, fatal{fmt.Errorf("the server answers with %d bytes", size)}
	}
	extend(ctx, size)
	data, err := readN(body, size)
	if err == nil && n > size {
		return nil, eof(off + size)
	}
	return data, err
}

// rangeLength is the number of bytes that an answer with a range from off on
// says it has (RFC 9110, section 14.4).
func rangeLength(header http.Header, off int64) (int64, error) {
	var first, last int64
	value := header.Get("Content-Range")
	if n, _ := fmt.Sscanf(value, "bytes %d-%d/", &first, &last); n != 2 || first != off || last < first {
		return 0, fatal{fmt.Errorf("the server ignores ranges of objects: Content-Range %.60q", value)}
	}
	return last - first + 1, nil
}

// firstRead is how much memory a server's word for a size is good for.
const firstRead = 64 << 20

// readN reads exactly n bytes. The memory grows with what has arrived.
func readN(r io.Reader, n int64) ([]byte, error) {
	data := make([]byte, 0, min(n, firstRead))
	for int64(len(data)) < n {
		data = slices.Grow(data, int(min(n-int64(len(data)), firstRead)))
		got := len(data)
		data = data[:min(int64(cap(data)), n)]
		m, err := io.ReadFull(r, data[got:])
		if err != nil {
			// Not wrapped: io.ErrUnexpectedEOF would look like a short object.
			return nil, fmt.Errorf("the answer ends after %d of %d bytes: %v", got+m, n, err)
		}
	}
	return data, nil
}
