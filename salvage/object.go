package salvage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/mail"
	"os"
	"slices"
	"strings"
	"time"

	"salvor/salvage/carve"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// An object is something that may hold mail: a file, or a run of blocks.
type object struct {
	message       // what is known of it without having read it
	size    int64 // bytes

	// from reads it from its beginning; see open.
	from func() (r io.Reader, missing func() []volume.Range, err error)
	kept held // what was read of it

	holder bool     // it holds messages
	ready  *message // what is known of it when it has been read
}

// takeObject reads an object that begins as mail does, judges every message in it,
// and keeps what is wanted. sure: its blocks are surely its own.
func (e *engine) takeObject(ctx context.Context, o *object) (sure bool, err error) {
	if err := o.read(); err != nil {
		return false, err
	}
	if o.holder {
		return e.takeHolder(ctx, o)
	}
	return e.take(ctx, o.ready, func() (io.Reader, error) {
		r, _, err := o.open()
		return r, err
	})
}

// read learns everything about an object that is a message; or that it is something
// that holds messages. Several objects can be read side by side.
func (o *object) read() error {
	if o.holder || o.ready != nil {
		return nil
	}
	head, err := o.head()
	if err != nil {
		return err
	}
	sign, ok := carve.Head(head)
	if o.holder = ok && sign.Kind != carve.Header && (sign.Kind != carve.Mbox || !singular(o.paths)); o.holder {
		return nil
	}
	r, missing, err := o.open()
	if err != nil {
		return err
	}
	m := o.message
	m.begins = ok
	if err := m.read(r, o.size, o.top()); err != nil {
		return err
	}
	m.missing = missing()
	o.ready = &m
	return nil
}

// closes tells whether an object is a message whose structure closes where its record
// says that it ends.
func (o *object) closes() bool { return o.ready != nil && o.sized && o.ready.shape == whole }

// singular tells whether a path is that of a single message, of which a first line
// that mbox would write is a part.
func singular(paths []string) bool {
	for _, p := range paths {
		if at := readPath(p); at.uid != 0 || at.name != "" {
			return true
		}
	}
	return false
}

// read learns everything about a message that one pass over its bytes tells. top is
// its beginning, with the header; nil: that is kept while it is read.
func (m *message) read(r io.Reader, size int64, top []byte) error {
	sums := newSums()
	begin := &prefix{b: top}
	var to io.Writer = sums
	if top == nil {
		to = io.MultiWriter(sums, begin)
	}
	tee := io.TeeReader(r, to)
	shape, err := carve.Check(tee, size)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return err
	}
	m.size = sums.size
	m.id, m.sha1, m.wire = sums.wire.Sums()
	hashers.Put(sums)
	m.judgeShape(shape)
	return m.readHeader(begin.b)
}

func (m *message) judgeShape(s carve.Shape) {
	m.why = cmp.Or(s.Why, m.why) // else what carving says of it
	switch s.Verdict {
	case carve.Whole:
		m.shape = whole
	case carve.Plausible:
		m.shape = likely
	default:
		m.shape = broken
	}
	m.zeros = len(s.Zeros) > 0
	// What a mailer has written strangely begins anywhere, and goes on being strange.
	i := slices.IndexFunc(s.Odd, func(o carve.Odd) bool { return o.Sure })
	m.foreign = i >= 0 && s.Odd[i].Off%max(m.block, 1) == 0
	m.blank = s.Zeros
}

func (m *message) readHeader(top []byte) error {
	h, err := carve.Headers(bytes.NewReader(top))
	if err != nil {
		return err
	}
	m.facts = facts{messageID: h.MessageID, from: h.From, subject: h.Subject, sender: h.FromAddr, draft: h.Draft}
	if m.facts.arrived = received(top); m.facts.arrived.IsZero() {
		m.facts.arrived = h.Date
	}
	for _, list := range [][]carve.Recipient{h.Delivered, h.To} {
		for _, a := range list {
			m.facts.recipients = append(m.facts.recipients, a.Address)
		}
	}
	if m.date.IsZero() {
		m.date = h.Date
	}
	return nil
}

// received is the date in the first Received field, which the last server on the
// way has written; zero: none that can be read.
func received(header []byte) time.Time {
	header = header[:min(len(header), 16<<10)]
	if name := []byte("Received:"); bytes.HasPrefix(header, name) {
		header = header[len(name):]
	} else if _, field, ok := bytes.Cut(header, []byte("\nReceived:")); ok {
		header = field
	} else {
		return time.Time{}
	}
	var lines []string
	for line := range bytes.Lines(header) {
		if len(lines) > 0 && line[0] != ' ' && line[0] != '\t' {
			break
		}
		lines = append(lines, string(bytes.TrimSpace(line)))
	}
	field := strings.Join(lines, " ")
	text := strings.TrimSpace(field[strings.LastIndexByte(field, ';')+1:])
	// The usual form first: to find out that others do not fit takes longest.
	date, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", text)
	if err != nil {
		date, err = mail.ParseDate(text)
	}
	if err != nil {
		return time.Time{}
	}
	return date
}

// prefix keeps the first bytes that are written to it.
type prefix struct{ b []byte }

const prefixBytes = 256 << 10

func (p *prefix) Write(b []byte) (int, error) {
	if room := prefixBytes - len(p.b); room > 0 {
		p.b = append(p.b, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// takeHolder takes the messages out of what holds them: a compressed file, an
// mbox, a dbox. sure: one of them is.
func (e *engine) takeHolder(ctx context.Context, o *object) (sure bool, err error) {
	at := &seeker{o: o}
	none := true
	err = carve.Expand(ctx, at, o.size, carve.ExpandOptions{Limit: LongestMessage, Ratio: densest}, func(in *carve.Mail) error {
		none = false
		one, err := e.takeInner(ctx, o, at, in)
		sure = sure || one
		return err
	})
	if errors.Is(err, carve.ErrDamaged) || errors.Is(err, carve.ErrLimit) {
		if none && singular(o.paths) {
			return false, e.takeWreck(ctx, o)
		}
		return sure, nil // told by the messages that came before
	}
	return sure, err
}

// densest is how many bytes are unpacked for each one, at most: mail is not compressed
// to less than a hundredth, and who sends a bomb is not to fill the disk.
const densest = 200

// takeWreck takes a message's file of which nothing can be unpacked as it is: that it
// is there says what became of the message.
func (e *engine) takeWreck(ctx context.Context, o *object) error {
	r, missing, err := o.open()
	if err != nil {
		return err
	}
	m := o.message
	if err := m.read(r, o.size, o.top()); err != nil {
		return err
	}
	m.missing, m.facts = missing(), facts{}
	m.shape, m.why, m.rest = broken, "nothing can be unpacked of it", true
	_, err = e.take(ctx, &m, func() (io.Reader, error) {
		r, _, err := o.open()
		return r, err
	})
	return err
}

// takeInner takes one message out of a holder. It is copied aside, as it can be
// read only once.
func (e *engine) takeInner(ctx context.Context, o *object, at *seeker, in *carve.Mail) (sure bool, err error) {
	aside := &spool{dir: e.o.Work}
	defer func() { err = errors.Join(err, aside.close()) }()
	m := o.message
	if !in.Date.IsZero() {
		m.date = in.Date
	}
	if len(o.paths) > 0 && (in.Kind == carve.Mbox || in.Kind == carve.Dbox) {
		m.within = holderOwner(o.paths[0], in.Kind, in.Mailbox)
	}
	var broke error
	body := readerFunc(func(p []byte) (int, error) {
		n, err := in.Body.Read(p)
		if errors.Is(err, carve.ErrDamaged) || errors.Is(err, carve.ErrLimit) {
			broke, err = err, io.EOF
		}
		return n, err
	})
	if err := m.read(io.TeeReader(body, aside), -1, nil); err != nil {
		return false, err
	}
	if in.Off >= 0 {
		m.missing = volume.Normalise(at.missing).Within(volume.Range{Off: in.Off, Len: in.Len})
		for i := range m.missing {
			m.missing[i].Off -= in.Off
		}
	}
	if broke != nil || in.Off < 0 && len(at.missing) > 0 {
		m.shape, m.why, m.zeros = broken, "what holds it is damaged", true
	}
	m.begins = true
	m.extents = fsys.Pieces(o.extents, o.size)
	return e.take(ctx, &m, aside.open)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// seeker reads an object at any place, and notes what is missing.
type seeker struct {
	o       *object
	r       io.Reader
	lacks   func() []volume.Range
	at      int64
	missing []volume.Range
}

func (s *seeker) ReadAt(p []byte, off int64) (int, error) {
	if s.r == nil || off < s.at {
		s.note()
		var err error
		if s.r, s.lacks, err = s.o.open(); err != nil {
			return 0, err
		}
		s.at = 0
	}
	if off > s.at {
		n, err := io.CopyN(io.Discard, s.r, off-s.at)
		if s.at += n; err != nil {
			return 0, err
		}
	}
	n, err := io.ReadFull(s.r, p)
	s.at += int64(n)
	s.note()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (s *seeker) note() {
	if s.lacks != nil {
		s.missing = volume.Normalise(append(s.missing, s.lacks()...))
	}
}

// A spool holds bytes that are written once and read again: a little in memory, more
// in a file without a name.
type spool struct {
	dir string
	b   []byte
	f   *os.File
	n   int64
}

const spoolMemory = 1 << 20

func (s *spool) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	if s.f == nil && len(s.b)+len(p) <= spoolMemory {
		s.b = append(s.b, p...)
		return len(p), nil
	}
	if s.f == nil {
		f, err := os.CreateTemp(s.dir, "aside-*")
		if err != nil {
			return 0, err
		}
		s.f = f
		if err := os.Remove(f.Name()); err != nil {
			return 0, err
		}
		if _, err := f.Write(s.b); err != nil {
			return 0, err
		}
		s.b = nil
	}
	return s.f.Write(p)
}

func (s *spool) open() (io.Reader, error) {
	if s.f == nil {
		return bytes.NewReader(s.b), nil
	}
	return io.NewSectionReader(s.f, 0, s.n), nil
}

func (s *spool) close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

// ofUser gives what the mail store calls the user with an address: it may know
// only what is before the "@". "": nobody who is known.
func (e *engine) ofUser(address string) string {
	if e.users == nil || e.users[address] {
		return address
	}
	if local, _, ok := strings.Cut(address, "@"); ok && e.users[local] {
		return local
	}
	return ""
}
