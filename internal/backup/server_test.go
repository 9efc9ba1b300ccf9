package backup_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/world"
)

// A server is a source with an index of its own, as Cyrus and IMAP servers have:
// it promises hashes, names removed messages and tells what has changed.
type server struct {
	boxes  map[string][]*letter
	since  map[string]string // by folder: what Messages was told
	opened []string
	mu     sync.Mutex        // guards boxes while a run reads and a test's listed changes them
	listed func(name string) // called when a folder was listed; nil: nothing
	more   []string          // folders beside INBOX and Work
	modSeq uint64            // HIGHESTMODSEQ; 0: 7
	tells  bool              // TellsRemovals
}

type letter struct {
	mailstore.Message
	body []byte
	err  error // of Open
}

// message makes what Cyrus's index would say of a body.
func message(uid mailstore.UID, body string, flags ...string) *letter {
	return &letter{body: []byte(body), Message: mailstore.Message{Key: fmt.Sprint("1.", uid), UID: uid, Flags: flags, Size: int64(len(body)),
		Promised: int64(len(body)), SHA1: sha1.Sum([]byte(body)), InternalDate: time.Unix(1.1e9, 0)}}
}

func (s *server) Users(_ context.Context, yield func(mailstore.User) error) error {
	return yield(mailstore.User{Name: "ann"})
}

func (s *server) Mailboxes(_ context.Context, u mailstore.User, yield func(mailstore.Mailbox) error) error {
	modSeq := s.modSeq
	if modSeq == 0 {
		modSeq = 7
	}
	for _, name := range append([]string{"INBOX", "Work"}, s.more...) {
		box := mailstore.Mailbox{User: u.Name, Name: name, ObjectID: "id of " + name, UIDValidity: 1, HighestModSeq: modSeq, TellsRemovals: s.tells,
			ACL: "ann\tlrswipkxtecda\t", Quota: "STORAGE 1000", State: fmt.Sprintf("%v", s.state(name))}
		if err := yield(box); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) state(name string) (all []string) {
	for _, l := range s.boxes[name] {
		all = append(all, fmt.Sprint(l.Key, l.Flags, l.Expunged, l.Unchanged))
	}
	return all
}

func (s *server) Messages(_ context.Context, b mailstore.Mailbox, yield func(mailstore.Message) error) error {
	s.mu.Lock()
	s.since[b.Name] = b.Since
	letters := slices.Clone(s.boxes[b.Name])
	s.mu.Unlock()
	for _, l := range letters {
		if err := yield(l.Message); err != nil {
			return err
		}
	}
	if s.listed != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listed(b.Name)
	}
	return nil
}

func (s *server) Open(_ context.Context, b mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, b.Name+" "+m.Key)
	for _, l := range s.boxes[b.Name] {
		if l.Key == m.Key {
			return io.NopCloser(bytes.NewReader(l.body)), l.err
		}
	}
	return nil, mailstore.ErrVanished
}

// drain gives what was opened since the last call.
func (s *server) drain() []string {
	opened := s.opened
	s.opened = nil
	return opened
}

func serve(t *testing.T) (*world.World, *server) {
	t.Helper()
	w := world.New(t)
	s := &server{boxes: map[string][]*letter{}, since: map[string]string{}}
	w.Options.Source, w.Options.Workers = s, 1
	return w, s
}

const bodyA, bodyB = "Subject: a\r\n\r\nfirst body\r\n", "Subject: b\r\n\r\nsecond body\r\n"

// What has not changed since the last whole listing is neither opened nor
// written, and what the mailbox says of itself is kept.
func TestUnchangedMessages(t *testing.T) {
	w, s := serve(t)
	s.boxes["INBOX"] = []*letter{message(1, bodyA, `\Seen`)}
	w.Backup()
	s.boxes["INBOX"][0].Message = mailstore.Message{Key: "1.1", UID: 1, Unchanged: true}
	s.boxes["INBOX"] = append(s.boxes["INBOX"], message(2, bodyB))
	s.drain()
	if r := w.Night(); !r.Clean() || r.Messages.Seen != 2 || r.Messages.New != 1 || r.Messages.Gone != 0 {
		t.Fatalf("%+v", r)
	}
	if got := s.drain(); len(got) != 1 || s.since["INBOX"] == "" {
		t.Errorf("opened %q, since %q", got, s.since["INBOX"])
	}
	if got := w.List(catalog.Query{}); len(got) != 2 || strings.Join(got[0].Flags, " ") != `\Seen` {
		t.Errorf("%+v", got)
	}
	must(t, w.H.Catalog.Mailboxes(t.Context(), "ann", func(b *catalog.Mailbox) error {
		if b.HighestModSeq != 7 || b.ACL != "ann\tlrswipkxtecda\t" || b.Quota != "STORAGE 1000" {
			t.Errorf("%+v", b)
		}
		return nil
	}))

	// A source that calls unchanged what nobody has seen is not believed, and
	// the next run asks for everything.
	s.boxes["INBOX"] = append(s.boxes["INBOX"], &letter{Message: mailstore.Message{Key: "1.3", UID: 3, Unchanged: true}})
	if r := w.Night(); r.Clean() || r.Unlisted != 1 || r.Messages.Gone != 0 {
		t.Errorf("%+v", r)
	}
	s.boxes["INBOX"][2] = message(3, bodyB+"more\r\n")
	if r := w.Night(); !r.Clean() || r.Messages.New != 1 || s.since["INBOX"] != "" {
		t.Errorf("%+v, since %q", r, s.since["INBOX"])
	}
}

// A message that the user had before under the same identity is not read again.
func TestMovesByIdentity(t *testing.T) {
	for _, hash := range []bool{true, false} {
		w, s := serve(t)
		moved := message(1, bodyA)
		moved.ObjectID = "guid:77"
		if !hash {
			moved.SHA1 = chunk.SHA1{}
		}
		s.boxes["INBOX"] = []*letter{moved, message(2, bodyB)}
		w.Backup()
		s.drain()
		again := *moved
		again.Key, again.UID, again.Flags = "1.9", 9, []string{`\Flagged`}
		s.boxes["INBOX"], s.boxes["Work"] = s.boxes["INBOX"][1:], []*letter{&again}
		r := w.Night()
		if !r.Clean() || r.Messages.New != 1 || r.Messages.Gone != 0 || len(s.drain()) != 0 {
			t.Errorf("by hash %v: %+v, opened %q", hash, r, s.opened)
		}
		live := w.List(catalog.Query{Folders: []string{"Work"}})
		if len(live) != 1 || live[0].UID != 9 || live[0].SHA1 != sha1.Sum([]byte(bodyA)) || live[0].StoredSize != int64(len(bodyA)) {
			t.Errorf("by hash %v: %+v", hash, live)
		}
		// Another length is another message, whatever its identity says.
		other := message(10, bodyA+"x\r\n")
		other.ObjectID, other.SHA1 = "guid:77", chunk.SHA1{}
		s.boxes["Work"] = append(s.boxes["Work"], other)
		if w.Night(); len(s.drain()) != 1 {
			t.Errorf("by hash %v: a longer message was taken for the same", hash)
		}
	}
}

// The week of a message begins when its user removed it, if the source knows.
func TestKnownDeletion(t *testing.T) {
	w, s := serve(t)
	for i := range 10 {
		s.boxes["INBOX"] = append(s.boxes["INBOX"], message(mailstore.UID(i+1), fmt.Sprintf("Subject: %d\r\n\r\n%d\r\n", i, i)))
	}
	start := w.Now
	w.Backup()
	early, lying := start.Add(3*time.Hour), start.Add(-1000*time.Hour)
	s.boxes["INBOX"][0].Expunged = early
	s.boxes["INBOX"][1].Expunged = lying
	if r := w.Night(); !r.Clean() || r.Messages.Gone != 2 || r.Messages.Seen != 8 {
		t.Fatalf("%+v", r)
	}
	gone := w.List(catalog.Query{Deleted: true})
	if len(gone) != 2 || !gone[0].GoneAt.Equal(early) || !gone[1].GoneAt.Equal(start) {
		t.Errorf("weeks begin at %v and %v, want %v and %v", gone[0].GoneAt, gone[1].GoneAt, early, start)
	}
	if r := w.Night(); !r.Clean() || r.Messages.Gone != 0 || r.Messages.New != 0 {
		t.Errorf("%+v", r)
	}
}

// What came and was removed between two runs is kept for its week, if its file
// is still there; it is no loss that the brake would count.
func TestCameAndGone(t *testing.T) {
	w, s := serve(t)
	s.boxes["INBOX"] = []*letter{message(1, bodyA)}
	w.Backup()
	for i := range 200 {
		l := message(mailstore.UID(i+2), fmt.Sprintf("Subject: %d\r\n\r\n%d\r\n", i, i))
		l.Expunged = w.Now.Add(time.Hour)
		switch i {
		case 0:
			l.err = fmt.Errorf("%w: no file", mailstore.ErrDamaged)
		case 1:
			l.err = mailstore.ErrVanished
		case 2:
			l.body = l.body[:5]
		case 3:
			l.Expunged = w.Now.Add(-100 * 24 * time.Hour)
		}
		s.boxes["INBOX"] = append(s.boxes["INBOX"], l)
	}
	if r := w.Night(); !r.Clean() || r.Messages.New != 196 || r.Messages.Gone != 196 || r.Messages.Seen != 1 {
		t.Fatalf("%+v", r)
	}
	if got := w.List(catalog.Query{Deleted: true}); len(got) != 196 {
		t.Errorf("%d are kept", len(got))
	}
	s.drain()
	if r := w.Night(); !r.Clean() || r.Messages.New != 0 {
		t.Errorf("%+v", r)
	}
	if got := w.List(catalog.Query{}); len(got) != 1 {
		t.Errorf("%d are live", len(got))
	}
	for range 8 {
		w.Night()
	}
	if p := w.Prune(); p.Expired != 196 {
		t.Errorf("%+v", p)
	}
}

// Damage at the source is told every night, never replaces a good copy, and is
// over when the file is back.
func TestDamagedAtTheSource(t *testing.T) {
	missing := fmt.Errorf("%w: the index lists it, the file is missing", mailstore.ErrDamaged)
	for name, harm := range map[string]func(*letter){
		"missing":   func(l *letter) { l.err = missing },
		"empty":     func(l *letter) { l.body = nil },
		"truncated": func(l *letter) { l.body = l.body[:10] },
		"other":     func(l *letter) { l.body = bytes.ToUpper(l.body) },
	} {
		t.Run(name, func(t *testing.T) {
			w, s := serve(t)
			known, unknown := message(1, bodyA), message(2, bodyB)
			s.boxes["INBOX"] = []*letter{known}
			w.Backup()
			copied := message(3, bodyA)
			s.boxes["INBOX"] = append(s.boxes["INBOX"], unknown, copied)
			whole := unknown.body
			known.State = "touched" // so that it is read again
			for _, l := range s.boxes["INBOX"] {
				harm(l)
			}
			for range 3 {
				r := w.Night()
				if r.Messages.Failed != 3 || r.Messages.Damaged != 3 || len(r.Problems) != 3 || !strings.Contains(r.Problems[0], "damaged at the source") {
					t.Fatalf("%+v", r)
				}
			}
			sums := map[string]bool{}
			for _, e := range w.List(catalog.Query{}) {
				sums[e.SHA1.String()] = true
				if e.UID != 2 && e.SHA1 != sha1.Sum([]byte(bodyA)) {
					t.Errorf("UID %d has lost its good copy", e.UID)
				}
			}
			want := 2 // what there is of the unknown one is kept
			if name == "missing" || name == "empty" {
				want = 1
			}
			if len(sums) != want {
				t.Errorf("%d contents, want %d", len(sums), want)
			}
			for _, l := range s.boxes["INBOX"] {
				l.err, l.body = nil, []byte(bodyA)
			}
			unknown.body = whole
			if r := w.Night(); !r.Clean() {
				t.Fatalf("repaired: %+v", r)
			}
			live := w.List(catalog.Query{})
			if len(live) != 3 || live[1].SHA1 != sha1.Sum(whole) {
				t.Errorf("%+v", live)
			}
		})
	}
}

// Flags that a source cannot tell are counted, and known ones are kept.
func TestFlagsUnknown(t *testing.T) {
	w, s := serve(t)
	s.boxes["INBOX"] = []*letter{message(1, bodyA, `\Answered`, `\Seen`)}
	w.Backup()
	s.boxes["INBOX"][0].NoFlags, s.boxes["INBOX"][0].Flags = true, nil
	more := message(2, bodyB)
	more.NoFlags = true
	s.boxes["INBOX"] = append(s.boxes["INBOX"], more)
	if r := w.Night(); !r.Clean() || r.FlagsUnknown != 2 {
		t.Errorf("%+v", r)
	}
	if got := w.List(catalog.Query{}); len(got) != 2 || strings.Join(got[0].Flags, " ") != `\Answered \Seen` || len(got[1].Flags) != 0 {
		t.Errorf("%+v", got)
	}
}
