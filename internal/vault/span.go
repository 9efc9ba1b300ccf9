package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"salvor/internal/buffers"
	"salvor/internal/objstore"
)

const (
	// blockSize is the unit in which objects are read and kept. age decrypts
	// in chunks of 64 KiB, so less would save nothing.
	blockSize = 64 << 10
	// maxSpan is how many blocks are fetched at once where much of an object is
	// read.
	maxSpan = 4 << 20 / blockSize
)

// blockCache holds fetched blocks of all objects of a Reader.
type blockCache struct {
	mu     sync.Mutex
	blocks *lru[blockKey, []byte]
}

type blockKey struct {
	object string
	index  int64
}

func newBlockCache(max int64) *blockCache {
	return &blockCache{blocks: newLRU[blockKey, []byte](max)}
}

func (c *blockCache) get(k blockKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocks.get(k)
}

func (c *blockCache) put(k blockKey, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks.put(k, b, int64(len(b)))
}

// rangedObject reads an object by ranges. One goroutine at a time.
type rangedObject struct {
	store objstore.Store
	name  string
	size  int64
	cache *blockCache
	// Blocks at which two fetches ended, the next of which would go on there:
	// of the run of fetches that was last read on, and of the last that was
	// somewhere else. 0: none.
	run, jump int64
	span      int64   // blocks fetched at once by the run, beyond what is asked for
	near      stretch // of a near store, instead of blocks
}

// load brings a range into memory, with one request.
func (o *rangedObject) load(ctx context.Context, off, n int64) error {
	if n <= 0 || off < 0 || off+n > o.size {
		return fmt.Errorf("range of %d bytes at %d in %d: %w", n, off, o.size, io.ErrUnexpectedEOF)
	}
	first, end := o.trim(off/blockSize, (off+n-1)/blockSize+1)
	if first == end {
		return nil
	}
	blocks := (o.size + blockSize - 1) / blockSize
	_, end = o.trim(first, min(end+o.ahead(first, end), blocks))
	return o.fetch(ctx, first, end)
}

// trim leaves out the blocks at both ends of [first, end) that are there.
func (o *rangedObject) trim(first, end int64) (int64, int64) {
	for first < end && o.has(first) {
		first++
	}
	for first < end && o.has(end-1) {
		end--
	}
	return first, end
}

func (o *rangedObject) has(i int64) bool {
	_, ok := o.cache.get(blockKey{o.name, i})
	return ok
}

// ahead is how many blocks to fetch beyond [first, end). It doubles with every
// fetch that goes on where one ended: reading one message costs its own frames,
// reading a user's mail few requests. Parts that users share lie anywhere; who
// reads one of them in between does not end the run.
func (o *rangedObject) ahead(first, end int64) int64 {
	goesOn := func(from int64) bool { return from > 0 && first >= from && first <= from+1 }
	switch {
	case goesOn(o.run):
		o.span = min(2*o.span, maxSpan)
	case goesOn(o.jump):
		o.span = 1
	default:
		o.jump = end
		return 0
	}
	o.run = end + o.span
	return o.span
}

// fetch reads the blocks [first, end).
func (o *rangedObject) fetch(ctx context.Context, first, end int64) error {
	off := first * blockSize
	n := min(end*blockSize, o.size) - off
	b, err := o.store.Get(ctx, o.name, off, n)
	if err != nil {
		return readError(o.name, err)
	}
	if int64(len(b)) != n {
		return damagef(o.name, "%d bytes at %d", n, off)
	}
	for i := first; i < end; i++ {
		at := (i - first) * blockSize
		to := min(at+blockSize, n)
		o.cache.put(blockKey{o.name, i}, b[at:to:to])
	}
	return nil
}

// A stretch is a piece of an object in memory, for as long as one call needs
// it.
type stretch struct {
	off   int64
	bytes []byte
}

// look brings a range of an object in a near store into memory. It tells
// whether it did; the caller forgets it again.
func (o *rangedObject) look(ctx context.Context, off, n int64) (bool, error) {
	near, ok := o.store.(objstore.Near)
	if !ok || off < 0 || n <= 0 || off+n > o.size {
		return false, nil
	}
	b := buffers.Get(int(n))[:n]
	if err := near.Fill(ctx, o.name, off, b); err != nil {
		return false, readError(o.name, err)
	}
	o.near = stretch{off, b}
	return true, nil
}

func (o *rangedObject) forget() {
	buffers.Put(o.near.bytes)
	o.near = stretch{}
}

// rangedReader is the object as age wants it. ctx is that of the call that is
// being served.
type rangedReader struct {
	o   *rangedObject
	ctx context.Context
	err error // the first: age does not wrap all that it meets
}

// ReadAt implements io.ReaderAt.
func (r *rangedReader) ReadAt(p []byte, off int64) (n int, err error) {
	if w := r.o.near; off >= w.off && off+int64(len(p)) <= w.off+int64(len(w.bytes)) {
		return copy(p, w.bytes[off-w.off:]), nil
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= r.o.size {
			return n, io.EOF
		}
		b, err := r.block(at / blockSize)
		if err != nil {
			r.err = err
			return n, err
		}
		skip := at % blockSize
		if skip >= int64(len(b)) {
			// The object is shorter than somebody said.
			return n, io.ErrUnexpectedEOF
		}
		n += copy(p[n:], b[skip:])
	}
	return n, nil
}

// block gives one block, also where the cache has lost it since load.
func (r *rangedReader) block(i int64) ([]byte, error) {
	key := blockKey{r.o.name, i}
	if b, ok := r.o.cache.get(key); ok {
		return b, nil
	}
	if err := r.o.fetch(r.ctx, i, i+1); err != nil {
		return nil, err
	}
	if b, ok := r.o.cache.get(key); ok {
		return b, nil
	}
	return nil, errors.New("the block cache is smaller than a block")
}
