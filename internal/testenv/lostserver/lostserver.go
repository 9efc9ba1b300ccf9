// Package lostserver gives tests a mail server in memory that can lose the
// contents of its messages and keep its index, as a Cyrus whose volume of
// messages is gone. It is read as a source of backups and of incidents, and
// looked at as a running server. It fails where it is told to. Only tests import
// it.
package lostserver

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"salvor/internal/mailstore"
)

// A Server is a mail server. The zero value has no users. The test changes it only
// while nobody else uses it, or from Fail.
type Server struct {
	// Fail is asked before each thing that is done to the running server ("live",
	// "list", "inspect", "body", "remove"), and after each "removed"; its error is
	// what the server answers.
	Fail func(op, user, mailbox string) error

	mu    sync.Mutex
	users map[string]map[string]*Mailbox
}

// A Mailbox is one folder of a user.
type Mailbox struct {
	UIDValidity uint32
	UIDNext     mailstore.UID
	ReadOnly    bool
	Messages    []*Message // by UID
	modseq      uint64
	user, name  string
	id          string // stays when the folder is renamed
}

// A Message is one message. Missing: there is no content. Damaged: other bytes
// come than are promised.
type Message struct {
	UID              mailstore.UID
	Body             string
	Flags            []string
	Date             time.Time
	Missing, Damaged bool
	modseq           uint64
}

// SHA1 is what the index promises.
func (m *Message) SHA1() [20]byte { return sha1.Sum([]byte(m.Body)) }

// Text is a message of its own.
func Text(i int) string {
	return fmt.Sprintf("Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\ntext %d\r\n", i, i, i)
}

// Box gives a folder, made where it is not there.
func (s *Server) Box(user, name string) *Mailbox {
	if s.users == nil {
		s.users = map[string]map[string]*Mailbox{}
	}
	if s.users[user] == nil {
		s.users[user] = map[string]*Mailbox{}
	}
	b := s.users[user][name]
	if b == nil {
		b = &Mailbox{UIDValidity: 7, UIDNext: 1, modseq: 1, user: user, name: name, id: "id of " + user + " " + name}
		s.users[user][name] = b
	}
	return b
}

// Drop removes an account, or a folder of it if one is named.
func (s *Server) Drop(user, name string) {
	if name == "" {
		delete(s.users, user)
	} else {
		delete(s.users[user], name)
	}
}

// Rename gives a folder another name.
func (s *Server) Rename(user, from, to string) {
	b := s.users[user][from]
	delete(s.users[user], from)
	b.name = to
	s.users[user][to] = b
}

// Add appends a message.
func (b *Mailbox) Add(body string, flags ...string) *Message {
	b.modseq++
	m := &Message{UID: b.UIDNext, Body: body, Flags: flags, Date: time.Unix(1.7e9+int64(b.UIDNext), 0).UTC(), modseq: b.modseq}
	b.UIDNext++
	b.Messages = append(b.Messages, m)
	return m
}

// Find gives a message; nil: it is not there.
func (b *Mailbox) Find(uid mailstore.UID) *Message {
	for _, m := range b.Messages {
		if m.UID == uid {
			return m
		}
	}
	return nil
}

// Lose takes the contents of all messages away.
func (s *Server) Lose() {
	for _, boxes := range s.users {
		for _, b := range boxes {
			for _, m := range b.Messages {
				m.Missing = true
			}
		}
	}
}

// Listing is one line for each message there is, with all that its user sees.
func (s *Server) Listing() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, user := range slices.Sorted(maps.Keys(s.users)) {
		for _, name := range slices.Sorted(maps.Keys(s.users[user])) {
			b := s.users[user][name]
			for _, m := range b.Messages {
				lines = append(lines, fmt.Sprintf("%s %s %d/%d %v %v %x missing=%v", user, name, b.UIDValidity, m.UID, m.Flags, m.Date, m.SHA1(), m.Missing))
			}
		}
	}
	return lines
}

func (s *Server) fail(ctx context.Context, op, user, mailbox string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if s.Fail == nil {
		return nil
	}
	return s.Fail(op, user, mailbox)
}

// Snapshot is what survives of the server: its index of this moment. It opens no
// message.
func (s *Server) Snapshot() *Server {
	c := &Server{users: map[string]map[string]*Mailbox{}}
	for user, boxes := range s.users {
		c.users[user] = map[string]*Mailbox{}
		for name, b := range boxes {
			again := *b
			again.Messages = nil
			for _, m := range b.Messages {
				lost := *m
				lost.Missing = true
				again.Messages = append(again.Messages, &lost)
			}
			c.users[user][name] = &again
		}
	}
	return c
}

// Users implements mailstore.Source.
func (s *Server) Users(_ context.Context, yield func(mailstore.User) error) error {
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		if err := yield(mailstore.User{Name: name}); err != nil {
			return err
		}
	}
	return nil
}

func (b *Mailbox) row() mailstore.Mailbox {
	return mailstore.Mailbox{User: b.user, Name: b.name, ObjectID: b.id, UIDValidity: b.UIDValidity, UIDNext: uint32(b.UIDNext),
		HighestModSeq: b.modseq, State: fmt.Sprint(b.UIDValidity, b.modseq)}
}

// Mailboxes implements mailstore.Source.
func (s *Server) Mailboxes(_ context.Context, u mailstore.User, yield func(mailstore.Mailbox) error) error {
	for _, name := range slices.Sorted(maps.Keys(s.users[u.Name])) {
		if err := yield(s.users[u.Name][name].row()); err != nil {
			return err
		}
	}
	return nil
}

// Messages implements mailstore.Source.
func (s *Server) Messages(_ context.Context, b mailstore.Mailbox, yield func(mailstore.Message) error) error {
	for _, m := range s.users[b.User][b.Name].Messages {
		sum := m.SHA1()
		err := yield(mailstore.Message{Key: fmt.Sprint(b.UIDValidity, ".", m.UID), UID: m.UID, Flags: m.Flags, InternalDate: m.Date, ModSeq: m.modseq,
			Size: int64(len(m.Body)), Promised: int64(len(m.Body)), SHA1: sum, State: fmt.Sprintf("%x", sum), ObjectID: fmt.Sprintf("sha1:%x", sum)})
		if err != nil {
			return err
		}
	}
	return nil
}

// Open implements mailstore.Source.
func (s *Server) Open(_ context.Context, b mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	found := s.users[b.User][b.Name].Find(m.UID)
	if found == nil || found.Missing {
		return nil, mailstore.ErrDamaged
	}
	return io.NopCloser(bytes.NewReader([]byte(found.Body))), nil
}

// Live implements mailstore.Server.
func (s *Server) Live(ctx context.Context, user string) (mailstore.Live, error) {
	if err := s.fail(ctx, "live", user, ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[user] == nil {
		return nil, fmt.Errorf("open the account of %q: %w", user, mailstore.ErrNoAccount)
	}
	return &account{s: s, user: user}, nil
}

// An account is one user's, as the running server shows it.
type account struct {
	s    *Server
	user string
}

func (a *account) Close(context.Context) error { return nil }

func (a *account) Mailboxes(ctx context.Context, yield func(mailstore.Mailbox) error) error {
	if err := a.s.fail(ctx, "list", a.user, ""); err != nil {
		return err
	}
	return a.s.Mailboxes(ctx, mailstore.User{Name: a.user}, yield)
}

func (a *account) box(ctx context.Context, op, name string) (*Mailbox, error) {
	if err := a.s.fail(ctx, op, a.user, name); err != nil {
		return nil, err
	}
	if b := a.s.users[a.user][name]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("folder %q: %w", name, mailstore.ErrNoMailbox)
}

func (a *account) Inspect(ctx context.Context, name string, yield func(mailstore.Inspected) error) (mailstore.Stand, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	b, err := a.box(ctx, "inspect", name)
	if err != nil {
		return mailstore.Stand{}, err
	}
	for _, m := range b.Messages {
		i := mailstore.Inspected{UID: m.UID, Flags: slices.Clone(m.Flags), InternalDate: m.Date, Size: int64(len(m.Body)), SHA1: m.SHA1(), ModSeq: m.modseq}
		if m.Missing {
			i.Dangling, i.MessageID, i.Envelope = true, "<"+fmt.Sprint(m.UID)+"@index>", "(NIL NIL)"
		}
		if err := yield(i); err != nil {
			return mailstore.Stand{}, err
		}
	}
	return mailstore.Stand{UIDValidity: b.UIDValidity, UIDNext: b.UIDNext, Messages: len(b.Messages), ReadOnly: b.ReadOnly}, nil
}

func (a *account) Body(ctx context.Context, name string, uid mailstore.UID) ([]byte, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	b, err := a.box(ctx, "body", name)
	if err != nil {
		return nil, err
	}
	m := b.Find(uid)
	switch {
	case m == nil:
		return nil, mailstore.ErrVanished
	case m.Missing:
		return nil, &mailstore.Dangling{UID: uid, Missing: true, Why: "the file is missing"}
	case m.Damaged:
		return nil, &mailstore.Dangling{UID: uid, Why: "these are other bytes"}
	}
	return []byte(m.Body), nil
}

// Remove implements mailstore.Remover.
func (a *account) Remove(ctx context.Context, name string, validity uint32, uids []mailstore.UID) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	b, err := a.box(ctx, "remove", name)
	switch {
	case err != nil:
		return err
	case b.UIDValidity != validity:
		return errors.New("the mailbox was made anew")
	}
	for _, m := range b.Messages {
		if slices.Contains(uids, m.UID) && !slices.Contains(m.Flags, `\Deleted`) {
			m.Flags = append(slices.Clone(m.Flags), `\Deleted`)
		}
	}
	if err := a.s.fail(ctx, "marked", a.user, name); err != nil {
		return err
	}
	for _, uid := range uids {
		b.Messages = slices.DeleteFunc(b.Messages, func(m *Message) bool { return m.UID == uid })
		if err := a.s.fail(ctx, "removed", a.user, name); err != nil {
			return err
		}
	}
	return nil
}
