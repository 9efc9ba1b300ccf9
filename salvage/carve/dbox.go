package carve

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// A dbox file is a line of text, "2 M1e C6b03387f", and messages: a header of as
// many bytes as M says (hex), the mail, "\n\x01\x03\n", lines of metadata of which
// the first byte is the key, and an empty line. sdbox keeps one message in a file,
// mdbox many. (Dovecot 2.3, src/lib-storage/index/dbox-common/dbox-file.h)
const (
	recordMagic          = "\x01\x02N "
	metadataMagic        = "\n\x01\x03\n"
	sizeAt, sizeDigits   = 13, 16
	minRecord, maxRecord = 30, 4 << 10
	maxDboxHead          = 256
	maxMetadata          = 64 << 10
	// maxRecords bounds the messages in one dbox file.
	maxRecords = 1 << 20
)

// parseDboxHead reads a dbox file's first line: its length, and the length of
// the headers of messages.
func parseDboxHead(b []byte) (first, record int64, ok bool) {
	line, _, whole := bytes.Cut(b[:min(len(b), maxDboxHead)], []byte("\n"))
	if !whole || len(line) < 5 || line[1] != ' ' || line[0] != '1' && line[0] != '2' {
		return 0, 0, false
	}
	record = minRecord
	for w := range strings.SplitSeq(string(line[2:]), " ") {
		if w == "" || w[0] < 'A' || w[0] > 'Z' {
			return 0, 0, false
		}
		n, err := strconv.ParseInt(w[1:], 16, 64)
		if err != nil {
			return 0, 0, false
		}
		if w[0] == 'M' {
			if record = n; n < minRecord || n > maxRecord {
				return 0, 0, false
			}
		}
	}
	return int64(len(line)) + 1, record, true
}

// parseRecord gives the size of the mail behind a message's header.
func parseRecord(b []byte, record int64) (int64, bool) {
	if int64(len(b)) < record || !bytes.HasPrefix(b, []byte(recordMagic)) || b[record-1] != '\n' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[sizeAt:sizeAt+sizeDigits]), 16, 63)
	return int64(n), err == nil && n < 1<<50
}

// A record is a message in a dbox file.
type record struct {
	body, size, end int64 // end: behind the metadata
	guid, mailbox   string
	arrived         time.Time
}

// errNoRecord: nothing that looks like a message stands there.
var errNoRecord = errors.New("no message stands there")

// readRecord reads the header and the metadata of the message at an offset. Where
// the metadata are not where they should be, the error is ErrDamaged and body and
// size say what was promised.
func readRecord(r io.ReaderAt, at, head, total int64) (d record, err error) {
	b := make([]byte, head)
	if _, err := r.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return d, err
	}
	n, ok := parseRecord(b, head)
	if !ok || at+head > total {
		return d, errNoRecord
	}
	d.body, d.size = at+head, n
	if d.size > total-d.body {
		return d, ErrDamaged
	}
	for want := int64(512); ; want *= 8 {
		want = min(want, maxMetadata)
		b := make([]byte, min(want, total-d.body-d.size))
		k, err := r.ReadAt(b, d.body+d.size)
		if err != nil && !errors.Is(err, io.EOF) {
			return d, err
		}
		b = b[:k]
		if !bytes.HasPrefix(b, []byte(metadataMagic)) {
			return d, ErrDamaged
		}
		if n, ok := d.metadata(b[len(metadataMagic):]); ok {
			d.end = d.body + d.size + int64(len(metadataMagic)+n)
			return d, nil
		}
		if want == maxMetadata || int64(k) < want {
			return d, ErrDamaged
		}
	}
}

// metadata reads lines up to an empty one.
func (d *record) metadata(b []byte) (n int, ok bool) {
	for rest := b; ; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole || bytes.IndexByte(line, 0) >= 0 {
			return 0, false
		}
		rest = after
		if len(line) == 0 || line[0] == ' ' { // the latter in old versions
			return len(b) - len(rest), true
		}
		switch value := string(line[1:]); line[0] {
		case 'G':
			d.guid = clean(value, 64)
		case 'B':
			d.mailbox = clean(value, 1024)
		case 'R':
			if s, err := strconv.ParseInt(value, 16, 64); err == nil && s > 0 && s < 1<<38 {
				d.arrived = time.Unix(s, 0).UTC()
			}
		}
	}
}
