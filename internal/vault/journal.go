package vault

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

const (
	// journalSize is the stored length at which a journal goes on in another
	// object. What the compressor holds back comes on top.
	journalSize = 15 << 20
	maxLine     = 64 << 20
	// journalWindow bounds the memory that a decoder needs.
	journalWindow = 4 << 20
)

// A JournalWriter writes rows, one a line, into objects that the vault's
// recipients and all certified hosts can read (section "journals"). It belongs
// to one goroutine.
type JournalWriter struct {
	v          *Vault
	ctx        context.Context
	kind       ObjectKind
	recipients []age.Recipient

	stored  bytes.Buffer
	hash    hash.Hash
	sealed  io.WriteCloser // age; nil while no object is begun
	enc     *zstd.Encoder
	objects []Object
	err     error
}

// NewJournal begins a journal or a checkpoint.
func (v *Vault) NewJournal(ctx context.Context, kind ObjectKind) (*JournalWriter, error) {
	if kind != ObjectJournal && kind != ObjectCheckpoint {
		return nil, fmt.Errorf("write a journal: kind %.40q is none", string(kind))
	}
	recipients, err := v.metadataRecipients(ctx)
	if err != nil {
		return nil, fmt.Errorf("write a %s: %w", kind, err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(journalWindow), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("write a %s: %w", kind, err)
	}
	return &JournalWriter{v: v, ctx: ctx, kind: kind, recipients: recipients, enc: enc, hash: sha256.New()}, nil
}

// metadataRecipients are all who may read journals. A revoked host is told
// nothing more.
func (v *Vault) metadataRecipients(ctx context.Context) ([]age.Recipient, error) {
	v.forgetWriters()
	writers, err := v.Certificates(ctx)
	if err != nil {
		return nil, err
	}
	all := append([]age.Recipient(nil), v.recipients...)
	for _, w := range writers {
		if w.Revoked != nil {
			continue
		}
		r, _, err := parseRecipient(w.Metadata)
		if err != nil {
			return nil, fmt.Errorf("metadata recipient of %s: %w", w.Host, ErrRecipients)
		}
		all = append(all, r)
	}
	return all, nil
}

// Line adds one row, with or without its line end. A full object is stored
// before Line returns.
func (j *JournalWriter) Line(row []byte) error {
	row = bytes.TrimSuffix(row, []byte{'\n'})
	if j.err == nil && (len(row) == 0 || len(row) > maxLine || bytes.IndexByte(row, '\n') >= 0) {
		j.err = fmt.Errorf("write a %s: a row of %d bytes is no line", j.kind, len(row))
	}
	if j.err == nil && j.sealed == nil {
		j.err = j.begin()
	}
	if j.err == nil {
		_, err1 := j.enc.Write(row)
		_, err2 := j.enc.Write([]byte{'\n'})
		j.err = errors.Join(err1, err2)
	}
	if j.err == nil && j.stored.Len() >= journalSize {
		j.err = j.end()
	}
	return j.err
}

// Close stores the last object and gives all of them, in order; none when no
// row was written.
func (j *JournalWriter) Close() ([]Object, error) {
	if j.err == nil && j.sealed != nil {
		j.err = j.end()
	}
	if j.err != nil {
		return nil, j.err
	}
	j.err = errors.New("the journal is closed")
	return j.objects, nil
}

func (j *JournalWriter) begin() (err error) {
	j.stored.Reset()
	j.hash.Reset()
	j.sealed, err = age.Encrypt(io.MultiWriter(&j.stored, j.hash), j.recipients...)
	if err != nil {
		return fmt.Errorf("begin a %s: %w", j.kind, err)
	}
	if _, err := io.WriteString(j.sealed, j.v.header(j.kind)); err != nil {
		return fmt.Errorf("begin a %s: %w", j.kind, err)
	}
	j.enc.Reset(j.sealed)
	return nil
}

func (j *JournalWriter) end() error {
	if err := errors.Join(j.enc.Close(), j.sealed.Close()); err != nil {
		return fmt.Errorf("end a %s: %w", j.kind, err)
	}
	j.sealed = nil
	o := Object{Kind: j.kind, Size: int64(j.stored.Len())}
	j.hash.Sum(o.ID[:0])
	if err := j.v.store.Put(j.ctx, o.Name(), j.stored.Bytes()); err != nil {
		return fmt.Errorf("store a %s: %w", j.kind, err)
	}
	j.objects = append(j.objects, o)
	return nil
}

// ReadJournal gives the rows of one journal or checkpoint object, without
// their line ends; a row is valid during the call. The object must be one that
// a verified commit names. Rows come while the object is still being decoded,
// but only after its hash was compared with its name.
func (v *Vault) ReadJournal(ctx context.Context, o Object, ids []age.Identity, line func([]byte) error) error {
	if o.Kind != ObjectJournal && o.Kind != ObjectCheckpoint {
		return fmt.Errorf("read a journal: %s is none", o.Name())
	}
	if len(ids) == 0 {
		return fmt.Errorf("read %s: %w: none was given", o.Name(), ErrNoIdentity)
	}
	stored, err := v.fetch(ctx, o)
	if err != nil {
		return err
	}
	plain, err := age.Decrypt(bytes.NewReader(stored), ids...)
	if err != nil {
		return openError(o.Name(), err)
	}
	return v.readLines(ctx, o, plain, line)
}

// readLines reads the plaintext of a journal.
func (v *Vault) readLines(ctx context.Context, o Object, plain io.Reader, line func([]byte) error) error {
	damaged := func(err error) error {
		return &DamageError{Object: o.Name(), Offset: -1, Expected: "a header and one zstd stream of lines", Err: err}
	}
	in := bufio.NewReader(plain)
	header, err := in.ReadSlice('\n') // at most 4,096 bytes
	if err != nil {
		return damaged(err)
	}
	if err := v.checkHeader(o.Name(), o.Kind, header); err != nil {
		return err
	}
	dec, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(journalWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return damaged(err)
	}
	defer dec.Close()
	lines := bufio.NewScanner(dec)
	lines.Buffer(make([]byte, 64<<10), maxLine+1)
	lines.Split(scanWholeLines)
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := line(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return damaged(err)
	}
	return nil
}

// scanWholeLines is bufio.ScanLines, but refuses a last line without its end
// and keeps carriage returns.
func scanWholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}
