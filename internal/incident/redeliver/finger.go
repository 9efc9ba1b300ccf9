package redeliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"salvor/chunk"
)

// A content is a Content that was read, without its bytes.
type content struct {
	Content
	id           chunk.ID
	sha1         chunk.SHA1
	wire, lf, is int64 // sizes: of the wire form, of the LF form, as it is stored
	messageID    string
	date         time.Time // of its header
}

// sized tells whether a size that somebody noted can be this content's: stores
// count line ends differently.
func (c *content) sized(size int64) bool { return size == c.wire || size == c.lf || size == c.is }

// maxHeader is how much of a message is searched for its Message-ID.
const maxHeader = 128 << 10

// A finger reads contents once, without keeping their bytes.
type finger struct {
	sums   *chunk.WireHasher
	header []byte
	size   int64
	lines  int64
}

var blocks = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// Write takes a content's next bytes.
func (f *finger) Write(b []byte) (int, error) {
	if f.size += int64(len(b)); f.size > MaxMessage {
		return 0, errTooLong
	}
	if room := maxHeader - len(f.header); room > 0 {
		f.header = append(f.header, b[:min(room, len(b))]...)
	}
	f.lines += int64(bytes.Count(b, []byte("\n")))
	return f.sums.Write(b)
}

// read reads a content once.
func (f *finger) read(ctx context.Context, c Content) (*content, error) {
	r, err := c.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f.sums.Reset()
	f.header, f.size, f.lines = f.header[:0], 0, 0
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	if _, err := io.CopyBuffer(f, struct{ io.Reader }{r}, *block); err != nil {
		return nil, err
	}
	out := &content{Content: c, is: f.size}
	out.id, out.sha1, out.wire = f.sums.Sums()
	out.lf = out.wire - f.lines
	out.messageID, out.date = identity(f.header)
	return out, nil
}

// errChanged: what was found is not there any more as it was.
var errChanged = errors.New("it has changed since it was found")

// bytes reads a content again, whole, and proves that it is what was found.
func (c *content) bytes(ctx context.Context) (stored, lf, wire []byte, err error) {
	r, err := c.Open(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	defer r.Close()
	buf := bytes.NewBuffer(make([]byte, 0, min(c.is+1, 64<<20)))
	if _, err := io.Copy(buf, io.LimitReader(r, c.is+1)); err != nil {
		return nil, nil, nil, err
	}
	stored = buf.Bytes()
	if id, _, _ := chunk.WireSums(stored); id != c.id {
		return nil, nil, nil, errChanged
	}
	lf, ends := chunk.ToLF(nil, stored)
	if ends == chunk.EndsCRLF {
		return stored, lf, stored, nil
	}
	return stored, lf, chunk.ToWire(nil, lf), nil
}

// where says for the ledger where a message was found, and what it lacks.
func (c *content) where() string {
	where := fmt.Sprintf("found in %s", c.Place)
	if c.Asked != nil {
		where = c.Asked.lacks() + "; " + where
	}
	return where
}
