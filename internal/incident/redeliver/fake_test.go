package redeliver_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"salvor/internal/mailstore"
)

// A server is a mail server with accounts in memory.
type server struct {
	mu       sync.Mutex
	accounts map[string]map[string]*box
	noMake   map[string]bool // folders that cannot be made
	quota    map[string]int  // how many more messages a user may have; absent: any
	refuse   string          // messages that hold this are refused
	munge    bool            // "X" for 8-bit bytes, as Cyrus does
	noUIDs   bool            // Append does not tell them
	// fault decides what goes wrong with an append; nil: nothing.
	fault func() fault
	// dead says that the process is, or nil.
	dead func() error
	// sent counts the appends that arrived, by user and message.
	sent map[string]int
}

// A fault is what goes wrong with an append.
type fault int

const (
	fine    fault = iota
	unsent        // it surely did not arrive
	lost          // no answer, not stored
	stored        // no answer, but stored
	lately        // no answer, stored a little later
	expunge       // no answer, stored, and removed by its user at once
)

type box struct {
	validity, next uint32
	readOnly       bool
	special        string
	letters        []letter
}

type letter struct {
	uid   uint32
	wire  string
	flags []string
	date  time.Time
}

func newServer() *server {
	return &server{accounts: map[string]map[string]*box{}, noMake: map[string]bool{}, quota: map[string]int{}, sent: map[string]int{}}
}

// box gives a folder, made when it is not there.
func (s *server) box(user, name string) *box {
	if s.accounts[user] == nil {
		s.accounts[user] = map[string]*box{}
		s.box(user, "INBOX")
	}
	b := s.accounts[user][name]
	if b == nil {
		b = &box{validity: uint32(100 + len(s.accounts[user])), next: 1}
		s.accounts[user][name] = b
	}
	return b
}

func (b *box) add(wire string, flags []string, date time.Time) uint32 {
	b.letters = append(b.letters, letter{b.next, wire, flags, date})
	b.next++
	return b.next - 1
}

func (b *box) remove(uid uint32) {
	b.letters = slices.DeleteFunc(b.letters, func(l letter) bool { return l.uid == uid })
}

// count says how often a message is in an account.
func (s *server) count(user, wire string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.accounts[user] {
		for _, l := range b.letters {
			if l.wire == wire {
				n++
			}
		}
	}
	return n
}

func (s *server) Live(_ context.Context, user string) (mailstore.Live, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.alive(); err != nil {
		return nil, err
	}
	if s.accounts[user] == nil {
		return nil, mailstore.ErrNoAccount
	}
	return &live{s: s, user: user}, nil
}

func (s *server) alive() error {
	if s.dead != nil {
		return s.dead()
	}
	return nil
}

type live struct {
	s    *server
	user string
	mailstore.Live
	broken bool
}

// in locks the server and gives a folder.
func (l *live) in(name string) (*box, func(), error) {
	l.s.mu.Lock()
	err := l.s.alive()
	if l.broken {
		err = errors.New("the connection is broken")
	}
	b := l.s.accounts[l.user][name]
	if err == nil && b == nil {
		err = mailstore.ErrNoMailbox
	}
	return b, l.s.mu.Unlock, err
}

func (l *live) Mailboxes(_ context.Context, yield func(mailstore.Mailbox) error) error {
	l.s.mu.Lock()
	names := slices.Sorted(maps.Keys(l.s.accounts[l.user]))
	l.s.mu.Unlock()
	for _, name := range names {
		if err := yield(mailstore.Mailbox{User: l.user, Name: name}); err != nil {
			return err
		}
	}
	return nil
}

func (l *live) Close(context.Context) error { return nil }

func (l *live) Stand(_ context.Context, name string) (mailstore.Stand, error) {
	b, unlock, err := l.in(name)
	defer unlock()
	if err != nil {
		return mailstore.Stand{}, err
	}
	return mailstore.Stand{UIDValidity: b.validity, UIDNext: mailstore.UID(b.next), Messages: len(b.letters), ReadOnly: b.readOnly}, nil
}

func (l *live) Make(_ context.Context, m mailstore.Mailbox) error {
	_, unlock, err := l.in(m.Name)
	defer unlock()
	if !errors.Is(err, mailstore.ErrNoMailbox) {
		return err
	}
	if l.s.noMake[m.Name] {
		return &mailstore.Refusal{Why: "Permission denied"}
	}
	l.s.box(l.user, m.Name).special = m.SpecialUse
	return nil
}

func (l *live) Append(_ context.Context, d mailstore.Delivery) (mailstore.UID, error) {
	b, unlock, err := l.in(d.Mailbox)
	defer unlock()
	if err != nil {
		return 0, err
	}
	wire := strings.ReplaceAll(string(d.LF), "\n", "\r\n")
	if q, ok := l.s.quota[l.user]; ok {
		if q == 0 {
			return 0, &mailstore.Refusal{Why: "Over quota", Full: true}
		}
		l.s.quota[l.user]--
	}
	if l.s.refuse != "" && strings.Contains(wire, l.s.refuse) {
		return 0, &mailstore.Refusal{Why: "I do not like it"}
	}
	wire = string(l.Forms([]byte(wire))[len(l.Forms([]byte(wire)))-1])
	what := fine
	if l.s.fault != nil {
		what = l.s.fault()
	}
	l.broken = what != fine
	store := func() uint32 {
		l.s.sent[l.user+" "+wire]++
		return b.add(wire, d.Flags, d.InternalDate)
	}
	switch what {
	case unsent:
		return 0, errors.New("the message was not sent: the connection is broken")
	case stored:
		store()
	case expunge:
		b.remove(store())
	case lately:
		time.AfterFunc(quiet/2, func() {
			l.s.mu.Lock()
			defer l.s.mu.Unlock()
			store()
		})
	case fine:
		uid := store()
		if l.s.noUIDs {
			uid = 0
		}
		return mailstore.UID(uid), nil
	}
	return 0, mailstore.ErrUnanswered
}

func (l *live) Find(_ context.Context, name string, s mailstore.Sought, yield func(mailstore.Found) error) error {
	b, unlock, err := l.in(name)
	var letters []letter
	if err == nil {
		letters = slices.Clone(b.letters)
	}
	unlock()
	if err != nil {
		return err
	}
	for _, m := range letters {
		sized := len(s.Forms) == 0 && s.MessageID == ""
		same := false
		for _, f := range s.Forms {
			sized = sized || len(f) == len(m.wire)
			same = same || string(f) == m.wire
		}
		if m.uid < uint32(s.From) || !sized && (s.MessageID == "" || !strings.Contains(m.wire, "Message-ID: "+s.MessageID+"\r\n")) {
			continue
		}
		if err := yield(mailstore.Found{UID: mailstore.UID(m.uid), Wire: []byte(m.wire), Same: same}); err != nil {
			return err
		}
	}
	return nil
}

func (l *live) Forms(wire []byte) [][]byte {
	forms := [][]byte{wire}
	if l.s.munge {
		x := bytes.Map(func(r rune) rune {
			if r > 127 {
				return 'X'
			}
			return r
		}, wire)
		if !bytes.Equal(x, wire) {
			forms = append(forms, x)
		}
	}
	return forms
}

// quiet is how long tests wait for a folder to come to rest.
const quiet = 4 * time.Millisecond

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
