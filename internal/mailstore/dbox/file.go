package dbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"salvor/internal/mailstore"
)

// A dbox file is a line of text, "2 M1e C6b03387f", and messages: a header of
// as many bytes as M says (hex), the mail, "\n\x01\x03\n", lines of metadata of
// which the first byte is the key, and an empty line. sdbox keeps one message in
// a file, mdbox many. (Dovecot 2.3, src/lib-storage/index/dbox-common/dbox-file.h)
const (
	magicPre  = "\x01\x02"
	magicPost = "\n\x01\x03\n"
	// In the message's header: magic, type, space, 8 bytes of old versions,
	// space, the size as 16 hex digits, space for the future, LF.
	typeAt, sizeAt, sizeDigits = 2, 13, 16
	minHeader, maxHeader       = 30, 4 << 10
	maxFileHead                = 256
	maxMetadata                = 256 << 10
	// maxTries is how many places that look like messages, and are none, are
	// looked at in one file.
	maxTries = 4096
)

// An entry is one message in a dbox file.
type entry struct {
	offset  int64 // of its header
	body    int64
	size    int64 // of the body as it is stored
	end     int64 // after the metadata
	plain   int64 // of the mail, where it is not size: the body is compressed
	guid    string
	mailbox string    // where it was saved first, as the disk has it; mdbox only
	arrived time.Time // zero: unknown
	outside bool      // attachments are kept in files of their own
}

// damaged is an error of a message that is not, or not wholly, there.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", mailstore.ErrDamaged, fmt.Sprintf(format, args...))
}

// A file is a dbox file that is open.
type file struct {
	io.ReaderAt
	size   int64
	first  int64 // where messages begin
	header int64 // the size of a message's header
	tries  int   // see maxTries
}

// openFile reads the first line. Where it is damaged, the usual sizes are taken
// and the error says so.
func openFile(r io.ReaderAt, size int64) (*file, error) {
	f := &file{ReaderAt: r, size: size, header: minHeader}
	line, err := readAt(r, 0, min(size, maxFileHead))
	if err != nil {
		return f, err
	}
	first, _, ok := bytes.Cut(line, []byte("\n"))
	words := strings.Split(string(first), " ")
	if !ok || words[0] != "1" && words[0] != "2" {
		return f, damaged("the file does not begin as a dbox file does")
	}
	f.first = int64(len(first)) + 1
	for _, w := range words[1:] {
		if hex, ok := strings.CutPrefix(w, "M"); ok {
			n, err := strconv.ParseInt(hex, 16, 32)
			if err != nil || n < minHeader || n > maxHeader {
				return f, damaged("the file's first line is %q", first)
			}
			f.header = n
		}
	}
	return f, nil
}

// readAt reads exactly n bytes.
func readAt(r io.ReaderAt, at, n int64) ([]byte, error) {
	b := make([]byte, n)
	got, err := r.ReadAt(b, at)
	if int64(got) == n || errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:got], err
}

// entry reads the message at an offset.
func (f *file) entry(at int64) (entry, error) {
	e := entry{offset: at, body: at + f.header, plain: -1}
	if at < 0 || e.body > f.size {
		return e, damaged("the file has %d bytes, a message should stand at %d", f.size, at)
	}
	head, err := readAt(f, at, f.header)
	if err != nil {
		return e, err
	}
	size, ok := parseHeader(head)
	if !ok {
		return e, damaged("no message stands at byte %d", at)
	}
	if e.size = size; e.size > f.size-e.body {
		return e, damaged("the message at byte %d has %d of its %d bytes", at, f.size-e.body, e.size)
	}
	return e, f.metadata(&e)
}

// parseHeader gives the size in a message's header.
func parseHeader(head []byte) (int64, bool) {
	if len(head) < minHeader || string(head[:typeAt+1]) != magicPre+"N" || head[typeAt+1] != ' ' || head[len(head)-1] != '\n' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(head[sizeAt:sizeAt+sizeDigits]), 16, 63)
	return int64(n), err == nil
}

// metadata reads what follows the body.
func (f *file) metadata(e *entry) error {
	at := e.body + e.size
	for want := int64(512); ; want = min(want*8, maxMetadata) {
		b, err := readAt(f, at, min(want, f.size-at))
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(b, []byte(magicPost)) {
			return damaged("the message at byte %d does not end where it should", e.offset)
		}
		if n, ok := e.parseMetadata(b[len(magicPost):]); ok {
			e.end = at + int64(len(magicPost)+n)
			return nil
		}
		if want == maxMetadata || int64(len(b)) == f.size-at {
			return damaged("the metadata of the message at byte %d has no end", e.offset)
		}
	}
}

// parseMetadata reads lines up to an empty one; ok is false where there is none.
func (e *entry) parseMetadata(b []byte) (n int, ok bool) {
	for rest := b; ; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			return 0, false
		}
		rest = after
		if len(line) == 0 || line[0] == ' ' { // the latter in old versions
			return len(b) - len(rest), true
		}
		e.set(line[0], string(line[1:]))
	}
}

// set takes one line of metadata; those of no use here are left out.
func (e *entry) set(key byte, value string) {
	switch key {
	case 'G':
		e.guid = value
	case 'B':
		e.mailbox = value
	case 'X':
		e.outside = true
	case 'R':
		if n, err := strconv.ParseInt(value, 16, 64); err == nil && n > 0 && n < 1<<38 {
			e.arrived = time.Unix(n, 0)
		}
	case 'Z':
		if n, err := strconv.ParseInt(value, 16, 64); err == nil && n >= 0 {
			e.plain = n
		}
	}
}

// objectID is the identity of the message's content: Dovecot's GUID is the same
// for copies and stays when a message is moved.
func objectID(guid string) string {
	if len(guid) != 32 || strings.Trim(strings.ToLower(guid), "0123456789abcdef") != "" {
		return ""
	}
	return "guid:" + strings.ToLower(guid)
}

// promised is the size that the mail is promised to have.
func (e *entry) promised() int64 {
	if e.plain >= 0 {
		return e.plain
	}
	return e.size
}

// scan reads all messages of a file. Where something cannot be read it goes on
// at the next message, and the problem names the offset.
func (f *file) scan(yield func(entry) error, problem func(error)) error {
	for at := f.first; at < f.size; {
		e, err := f.entry(at)
		if err == nil {
			if err = yield(e); err != nil {
				return err
			}
			at = e.end
			continue
		}
		if !errors.Is(err, mailstore.ErrDamaged) {
			return err
		}
		problem(err)
		if at, err = f.next(at + 1); err != nil {
			return err
		}
	}
	if f.tries > maxTries {
		problem(damaged("more than %d places look like messages and are none; the rest of the file was not read", maxTries))
	}
	return nil
}

// next finds where the next message could stand: a header whose message has an
// end where the header says. Mail that quotes a header does not look like that.
func (f *file) next(at int64) (int64, error) {
	const block = 256 << 10
	for at < f.size {
		b, err := readAt(f, at, min(block, f.size-at))
		if err != nil {
			return 0, err
		}
		for i := 0; ; {
			n := bytes.Index(b[i:], []byte(magicPre+"N "))
			if n < 0 {
				break
			}
			i += n
			if _, err := f.entry(at + int64(i)); err == nil {
				return at + int64(i), nil
			} else if !errors.Is(err, mailstore.ErrDamaged) {
				return 0, err
			}
			if f.tries++; f.tries > maxTries {
				return f.size, nil
			}
			i++
		}
		if int64(len(b)) < block {
			break
		}
		at += block - int64(len(magicPre)+1)
	}
	return f.size, nil
}
