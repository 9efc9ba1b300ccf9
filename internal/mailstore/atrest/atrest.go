// Package atrest reads message files that a mail server keeps in another form
// than that of mail: compressed by Dovecot's zlib plugin (gzip, bzip2, zstd, in
// version 2.3 also xz and lz4), or encrypted by its mail_crypt plugin. The form
// is told by a file's first bytes, as Dovecot itself does.
//
// Compressed files are read as the mail that they hold. Encrypted ones, and
// those compressed in a way that nothing here decodes, are read as they are, so
// that a restore gives back the same file; Form says so, and a report has to
// name it. The adapters maildir and dbox call this package. It opens no files.
//
// A message that merely begins like a compressed file is not lost: where a
// decoder fails before it has given one byte, the file is read as it is, and
// its form is Undecodable. Where it fails later, the message is damaged.
package atrest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"salvor/internal/mailstore"
)

// A Form is the way in which a message file is kept, named for people.
type Form string

// The forms that are told apart.
const (
	Plain Form = "" // mail as it is
	Gzip  Form = "compressed with gzip"
	Bzip2 Form = "compressed with bzip2"
	Zstd  Form = "compressed with zstd"
	// These are read as they are.
	XZ          Form = "compressed with xz"
	LZ4         Form = "compressed with lz4"
	Encrypted   Form = "encrypted by Dovecot's mail_crypt"
	Undecodable Form = "looks compressed, but cannot be decoded"
)

// Opaque tells whether a file of this form is read as it is: its bytes are not
// those of the mail, and their number is not the one that an index promises.
func (f Form) Opaque() bool {
	return f == XZ || f == LZ4 || f == Encrypted || f == Undecodable
}

// magics are the first bytes of files. Dovecot made up its own for lz4
// (src/lib-compression/iostream-lz4.h in version 2.3) and for encrypted files
// (src/lib-dcrypt/dcrypt-iostream.h).
var magics = []struct {
	magic string
	form  Form
}{
	{"\x1f\x8b", Gzip},
	{"BZh", Bzip2}, // and a digit, see Detect
	{"\x28\xb5\x2f\xfd", Zstd},
	{"\xfd7zXZ\x00", XZ},
	{"Dovecot-LZ4\x0d\x2a\x9b\xc5", LZ4},
	{"CRYPTED\x03\x07", Encrypted},
}

// longestMagic is how many bytes Detect wants to see.
const longestMagic = 15

// Detect tells the form of a file by its first bytes, at least 15 of a file
// that has as many. It never says Undecodable.
func Detect(head []byte) Form {
	for _, m := range magics {
		if !bytes.HasPrefix(head, []byte(m.magic)) {
			continue
		}
		if m.form == Bzip2 && (len(head) < 4 || head[3] < '1' || head[3] > '9') {
			return Plain
		}
		return m.form
	}
	return Plain
}

// Limit is the size up to which a message is decompressed, whatever its size is
// promised to be.
const Limit = 1 << 30

// A Teller is a reader of a message's stored bytes that can tell, when all of
// them have been read, how the source keeps them.
type Teller interface {
	AtRest() Form
}

// A Reader reads a message file as mail. It is not for concurrent use.
type Reader struct {
	source  source
	promise int64 // -1: none
	form    Form
	decoder io.Reader // nil until the first Read
	given   int64
	err     error
}

var _ Teller = (*Reader)(nil)

// NewReader reads the message file f, which stands at its beginning. The size
// of the mail that an index promises, -1 for none, bounds what is decompressed.
// A file that is not compressed is read without being copied.
func NewReader(f io.ReadSeeker, promised int64) *Reader {
	return &Reader{source: source{f: f}, promise: promised}
}

// AtRest tells the file's form, once reading has begun.
func (r *Reader) AtRest() Form { return r.form }

// Read reads on. A stream that breaks off, or gives more than was promised, is
// mailstore.ErrDamaged; errors of the file itself come as they are.
func (r *Reader) Read(p []byte) (n int, err error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case len(p) == 0:
		return 0, nil
	case r.decoder == nil:
		n, err = r.begin(p)
	case r.form == Plain || r.form.Opaque():
		return r.source.Read(p)
	default:
		n, err = r.decode(p)
	}
	if err != nil {
		r.err = err
		r.release()
	}
	return n, err
}

// begin reads the first bytes, which tell the form.
func (r *Reader) begin(p []byte) (int, error) {
	head := p
	if len(p) < longestMagic {
		head = make([]byte, longestMagic)
	}
	n, err := io.ReadAtLeast(&r.source, head, longestMagic)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		return 0, err
	}
	r.form, r.decoder = Detect(head[:n]), &r.source
	plain := r.form == Plain || r.form.Opaque()
	if plain && len(p) >= longestMagic {
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	if plain {
		if err := r.source.rewind(); err != nil {
			return 0, err
		}
		return r.source.Read(p)
	}
	if n, err = r.beginDecoding(p, newDecoder); errors.Is(err, zstd.ErrWindowSizeExceeded) {
		n, err = r.beginDecoding(p, newWide)
	}
	if err == nil || r.given > 0 || r.source.err != nil || errors.Is(err, io.EOF) {
		return n, err
	}
	r.release()
	r.form, r.decoder = Undecodable, &r.source
	if err := r.source.rewind(); err != nil {
		return 0, err
	}
	return r.source.Read(p)
}

// beginDecoding makes a decoder and gives its first bytes.
func (r *Reader) beginDecoding(p []byte, decoder func(Form, io.Reader) (io.Reader, error)) (int, error) {
	r.release()
	err := r.source.rewind()
	if err == nil {
		r.decoder, err = decoder(r.form, &r.source)
	}
	if err == nil {
		return r.decode(p)
	}
	r.decoder = &r.source
	if r.source.err != nil {
		err = r.source.err
	}
	return 0, err
}

// decode gives what the decoder gives, within bounds. It goes on until there is
// a byte or an error.
func (r *Reader) decode(p []byte) (int, error) {
	limit := int64(Limit)
	if r.promise >= 0 {
		limit = min(limit, r.promise)
	}
	// One more than the limit shows that there is more.
	p = p[:min(int64(len(p)), limit-r.given+1)]
	n, err := 0, error(nil)
	for n == 0 && err == nil {
		n, err = r.decoder.Read(p)
	}
	r.given += int64(n)
	switch {
	case r.given > limit && limit == r.promise:
		return 0, fmt.Errorf("%w: the file, %s, holds more than the %d bytes that it promises", mailstore.ErrDamaged, r.form, limit)
	case r.given > limit:
		return 0, fmt.Errorf("%w: the file, %s, holds more than %d bytes", mailstore.ErrDamaged, r.form, limit)
	case r.source.err != nil:
		return n, r.source.err
	case err != nil && !errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: the file, %s, cannot be decoded after %d bytes of mail: %w", mailstore.ErrDamaged, r.form, r.given, err)
	}
	return n, err
}

// release gives back what a decoder holds.
func (r *Reader) release() {
	if d, ok := r.decoder.(*pooled); ok {
		d.release()
	}
	r.decoder = &r.source
}

// Close gives back what decoding took; it does not close the file. A Reader
// that was read to its end needs none.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = errClosed
	}
	r.release()
	return nil
}

var errClosed = errors.New("read from a closed message")

// source keeps errors of the file apart from those of the stream in it.
type source struct {
	f   io.ReadSeeker
	err error // other than io.EOF
}

// Read reads from the file.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.f.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (s *source) rewind() error {
	_, err := s.f.Seek(0, io.SeekStart)
	return err
}
