package incident_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/world"
)

// A server is a mail store with an index of its own, as Cyrus has it.
type server struct {
	users map[string]map[string]*mailbox
	// What is wrong with the index.
	damagedUsers, damagedFolders error
	closed                       bool // no message may be opened
	foreign                      bool // something that is no mailbox stands there
}

type mailbox struct {
	mailstore.Mailbox
	letters []letter
	err     error // of Messages, after the letters
}

type letter struct {
	mailstore.Message
	body string
}

const source = "maildir:mail/%u" // what world calls every source

func (s *server) Users(_ context.Context, yield func(mailstore.User) error) error {
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		if err := yield(mailstore.User{Name: name}); err != nil {
			return err
		}
	}
	return s.damagedUsers
}

func (s *server) Mailboxes(_ context.Context, u mailstore.User, yield func(mailstore.Mailbox) error) error {
	for _, name := range slices.Sorted(maps.Keys(s.users[u.Name])) {
		if err := yield(s.users[u.Name][name].Mailbox); err != nil {
			return err
		}
	}
	if s.foreign {
		if err := yield(mailstore.Mailbox{User: u.Name, Name: "notes.txt", Foreign: true}); err != nil {
			return err
		}
	}
	return s.damagedFolders
}

func (s *server) Messages(_ context.Context, b mailstore.Mailbox, yield func(mailstore.Message) error) error {
	box := s.users[b.User][b.Name]
	if box == nil {
		return errors.New("no mailbox was asked for its messages")
	}
	for _, l := range box.letters {
		if err := yield(l.Message); err != nil {
			return err
		}
	}
	return box.err
}

func (s *server) Open(_ context.Context, b mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	if s.closed {
		return nil, errors.New("a message was opened")
	}
	for _, l := range s.users[b.User][b.Name].letters {
		if l.Key == m.Key {
			return io.NopCloser(bytes.NewReader([]byte(l.body))), nil
		}
	}
	return nil, mailstore.ErrVanished
}

// box gives a folder, made when it is not there.
func (s *server) box(user, name string) *mailbox {
	if s.users == nil {
		s.users = map[string]map[string]*mailbox{}
	}
	if s.users[user] == nil {
		s.users[user] = map[string]*mailbox{}
	}
	b := s.users[user][name]
	if b == nil {
		b = &mailbox{Mailbox: mailstore.Mailbox{User: user, Name: name, ObjectID: "id of " + user + " " + name, UIDValidity: 7, UIDNext: 1, HighestModSeq: 1}}
		s.users[user][name] = b
	}
	return b
}

// touch notes that something about the folder has changed.
func (b *mailbox) touch() uint64 {
	b.HighestModSeq++
	b.State = fmt.Sprint(b.UIDValidity, b.HighestModSeq)
	return b.HighestModSeq
}

func (s *server) deliver(user, folder, body string, flags ...string) mailstore.UID {
	return s.box(user, folder).add(body, flags...)
}

func (b *mailbox) add(body string, flags ...string) mailstore.UID {
	uid := mailstore.UID(b.UIDNext)
	b.UIDNext++
	sum := sha1.Sum([]byte(body))
	b.letters = append(b.letters, letter{body: body, Message: mailstore.Message{Key: fmt.Sprint(b.UIDValidity, ".", uid), UID: uid, Flags: flags,
		ModSeq: b.touch(), Size: int64(len(body)), Promised: int64(len(body)), SHA1: sum, State: fmt.Sprintf("%x", sum),
		ObjectID: fmt.Sprintf("sha1:%x", sum), InternalDate: time.Unix(1.7e9, 0)}})
	return uid
}

// find gives a live message.
func (b *mailbox) find(uid mailstore.UID) *letter {
	for i := range b.letters {
		if b.letters[i].UID == uid {
			return &b.letters[i]
		}
	}
	return nil
}

// expunge removes a message, with a record that says so until clean.
func (b *mailbox) expunge(uid mailstore.UID, at time.Time) {
	l := b.find(uid)
	l.Expunged, l.ModSeq = at, b.touch()
}

// clean forgets what was removed.
func (b *mailbox) clean() {
	b.letters = slices.DeleteFunc(b.letters, func(l letter) bool { return !l.Expunged.IsZero() })
}

func (s *server) clean() {
	for _, boxes := range s.users {
		for _, b := range boxes {
			b.clean()
		}
	}
}

// snapshot is what survives of the server: its index of this moment.
func (s *server) snapshot() *server {
	c := &server{users: map[string]map[string]*mailbox{}, closed: true}
	for user, boxes := range s.users {
		c.users[user] = map[string]*mailbox{}
		for name, b := range boxes {
			again := *b
			again.letters = slices.Clone(b.letters)
			c.users[user][name] = &again
		}
	}
	return c
}

func body(i int) string {
	return fmt.Sprintf("Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\ntext %d\r\n", i, i, i)
}

// serve makes a world whose source is a server.
func serve(t testing.TB) (*world.World, *server) {
	t.Helper()
	w := world.New(t)
	s := &server{}
	w.Options.Source, w.Options.Workers = s, 1
	w.Policy = world.PolicyOf(7 * 24 * time.Hour)
	return w, s
}

// options open an incident over what survived.
func options(w *world.World, survived *server) incident.Options {
	o := incident.Options{Name: "fire", Source: source, By: "op", Host: "host", Keep: filepath.Join(w.Dir, "incidents", "fire"),
		Now: func() time.Time { return w.Now }}
	if survived != nil {
		o.Index = indexOf(w, survived)
	}
	return o
}

// indexOf has a tree of its own, so that there is something to be copied.
func indexOf(w *world.World, survived *server) *incident.Index {
	dir := filepath.Join(w.Dir, "meta")
	must(w.T, os.MkdirAll(dir, 0o700))
	must(w.T, os.WriteFile(filepath.Join(dir, "cyrus.index"), []byte("index"), 0o600))
	return &incident.Index{URL: "cyrus:/x", Apart: true, Trees: []incident.Tree{{Name: "meta", Dir: dir}},
		Open: func(string) (mailstore.Source, error) { return survived, nil }}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, w *world.World, o incident.Options) *incident.Report {
	t.Helper()
	r, err := incident.Open(t.Context(), w.H, o)
	must(t, err)
	return r
}

// claims lists a ledger.
func claims(t testing.TB, c *catalog.Catalog, name string) (out []catalog.Claim) {
	t.Helper()
	must(t, c.Claims(t.Context(), catalog.ClaimQuery{Incident: name}, func(c *catalog.Claim) error {
		out = append(out, *c)
		return nil
	}))
	return out
}

// claimed gives the claim of a message.
func claimed(t testing.TB, w *world.World, user, folder string, uid mailstore.UID) catalog.Claim {
	t.Helper()
	var out []catalog.Claim
	for _, c := range claims(t, w.H.Catalog, "fire") {
		if c.User == user && c.Folder == folder && c.UID == uint32(uid) {
			out = append(out, c)
		}
	}
	if len(out) != 1 {
		t.Fatalf("%s %s %d has %d claims: %+v", user, folder, uid, len(out), out)
	}
	return out[0]
}

// wants compares a claim's state and reason.
func wants(t testing.TB, c catalog.Claim, state catalog.ClaimState, reason string) {
	t.Helper()
	if c.State != state || !bytes.Contains([]byte(c.Reason), []byte(reason)) {
		t.Errorf("%s %s %d is %s (%s), want %s (%s)", c.User, c.Folder, c.UID, c.State, c.Reason, state, reason)
	}
}

func hash(s string) chunk.SHA1 { return sha1.Sum([]byte(s)) }

// failing is an Index.Open that fails, after the copy was made.
func failing(string) (mailstore.Source, error) { return nil, errors.New("not today") }
