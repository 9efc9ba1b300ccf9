package carve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// ExpandOptions bound what Expand gives.
type ExpandOptions struct {
	// Limit is the longest message, in bytes; 0 means 1 GiB. Total bounds all
	// messages of one object together; 0 means 16 GiB.
	Limit, Total int64
	// Ratio is how many bytes may come out of a compressed one, beyond the first
	// 16 MiB; 0 means 1024.
	Ratio int64
}

// A Mail is a message that Expand has taken out of its wrapping.
type Mail struct {
	Name   string    // "1", "2", ... in their order
	Kind   Kind      // of what holds it: Header where nothing does
	Packed Kind      // how it was compressed, "" for not at all
	Date   time.Time // when it arrived, as mbox and dbox know it; zero: unknown
	// What mbox knows: the sender in the separator line.
	Sender string
	// What dbox knows: Dovecot's GUID and the folder in which it was saved first.
	GUID, Mailbox string
	// Off and Len are its bytes in the object as they stand there; Off is -1 where
	// they are compressed together with others.
	Off, Len int64
	// Body gives the message; valid until yield returns. It ends with io.EOF where
	// the wrapping says that this was all, with ErrDamaged where the wrapping breaks
	// off (what came before is good), or with ErrLimit.
	Body io.Reader
}

// Expand yields the messages in an object of size bytes, a file or a Piece: a
// message as it is, a compressed one, an mbox, a dbox. An error is one of reading,
// of yield, or says that the object is damaged where no message shows it.
func Expand(ctx context.Context, r io.ReaderAt, size int64, o ExpandOptions, yield func(*Mail) error) error {
	if o.Limit <= 0 {
		o.Limit = 1 << 30
	}
	if o.Total <= 0 {
		o.Total = 16 << 30
	}
	if o.Ratio <= 0 {
		o.Ratio = 1024
	}
	e := expander{ctx: ctx, o: o, yield: yield}
	head := make([]byte, min(size, maxDboxHead+maxRecord))
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head = head[:n]
	if first, rec, ok := parseDboxHead(head); ok {
		return e.dbox(r, first, rec, size)
	}
	if _, ok := parseRecord(head, minRecord); ok {
		return e.dbox(r, 0, minRecord, size)
	}
	body := io.NewSectionReader(r, 0, size)
	if kind := packing(head); kind != "" {
		return e.stream(body, kind, size)
	}
	if startsMbox(head) {
		return e.mbox(body, Mail{Kind: Mbox})
	}
	return e.give(&Mail{Kind: Header, Off: 0, Len: size, Body: body})
}

type expander struct {
	ctx   context.Context
	o     ExpandOptions
	yield func(*Mail) error
	count int
	total int64
}

// maxMessages bounds the messages of one object.
const maxMessages = 1 << 20

// give hands on one message and reads what is left of it.
func (e *expander) give(m *Mail) error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if e.count++; e.count > maxMessages || e.total >= e.o.Total {
		return fmt.Errorf("after %d messages: %w", e.count-1, ErrLimit)
	}
	m.Name = strconv.Itoa(e.count)
	body := &limited{in: m.Body, room: min(e.o.Limit, e.o.Total-e.total)}
	m.Body = body
	err := e.yield(m)
	e.total += body.n
	return err
}

// limited ends with ErrLimit where more comes than there is room for.
type limited struct {
	in      io.Reader
	n, room int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.n < l.room {
		n, err := l.in.Read(p[:min(int64(len(p)), l.room-l.n)])
		l.n += int64(n)
		return n, err
	}
	var one [1]byte
	if n, err := io.ReadFull(l.in, one[:]); n == 0 {
		return 0, err
	}
	return 0, ErrLimit
}

// stream expands a compressed object: a message, or an mbox.
func (e *expander) stream(r io.Reader, kind Kind, size int64) error {
	in := count64(r)
	out, done, err := unpack(kind, in)
	if err != nil {
		if in.fail != nil {
			return in.fail
		}
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer done()
	u := &unpacked{out: out, in: in, limit: e.o.Total, ratio: e.o.Ratio}
	buffered := bufio.NewReaderSize(u, 64<<10)
	head, err := buffered.Peek(maxSeparator)
	if len(head) == 0 {
		if errors.Is(err, io.EOF) {
			return nil // an empty file
		}
		return err
	}
	if startsMbox(head) {
		return e.mbox(buffered, Mail{Kind: Mbox, Packed: kind})
	}
	return e.give(&Mail{Kind: Header, Packed: kind, Off: 0, Len: size, Body: buffered})
}

func startsMbox(head []byte) bool {
	line, _, ok := bytes.Cut(head[:min(len(head), maxSeparator)], []byte("\n"))
	if !ok {
		return false
	}
	_, ok = parseSeparator(line)
	return ok
}

// mbox splits an mbox.
func (e *expander) mbox(r io.Reader, like Mail) error {
	s := newSplitter(r)
	for {
		sep, at, ok, err := s.next()
		if err != nil || !ok {
			return err
		}
		m := like
		m.Sender, m.Date, m.Off, m.Body = sep.sender, sep.date, at, s.body(sep.sender == quotedSender)
		if like.Packed != "" {
			m.Off = -1
		}
		if sep.sender == quotedSender {
			m.Sender = ""
		}
		m.Len = -1
		if err := e.give(&m); err != nil {
			return err
		}
	}
}

// dbox takes the messages of a dbox file. Behind a damaged one it searches for
// the next.
func (e *expander) dbox(r io.ReaderAt, at, head, size int64) error {
	tries := 0
	for at < size {
		d, err := readRecord(r, at, head, size)
		switch {
		case err == nil:
			if err := e.record(r, d, true); err != nil {
				return err
			}
			at = d.end
			continue
		case errors.Is(err, ErrDamaged):
			next, found := nextRecord(e.ctx, r, at+1, head, size, &tries)
			part := d
			part.size = max(min(d.size, next-d.body), 0)
			if err := e.record(r, part, false); err != nil {
				return err
			}
			if !found {
				return nil
			}
			at = next
		case errors.Is(err, errNoRecord):
			next, found := nextRecord(e.ctx, r, at, head, size, &tries)
			if !found {
				return e.rest(r, at, size)
			}
			at = next
		default:
			return err
		}
	}
	return nil
}

// rest looks at what stands behind the last message: zeros are nothing.
func (e *expander) rest(r io.ReaderAt, at, size int64) error {
	b := make([]byte, min(size-at, 64<<10))
	n, err := r.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(bytes.Trim(b[:n], "\x00")) == 0 {
		return nil
	}
	return fmt.Errorf("behind byte %d: %w", at, ErrDamaged)
}

// record gives one message of a dbox.
func (e *expander) record(r io.ReaderAt, d record, whole bool) error {
	m := &Mail{Kind: Dbox, Date: d.arrived, GUID: d.guid, Mailbox: d.mailbox, Off: d.body, Len: d.size}
	var body io.Reader = io.NewSectionReader(r, d.body, d.size)
	magic := make([]byte, min(d.size, 10))
	n, err := r.ReadAt(magic, d.body)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if kind := packing(magic[:n]); kind != "" {
		in := count64(body)
		out, done, err := unpack(kind, in)
		if err != nil {
			body, whole = bytes.NewReader(nil), false
		} else {
			defer done()
			m.Packed = kind
			body = &unpacked{out: out, in: in, limit: e.o.Limit + 1, ratio: e.o.Ratio}
		}
	}
	if !whole {
		body = io.MultiReader(body, failing{})
	}
	m.Body = body
	return e.give(m)
}

// failing is a reader of what is not there.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, ErrDamaged }

// nextRecord finds the next message that has an end where its header says; else
// it gives the file's end.
func nextRecord(ctx context.Context, r io.ReaderAt, at, head, size int64, tries *int) (int64, bool) {
	const step, most = 256 << 10, 4096
	buf := make([]byte, min(step, max(size-at, 0)))
	for at < size && ctx.Err() == nil {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if n == 0 || err != nil && !errors.Is(err, io.EOF) {
			break
		}
		for i := 0; ; i++ {
			k := bytes.Index(buf[i:n], []byte(recordMagic))
			if k < 0 {
				break
			}
			i += k
			if _, err := readRecord(r, at+int64(i), head, size); err == nil {
				return at + int64(i), true
			}
			if *tries++; *tries > most {
				return size, false
			}
		}
		if n < len(buf) || n <= len(recordMagic) {
			break
		}
		at += int64(n - len(recordMagic) + 1)
	}
	return size, false
}
