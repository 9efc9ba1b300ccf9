package mbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

// entry is one message as a reading of the file found it.
type entry struct {
	key        string
	sum        [sha256.Size]byte // of the bytes in the file
	start, end int64
	date       time.Time
	flags      []string
	quoted     bool
}

// A note is what Message.Place holds: where the bytes are, what their hash is,
// in which file, and in which state that was.
type note struct {
	entry
	state, file string
}

func (n *note) String() string {
	return fmt.Sprintf("%d:%d:%x:%t:%s:%s", n.start, n.end, n.sum, n.quoted, n.state, n.file)
}

func parseNote(s string) (n note, err error) {
	f := strings.SplitN(s, ":", 6)
	if len(f) < 6 {
		return n, errNotListed
	}
	var errs [3]error
	n.start, errs[0] = strconv.ParseInt(f[0], 10, 64)
	n.end, errs[1] = strconv.ParseInt(f[1], 10, 64)
	sum, err := hex.DecodeString(f[2])
	errs[2] = err
	n.quoted, n.state, n.file = f[3] == "true", f[4], f[5]
	if errors.Join(errs[:]...) != nil || copy(n.sum[:], sum) != len(n.sum) || n.start < 0 || n.end < n.start {
		return n, errNotListed
	}
	return n, nil
}

var errNotListed = errors.New("the message was not listed by this source")

// Messages reads the folder's file. Keys are made of the messages' bytes
// without the headers in which programs note flags, and of a number where the
// same message stands there more than once.
func (s *Source) Messages(ctx context.Context, box mailstore.Mailbox, yield func(mailstore.Message) error) error {
	entries, state, file, err := s.list(ctx, box)
	var p *mailstore.Problem
	if errors.As(err, &p) {
		return &mailstore.Incomplete{Problems: []*mailstore.Problem{p}}
	}
	if err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		n := note{*e, state, file}
		m := mailstore.Message{
			Key: e.key, Position: i + 1, Mutable: true, Flags: e.flags, InternalDate: e.date, Size: e.end - e.start, Promised: -1, State: hex.EncodeToString(e.sum[:]), Place: n.String(),
		}
		if e.quoted {
			m.Size = -1
		}
		if err := yield(m); err != nil {
			return err
		}
	}
	return nil
}

// Count reads the folder's file, too: nothing else knows how many there are.
func (s *Source) Count(ctx context.Context, box mailstore.Mailbox) (int, error) {
	entries, _, _, err := s.list(ctx, box)
	return len(entries), err
}

// list reads a folder's file; it also gives the file's state and name.
func (s *Source) list(ctx context.Context, box mailstore.Mailbox) (entries []entry, state, file string, err error) {
	h, err := s.home(box.User)
	if err != nil {
		return nil, "", "", err
	}
	defer h.root.Close()
	p, err := s.find(h, box.Name)
	if err != nil {
		return nil, "", "", err
	}
	f, err := deliver.OpenRegular(h.root, p.file)
	if err != nil {
		return nil, "", "", h.problem(p, err)
	}
	defer f.Close()
	entries, st, err := s.lists.read(ctx, f)
	if err != nil {
		if ctx.Err() == nil {
			err = h.problem(p, err)
		}
		return nil, "", "", err
	}
	return entries, stateOf(st), p.file, nil
}

// stateOf tells one state of a file from another, but for changes that come
// too soon after each other.
func stateOf(st *unix.Stat_t) string { return token(*st, time.Unix(1<<40, 0)) }

// lists remembers the latest readings, by file and state: Open needs them when
// a file has changed since it was listed.
type lists struct {
	mu   sync.Mutex
	last []reading
}

type reading struct {
	st      unix.Stat_t
	entries []entry
}

// maxReadings bounds what is remembered.
const maxReadings = 4

func sameState(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// read splits a file under a shared lock.
func (l *lists) read(ctx context.Context, f *os.File) ([]entry, *unix.Stat_t, error) {
	unlock := lockShared(ctx, f)
	defer unlock()
	st, err := stat(f)
	if err != nil {
		return nil, nil, err
	}
	v := indexer{ctx: ctx, seen: map[[sha256.Size]byte]int{}}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	if err := split(f, &v); err != nil {
		return nil, nil, err
	}
	return v.out, &st, nil
}

// again is read, unless the file was read in this state before.
func (l *lists) again(ctx context.Context, f *os.File) ([]entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := stat(f)
	if err != nil {
		return nil, err
	}
	for _, r := range l.last {
		if sameState(&r.st, &now) {
			return r.entries, nil
		}
	}
	entries, st, err := l.read(ctx, f)
	if err != nil {
		return nil, err
	}
	l.last = append(l.last, reading{*st, entries})
	if len(l.last) > maxReadings {
		l.last = l.last[1:]
	}
	return entries, nil
}

// lockWait is how long a writer is waited for. A file that stays locked is read
// all the same: what is wrong with it then is put right by the next run.
const lockWait = 5 * time.Second

// lockShared takes a shared lock, as mail programs take exclusive ones.
func lockShared(ctx context.Context, f *os.File) (unlock func()) {
	for deadline := time.Now().Add(lockWait); ctx.Err() == nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
		if err == nil {
			return func() { unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}) }
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			break
		}
	}
	return func() {}
}

// An indexer is a visitor that hashes messages and reads their flags. Of each
// line it keeps the line end back until it knows that it belongs to the
// message.
type indexer struct {
	ctx      context.Context
	out      []entry
	seen     map[[sha256.Size]byte]int
	cur      entry
	whole    hash.Hash // of all bytes
	stable   hash.Hash // without the headers that change
	size     int64     // handed to whole
	held     []byte    // a line end that may belong to the separator
	header   bool
	changing bool // the header being read is one that changes
	naming   bool // it is one that names keywords
	midline  bool
	flags    map[string]bool
}

func (v *indexer) begin(s separator, offset int64) error {
	v.cur = entry{start: offset, date: s.date, quoted: s.sender == quotedSender}
	if v.whole == nil {
		v.whole, v.stable = sha256.New(), sha256.New()
	}
	v.whole.Reset()
	v.stable.Reset()
	v.held, v.size, v.header, v.changing, v.naming, v.midline, v.flags = v.held[:0], 0, true, false, false, false, map[string]bool{}
	return v.ctx.Err()
}

func (v *indexer) line(b []byte) error {
	v.release()
	n := len(b) - lineEnd(b)
	if v.header && !v.midline {
		v.readHeader(b[:n])
	}
	v.midline = n == len(b)
	v.add(b[:n])
	v.held = append(v.held[:0], b[n:]...)
	return nil
}

// release hands on the line end that turned out to belong to the message.
func (v *indexer) release() {
	v.add(v.held)
	v.held = v.held[:0]
}

func (v *indexer) add(b []byte) {
	v.whole.Write(b)
	v.size += int64(len(b))
	if !v.header || !v.changing {
		v.stable.Write(b)
	}
}

// readHeader looks at the beginning of a line of the header.
func (v *indexer) readHeader(line []byte) {
	if len(line) == 0 {
		v.header = false
		return
	}
	if line[0] == ' ' || line[0] == '\t' {
		if v.naming {
			v.keywords(line)
		}
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	key := strings.ToLower(string(name))
	letters, ok := flagHeaders[key]
	v.changing = ok
	if v.naming = key == "x-keywords" || key == "x-mozilla-keys"; v.naming {
		v.keywords(value)
		return
	}
	if key == "x-mozilla-status" {
		v.mozilla(strings.TrimSpace(string(value)))
		return
	}
	for _, c := range value {
		if f := letters[c]; f != "" {
			v.flags[f] = true
		}
	}
}

// maxKeywords bounds what one message may have, as senders can write the header
// too.
const maxKeywords = 128

// keywords reads a line of them.
func (v *indexer) keywords(line []byte) {
	for _, word := range bytes.Fields(line) {
		atom := len(word) <= 255 && !bytes.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) })
		if atom && len(v.flags) < maxKeywords {
			v.flags[string(word)] = true
		}
	}
}

// mozilla reads Thunderbird's flags, which are the bits of a hexadecimal number
// (nsMsgMessageFlags.idl).
func (v *indexer) mozilla(hex string) {
	bits, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		return
	}
	for bit, flag := range map[uint64]string{0x1: `\Seen`, 0x2: `\Answered`, 0x4: `\Flagged`, 0x8: `\Deleted`, 0x1000: "$Forwarded"} {
		if bits&bit != 0 {
			v.flags[flag] = true
		}
	}
}

// flagHeaders are the headers in which mail programs keep what changes.
var flagHeaders = map[string]map[byte]string{
	"status":            {'R': `\Seen`},
	"x-status":          {'A': `\Answered`, 'F': `\Flagged`, 'T': `\Draft`, 'D': `\Deleted`},
	"x-uid":             {},
	"x-keywords":        {},
	"x-imap":            {},
	"x-imapbase":        {},
	"x-mozilla-status":  {},
	"x-mozilla-status2": {},
	"x-mozilla-keys":    {},
	"content-length":    {},
}

func (v *indexer) end(offset int64) error {
	v.cur.end = offset
	if missing := offset - v.cur.start - v.size; missing > 0 && missing <= int64(len(v.held)) {
		v.add(v.held[:missing])
	}
	v.whole.Sum(v.cur.sum[:0])
	var stable [sha256.Size]byte
	v.stable.Sum(stable[:0])
	v.seen[stable]++
	v.cur.key = hex.EncodeToString(stable[:16])
	if n := v.seen[stable]; n > 1 {
		v.cur.key += "-" + strconv.Itoa(n)
	}
	for f := range v.flags {
		v.cur.flags = append(v.cur.flags, f)
	}
	sort.Strings(v.cur.flags)
	v.out = append(v.out, v.cur)
	return nil
}

// Open opens a message's bytes. When the file has changed since it was listed
// the message is looked for.
func (s *Source) Open(ctx context.Context, box mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	h, err := s.home(box.User)
	if err != nil {
		return nil, err
	}
	defer h.root.Close()
	want, err := parseNote(m.Place)
	p := place{box.Name, want.file}
	if err != nil {
		return nil, h.problem(p, err)
	}
	f, err := deliver.OpenRegular(h.root, p.file)
	if err != nil {
		return nil, h.problem(p, err)
	}
	r, err := s.open(ctx, f, want)
	if err != nil {
		f.Close()
		if errors.Is(err, mailstore.ErrVanished) || ctx.Err() != nil {
			return nil, err
		}
		return nil, h.problem(p, err)
	}
	r.problem = h.problem(p, nil)
	return r, nil
}

// open finds the bytes with the wanted hash: where they were, or where they are
// now.
func (s *Source) open(ctx context.Context, f *os.File, want note) (*reader, error) {
	if !same(f, &want) {
		entries, err := s.lists.again(ctx, f)
		if err != nil {
			return nil, err
		}
		found := false
		for _, e := range entries {
			if e.sum == want.sum {
				want.entry, found = e, true
				break
			}
		}
		if !found {
			return nil, mailstore.ErrVanished
		}
	}
	section := io.NewSectionReader(f, want.start, want.end-want.start)
	r := &reader{f: f, want: want.sum, sum: sha256.New()}
	r.body = io.TeeReader(section, r.sum)
	if want.quoted {
		r.body = newUnquoter(r.body)
	}
	return r, nil
}

// same tells whether the wanted bytes still stand where they were listed. As
// long as the file is in the same state, the check at the end will do.
func same(f *os.File, want *note) bool {
	if st, err := stat(f); err == nil && stateOf(&st) == want.state {
		return true
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.NewSectionReader(f, want.start, want.end-want.start))
	return err == nil && n == want.end-want.start && bytes.Equal(sum.Sum(nil), want.sum[:])
}

// A reader reads one message and, at its end, makes sure that the file was not
// rewritten meanwhile.
type reader struct {
	f       *os.File
	body    io.Reader
	sum     hash.Hash
	want    [sha256.Size]byte
	problem *mailstore.Problem
}

var errChanged = errors.New("the file was rewritten while a message was read from it")

// Read reads on; an error names the file.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	if errors.Is(err, io.EOF) && !bytes.Equal(r.sum.Sum(nil), r.want[:]) {
		err = errChanged
	}
	if err != nil && !errors.Is(err, io.EOF) {
		pr := *r.problem
		pr.Err = err
		return n, &pr
	}
	return n, err
}

// Close closes the file.
func (r *reader) Close() error { return r.f.Close() }
