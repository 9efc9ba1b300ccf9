package cyrus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/cyrus/cache"
	"salvor/internal/mailstore/cyrus/header"
	"salvor/internal/mailstore/cyrus/index"
)

// Bounds on what is believed of a record, and on what is said of bad ones.
const (
	maxMessage  = 1 << 40 // bytes
	maxProblems = 100     // of one mailbox
)

// archivedPrefix begins the Place of a message whose file is in the archive
// partition.
const archivedPrefix = "archive/"

// Messages lists a mailbox by its index: what is there by UID, and among it,
// with their time, the messages that their user has expunged and the server
// has not cleaned up yet. No message is opened; one that is there but whose file
// is missing, or has another size, gets another State than it would have.
func (s *Source) Messages(ctx context.Context, box mailstore.Mailbox, yield func(mailstore.Message) error) error {
	return s.messages(ctx, box, func(m mailstore.Message, _ string) error { return yield(m) })
}

// messages is Messages that also says what is wrong with the file of a message
// that is there: "" for nothing, else see messageFiles.look.
func (s *Source) messages(ctx context.Context, box mailstore.Mailbox, yield func(m mailstore.Message, wrong string) error) error {
	b, err := s.box(ctx, box)
	if err != nil {
		return asIncomplete(err)
	}
	l := &lister{s: s, b: b, box: box, ctx: ctx, yield: yield, live: map[uint32]bool{}}
	if err := l.open(); err != nil {
		return asIncomplete(err)
	}
	// After the index: a file is there before its record is.
	var where string
	if l.files, where, err = openFiles(l.part, b); err != nil {
		l.problems = append(l.problems, &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: where, Err: err})
	}
	if l.files != nil {
		defer l.files.close()
	}
	defer l.openCache()()
	if err := l.list(l.file, true); err != nil {
		return err
	}
	if !l.file.Header.Version12() {
		if err := l.listExpunged(); err != nil {
			return err
		}
	}
	if l.more > 0 {
		l.problems = append(l.problems, l.newProblem(indexName, fmt.Errorf("%d more records are damaged", l.more)))
	}
	return incomplete(l.problems)
}

// asIncomplete makes the problem that stopped a listing its only result.
func asIncomplete(err error) error {
	var p *mailstore.Problem
	if errors.As(err, &p) {
		return incomplete([]*mailstore.Problem{p})
	}
	return err
}

// A lister lists one mailbox once.
type lister struct {
	s     *Source
	b     *box
	box   mailstore.Mailbox
	ctx   context.Context
	yield func(m mailstore.Message, wrong string) error

	part     *partition
	files    *messageFiles // nil: files are not looked for
	cache    *cache.Reader // nil: envelopes are not looked for, or not there
	file     *index.File
	validity uint32
	meta     *header.Header // nil: the user flags' names are unknown
	seen     uidSet         // before version 12
	noSeen   bool           // it cannot be told what was seen
	live     map[uint32]bool
	problems []*mailstore.Problem
	more     int // problems that are only counted
}

func (l *lister) newProblem(name string, err error) *mailstore.Problem {
	p := &mailstore.Problem{User: l.box.User, Mailbox: l.box.Name, Path: filepath.Join(l.b.dir, name), Err: err}
	if l.part != nil {
		pl := map[string]*place{indexName: l.part.index, headerName: l.part.header, expungeName: l.part.expunge}[name]
		p.Path = filepath.Join(pl.path, l.b.dir, name)
	}
	return p
}

func (l *lister) problem(name string, err error) {
	if len(l.problems) >= maxProblems {
		l.more++
		return
	}
	l.problems = append(l.problems, l.newProblem(name, err))
}

// open reads the index and what belongs to it. The names of user flags are read
// after the index, so that they are known when a record has them.
func (l *lister) open() (err error) {
	if l.part, err = l.s.c.partitionOf(l.b); err != nil {
		return l.newProblem(indexName, err)
	}
	if l.part.index.root == nil {
		return l.newProblem(indexName, l.part.index.err)
	}
	settle(func() bool {
		var id fileID
		l.file, id, err = l.readIndex()
		return err == nil && intact(l.file) || id.quiet()
	})
	if err != nil {
		return l.newProblem(indexName, err)
	}
	for _, d := range l.file.Damage {
		l.problem(indexName, errors.New(d))
	}
	l.validity = l.b.uidValidity(&l.file.Header)
	if l.box.UIDValidity != 0 && l.validity != l.box.UIDValidity {
		return l.newProblem(indexName, fmt.Errorf("UIDVALIDITY changed from %d to %d while it was read", l.box.UIDValidity, l.validity))
	}
	l.readFlags()
	if !l.file.Header.Version12() {
		l.readSeen()
	}
	return nil
}

func (l *lister) readIndex() (*index.File, fileID, error) {
	body, id, err := readFile(l.part.index.root, path.Join(l.b.dir, indexName), maxIndex)
	if err != nil {
		return nil, id, err
	}
	f, err := index.Decode(body)
	return f, id, err
}

// intact tells whether nothing is wrong with a file. Versions without checksums
// cannot tell.
func intact(f *index.File) bool {
	if len(f.Damage) > 0 {
		return false
	}
	for i := range f.Len() {
		if !f.Intact(i) {
			return false
		}
	}
	return true
}

func (l *lister) readFlags() {
	h, err := readHeader(l.part.header.root, path.Join(l.b.dir, headerName))
	if err != nil {
		l.problem(headerName, fmt.Errorf("names of keywords are unknown: %w", err))
		return
	}
	l.meta = h
}

func (l *lister) readSeen() {
	list, err := l.s.current(l.ctx)
	if err != nil {
		return
	}
	a := list.accounts[l.box.User]
	if a == nil {
		return
	}
	st := l.s.seenState(a)
	if st.err != nil {
		l.noSeen = true
		p := &mailstore.Problem{User: l.box.User, Mailbox: l.box.Name, Path: st.path, Err: fmt.Errorf(`flags are unknown without \Seen: %w`, st.err)}
		l.problems = append(l.problems, p)
		return
	}
	id := l.box.ObjectID
	if id == "" && l.meta != nil {
		id = l.meta.UniqueID
	}
	l.seen = st.uids(id)
}

// list yields a file's records. UIDs rise in an index, not in cyrus.expunge.
func (l *lister) list(f *index.File, rising bool) error {
	name, last := indexName, uint32(0)
	if !rising {
		name = expungeName
	}
	for i := range f.Len() {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		r := f.Record(i)
		if bad := check(&r, &f.Header, last, rising); bad != "" {
			l.problem(name, fmt.Errorf("record %d (it says UID %d) is damaged: %s", i+1, r.UID, bad))
			continue
		}
		last = r.UID
		if l.live[r.UID] { // left in cyrus.expunge by a crash
			continue
		}
		if !f.Header.Version12() {
			l.live[r.UID] = true
		}
		m, wrong := l.message(&r, f.HasGUID()), ""
		if !rising || r.System&(index.Expunged|index.Unlinked) != 0 {
			m.Expunged = expungedAt(&r)
		} else {
			if l.files != nil {
				wrong = l.files.mark(&m, r.System&index.Archived != 0)
			}
			e := l.cache.Envelope(&r, f.Header.Version12())
			m.MessageID, m.Envelope = e.MessageID, e.Text
		}
		if err := l.yield(m, wrong); err != nil {
			return err
		}
	}
	return nil
}

// check says why a record is not trusted.
func check(r *index.Record, h *index.Header, last uint32, rising bool) string {
	switch {
	case r.Check == index.Bad:
		return "its checksum is wrong"
	case r.UID == 0:
		return "it has no UID"
	case rising && r.UID <= last:
		return fmt.Sprintf("it follows UID %d", last)
	case h.Check != index.Bad && r.UID > h.LastUID:
		return fmt.Sprintf("the last UID is %d", h.LastUID)
	case r.Size > maxMessage:
		return fmt.Sprintf("it says that the message has %d bytes", r.Size)
	}
	return ""
}

// expungedAt is when a message was expunged: nothing is changed in its record
// afterwards.
func expungedAt(r *index.Record) time.Time {
	for _, t := range []time.Time{r.LastUpdated, r.InternalDate} {
		if !t.IsZero() {
			return t
		}
	}
	return time.Unix(1, 0).UTC()
}

// listExpunged yields what Cyrus 2.3 keeps of expunged messages in a second file.
func (l *lister) listExpunged() error {
	if l.part.expunge.root == nil {
		return nil
	}
	body, _, err := readFile(l.part.expunge.root, path.Join(l.b.dir, expungeName), maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var f *index.File
	if err == nil {
		f, err = index.Decode(body)
	}
	if err != nil {
		l.problem(expungeName, err)
		return nil
	}
	for _, d := range f.Damage {
		l.problem(expungeName, errors.New(d))
	}
	return l.list(f, false)
}

// message is a record as mailstore tells it.
func (l *lister) message(r *index.Record, hasGUID bool) mailstore.Message {
	size := strconv.FormatUint(r.Size, 10)
	m := mailstore.Message{
		Key: messageKey(l.validity, r.UID), UID: mailstore.UID(r.UID), InternalDate: r.InternalDate, ModSeq: r.ModSeq,
		Size: int64(r.Size), Promised: int64(r.Size), Place: strconv.FormatUint(uint64(r.UID), 10) + ".",
	}
	if r.System&index.Archived != 0 {
		m.Place = archivedPrefix + m.Place
	}
	if hasGUID && isSHA1(r.GUID) {
		m.SHA1 = r.GUID
		hash := hex.EncodeToString(r.GUID[:])
		m.ObjectID, m.State = "sha1:"+hash+":"+size, hash+":"+size
	} else {
		m.State = fmt.Sprintf("%s:%d:%s", size, r.InternalDate.Unix(), hex.EncodeToString(r.UUID[:]))
	}
	m.Flags, m.NoFlags = l.flags(r)
	return m
}

// messageKey names a message in its mailbox. A UID means another message once
// the UIDVALIDITY has changed.
func messageKey(validity, uid uint32) string {
	return strconv.FormatUint(uint64(validity), 10) + "." + strconv.FormatUint(uint64(uid), 10)
}

// isSHA1 tells a hash from none at all, and from the 12 bytes of replication's
// identity that versions before 10 had in its place.
func isSHA1(g chunk.SHA1) bool { return [8]byte(g[12:]) != [8]byte{} }

// systemFlags are those that IMAP shows.
var systemFlags = []struct {
	bit  index.Flags
	name string
}{
	{index.Answered, `\Answered`}, {index.Deleted, `\Deleted`}, {index.Draft, `\Draft`}, {index.Flagged, `\Flagged`}, {index.Seen, `\Seen`},
}

// flags are the flags of a record, sorted; unknown where a file is missing
// without which they cannot be told.
func (l *lister) flags(r *index.Record) (flags []string, unknown bool) {
	system := r.System
	if !l.file.Header.Version12() {
		system &^= index.Seen
		if l.seen.has(r.UID) {
			system |= index.Seen
		}
	}
	for _, f := range systemFlags {
		if system&f.bit != 0 {
			flags = append(flags, f.name)
		}
	}
	if l.noSeen || l.meta == nil && r.User != [4]uint32{} {
		return nil, true
	}
	if r.User == [4]uint32{} {
		return flags, false
	}
	for bit, name := range l.meta.Flags {
		if r.HasUserFlag(bit) && isKeyword(name) {
			flags = append(flags, name)
		}
	}
	slices.Sort(flags)
	return flags, false
}

// isKeyword tells whether a text can be written as one word of a line.
func isKeyword(s string) bool {
	return s != "" && len(s) <= 1024 && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
