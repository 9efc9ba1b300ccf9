package imap

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
	"salvor/internal/testenv/imaptest"
)

// A copy is what a pass over a source brings home.
type copied struct {
	boxes    []mailstore.Mailbox
	messages map[string][]mailstore.Message // by folder, as listed
	bodies   map[string]string              // by folder and key
	failed   map[string]error               // by folder and key
	problems []string
}

func (c *copied) names() []string {
	var out []string
	for _, b := range c.boxes {
		out = append(out, b.Name)
	}
	return out
}

func (c *copied) box(name string) mailstore.Mailbox {
	for _, b := range c.boxes {
		if b.Name == name {
			return b
		}
	}
	return mailstore.Mailbox{}
}

// pass does what a backup does: it lists everything and opens what is not
// unchanged, some at a time, while the next mailbox is listed.
func pass(t testing.TB, s *Source, user string, since map[string]string) *copied {
	t.Helper()
	c := &copied{messages: map[string][]mailstore.Message{}, bodies: map[string]string{}, failed: map[string]error{}}
	ctx := t.Context()
	note := func(err error) {
		var inc *mailstore.Incomplete
		var one *mailstore.Problem
		switch {
		case err == nil:
		case errors.As(err, &inc):
			for _, p := range inc.Problems {
				c.problems = append(c.problems, p.Error())
			}
		case errors.As(err, &one):
			c.problems = append(c.problems, one.Error())
		default:
			t.Errorf("the run would end: %v", err)
		}
	}
	note(s.Mailboxes(ctx, mailstore.User{Name: user}, func(b mailstore.Mailbox) error { c.boxes = append(c.boxes, b); return nil }))
	type job struct {
		box mailstore.Mailbox
		m   mailstore.Message
	}
	jobs := make(chan job, 256)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for j := range jobs {
				body, err := read(ctx, s, j.box, j.m)
				mu.Lock()
				if err != nil {
					c.failed[j.box.Name+"/"+j.m.Key] = err
				} else {
					c.bodies[j.box.Name+"/"+j.m.Key] = body
				}
				mu.Unlock()
			}
		})
	}
	for _, b := range c.boxes {
		b.Since = since[b.Name]
		note(s.Messages(ctx, b, func(m mailstore.Message) error {
			c.messages[b.Name] = append(c.messages[b.Name], m)
			if !m.Unchanged {
				s.Prefetch(b, m)
				jobs <- job{b, m}
			}
			return nil
		}))
	}
	close(jobs)
	workers.Wait()
	return c
}

func read(ctx context.Context, s *Source, box mailstore.Mailbox, m mailstore.Message) (string, error) {
	r, err := s.Open(ctx, box, m)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// tokens are the States by folder, as a catalog would keep them.
func (c *copied) tokens() map[string]string {
	out := map[string]string{}
	for _, b := range c.boxes {
		out[b.Name] = b.State
	}
	return out
}

// compare holds a folder of a copy against what another client sees.
func compare(t *testing.T, c *copied, name string, want imaptest.Folder) {
	t.Helper()
	got := c.messages[name]
	if len(got) != len(want.Messages) || c.box(name).UIDValidity != want.UIDValidity || c.box(name).UIDNext != want.UIDNext {
		t.Errorf("%s: %d messages of %d, %+v of %d %d", name, len(got), len(want.Messages), c.box(name), want.UIDValidity, want.UIDNext)
		return
	}
	for i, m := range got {
		w := want.Messages[i]
		body, ok := c.bodies[name+"/"+m.Key]
		if uint32(m.UID) != w.UID || fmt.Sprint(m.Flags) != fmt.Sprint(w.Flags) || !m.InternalDate.Equal(w.InternalDate) || !ok || body != w.Body ||
			m.Size != int64(len(w.Body)) || m.Promised != m.Size && (m.Promised != -1 || strings.HasPrefix(m.ObjectID, "guid:") || m.SHA1 != [20]byte{}) {
			t.Errorf("%s: %+v, want %+v (%v)", name, m, w, c.failed[name+"/"+m.Key])
		}
		if m.SHA1 != [20]byte{} && m.SHA1 != sha1.Sum([]byte(body)) {
			t.Errorf("%s: UID %d has SHA-1 %x", name, m.UID, m.SHA1)
		}
	}
}

func (c *copied) clean(t *testing.T) {
	t.Helper()
	if len(c.problems) > 0 || len(c.failed) > 0 {
		t.Errorf("problems %q, failures %v", c.problems, c.failed)
	}
}

// open opens a source on a test server.
func open(t testing.TB, port int, o Options) *Source {
	t.Helper()
	s, err := tryOpen(t, port, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryOpen(t testing.TB, port int, o Options) (*Source, error) {
	t.Helper()
	o.Host, o.Port = "127.0.0.1", port
	if o.Security == wire.TLS && o.CAFile == "" {
		o.Security = wire.Insecure
	}
	if o.Password == nil && o.PasswordFile == "" {
		o.Password = []byte("secret")
	}
	if o.patience == (patience{}) {
		o.patience = patience{3, 5 * time.Millisecond}
	}
	s, err := Open(o)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// letter is a message; the larger n, the longer.
func letter(n int) string {
	return fmt.Sprintf("From: a@example.org\r\nSubject: letter %d\r\n\r\n%s\r\n", n, strings.Repeat("text ", n%500))
}

// untouched shows that nothing on the server has changed from before to after
// what is done: \Recent and \Seen included, which a new session sees in STATUS.
func untouched(t *testing.T, c *imaptest.Client, folders []string, do func()) {
	t.Helper()
	state := func() string {
		var out []string
		for _, f := range folders {
			for _, r := range c.Do("STATUS %s (MESSAGES RECENT UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)", imaptest.Quote(f)) {
				if strings.Contains(r.Text, " STATUS ") {
					out = append(out, r.Text)
				}
			}
			for _, m := range c.Examine(f).Messages {
				out = append(out, fmt.Sprint(f, m.UID, m.Flags, m.InternalDate))
			}
			c.Do("UNSELECT")
		}
		sort.Strings(out)
		return strings.Join(out, "\n")
	}
	before := state()
	do()
	if after := state(); after != before {
		t.Errorf("the server's state was\n%s\nand is\n%s", before, after)
	}
}
