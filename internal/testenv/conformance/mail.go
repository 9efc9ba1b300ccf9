// Package conformance holds what every mail store that salvor reads or writes
// has to keep to, whatever its format: the source suite and the destination
// suite. Both compare with what a real server says over IMAP of the same store.
// Only tests call it.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/imaptest"
)

// Lacks names what a kind of store cannot tell, or cannot keep.
type Lacks struct {
	Flags, Keywords, UIDs, Subscriptions, SpecialUse bool
	// Moves: a moved message is not recognised by its ObjectID.
	Moves bool
	// State: nothing says cheaply that a mailbox is unchanged.
	State bool
	// Steady: the store keeps flags in its messages' headers and rewrites them.
	Steady bool
	// NULs: the server shows them as 0x80, whatever is on its disk.
	NULs bool
	// Dates: the internal date is not that of the server to the second.
	Dates bool
}

// A sample is a message for the tests.
type sample struct {
	name  string
	body  string // as it goes over the wire
	flags []string
	date  time.Time
}

var zone = time.FixedZone("", -8*3600)

// samples are messages that every server takes by APPEND.
func samples() []sample {
	date := time.Date(2007, 1, 5, 23, 59, 58, 0, zone)
	text := func(subject, body string) string {
		return "From: A <a@example.org>\r\nTo: b@example.org\r\nSubject: " + subject + "\r\nMessage-ID: <" + subject + "@x>\r\n\r\n" + body
	}
	long := strings.Repeat("0123456789abcdef", 4096)
	return []sample{
		{"plain", text("plain", "hello\r\n"), nil, date},
		{"flags", text("flags", "hello\r\n"), []string{`\Seen`, `\Flagged`, `\Answered`, `\Draft`}, date.AddDate(10, 0, 0)},
		{"keywords", text("keywords", "hello\r\n"), []string{`$Forwarded`, "work-todo"}, date.AddDate(3, 2, 1)},
		{"deleted", text("deleted", "hello\r\n"), []string{`\Deleted`}, date.AddDate(1, 0, 0)},
		{"no body", text("nobody", ""), nil, date},
		{"no final line end", text("open", "the end"), nil, date},
		{"eight bits", text("acht", "Grüße, 8 bits: \xe4\xff\r\n"), nil, date},
		{"dots and From", text("dots", ".\r\n..\r\nFrom here to there\r\n>From there\r\n"), nil, date},
		{"long line", text("long", long+"\r\n"), nil, date},
		{"large", text("large", strings.Repeat(long[:76]+"\r\n", 20000)), nil, date},
		{"twice", text("twice", "one\r\n"), nil, date},
		{"twice", text("twice", "one\r\n"), []string{`\Seen`}, date.AddDate(0, 0, 1)},
		{"attachment", text("mime", "--b\r\nContent-Type: text/plain\r\n\r\nsee\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n"+
			strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n", 500)+"--b--\r\n"), nil, date},
	}
}

func appendAll(c *imaptest.Client, folder string, list []sample) {
	for _, s := range list {
		c.Append(folder, s.body, s.date, s.flags...)
	}
}

// id is the identity of a message's content.
func id(body string) chunk.ID {
	id, _, _ := chunk.WireSums([]byte(body))
	return id
}

// A source bundles a user's view of an open source.
type source struct {
	mailstore.Source
	t    testing.TB
	user mailstore.User
}

func ctx(t testing.TB) context.Context {
	c, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	return c
}

// boxes lists the user's mailboxes by name.
func (s source) boxes() map[string]mailstore.Mailbox {
	s.t.Helper()
	all := map[string]mailstore.Mailbox{}
	err := s.Mailboxes(ctx(s.t), s.user, func(b mailstore.Mailbox) error {
		if len(all) > 0 && b.Name == "INBOX" {
			s.t.Error("INBOX is not the first mailbox")
		}
		if _, twice := all[b.Name]; twice {
			s.t.Errorf("mailbox %q is listed twice", b.Name)
		}
		if b.User != s.user.Name {
			s.t.Errorf("mailbox %q belongs to %q", b.Name, b.User)
		}
		all[b.Name] = b
		return nil
	})
	if err != nil {
		s.t.Fatalf("list mailboxes: %v", err)
	}
	return all
}

func (s source) box(name string) mailstore.Mailbox {
	s.t.Helper()
	b, ok := s.boxes()[name]
	if !ok {
		s.t.Fatalf("no mailbox %q", name)
	}
	return b
}

// messages lists what is live in a mailbox, by UID.
func (s source) messages(b mailstore.Mailbox) []mailstore.Message {
	s.t.Helper()
	var list []mailstore.Message
	keys := map[string]bool{}
	err := s.Messages(ctx(s.t), b, func(m mailstore.Message) error {
		if keys[m.Key] {
			s.t.Errorf("%s: the key %q comes twice", b.Name, m.Key)
		}
		keys[m.Key] = true
		if m.Expunged.IsZero() {
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		s.t.Fatalf("list %q: %v", b.Name, err)
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].UID < list[j].UID })
	return list
}

// read opens a message as an engine does.
func (s source) read(b mailstore.Mailbox, m mailstore.Message) (string, error) {
	f, err := s.Open(ctx(s.t), b, m)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(f)
	return string(body), errors.Join(err, f.Close())
}

// readAll reads all messages of a mailbox, with prefetching where there is any.
func (s source) readAll(b mailstore.Mailbox, list []mailstore.Message) []string {
	s.t.Helper()
	if p, ok := s.Source.(mailstore.Prefetcher); ok {
		for _, m := range list {
			p.Prefetch(b, m)
		}
	}
	bodies := make([]string, len(list))
	for i, m := range list {
		var err error
		if bodies[i], err = s.read(b, m); err != nil {
			s.t.Errorf("%s: open UID %d: %v", b.Name, m.UID, err)
		}
	}
	return bodies
}

// flagsOf leaves out what a store lacks.
func (l Lacks) flagsOf(flags []string) string {
	var out []string
	for _, f := range flags {
		if l.Keywords && !strings.HasPrefix(f, `\`) {
			continue
		}
		out = append(out, f)
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

// own matches the headers in which an mbox keeps what other stores keep in an
// index; the server shows them to nobody.
var own = regexp.MustCompile(`(?m)^(X-IMAPbase|X-IMAP|X-UID|Status|X-Status|X-Keywords|Content-Length):.*\n`)

// id is the identity of a content as a client of the server would see it.
func (l Lacks) id(body string) chunk.ID {
	if l.Steady {
		head, rest, _ := strings.Cut(body, "\n\n")
		body = own.ReplaceAllString(head+"\n", "") + "\n" + rest
	}
	return id(body)
}

// short is a text cut for a message.
func short(s string) string {
	if len(s) > 300 {
		return fmt.Sprintf("%q… (%d bytes)", s[:300], len(s))
	}
	return fmt.Sprintf("%q", s)
}
