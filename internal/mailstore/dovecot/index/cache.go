package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// CacheExt is the extension that a caller wants who looks into dovecot.index.cache:
// it says where in it a message's record lies.
const CacheExt = "cache"

// ErrCache says that a dovecot.index.cache cannot be used with an index. It is
// as good as none: Dovecot itself makes a new one then.
var ErrCache = errors.New("dovecot.index.cache does not go with the index")

// Bounds of what is believed of a cache.
const (
	maxCacheFields = 4096
	maxCacheLinks  = 64 // of headers, and of records of one message
	maxCacheRecord = 64 << 10
	maxFieldsSize  = 1 << 20
	unknownSize    = ^uint32(0)
)

// A Cache is a dovecot.index.cache, in which Dovecot keeps what clients have asked
// of messages. Of it all only the time of arrival is read here. It is for one
// goroutine. The format is that of Dovecot 2.3, src/lib-index/mail-cache-private.h
// (version 1).
type Cache struct {
	r        io.ReaderAt
	sizes    []uint32 // of fields, by number; unknownSize: it stands in the record
	received uint32   // the number of the field
	buf      []byte
}

// OpenCache reads the head of a cache that belongs to an index, which was read
// with CacheExt.
func (ix *Index) OpenCache(r io.ReaderAt) (*Cache, error) {
	head := make([]byte, 32)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCache, err)
	}
	at := ix.extNamed(CacheExt)
	switch {
	case head[0] != 1:
		return nil, fmt.Errorf("%w: it has version %d, 1 is known", ErrCache, head[0])
	case at < 0 || le.Uint32(head[4:]) != ix.id || le.Uint32(head[8:]) != ix.exts[at].resetID:
		return nil, fmt.Errorf("%w: it is another one's", ErrCache)
	}
	c := &Cache{r: r}
	for offset, links := unpackOffset(head[28:]), 0; offset != 0; links++ {
		if links == maxCacheLinks {
			return nil, fmt.Errorf("%w: its fields are listed too often", ErrCache)
		}
		next, err := c.fields(offset)
		if err != nil {
			return nil, err
		}
		offset = next
	}
	return c, nil
}

// unpackOffset reads an offset as the log's sizes are written; 0 for none.
func unpackOffset(b []byte) int64 { return unpackSize(b) }

// fields reads a list of fields, struct mail_cache_header_fields: the place of the
// next list, its size, how many fields; then of each the time of its last use, its
// size, type, decision and name.
func (c *Cache) fields(at int64) (next int64, err error) {
	head := make([]byte, 12)
	if _, err := c.r.ReadAt(head, at); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCache, err)
	}
	size, count := le.Uint32(head[4:]), le.Uint32(head[8:])
	if count > maxCacheFields || size > maxFieldsSize || size < 12+count*10 {
		return 0, fmt.Errorf("%w: %d fields in %d bytes", ErrCache, count, size)
	}
	b := make([]byte, size-12)
	if _, err := c.r.ReadAt(b, at+12); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCache, err)
	}
	n := int(count)
	c.sizes, c.received = make([]uint32, n), unknownSize
	names := b[10*n:]
	for i := range n {
		c.sizes[i] = le.Uint32(b[4*(n+i):])
		name, rest, ok := bytes.Cut(names, []byte{0})
		if !ok {
			return 0, fmt.Errorf("%w: field %d has no name", ErrCache, i)
		}
		if names = rest; string(name) == "date.received" && c.sizes[i] == 4 {
			c.received = uint32(i)
		}
	}
	return unpackOffset(head), nil
}

// Received is when a message came, the zero time where the cache does not tell.
// record is of the index that the cache was opened for, i the number under which
// CacheExt was wanted.
func (c *Cache) Received(record *Record, i int) time.Time {
	if c == nil || c.received == unknownSize || len(record.Data(i)) < 4 {
		return time.Time{}
	}
	at := le.Uint32(record.Data(i))
	for range maxCacheLinks {
		if at < 32 {
			break
		}
		b := c.read(int64(at))
		if b == nil {
			break
		}
		if t, ok := c.find(b[8:]); ok {
			return t
		}
		at = le.Uint32(b) // the record before
	}
	return time.Time{}
}

// read reads a record, struct mail_cache_record: the place of the one before, its
// own size, fields.
func (c *Cache) read(at int64) []byte {
	if c.buf == nil {
		c.buf = make([]byte, 512)
	}
	n, _ := c.r.ReadAt(c.buf, at)
	if n < 8 {
		return nil
	}
	size := int(min(le.Uint32(c.buf[4:]), maxCacheRecord))
	if size > len(c.buf) {
		c.buf = make([]byte, size)
		n, _ = c.r.ReadAt(c.buf, at)
	}
	if size < 8 || n < size {
		return nil
	}
	return c.buf[:size]
}

// find looks for the field in a record: each has its number, its size unless that
// is always the same, and its data, padded to 4 bytes.
func (c *Cache) find(b []byte) (t time.Time, ok bool) {
	for len(b) >= 4 {
		field := le.Uint32(b)
		if b = b[4:]; field >= uint32(len(c.sizes)) {
			return t, false
		}
		size := c.sizes[field]
		if size == unknownSize {
			if len(b) < 4 {
				return t, false
			}
			size, b = le.Uint32(b), b[4:]
		}
		if uint64(size) > uint64(len(b)) {
			return t, false
		}
		if field == c.received {
			return time.Unix(int64(le.Uint32(b)), 0).UTC(), true
		}
		b = b[min(len(b), int(size+3)&^3):]
	}
	return t, false
}
