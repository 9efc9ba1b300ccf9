package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"salvor/chunk"
)

// Footer reads what a pack says of itself, without its frames. The IDs of data
// chunks are zero: they follow from the bytes (CheckPack).
func (r *Reader) Footer(ctx context.Context, o Object) (*PackInfo, error) {
	pack, err := r.open(ctx, o)
	if err != nil {
		return nil, err
	}
	b, err := pack.read(ctx, pack.size-trailerSize, trailerSize)
	if err != nil {
		return nil, err
	}
	t, err := parseTrailer(b)
	end := pack.size - trailerSize - t.stored
	if err != nil || end < pack.start {
		return nil, &DamageError{Object: o.Name(), Offset: pack.size - trailerSize, Expected: "a trailer", Err: err}
	}
	if b, err = pack.read(ctx, end, t.stored); err != nil {
		return nil, err
	}
	dec, err := r.decoder()
	if err != nil {
		return nil, err
	}
	defer r.dec.Put(dec)
	frames, err := parseFooter(dec, b, t.plain, pack.start, end)
	if err != nil {
		return nil, &DamageError{Object: o.Name(), Offset: end, Expected: "a footer", Err: err}
	}
	return &PackInfo{ID: o.ID, Size: o.Size, Frames: frames}, nil
}

// CheckPack reads a whole pack and verifies all of it: its hash, which is its
// name, header, footer and every frame. The PackInfo has the IDs of all
// chunks. It takes memory for one pack.
func (r *Reader) CheckPack(ctx context.Context, o Object) (*PackInfo, error) {
	if err := r.v.checkSize(ctx, o); err != nil {
		return nil, err
	}
	stored, err := r.v.fetch(ctx, o)
	if err != nil {
		return nil, err
	}
	plain, err := decryptAll(o, stored, r.ids)
	if err != nil {
		return nil, err
	}
	if err := r.v.checkHeader(o.Name(), ObjectPack, plain); err != nil {
		return nil, err
	}
	return r.checkPlain(o, plain, int64(len(r.v.header(ObjectPack))))
}

func decryptAll(o Object, stored []byte, ids []age.Identity) ([]byte, error) {
	src, err := age.Decrypt(bytes.NewReader(stored), ids...)
	if err != nil {
		return nil, openError(o.Name(), err)
	}
	plain := bytes.NewBuffer(make([]byte, 0, len(stored)))
	if _, err := io.Copy(plain, src); err != nil {
		return nil, &DamageError{Object: o.Name(), Offset: int64(plain.Len()), Expected: "bytes that age authenticates", Err: err}
	}
	return plain.Bytes(), nil
}

// checkPlain verifies the plaintext of a pack from start on.
func (r *Reader) checkPlain(o Object, plain []byte, start int64) (*PackInfo, error) {
	last := int64(len(plain)) - trailerSize
	if last < start {
		return nil, damagef(o.Name(), "a header and a footer")
	}
	t, err := parseTrailer(plain[last:])
	end := last - t.stored
	if err != nil || end < start {
		return nil, &DamageError{Object: o.Name(), Offset: last, Expected: "a trailer", Err: err}
	}
	dec, err := r.decoder()
	if err != nil {
		return nil, err
	}
	defer r.dec.Put(dec)
	frames, err := parseFooter(dec, plain[end:last], t.plain, start, end)
	if err != nil {
		return nil, &DamageError{Object: o.Name(), Offset: end, Expected: "a footer", Err: err}
	}
	var buf []byte
	for _, f := range frames {
		b, err := decodeFrame(dec, buf, plain[f.Offset:f.Offset+f.Stored], f.Method, f.Plain)
		if errors.Is(err, ErrVersion) {
			return nil, fmt.Errorf("read %s: %w", o.Name(), err)
		}
		if err != nil {
			return nil, &DamageError{Object: o.Name(), Offset: f.Offset, Expected: "a " + f.Method + " frame", Err: err}
		}
		nameData(f.Chunks, b)
		if f.Method == methodZstd {
			buf = b[:0]
		}
	}
	return &PackInfo{ID: o.ID, Size: o.Size, Frames: frames}, nil
}

// nameData computes the IDs of data chunks.
func nameData(chunks []ChunkInfo, plain []byte) {
	for i, c := range chunks {
		if c.Kind == chunk.KindData {
			chunks[i].ID = chunk.Sum(plain[c.Offset : c.Offset+c.Size])
		}
	}
}
